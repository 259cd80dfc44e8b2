"""What the end of a selection takes: its verdict, its winner and its report, as this machine has shown after the same time limit."""

import math
import os
from dataclasses import dataclass

import torch

from pelt_automl.backbones.layer_speed import machine as machine_name
from pelt_automl.remembered import recall, remember
from pelt_automl.selection.question import Question
from pelt_automl.timing.policy import POLICY

WRITING = "writing"
"""The number of `Planned` that says how many seconds are kept for it, where they are remembered."""
MOST = 2 * POLICY.writing
"""Seconds kept at most: a report that took long once doesn't cost the next selection its finals."""


@dataclass(frozen=True)
class Writing:
    """What is remembered."""

    seconds: float

    def __post_init__(self) -> None:
        """Raises `ValueError` for what no machine shows."""
        if not 0 <= self.seconds < math.inf:
            raise ValueError("writing takes a number of seconds that is 0 or more")


def writing_shown(question: Question) -> float | None:
    """Seconds, at most `MOST`; None where nothing is remembered, or without a limit."""
    known = recall(WRITING, _about(question), Writing) if question.search.seconds is not None else None
    return None if known is None else min(known.seconds, MOST)


def remember_writing(question: Question, seconds: float) -> None:
    """Keep it for later selections with the same limit: how much there is to write depends on the time that there was."""
    if question.search.seconds is not None:
        remember(WRITING, _about(question), Writing(seconds))


def _about(question: Question) -> dict[str, object]:
    return {
        "version": 1,
        "limit": question.search.seconds,
        "kind of task": question.data.kind,
        "methods": len(question.methods),
        "machine": machine_name(torch.device("cpu")),
        "cores": os.cpu_count(),
    }
