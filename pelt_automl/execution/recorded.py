"""Segments replayed from recorded trainings, with a clock of their own: a selection in milliseconds, and without torch."""

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import CurvePoint, Event, FinalistScored, ReportOpened, Seeds, Segment, SegmentEnded, Stage, State, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.scheduling.actions import Fit, Room, Score, Stop, TakeOver, Task
from pelt_automl.search.portfolio import nearest


@dataclass(frozen=True)
class RecordedTraining:
    """One training as it went to its end, or to its failure."""

    method: str
    hyper_parameters: Mapping[str, Any]
    seed: int
    """Of split, initialization and order."""
    planned: int
    """Optimizer steps of its whole schedule."""
    steps: int
    """Those that were taken: fewer than `planned` only where it failed."""
    points: tuple[CurvePoint, ...]
    """Its evaluations, the untouched start among them; their seconds aren't used."""
    seconds: float
    """What it took alone, evaluations included."""
    select_score: float | None = None
    report_score: float | None = None
    """Of its best checkpoint on the whole report split: for whoever judges the answer, never handed to a scheduler."""
    failure: str = ""
    """Its cause; empty for a training that has completed."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    predictions: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """On select, by step; those of the best checkpoint under `planned`."""
    report: tuple[float, ...] = ()
    """What the best checkpoint says of the report examples, in their fixed order: as `report_score`."""


class RecordedPool:
    """Recorded trainings by configuration and seed."""

    def __init__(
        self,
        trainings: Iterable[RecordedTraining],
        greater_is_better: bool = True,
        score: Callable[[Sequence[float]], float] | None = None,
    ) -> None:
        """`greater_is_better`: of their scores; `score`: of what is said of the first report examples; None: only of all of them."""
        self.greater_is_better, self.score = greater_is_better, score
        self._by_key = dict[tuple[str, int], RecordedTraining]()
        for own in trainings:
            self.add(own)

    def add(self, training: RecordedTraining) -> None:
        """Another one, or one in the place of what was recorded of the same configuration and seed."""
        self._by_key[_key(training.method, training.hyper_parameters), training.seed] = training

    def training(self, segment: Segment) -> RecordedTraining:
        """What a segment is a part of. Raises `SelectionError` if that isn't recorded."""
        seeds = {segment.seeds.split, segment.seeds.initialization, segment.seeds.order}
        found = self._by_key.get((_key(segment.method, segment.hyper_parameters), min(seeds))) if len(seeds) == 1 else None
        if found is None:
            known, asked = len(self.configurations(segment.method)), sorted(seeds)
            raise SelectionError(
                f"{segment.method} with {dict(segment.hyper_parameters)} on the seeds {asked} isn't recorded; of this method there are "
                f"{known} configurations, each on one seed for split, initialization and order; see `RecordedPool.nearest`"
            )
        if found.planned != segment.steps:
            raise SelectionError(
                f"{segment.trial} is to be trained by a schedule of {segment.steps} steps; it was recorded with one of {found.planned}"
            )
        return found

    def configurations(self, method: str) -> list[Mapping[str, Any]]:
        """The method's different configurations, in the order of the recording."""
        found = {_key(own.method, own.hyper_parameters): own.hyper_parameters for own in self._by_key.values() if own.method == method}
        return list(found.values())

    def nearest(self, method: str, hyper_parameters: Mapping[str, Any], without: Collection[str] = ()) -> Mapping[str, Any]:
        """The recorded configuration of the method that is most like these: so a proposal becomes one that can be replayed.

        See `pelt_automl.search.portfolio.nearest`. `without`: configurations, as sorted JSON, that are no answer. Raises `SelectionError`
        if none is left.
        """
        left = [own for own in self.configurations(method) if json.dumps(dict(own), sort_keys=True) not in without]
        if not left:
            raise SelectionError(f"no recorded configuration of {method} is left")
        return left[nearest(left, hyper_parameters)]


def _key(method: str, hyper_parameters: Mapping[str, Any]) -> str:
    return json.dumps([method, dict(hyper_parameters)], sort_keys=True)


