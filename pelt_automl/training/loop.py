"""The one training loop: packs of trials, each with its own data, learning rate, schedule, clipping and early stop."""

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from pelt_automl.modifications import pack_kind
from pelt_automl.training.failures import Failure
from pelt_automl.training.memory import give_back, kept_pages
from pelt_automl.training.pack_training import PackTraining, score_in_full
from pelt_automl.training.packing import fail, train
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work

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


class Trainer(Work):
    """Trains by callbacks, until everything goes through `pelt_automl.execution`."""

    def train(self, runs: Sequence[TrialRun], until: int) -> None:
        """Train all of `runs` that are running to the step `until`, at once as far as they can share a pack."""
        train(self, runs, until)

    def stream(self, source: Source, at_once: int, until: int | None = None) -> None:
        """Train what `source` gives to the step `until` (None: the last), up to `at_once` trials in a pack.

        A trial that ends or is paused leaves its pack after that evaluation, and the next takes its place. A pack that runs out of memory
        is tried again in halves from where its trials were held last, and those that come after it are half its size. After any other
        exception each of its trials goes on alone, once: the one at fault fails, with cause and traceback, and its neighbors don't. Trials
        that have reached the last step are closed as completed.
        """
        with kept_pages() if self.backbone.device.type == "cpu" else nullcontext():
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
        kind = self._kind(runs[0])
        pack: PackTraining | None = None
        while runs and not self.trainer.expired():
            pack, evaluated = self._advanced(pack, runs)
            if isinstance(evaluated, Failure):  # as text: what the exception's frames held is free for what comes next
                if pack:
                    pack.restore()
                pack = None
                self._apart(runs, evaluated)
                return
            assert pack is not None
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

    def _advanced(self, pack: PackTraining | None, runs: Sequence[TrialRun]) -> tuple[PackTraining | None, list[TrialRun] | Failure]:
        """The pack, made if there is none, and who was evaluated, or what went wrong."""
        try:
            pack = pack or PackTraining(self.trainer, runs)
            return pack, pack.advance(self._end, self.trainer.expired)
        except Exception as error:  # noqa: BLE001 a trial's failure must not end the search
            return pack, Failure.of(error)

    def _exchanged(self, pack: PackTraining, runs: Sequence[TrialRun], kind: Kind | None) -> list[TrialRun] | None:
        """Who trains on, with others of the `kind` in the places of those that have ended; None if nobody leaves and nobody joins."""
        left = pack.left(self._end)
        if left:
            pack.hold()
        for run in left:
            self._close(run)
        staying = [run for run in runs if run not in left]
        joining = self._take(kind, self.at_once - len(staying)) if kind else []  # asked for when those that have ended are known
        if joining and not left:
            pack.hold()
        return staying + joining if left or joining else None

    def _apart(self, runs: Sequence[TrialRun], failure: Failure) -> None:
        """Close a trial that has failed alone. Try others again: in halves if memory ran out, else each alone."""
        if len(runs) == 1:
            fail(runs[0], failure)
            self.source.ended(runs[0])
            return
        how, parts = "each of them alone", [[run] for run in runs]
        if failure.of_memory:
            half = len(runs) // 2
            how, parts = "in halves", [list(runs[:half]), list(runs[half:])]
            self.at_once = min(self.at_once, max(1, half))  # later packs of that size wouldn't fit either
        log.warning("a pack of %d trials failed (%s); trying %s", len(runs), failure.cause, how)
        log.info("%s", failure.traceback)
        give_back()
        for part in parts:
            self._train(part, refill=False)

    def _end(self, _run: TrialRun) -> int:
        return self.until

    def _close(self, run: TrialRun) -> None:
        plan = self.trainer.plan
        if run.running and run.progress.step >= plan.steps:
            run.end("completed")
        if run.progress.state == "completed" and plan.select_most is not None and run.progress.best_weights:
            try:
                score_in_full(self.trainer, run)
            except Exception as error:  # noqa: BLE001 as in its training
                fail(run, Failure.of(error))
        self.source.ended(run)
