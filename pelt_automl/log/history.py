"""The one fold of a selection's log."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import (
    CostMeasured,
    CurvePoint,
    DataDescribed,
    Decision,
    Event,
    FinalistScored,
    OutputsLost,
    Planned,
    PortfolioLearned,
    Published,
    Released,
    ReportOpened,
    Segment,
    SegmentEnded,
    SegmentLost,
    SelectionEnded,
    SelectionStarted,
    Stage,
    State,
    StateLost,
    Stopped,
    TrialEnded,
    VerdictReached,
    What,
    WorkerJoined,
    WorkerLeft,
)  # fmt: skip
from pelt_automl.log.outputs import Outputs

E = TypeVar("E", bound=Event)


@dataclass
class Trial:
    """One training as far as the log tells."""

    segment: Segment
    """The one that was released last."""
    curve: tuple[CurvePoint, ...] = ()
    """Its evaluations up to the end of its last ended segment."""
    seconds: float = 0.0
    state: str = ""
    """Reference of the file from which its next segment goes on; empty: from the start."""
    reached: int = 0
    """Steps taken at the end of its last ended segment."""
    lost: StateLost | SegmentLost | None = None
    """Set until it is released again: from its start where its state is lost, else from where it was."""
    losses: int = 0
    """Of its segment with workers, since the last one that ended."""
    stopped: Stopped | None = None
    ended: TrialEnded | None = None

    @property
    def name(self) -> str:
        """Unique in the selection."""
        return self.segment.trial

    @property
    def open(self) -> bool:
        """Whether its last released segment has still to be trained."""
        return self._going and self.reached < self.segment.end

    @property
    def undecided(self) -> bool:
        """Whether its segment has ended and neither the next nor its stop is decided."""
        return self._going and self.reached >= self.segment.end

    @property
    def _going(self) -> bool:
        return self.ended is None and self.stopped is None and self.lost is None


def _unreleased(event: TrialEnded) -> Trial:
    """What had no segments: a baseline's fit, and every training in old records."""
    whole = Segment(
        event.trial, event.candidate, event.method, event.hyper_parameters, event.stage, event.number, event.is_default, event.seeds,
        event.steps, 0, event.steps,
    )  # fmt: skip
    return Trial(whole, tuple(event.curve), event.seconds, reached=event.steps)


