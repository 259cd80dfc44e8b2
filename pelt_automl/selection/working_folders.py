"""Weights that only a selection under way needs, and where they are."""

from pathlib import Path
from typing import Literal

from pelt_automl.log.events import Stage, TrialEnded
from pelt_automl.log.folder import WORK
from pelt_automl.methods import BASELINES

Part = Literal["checkpoints", "finalists", "searched", "workers", "logits"]

PARTS: tuple[Part, ...] = ("checkpoints", "finalists", "searched", "workers", "logits")
"""Trials at their rungs, the finalists' runs, the best of each method's search, what workers leave here, and logits on report."""


def working(folder: Path, part: Part) -> Path:
    """One of these folders, in the ``work`` folder of a selection's."""
    return folder / WORK / part


def kept_at(folder: Path, run: TrialEnded) -> Path:
    """What a baseline's run has written, a folder; or a finalist's best weights, a file."""
    part: Part = "searched" if run.stage == Stage.SEARCH else "finalists"
    return working(folder, part) / (run.trial if run.method in BASELINES else f"{run.trial}.safetensors")


def logits_at(folder: Path, run: TrialEnded) -> Path:
    """The logits of a finalist's run for the report examples that it was scored on."""
    return working(folder, "logits") / f"{run.trial}.safetensors"
