"""The one training loop: packs of trials, each with its own data, learning rate, schedule, clipping and early stop."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications import LowerLayers, pack_kind
from pelt_automl.tasks import Metric
from pelt_automl.training.memory import give_back, keep_pages
from pelt_automl.training.pack_training import PackTraining, score_in_full
from pelt_automl.training.schedule import TrainingPlan
from pelt_automl.training.trials import TrialRun

log = logging.getLogger(__name__)

Kind = tuple[Any, ...]
"""What trials that share packs have in common."""

ALONE = "alone"
"""In the kind of a trial that can't share a pack, beside its name."""


class Source(Protocol):
    """Where trials come from, and who judges them on their way. Its errors aren't a trial's: they end the training."""

    def next(self, waiting: Sequence[TrialRun]) -> TrialRun | None:
        """The next trial to train, None when there is none now. `waiting`: given before, but for another pack than is being filled."""

    def judge(self, run: TrialRun) -> None:
        """Told at each rung of a running trial, with all that it needs to go on later; may end or pause it."""

    def ended(self, run: TrialRun) -> None:
        """Told once of every trial that has ended, or that has come as far as it was to come, and each time that one was paused."""


@dataclass
class Given:
    """Trials that are there from the start and that nobody judges."""

    runs: deque[TrialRun]

    def next(self, waiting: Sequence[TrialRun]) -> TrialRun | None:  # noqa: ARG002 the protocol's
        """In their order."""
        return self.runs.popleft() if self.runs else None

    def judge(self, run: TrialRun) -> None:
        """They go on."""

    def ended(self, run: TrialRun) -> None:
        """Nobody is told."""


@dataclass(frozen=True)
class Trainer:
    """Everything that is the same for all trainings of a selection."""

    backbone: Backbone
    plan: TrainingPlan
    metric: Metric
    outputs: int
    """Number of classes, 1 for regression."""
    expired: Callable[[], bool] = lambda: False
    """Asked before every step: True when the time is up. Trials then stay as they are, still running."""
    on_step: Callable[[int], None] = lambda _: None
    """Told after every step how many trials took it."""
    lower: LowerLayers | None = None
    """Keeps what the layers below all changes of a pack put out, for all trainings of the backbone; None: they are computed every time."""

    def train(self, runs: Sequence[TrialRun], until: int) -> None:
        """Train all of `runs` that are running to the step `until`, at once as far as they can share a pack."""
        self.stream(Given(deque(run for run in runs if run.running and run.progress.step < until)), max(1, len(runs)), until)

    def stream(self, source: Source, at_once: int, until: int | None = None) -> None:
        """Train what `source` gives to the step `until` (None: the last), up to `at_once` trials in a pack.

        A trial that ends or is paused leaves its pack after that evaluation, and the next takes its place. Whatever goes wrong in a pack
        (memory, or any exception) is tried again in halves from where the trials were held last; what goes wrong alone closes that trial
        as failed, with its cause. Packs that come after one too large for the memory are half its size. Trials that have reached the last
        step are closed as completed.
        """
        if self.backbone.device.type == "cpu":
            keep_pages()
        _Stream(self, source, at_once, self.plan.steps if until is None else min(until, self.plan.steps)).run()


@dataclass
class _Stream:
    """Packs, one after the other, of the trials that a source gives."""

    trainer: Trainer
    source: Source
    at_once: int
    until: int
    waiting: dict[Kind, deque[TrialRun]] = field(default_factory=dict)
    """Trials that have not begun, by the kind of pack that suits them."""

    def run(self) -> None:
        while not self.trainer.expired() and (runs := self._next_pack()):
            self._train(runs, refill=True)
        for run in self._waiting():
            self.source.ended(run)

    def _waiting(self) -> list[TrialRun]:
        return [run for queue in self.waiting.values() for run in queue]

    def _next_pack(self) -> list[TrialRun]:
        """Trials of the kind that waits in the greatest number, else of the kind that comes next."""
        if not self._waiting() and not self._ask(()):
            return []
        return self._take(max(self.waiting, key=lambda kind: len(self.waiting[kind])), self.at_once)

    def _take(self, kind: Kind, count: int) -> list[TrialRun]:
        """Up to `count` trials of a kind, waiting ones first; others are asked for, as far as the source gives any."""
        queue = self.waiting.setdefault(kind, deque())
        while len(queue) < count and ALONE not in kind and self._ask([run for run in self._waiting() if run not in queue]):
            pass
        return [queue.popleft() for _ in range(min(count, len(queue)))]

    def _ask(self, left_waiting: Sequence[TrialRun]) -> bool:
        """Put the source's next trial where it has to wait; False if there is none now. `left_waiting`: those that no place is free for."""
        run = self.source.next(left_waiting)
        if run is not None:
            self.waiting.setdefault(self._kind(run), deque()).append(run)
        return run is not None

    def _kind(self, run: TrialRun) -> Kind:
        backbone = self.trainer.backbone
        return pack_kind(run.modifications, backbone.architecture, backbone.shape) or (ALONE, run.name)

    def _train(self, runs: list[TrialRun], *, refill: bool) -> None:
        """Trials that share a pack, to their ends, with others in the places of those that have ended."""
        kind, pack = self._kind(runs[0]), None
        while runs and not self.trainer.expired():
            try:
                pack = pack or PackTraining(self.trainer, runs)
                evaluated = pack.advance(self.until)
            except Exception as error:  # noqa: BLE001 a trial's failure must not end the search
                if pack:
                    pack.restore()
                pack = None
                self._apart(runs, error)
                return
            for run in evaluated:
                if run.running and run.progress.step in self.trainer.plan.rungs:
                    self.source.judge(run)
            others = self._exchanged(pack, runs, kind if refill else None)
            if others is not None:
                runs, pack = others, None
                give_back()
        if pack:
            pack.hold()
        for run in runs:
            self.source.ended(run)

    def _exchanged(self, pack: PackTraining, runs: Sequence[TrialRun], kind: Kind | None) -> list[TrialRun] | None:
        """Who trains on, with others of the `kind` in the places of those that have ended; None if nobody leaves and nobody joins."""
        left = pack.left(self.until)
        if left:
            pack.hold()
        for run in left:
            self._close(run)
        staying = [run for run in runs if run not in left]
        joining = self._take(kind, self.at_once - len(staying)) if kind else []  # asked for when those that have ended are known
        if joining and not left:
            pack.hold()
        return staying + joining if left or joining else None

    def _apart(self, runs: Sequence[TrialRun], error: Exception) -> None:
        """Close a trial that has failed alone; try others again in halves."""
        if len(runs) == 1:
            runs[0].end("failed", f"{type(error).__name__}: {error}")
            self.source.ended(runs[0])
            return
        log.warning("a pack of %d trials failed (%s: %s); trying it again in halves", len(runs), type(error).__name__, error)
        half = len(runs) // 2
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            self.at_once = min(self.at_once, max(1, half))  # later packs of that size wouldn't fit either
        for part in (runs[:half], runs[half:]):
            self._train(list(part), refill=False)

    def _close(self, run: TrialRun) -> None:
        plan = self.trainer.plan
        if run.running and run.progress.step >= plan.steps:
            run.end("completed")
        if run.progress.state == "completed" and plan.select_most is not None and run.progress.best_weights:
            try:
                score_in_full(self.trainer, run)
            except Exception as error:  # noqa: BLE001 as in its training
                run.end("failed", f"{type(error).__name__}: {error}")
        self.source.ended(run)
