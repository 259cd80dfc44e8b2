"""Working through a reproduction: what is missing in its folder, a cell at a time, until all is there or the time is up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import torch

from pelt_automl.backbones.layer_speed import Workload
from pelt_automl.backbones.loading import Backbone, load_backbone, load_outline
from pelt_automl.errors import SettingsError, TaskError, all_problems
from pelt_automl.home import expanded, home
from pelt_automl.methods import METHODS
from pelt_automl.reproduction.cell import CellTraining
from pelt_automl.reproduction.folder import ReproductionFolder
from pelt_automl.reproduction.protocol import Cell, K, PaperMethod, Protocol, k_name
from pelt_automl.reproduction.rendering import as_json, markdown
from pelt_automl.reproduction.table import Table, build_table
from pelt_automl.scheduling.actions import Budget
from pelt_automl.selection.environment import environment
from pelt_automl.selection.field import longest_text, refusals
from pelt_automl.selection.process import process_restored
from pelt_automl.settings import PAPER_LENGTH, TaskSettings
from pelt_automl.tasks import load_task

load = lru_cache(maxsize=2)(load_task)
"""Cells of one seed and task follow each other; the largest tasks take hundreds of megabytes each."""


@dataclass
class Reproduction:
    """A protocol on a model, in a folder that other processes may work in too."""

    protocol: Protocol
    model: str
    folder: ReproductionFolder
    refused: dict[str, str]
    """Methods that the model doesn't support, with the reason."""
    data_dir: Path | None = None
    deadline: float | None = None
    """On `time.monotonic`'s clock."""
    say: Callable[[str], None] = lambda _: None
    """Told in a line what has happened."""
    again: set[tuple[Cell, str]] = field(default_factory=set)
    """Runs that failed in an earlier start and count as missing."""
    unavailable: dict[tuple[str, K], str] = field(default_factory=dict)
    """Tasks, at a K, that can't be had, with the reason."""

    @staticmethod
    def open(
        protocol: Protocol,
        model: str,
        *,
        data_dir: Path | None = None,
        output: Path | None = None,
        seconds: float | None = None,
        say: Callable[[str], None] = lambda _: None,
        retry_failed: bool = False,
    ) -> "Reproduction":
        """Check the model and the folder (None: ``reproductions/MODEL`` in the program's home). `seconds`: None for no limit.

        Raises `BackboneError`, `SettingsError` and `SelectionError`. No weights are loaded before `run`.
        """
        if seconds is not None and not 0 < seconds < float("inf"):
            raise SettingsError(f"seconds is {seconds}; it must be above 0, and finite")
        deadline = time.monotonic() + seconds if seconds is not None else None
        refused = _refused(protocol, model)
        path = expanded(output or home() / "reproductions" / model.strip("/").replace("/", "--")).absolute()
        folder = ReproductionFolder(path, protocol, model)
        failed = {(run.cell, run.method) for run in folder.finished(protocol.cells()) if run.state == "failed"}
        return Reproduction(protocol, model, folder, refused, data_dir, deadline, say, failed if retry_failed else set())

    def run(self) -> Table:
        """Train what is missing and what nobody else is training, and write the tables after each cell.

        Raises `TaskError` when none of the tasks can be had.
        """
        with process_restored():
            if self.protocol.training.threads:
                torch.set_num_threads(self.protocol.training.threads)
            self._look_for_tasks()
            while sum(self._work_on(cell) for cell in self.protocol.cells()):
                pass  # once more after the last cell: another process may have been killed in one
            return self.write_tables()

    def write_tables(self) -> Table:
        """``table.md`` and ``table.json``, from all runs of the folder that belong to the protocol."""
        runs = self.folder.finished(self.protocol.cells())
        table = build_table(self.protocol, self.model, runs, self.refused, self.unavailable, environment())
        self.folder.replace("table.md", markdown(table))
        self.folder.replace("table.json", as_json(table))
        return table

    def budget(self) -> Budget:
        """The time as it is now."""
        return Budget(self.deadline, time.monotonic())

    def _missing(self, cell: Cell) -> list[PaperMethod]:
        done = {run.method for run in self.folder.finished([cell]) if (cell, run.method) not in self.again}
        return [method for method in self.protocol.methods_at(cell.k) if method.name not in {*done, *self.refused}]

    def _look_for_tasks(self) -> None:
        """Find out which of the tasks with open runs can't be had, before a model is loaded."""
        needed = dict.fromkeys((cell.task, cell.k) for cell in self.protocol.cells() if self._missing(cell))
        for task, k in sorted(needed, key=lambda place: self.protocol.tasks.index(place[0])):
            try:
                load(self._settings(task, k))
            except (TaskError, SettingsError) as error:
                self.unavailable[task, k] = str(error)
                self.say(f"left out: {task} at K={k_name(k)}: {error}")
        if needed and self.unavailable.keys() >= needed.keys():
            raise TaskError(all_problems("the reproduction's data", [f"{task}: {why}" for (task, _), why in self.unavailable.items()]))

    def _work_on(self, cell: Cell) -> int:
        """Train what is missing of a cell, if nobody else does; how many runs were recorded."""
        if self.budget().left <= 0 or (cell.task, cell.k) in self.unavailable or not self._missing(cell):
            return 0
        with self.folder.claim(cell) as mine:
            missing = self._missing(cell) if mine else []  # anew: another process may just have ended it
            if not missing:
                return 0
            self.say(f"{cell}: {', '.join(method.name for method in missing)}")
            recorded = self._train(cell, missing)
        self.again -= {(cell, method.name) for method in missing}
        self.write_tables()
        return recorded

    def _train(self, cell: Cell, methods: list[PaperMethod]) -> int:
        recorder = self.folder.recorder(cell)
        try:
            data = load(self._settings(cell.task, cell.k))
            return CellTraining(cell, data, self._backbone, self.protocol, recorder.record, self.budget, self.say).train(methods)
        finally:
            recorder.close()

    def _settings(self, task: str, k: K) -> TaskSettings:
        return TaskSettings(task=task, data_dir=self.data_dir, k=k, protocol="paper")

    @cached_property
    def _backbone(self) -> Backbone:
        training = self.protocol.training
        work = Workload(training.batch_size, threads=training.threads)
        return load_backbone(self.model, precision=training.precision, dropout=training.dropout, work=work)


def _refused(protocol: Protocol, model: str) -> dict[str, str]:
    """The protocol's methods that the model doesn't support, with the reasons."""
    table, shape = load_outline(model)
    longest = longest_text(protocol.training.max_length or PAPER_LENGTH, shape)
    methods = {method.name: method for k in protocol.ks for method in protocol.methods_at(k)}
    found = {name: refusals(METHODS[m.method].modifications(m.hyper_parameters), table, shape, longest) for name, m in methods.items()}
    return {name: f"not possible on {model}: {'; '.join(reasons)}" for name, reasons in found.items() if reasons}
