"""Training one cell: all methods on a task's data of one size and one seed, as far as possible in one pack."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pelt_automl
from pelt_automl.backbones.layer_speed import Workload
from pelt_automl.backbones.loading import Backbone, load_backbone
from pelt_automl.execution.packs import Packs
from pelt_automl.log.events import Seeds, Segment, Stage, State, TrialEnded
from pelt_automl.log.log import Log
from pelt_automl.methods import LEARNING_RATE, METHODS
from pelt_automl.modifications import count_on
from pelt_automl.reproduction.folder import FinishedRun
from pelt_automl.reproduction.protocol import Cell, PaperMethod, Protocol
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.grid import Grid
from pelt_automl.selection.field import longest_text
from pelt_automl.settings import PAPER_LENGTH
from pelt_automl.tasks import Examples, TaskData
from pelt_automl.training.checkpoints import precision_name
from pelt_automl.training.failures import Failure
from pelt_automl.training.pack_training import predict_best
from pelt_automl.training.tokens import Tokens, drawn, tokenize
from pelt_automl.training.trials import TrialRun, begin
from pelt_automl.training.work import Work

AT_ONCE = {"cpu": 8, "cuda": 16}
"""Trainings in a pack at most where the user doesn't say; a pack too large for the memory is halved."""

QUIET_SECONDS = 30.0
"""Progress is told at most this often."""


def loaded(protocol: Protocol, model: str, threads: int | None) -> Backbone:
    """The model as the protocol trains it. Raises what `load_backbone` raises."""
    training = protocol.training
    work = Workload(training.batch_size, threads=threads)
    return load_backbone(model, precision=training.precision, dropout=training.dropout, work=work)


@dataclass
class CellTraining:
    """Trains those of a cell, and hands on what became of each as soon as it has ended."""

    cell: Cell
    data: TaskData
    backbone: Backbone
    protocol: Protocol
    record: Callable[[FinishedRun], None]
    budget: Callable[[], Budget]
    say: Callable[[str], None]
    advanced: Callable[[int, int], None] = lambda _taken, _all: None
    """Told after every step how many of all its trainings' steps are taken, and how many there are."""
    recorded: int = 0

    def train(self, methods: Sequence[PaperMethod]) -> int:
        """Train them, in full or until the time is up; how many were recorded. One that the time cut short isn't: it is done again."""
        train, select = (self._tokens(part) for part in self.data.split(self.cell.seed))
        self._splits = train, select.at_most(self.protocol.select_most, self.cell.seed)
        self._plan, seed = self.protocol.plan(len(train)), self.protocol.training_seed
        steps, seeds = self._plan.steps, Seeds(self.cell.seed, seed, seed)
        segments = [
            Segment(own.name, own.name, own.method, own.hyper_parameters, Stage.SEARCH, 0, False, seeds, steps, 0, steps) for own in methods
        ]
        progress = _Progress(str(self.cell), len(methods) * steps, self.say, self.advanced)
        self.work = Work(self.backbone, self._plan, self.data.metric, self.data.outputs, on_step=progress.on_step)
        at_once = self.protocol.training.pack_size or AT_ONCE.get(self.backbone.device.type, AT_ONCE["cuda"])
        log = Log()
        with TemporaryDirectory() as states:  # nothing goes on from them: what the time cuts short is done again
            packs = Packs(
                self.work, log.history, lambda _: self._plan, self._begin, self._ended, lambda *_: None, Path(states),
                str(self.cell), at_once,
            )  # fmt: skip
            drive(Grid(segments, least=0.0), packs, log, self.budget)
        return self.recorded

    def _begin(self, segment: Segment) -> TrialRun:
        modifications, rate = METHODS[segment.method].modifications(segment.hyper_parameters), segment.hyper_parameters[LEARNING_RATE]
        return begin(segment.trial, modifications, rate, segment.seeds, self._splits, self._plan, kind=self.data.task_kind)

    def _ended(self, segment: Segment, run: TrialRun) -> TrialEnded:
        """Score its best checkpoint on the report split, and hand on what became of it, unless the time cut it short."""
        score, constant = None, False
        if run.progress.state == "completed":
            try:
                score, constant = self._reported(run)
            except Exception as error:  # noqa: BLE001 as in its training: a failure must not lose the others
                failure = Failure.of(error)
                run.end("failed", failure.cause, failure.traceback)
        progress = run.progress
        if progress.state != "stopped":
            finished = self._finished(run, segment.hyper_parameters, score, constant=constant)
            self.record(finished)
            self.recorded += 1
            self.say(str(finished))
        return TrialEnded(
            run.name, run.name, segment.method, segment.stage, 0, State(progress.state), False, segment.hyper_parameters, run.seeds, {},
            list(progress.curve), progress.best_score, progress.step, progress.seconds, cause=progress.cause,
        )  # fmt: skip

    def _reported(self, run: TrialRun) -> tuple[float, bool]:
        predictions = predict_best(self.work, run, self._report)
        return self.data.metric.value(predictions, self._report.labels), self.data.task_kind.is_constant(predictions)

    @cached_property
    def _report(self) -> Tokens:
        chosen = drawn(len(self.data.report), self.protocol.report_most, self.protocol.training_seed)
        return self._tokens(self.data.report.take(chosen.tolist()))

    def _tokens(self, examples: Examples) -> Tokens:
        return tokenize(
            examples, self.backbone.tokenizer, longest_text(self.protocol.training.max_length or PAPER_LENGTH, self.backbone.shape)
        )

    def _finished(self, run: TrialRun, hyper_parameters: dict[str, Any], score: float | None, *, constant: bool) -> FinishedRun:
        backbone, progress = self.backbone, run.progress
        return FinishedRun(
            task=self.cell.task,
            k=self.cell.k,
            seed=self.cell.seed,
            method=run.name,
            state="failed" if score is None else "completed",
            metric=self.data.metric.name,
            report_score=score,
            select_score=progress.best_score,
            constant=constant,
            cause=progress.cause,
            traceback=progress.traceback,
            hyper_parameters=hyper_parameters,
            parameters=count_on(run.modifications, backbone, self.data.outputs).kept,
            steps=progress.step,
            seconds=progress.seconds,
            curve=list(progress.curve),
            sizes={"train": len(run.train), "select": len(run.select), "report": len(self._report)},
            data_hash=self.data.data_hash,
            backbone={"name": backbone.name, "sha256": backbone.sha256, "precision": precision_name(backbone.dtype)},
            version=pelt_automl.__version__,
        )


@dataclass
class _Progress:
    """Counts steps, and tells now and then."""

    what: str
    total: int
    say: Callable[[str], None]
    advanced: Callable[[int, int], None]
    taken: int = 0
    told: float = field(default_factory=time.monotonic)

    def on_step(self, trainings: int) -> None:
        self.taken += trainings
        self.advanced(self.taken, self.total)
        if time.monotonic() - self.told >= QUIET_SECONDS:
            self.told = time.monotonic()
            self.say(f"{self.what}: {self.taken / self.total:.0%} of the steps")
