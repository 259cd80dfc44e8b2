"""Working through a reproduction: what is missing in its folder, a cell at a time, until all is there or the time is up."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch

from pelt_automl.backbones.loading import Backbone, load_outline, weights_sha256
from pelt_automl.errors import SettingsError, TaskError, all_problems
from pelt_automl.home import expanded, home
from pelt_automl.log.events import Event
from pelt_automl.methods import METHODS
from pelt_automl.reproduction.cell import CellTraining, loaded
from pelt_automl.reproduction.folder import FinishedRun, ReproductionFolder
from pelt_automl.reproduction.protocol import Cell, K, PaperMethod, Protocol, k_name
from pelt_automl.reproduction.rendering import as_json, markdown
from pelt_automl.reproduction.table import Table, build_table
from pelt_automl.scheduling.actions import Budget
from pelt_automl.selection.environment import environment
from pelt_automl.selection.field import longest_text, refusals
from pelt_automl.selection.hiring import Provider, check_hiring, crew
from pelt_automl.selection.process import process_restored
from pelt_automl.settings import PAPER_LENGTH, TaskSettings
from pelt_automl.tasks import load_task
from pelt_automl.verdict.describing import describe

if TYPE_CHECKING:
    from pelt_automl.execution.workers import Workers

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
    provider: Provider | None = None
    """Who brings the workers that are asked for; None: they are processes of this machine."""
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
        provider: Provider | None = None,
    ) -> "Reproduction":
        """Check the model and the folder (None: ``reproductions/MODEL`` in the program's home).

        `seconds`: None for no limit; with a `provider` they run from the first worker on.

        Raises `BackboneError`, `SettingsError` and `SelectionError`. No weights are loaded before `run`.
        """
        if seconds is not None and not 0 < seconds < float("inf"):
            raise SettingsError(f"seconds is {seconds}; it must be above 0, and finite")
        deadline = time.monotonic() + seconds if seconds is not None else None
        check_hiring(protocol.training, provider)
        refused = _refused(protocol, model)
        path = expanded(output or home() / "reproductions" / model.strip("/").replace("/", "--")).absolute()
        folder = ReproductionFolder(path, protocol, model)
        failed = {(run.cell, run.method) for run in folder.finished(protocol.cells()) if run.state == "failed"}
        return Reproduction(protocol, model, folder, refused, data_dir, deadline, say, failed if retry_failed else set(), provider)

    def run(self) -> Table:
        """Train what is missing and what nobody else is training, and write the tables after each cell.

        Raises `TaskError` when none of the tasks can be had, `SelectionError` when the workers that were asked for can't be.
        """
        with process_restored():
            if self.protocol.training.threads:
                torch.set_num_threads(self.protocol.training.threads)
            self._look_for_tasks()
            if self.protocol.training.workers:
                self._spread()
            else:
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

    @property
    def unfinished(self) -> bool:
        """Whether anything is to be trained, by anybody."""
        return bool(self._open_cells())

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
        if not self._is_open(cell):
            return 0
        with self.folder.claim(cell) as mine:
            missing = self._missing(cell) if mine else []  # asked again: another process may just have ended it
            if not missing:
                return 0
            self.say(f"{cell}: {', '.join(method.name for method in missing)}")
            recorded = self._train(cell, missing)
        self._tried(cell, missing)
        return recorded

    def _is_open(self, cell: Cell) -> bool:
        return self.budget().left > 0 and (cell.task, cell.k) not in self.unavailable and bool(self._missing(cell))

    def _tried(self, cell: Cell, methods: Sequence[PaperMethod]) -> None:
        self.again -= {(cell, method.name) for method in methods}
        self.write_tables()

    def _train(self, cell: Cell, methods: list[PaperMethod]) -> int:
        recorder = self.folder.recorder(cell)
        try:
            data = load(self._settings(cell.task, cell.k))
            return CellTraining(cell, data, self._backbone, self.protocol, recorder.record, self.budget, self.say).train(methods)
        finally:
            recorder.close()

    # ---------------------------------------------------------------- with workers

    def _spread(self) -> None:
        """Have workers train what is open, a cell each."""
        from pelt_automl.reproduction.spreading import CellBench, facts_of  # Dask

        if not (cells := self._open_cells()):
            return
        training = self.protocol.training
        training = replace(training, workers=min(training.workers or 1, len(cells)))
        make, facts = partial(CellBench.make, self.protocol, self.model), facts_of(weights_sha256(self.model))
        name = f"reproduction-{self.folder.path.name}"
        with TemporaryDirectory() as folder, crew(training, Path(folder), make, facts, self.provider, name, name) as workers:
            if self.provider:
                began = time.monotonic()
                workers.first(lambda event: self._tell([event]))
                self.deadline = self.deadline and self.deadline + time.monotonic() - began
            with suppress(_TimeIsUpError):
                while self._round(workers):
                    pass
            self._tell(workers.leaving())

    def _open_cells(self) -> list[Cell]:
        return [cell for cell in self.protocol.cells() if self._is_open(cell)]

    def _round(self, workers: "Workers") -> int:
        """Hand out the cells that are open and that nobody else is training; how many runs were recorded."""
        from pelt_automl.reproduction.spreading import CellJob

        cells, handed, recorded = self._open_cells(), dict[int, tuple[ExitStack, list[PaperMethod]]](), 0

        def hand_out(place: int, _shares: bool) -> CellJob:
            cell = cells[place]
            if place not in handed:  # else it was lost with a worker
                claim = held.enter_context(ExitStack())
                mine = claim.enter_context(self.folder.claim(cell))
                handed[place] = claim, self._missing(cell) if mine else []
            methods = handed[place][1] if self.budget().left > 0 else []
            if methods:
                self.say(f"{cell}: {', '.join(method.name for method in methods)}")
            data = load(self._settings(cell.task, cell.k)) if methods else None
            return CellJob(cell, methods, data, None if self.deadline is None else self.budget().left)

        def came(place: int, runs: list[FinishedRun]) -> None:
            nonlocal recorded
            (claim, methods), cell = handed[place], cells[place]
            with claim, closing(self.folder.recorder(cell)) as recorder:
                for run in runs:
                    recorder.record(run)
                    self.say(str(run))
            recorded += len(runs)
            self._tried(cell, methods)

        def told(events: Iterable[Event]) -> None:
            self._tell(events)
            if self.budget().left <= 0 and not workers.ready():
                raise _TimeIsUpError

        with ExitStack() as held:
            workers.gather([partial(hand_out, place) for place in range(len(cells))], told, lambda _: None, None, came)
        return recorded

    def _tell(self, events: Iterable[Event]) -> None:
        for line in filter(None, map(describe, events)):
            self.say(line)

    def _settings(self, task: str, k: K) -> TaskSettings:
        return TaskSettings(task=task, data_dir=self.data_dir, k=k, protocol="paper")

    @cached_property
    def _backbone(self) -> Backbone:
        return loaded(self.protocol, self.model, self.protocol.training.threads)


class _TimeIsUpError(Exception):
    """And nobody is at work."""


def _refused(protocol: Protocol, model: str) -> dict[str, str]:
    """The protocol's methods that the model doesn't support, with the reasons."""
    table, shape = load_outline(model)
    longest = longest_text(protocol.training.max_length or PAPER_LENGTH, shape)
    methods = {method.name: method for k in protocol.ks for method in protocol.methods_at(k)}
    found = {name: refusals(METHODS[m.method].modifications(m.hyper_parameters), table, shape, longest) for name, m in methods.items()}
    return {name: f"not possible on {model}: {'; '.join(reasons)}" for name, reasons in found.items() if reasons}
