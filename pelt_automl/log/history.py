"""The one fold of a selection's log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pelt_automl.log.events import CurvePoint, Event, Released, Segment, SegmentEnded, StateLost, Stopped, TrialEnded, of_kind

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
    lost: StateLost | None = None
    """Set until it is released again, from its start."""
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


@dataclass
class History:
    """All events, and what they come to. `apply` is the only way in which it changes."""

    events: list[Event] = field(default_factory=list)
    trials: dict[str, Trial] = field(default_factory=dict)
    """By name, in the order of their release."""

    @staticmethod
    def of(events: Iterable[Event]) -> "History":
        """The fold of a whole log."""
        history = History()
        for event in events:
            history.apply(event)
        return history

    def apply(self, event: Event) -> None:
        """Take one event."""
        self.events.append(event)
        match event:
            case Released(segment=segment):
                known = self.trials.get(segment.trial)
                if known is None:
                    self.trials[segment.trial] = Trial(segment)
                else:
                    known.segment, known.lost = segment, None
                    if segment.attempt > 0 and segment.start == 0:  # its state was spoilt
                        known.curve, known.seconds, known.state, known.reached = (), 0.0, "", 0
            case SegmentEnded():
                trial = self.trials[event.trial]
                if event.attempt == trial.segment.attempt:
                    trial.curve += tuple(event.points)
                    trial.seconds, trial.state, trial.reached = event.seconds, event.state, event.reached
            case StateLost() if event.attempt == self.trials[event.trial].segment.attempt:
                self.trials[event.trial].lost = event
            case Stopped():
                self.trials[event.trial].stopped = event
            case TrialEnded() if event.trial in self.trials:
                self.trials[event.trial].ended = event
            case _:
                pass

    def of_kind(self, kind: type[E]) -> list[E]:
        """The events of one kind, oldest first."""
        return of_kind(self.events, kind)

    def lost(self) -> Sequence[Trial]:
        """Trials that have to be released again from their start."""
        return [trial for trial in self.trials.values() if trial.ended is None and trial.stopped is None and trial.lost is not None]

    def open(self) -> Sequence[Trial]:
        """Trials with something still to be carried out: a released segment, or a stop."""
        return [trial for trial in self.trials.values() if trial.ended is None and (trial.open or trial.stopped is not None)]
