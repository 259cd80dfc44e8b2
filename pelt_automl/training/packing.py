"""Trials in packs, one pack after the other: who shares one, who joins in a place that has become free, what follows a failure."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Modification
from pelt_automl.modifications import pack_kind
from pelt_automl.timing.kinds import ALONE, is_alone
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training.failures import Failure
from pelt_automl.training.memory import give_back, kept_pages
from pelt_automl.training.pack_training import PackTraining, score_in_full
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work

log = logging.getLogger(__name__)


Kind = tuple[Any, ...]
"""What trials that share packs have in common: first their plan, then what their modifications need (see `pack_kind`)."""


def kind_of(name: str, modifications: tuple[Modification, ...], plan: TrainingPlan, backbone: Backbone) -> Kind:
    """The kind of a trial's packs; it has `ALONE` in it for one that can't share any."""
    return (plan, *(pack_kind(modifications, backbone.architecture, backbone.shape) or (ALONE, name)))


@dataclass
class Packing:
    """Trains what it is given, up to `at_once` trials in a pack.

    A pack trains until a trial has ended or has come as far as it is to come. One that is given further steps then goes on in the live
    pack; else another of its kind takes the place. The pack of the kind that waits in the greatest number is built first.

    A pack that runs out of memory is tried again from where its trials were held last, and from then on packs are half its size. After any
    other exception each of its trials goes on alone, once: the one at fault fails, with cause and traceback, and its neighbors don't.
    """

    work: Work
    """Its plan is that of trials that are given none."""
    at_once: int
    until: dict[TrialRun, int] = field(default_factory=dict)
    """Of each trial that is to be trained on: the step to come to."""
    kind: Kind | None = None
    """Of the pack that has free places, or that is built next."""
    pack: PackTraining | None = None
    _members: list[TrialRun] = field(default_factory=list)
    """Those of the pack, also of one that couldn't be built."""
    _kinds: dict[TrialRun, Kind] = field(default_factory=dict)
    _waiting: dict[Kind, deque[TrialRun]] = field(default_factory=dict)
    """Trials to be trained on that are in no pack."""
    _tried: set[TrialRun] = field(default_factory=set)
    """Of these, those that were in a pack that failed: they come first."""

    def add(self, run: TrialRun, until: int, plan: TrainingPlan | None = None) -> None:
        """Have a trial trained to the step `until` from where its progress left it, in the live pack if it is in there."""
        if run not in self.until and run not in self._members:
            self._wait(run, kind_of(run.name, run.modifications, plan or self.work.plan, self.work.backbone))
        self.until[run] = until

    def remove(self, runs: Sequence[TrialRun]) -> None:
        """Train these no further; their progress has all that is needed to go on later."""
        if self.pack:
            self.pack.hold([run for run in runs if run in self._members and run in self.until])
        for run in runs:
            if self.until.pop(run, None) is not None and run not in self._members:
                self._waiting[self._kinds.pop(run)].remove(run)

    def advance(self, expired: Callable[[], bool]) -> list[TrialRun]:
        """Train until trials have ended or have come to their step `until`, and return those; none when the time is up.

        None, too, when no trial of the pack's kind is left and others wait: `kind` is then theirs, and more of it may be added. Trials that
        have come to the last step are closed as completed.
        """
        while self.until and not expired():
            self.settle()
            if not self._any_of_kind():
                self.kind = None
                self.settle()
                return []
            try:
                self._exchange()
                assert self.pack is not None
                self.pack.advance(self.until.__getitem__, expired)
            except Exception as error:  # noqa: BLE001 a trial's failure must not end the search
                arrived = self._apart(Failure.of(error))  # as text: what the exception's frames held is free for what comes next
            else:
                self.pack.share_time()
                arrived = self.pack.left(self.until.__getitem__)
                for run in arrived:
                    self._close(run, self.pack.plan)
            for run in arrived:
                del self.until[run]
            if arrived:
                return arrived
        return []

    def steps(self) -> Mapping[TrialRun, int]:
        """How far each trial in the pack has come."""
        return self.pack.steps() if self.pack else {}

    def waiting(self) -> dict[TrialRun, Kind]:
        """Trials that are in no pack."""
        return {run: kind for kind, queue in self._waiting.items() for run in queue}

    def settle(self) -> None:
        """Choose the kind of the next pack where there is none; a pack keeps its own as long as others of it may come."""
        if members := self._open_members():
            self.kind = self._kinds[members[0]]
        if is_alone(self.kind) and not self._any_of_kind():
            self.kind = None
        if self.kind is None:
            waiting = {kind: queue for kind, queue in self._waiting.items() if queue}
            self.kind = max(waiting, key=lambda kind: (not self._tried.isdisjoint(waiting[kind]), len(waiting[kind])), default=None)

    def let_go(self) -> None:
        """Give up the pack and all that waits."""
        self.pack, self.kind, self._members = None, None, []
        for kept in (self.until, self._kinds, self._waiting, self._tried):
            kept.clear()
        give_back()

    def _open_members(self) -> list[TrialRun]:
        return [run for run in self._members if run in self.until]

    def _wait(self, run: TrialRun, kind: Kind, *, first: bool = False) -> None:
        self._kinds[run] = kind
        queue = self._waiting.setdefault(kind, deque())
        queue.insert(0 if first else len(queue), run)

    def _any_of_kind(self) -> bool:
        return self.kind is not None and bool(self._open_members() or self._waiting.get(self.kind))

    def _exchange(self) -> None:
        """Make the pack, or let those go that have nothing to train, and others of the kind come into their places."""
        assert self.kind is not None
        staying, queue = self._open_members(), self._waiting.get(self.kind, deque())
        joining = min((1 if is_alone(self.kind) else self.at_once) - len(staying), len(queue))
        if self.pack and joining <= 0 and len(staying) == len(self._members):
            return
        if self.pack:
            self.pack.hold(staying)
            self.pack = None
            give_back()
        for run in set(self._members) - set(staying):
            del self._kinds[run]
        self._members = staying + [queue.popleft() for _ in range(joining)]
        self._tried.difference_update(self._members)
        self.pack = PackTraining(replace(self.work, plan=self.kind[0]), self._members)

    def _apart(self, failure: Failure) -> list[TrialRun]:
        """Take apart a pack that failed. A trial that was alone in it has failed, and is returned; others are tried again."""
        if self.pack:
            self.pack.restore()
        runs, self.pack, self._members, self.kind = self._open_members(), None, [], None
        if len(runs) == 1:
            fail(runs[0], failure)
            del self._kinds[runs[0]]
            return runs
        how = "each of them alone"
        if failure.of_memory:
            how = "in halves"
            self.at_once = min(self.at_once, max(1, len(runs) // 2))  # later packs of that size wouldn't fit either
        log.warning("a pack of %d trials failed (%s); trying %s", len(runs), failure.cause, how)
        log.info("%s", failure.traceback)
        give_back()
        for run in reversed(runs):
            kind = self._kinds[run]
            self._wait(run, kind if failure.of_memory else (kind[0], ALONE, run.name), first=True)
        self._tried.update(runs)
        return []

    def _close(self, run: TrialRun, plan: TrainingPlan) -> None:
        if run.running and run.progress.step >= plan.steps:
            run.end("completed")
        if run.progress.state == "completed" and plan.select_most is not None and run.progress.best_weights:
            try:
                score_in_full(self.work, run)
            except Exception as error:  # noqa: BLE001 as in its training
                fail(run, Failure.of(error))


def trained(work: Work, runs: Sequence[TrialRun], at_once: int, until: int | None = None) -> Iterator[TrialRun]:
    """Train all of `runs` that are running to the step `until` (None: the last), and hand out each as soon as it has come there, or ended.

    Those that the time cuts short aren't handed out: they are still running, where they are.
    """
    packing, last = Packing(work, max(1, at_once)), work.plan.steps if until is None else min(until, work.plan.steps)
    for run in runs:
        if run.running and run.progress.step < last:
            packing.add(run, last)
    with kept_pages() if work.backbone.device.type == "cpu" else nullcontext():
        while packing.until and not work.expired():
            yield from packing.advance(work.expired)
        packing.remove(list(packing.until))


def train(work: Work, runs: Sequence[TrialRun], until: int | None = None) -> None:
    """As `trained`, all that can share a pack at once, to the end."""
    for _ in trained(work, runs, len(runs), until):
        pass


def fail(run: TrialRun, failure: Failure) -> None:
    """Close a trial that raised."""
    log.info("%s failed\n%s", run.name, failure.traceback)
    run.end("failed", failure.cause, failure.traceback)
