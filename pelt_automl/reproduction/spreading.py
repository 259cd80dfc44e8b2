"""Cells trained by workers, each by one of them: what is handed out, and what a worker makes of it."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pelt_automl.backbones.loading import Backbone, best_device
from pelt_automl.execution.worker import HERE, beat
from pelt_automl.log.history import History
from pelt_automl.reproduction.cell import CellTraining, loaded
from pelt_automl.reproduction.folder import FinishedRun
from pelt_automl.reproduction.protocol import Cell, PaperMethod, Protocol
from pelt_automl.scheduling.actions import Budget
from pelt_automl.selection.bench import claim
from pelt_automl.selection.costs import device_name
from pelt_automl.selection.environment import environment
from pelt_automl.tasks import TaskData


@dataclass(frozen=True)
class CellJob:
    """What a worker is to train."""

    cell: Cell
    methods: Sequence[PaperMethod]
    """None of them: there is nothing to be done."""
    data: TaskData | None
    seconds: float | None
    """That are left; None for no limit."""

    @property
    def in_words(self) -> str:
        """``trains rte, K=100, seed 0: lora, bitfit``."""
        return f"trains {self.cell}: {', '.join(method.name for method in self.methods)}"


@dataclass
class CellBench:
    """A `pelt_automl.execution.worker.Bench` that trains whole cells."""

    protocol: Protocol
    backbone: Backbone
    states: Path
    kept: Path
    device: str
    environment: Mapping[str, Any]
    history: History = field(default_factory=History)
    executor: None = None

    @staticmethod
    def make(protocol: Protocol, model: str, threads: int | None, folder: Path) -> "CellBench":
        """Load the model. Raises `SelectionError` where another worker has the device, and what `load_backbone` raises."""
        claim(best_device())
        if threads:
            torch.set_num_threads(threads)
        backbone = loaded(protocol, model, threads)
        backbone.layers()[0].module.register_forward_hook(beat)  # copies of the model have it, too
        here = environment() | {"threads": torch.get_num_threads(), "process": os.getpid()}
        return CellBench(protocol, backbone, folder / "states", folder / "kept", device_name(backbone.device), here)

    @property
    def facts(self) -> Mapping[str, str]:
        """The model; the data come with each job."""
        return facts_of(self.backbone.sha256)

    def score(self, job: CellJob) -> list[FinishedRun]:
        """Train them; those that have ended before the time was up."""
        if not job.methods or job.data is None:
            return []
        runs: list[FinishedRun] = []
        deadline = time.monotonic() + job.seconds if job.seconds is not None else None
        training = CellTraining(
            job.cell, job.data, self.backbone, self.protocol, runs.append, lambda: Budget(deadline, time.monotonic()),
            lambda _line: None, partial(_advanced, job.cell.name),
        )  # fmt: skip
        training.train(job.methods)
        return runs


def facts_of(weights: str) -> dict[str, str]:
    """What must be the same for all who train, beyond the program. `weights`: SHA-256 of the model's."""
    return {"model": weights[:16]}


def _advanced(cell: str, taken: int, of: int) -> None:
    HERE.at, HERE.ends = {cell: taken}, {cell: of}