@dataclass
class _Trial:
    """One with an open segment, or one whose place in the pack is still its own."""

    segment: Segment
    training: RecordedTraining
    step: int
    reported: int
    """Step up to which the log has its curve."""
    seconds: float = 0.0

    @property
    def last(self) -> int:
        """The step at which its segment ends, or its training fails."""
        return min(self.segment.end, self.training.steps)


@dataclass
class Recorded:
    """Replays segments as `pelt_automl.execution.packs` would train them; see `Executor` for what is promised."""

    pool: RecordedPool
    history: History
    """That of the log to which the driver appends."""
    at_once: int = 1
    """Trials in a pack at most."""
    kind: Callable[[Segment], Hashable] = lambda _: ()
    """What trials that share a pack have in common."""
    together: Callable[[Sequence[float]], float] = math.fsum
    """Seconds of a pack's step, from those of its trials alone. Their sum: packs save nothing."""
    example: float = 0.0
    """Seconds of scoring a report example."""
    seconds: float = 0.0
    """The clock: what all of it has taken."""
    scoring: float = 0.0
    """Seconds of it for scoring on report."""
    _pack: dict[str, _Trial] = field(default_factory=dict)
    _waiting: dict[str, _Trial] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)

    def room(self) -> Room:
        """As the pack is now."""
        kind = next((self.kind(own.segment) for own in self._pack.values()), None)
        waiting = {name: self.kind(own.segment) for name, own in self._waiting.items()}
        return Room(self.at_once - len(self._pack), kind, waiting, {name: own.step for name, own in self._pack.items()})

    def running(self) -> Collection[Segment]:
        """Those in the pack, and those that wait for one."""
        return [own.segment for own in (*self._pack.values(), *self._waiting.values()) if own.step < own.segment.end]

    def start(self, actions: Sequence[Task]) -> None:
        """Take them on. Raises `SelectionError` for a training that isn't recorded.

        The same for a fit, and for a score on report.
        """
        for action in actions:
            if isinstance(action, Fit):
                known = next(trial for trial in self.history.ended(Stage.SEARCH) if trial.method == action.method)
                again = self.fitted(known.candidate, action.method, Stage.FINALIST, action.index, action.seeds)
                self.seconds -= again.seconds if action.seeds == known.seeds else 0.0  # it is taken as it is
                self._events.append(again)
            elif isinstance(action, TakeOver):
                # a stopped one is scored as if it had come to its end: what it says of report earlier isn't recorded
                run, steps = action.run, self.history.trials[action.run.candidate].segment.steps
                self._events.append(replace(run, steps=steps, seconds=run.seconds * steps / max(1, run.steps)))
            elif isinstance(action, Score):
                self._score(action)
            elif isinstance(action, Stop):
                self._stop(action)
            elif action.segment.trial in self._pack:
                self._pack[action.segment.trial].segment = action.segment
            else:
                self._waiting[action.segment.trial] = self._outside(action.segment)

    def wait(self, expired: Callable[[], bool]) -> Sequence[Event]:
        """Replay until a segment or a trial has ended; see the protocol."""
        if not self._events:
            self._refill()
            while self._pack and not self._events and not expired():
                self._step()
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Forget everything but the time."""
        self._pack, self._waiting, self._events = {}, {}, []

    def _refill(self) -> None:
        """Who has no open segment leaves the pack; who waits for one of its kind joins. An empty pack takes the kind that waits most."""
        for name, own in list(self._pack.items()):
            if own.step >= own.segment.end:
                del self._pack[name]
        kinds = {name: self.kind(own.segment) for name, own in self._waiting.items()}
        if not self._pack and not kinds:
            return
        first = next(iter(self._pack.values()), None)
        kind = self.kind(first.segment) if first else Counter(kinds.values()).most_common(1)[0][0]
        for name in [name for name, own in kinds.items() if own == kind][: self.at_once - len(self._pack)]:
            self._pack[name] = self._waiting.pop(name)

    def _step(self) -> None:
        """One step of the whole pack; a training that was recorded as failed before its first step fails at it."""
        own_seconds = {name: own.training.seconds / max(1, own.training.steps) for name, own in self._pack.items()}
        alone, took = math.fsum(own_seconds.values()), self.together(list(own_seconds.values()))
        self.seconds += took
        for name, own in list(self._pack.items()):
            own.seconds += own_seconds[name] * (took / alone if alone else 1.0)
            own.step = min(own.step + 1, max(own.last, 1))
            failed = own.training.failure and own.step >= own.training.steps
            if failed or own.step >= own.training.planned:
                del self._pack[name]
                self._end(own, State.FAILED if failed else State.COMPLETED, own.training.failure)
            elif own.step >= own.segment.end:
                points = [point for point in own.training.points if own.reported < point.step <= own.step]
                own.reported = own.step
                ended = SegmentEnded(name, own.segment.attempt, own.step, points, own.seconds, f"{name}@{own.step}", "recorded")
                self._events.append(ended)

    def _outside(self, segment: Segment) -> _Trial:
        """A trial that is in no pack here, as the log knows it."""
        known = self.history.trials[segment.trial]
        reached = known.reached if segment.start else 0
        reported = known.curve[-1].step if segment.start and known.curve else -1
        return _Trial(segment, self.pool.training(segment), reached, reported, known.seconds if segment.start else 0.0)

    def _stop(self, action: Stop) -> None:
        own = self._pack.pop(action.trial, None) or self._waiting.pop(action.trial, None)
        if own is None:
            known = self.history.trials[action.trial]
            own = self._outside(replace(known.segment, start=known.reached))
        self._end(own, State.STOPPED, str(action.because))

    def fitted(self, candidate: str, method: str, stage: Stage, index: int, seeds: Seeds) -> TrialEnded:
        """The recorded fit of a contender that trains nothing, which the clock is told of; the caller logs it."""
        name = candidate if stage == Stage.SEARCH else f"final-{candidate}-seed{index}"
        segment = Segment(name, candidate, method, {}, stage, index, True, seeds, 0, 0, 0)
        training = self.pool.training(segment)
        self.seconds += training.seconds
        return self._ended(_Trial(segment, training, 0, 0, training.seconds), State.COMPLETED, "")

    def _score(self, action: Score) -> None:
        """On the first examples of report; what a run says isn't in the events, since whoever asks has the pool."""
        opened = self.history.opened
        before = opened.examples if opened and set(action.trials) <= {run.trial for run in self.history.scored} else 0
        for name in action.trials:
            segment = self.history.trials[name].segment
            training = self.pool.training(segment)
            if training.report_score is None:
                raise SelectionError(f"no report score of {name} is recorded")
            openings = [*self.history.of_kind(ReportOpened), *(event for event in self._events if isinstance(event, ReportOpened))]
            if not openings or openings[-1].examples != action.examples:
                self._events.append(ReportOpened(len(openings) + 1, action.examples, len(training.report), "[]"))
            score = self.pool.score(training.report[: action.examples]) if self.pool.score else training.report_score
            took = self.example * (action.examples - before)
            self.seconds += took
            self.scoring += took
            self._events.append(FinalistScored(name, segment.candidate, segment.method, segment.number, score, "[]", took))

    def _end(self, own: _Trial, state: State, cause: str) -> None:
        self._events.append(self._ended(own, state, cause))

    def _ended(self, own: _Trial, state: State, cause: str) -> TrialEnded:
        segment, training = own.segment, own.training
        curve = [point for point in training.points if point.step <= own.step]
        scores = [point.select_score for point in curve if math.isfinite(point.select_score)]
        score = (max if self.pool.greater_is_better else min)(scores, default=None)
        step = training.planned if state == State.COMPLETED else max((at for at in training.predictions if at <= own.step), default=None)
        said = training.predictions.get(step, ()) if step is not None else ()
        return TrialEnded(
            segment.trial, segment.candidate, segment.method, segment.stage, segment.number, state, segment.is_default,
            segment.hyper_parameters, segment.seeds, dict(training.parameters), curve,
            training.select_score if state == State.COMPLETED else score, own.step, own.seconds, cause=cause,
            constant_predictions=len(set(said)) == 1, outputs=self.history.outputs.put(said) if said else "",
        )  # fmt: skip