@dataclass
class History:
    """All events, and what they come to. `apply` is the only way in which it changes."""

    events: list[Event] = field(default_factory=list)
    trials: dict[str, Trial] = field(default_factory=dict)
    """By name, in the order of their release."""
    outputs: Outputs = field(default_factory=Outputs, compare=False)
    """What the events refer to."""
    workers: dict[str, WorkerJoined] = field(default_factory=dict)
    """Those that have joined since the latest start, and haven't left, by name."""
    _outdated: int = field(default=0, repr=False)
    """Scores that were there when more examples were opened."""
    _of_kind: dict[type[Event], list[Any]] = field(default_factory=dict, repr=False)
    _decided: dict[What, dict[str, Decision]] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(events: Iterable[Event], outputs: Outputs | None = None) -> "History":
        """The fold of a whole log, with what it refers to; None: it refers to no files."""
        history = History(outputs=outputs or Outputs())
        for event in events:
            history.apply(event)
        return history

    def __copy__(self) -> "History":
        """One that goes on by itself."""
        kinds = {kind: list(events) for kind, events in self._of_kind.items()}
        decided = {what: dict(made) for what, made in self._decided.items()}
        trials = {name: copy(trial) for name, trial in self.trials.items()}
        return History(list(self.events), trials, self.outputs, dict(self.workers), self._outdated, kinds, decided)

    def apply(self, event: Event) -> None:
        """Take one event."""
        self.events.append(event)
        self._of_kind.setdefault(type(event), []).append(event)
        if isinstance(event, Decision):
            self._decided.setdefault(event.what, {}).setdefault(event.subject, event)
        match event:
            case Released(segment=segment):
                known = self.trials.get(segment.trial)
                if known is None:
                    self.trials[segment.trial] = Trial(segment)
                else:
                    known.segment, known.lost = segment, None
                    if segment.attempt > 0 and segment.start == 0:  # its state was spoilt
                        known.curve, known.seconds, known.state, known.reached = (), 0.0, "", 0
            case SegmentEnded() if (trial := self.trials.get(event.trial)) and event.attempt == trial.segment.attempt:
                trial.curve += tuple(event.points)
                trial.seconds, trial.state, trial.reached, trial.losses = event.seconds, event.state, event.reached, 0
            case StateLost() | SegmentLost() if (trial := self.trials.get(event.trial)) and event.attempt == trial.segment.attempt:
                trial.lost = event
                trial.losses += isinstance(event, SegmentLost) and not event.moved_to
            case Stopped() if trial := self.trials.get(event.trial):
                trial.stopped = event
            case TrialEnded():
                self.trials.setdefault(event.trial, _unreleased(event)).ended = event
            case ReportOpened() if any(earlier.examples != event.examples for earlier in self._of_kind[ReportOpened][-2:]):
                self._outdated = len(self._of_kind.get(FinalistScored, ()))
            case _:
                self._count_workers(event)

    def _count_workers(self, event: Event) -> None:
        match event:
            case SelectionStarted():
                self.workers.clear()
            case WorkerJoined():
                self.workers[event.worker] = event
            case WorkerLeft():
                self.workers.pop(event.worker, None)
            case _:
                pass

    def of_kind(self, kind: type[E]) -> list[E]:
        """The events of one kind, oldest first."""
        return list(self._of_kind.get(kind, ()))

    def _last(self, kind: type[E]) -> E | None:
        found = self.of_kind(kind)
        return found[-1] if found else None

    def decided(self, *whats: What) -> dict[str, Decision]:
        """The first decision on each subject, by subject, for each of these kinds of decisions."""
        return {subject: made for what in whats for subject, made in self._decided.get(what, {}).items()}

    def ended(self, stage: Stage | None = None) -> list[TrialEnded]:
        """Trainings that have ended, of one stage or of both."""
        return [trial for trial in self.of_kind(TrialEnded) if stage is None or trial.stage == stage]

    def taken_over(self) -> set[str]:
        """Names of finalists' runs that are trainings of the search as they were, since there was no time for fresh ones."""
        if self.plan is None or self.plan.fresh:
            return set()
        released = {event.segment.trial for event in self.of_kind(Released)}
        return {trial.trial for trial in self.ended(Stage.FINALIST) if trial.steps and trial.trial not in released}

    def finals(self) -> list[TrialEnded]:
        """The finalists' runs that haven't failed."""
        return [trial for trial in self.ended(Stage.FINALIST) if trial.state != State.FAILED]

    @property
    def started(self) -> SelectionStarted | None:
        """The latest start."""
        return self._last(SelectionStarted)

    @property
    def data(self) -> DataDescribed:
        """What is known of the data. Raises `SelectionError` before it is."""
        found = self._last(DataDescribed)
        if found is None:
            raise SelectionError("the selection's records lack the description of the data: it was killed at its start; run it again")
        return found

    @property
    def plan(self) -> Planned | None:
        """None before it is made."""
        return self._last(Planned)

    @property
    def portfolio(self) -> PortfolioLearned | None:
        """The order in which configurations are tried; None where there is none."""
        return self._last(PortfolioLearned)

    @property
    def opened(self) -> ReportOpened | None:
        """The latest opening of the report split."""
        return self._last(ReportOpened)

    @property
    def scored(self) -> list[FinalistScored]:
        """Finalists' runs on the report split, but those whose outputs were lost; of one that was scored again the later.

        Once more examples are open, those that were scored on fewer don't count.
        """
        lost, opened = self._lost(), self.opened
        if opened and opened.outputs in lost:
            return []
        runs = {run.trial: run for run in self.of_kind(FinalistScored)[self._outdated :]}.values()
        return [run for run in runs if run.outputs not in lost]

    def _lost(self) -> set[str]:
        """References of outputs that are gone, and weren't written again since."""
        lost: set[str] = set()
        for event in self.events if OutputsLost in self._of_kind else ():
            if isinstance(event, OutputsLost):
                lost.add(event.outputs)
            elif isinstance(event, FinalistScored | ReportOpened):
                lost.discard(event.outputs)
        return lost

    def unreadable(self) -> list[str]:
        """References of the report split's labels and of the finalists' predictions whose files are missing or damaged."""
        refer = [*([self.opened.outputs] if self.opened else []), *(run.outputs for run in self.scored)]
        return [reference for reference in dict.fromkeys(refer) if not self.outputs.holds(reference)]

    @property
    def costs(self) -> list[CostMeasured]:
        """Of configurations that a limit asked for, and of finalists."""
        return self.of_kind(CostMeasured)

    @property
    def verdict(self) -> VerdictReached | None:
        """None before there is one."""
        return self._last(VerdictReached)

    @property
    def end(self) -> SelectionEnded | None:
        """None while it is under way."""
        return self._last(SelectionEnded)

    @property
    def published(self) -> bool:
        """Whether everything is written."""
        return bool(self.of_kind(Published))

    @property
    def out_of_race(self) -> set[str]:
        """Methods that have left it."""
        return set(self.decided(What.LEFT_RACE))

    @property
    def out_of_finals(self) -> set[str]:
        """Candidates that get no further seeds."""
        return set(self.decided(What.LEFT_FINALS))

    def lost(self) -> Sequence[Trial]:
        """Trials that have to be released again."""
        return [trial for trial in self.trials.values() if trial.ended is None and trial.stopped is None and trial.lost is not None]

    def open(self) -> Sequence[Trial]:
        """Trials with something still to be carried out: a released segment, or a stop."""
        return [trial for trial in self.trials.values() if trial.ended is None and (trial.open or trial.stopped is not None)]
