"""The border between deciding and doing: a scheduler turns a history into actions, an executor turns actions into events."""

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pelt_automl.log.events import Because, Event, Seeds, Segment, TrialEnded
from pelt_automl.log.history import History


@dataclass(frozen=True)
class Train:
    """Train a trial to the end of a segment. Logged as `Released` before it is carried out."""

    segment: Segment
    because: Because
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What the decision rests on, such as the trial's score at the rung."""


@dataclass(frozen=True)
class Stop:
    """End a trial where it is. Logged as `Stopped` before it is carried out."""

    trial: str
    because: Because
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """Fit a contender that trains no backbone on a seed triple of the finals. A `TrialEnded` comes of it."""

    method: str
    index: int
    seeds: Seeds


@dataclass(frozen=True)
class TakeOver:
    """Take a training of the search into the finals as it is, with its weights, its seeds and its score. A `TrialEnded` comes of it."""

    run: TrialEnded
    """As it is to stand in the log: a finalist's, on the first seed triple. Its candidate is the search's trial."""


@dataclass(frozen=True)
class Score:
    """Score finalists' runs on the same examples of the report split, which is opened for the first of them: `FinalistScored` events."""

    trials: Sequence[str]
    examples: int
    """How many, in their one fixed order."""


@dataclass(frozen=True)
class Note:
    """Log a decision that nothing has to be done for: a method leaves the race, there is nothing left to try."""

    event: Event


@dataclass(frozen=True)
class Finish:
    """This phase has come to its end."""


Task = Train | Stop | Fit | TakeOver | Score
"""What an executor carries out."""

Action = Task | Note | Finish


@dataclass(frozen=True)
class Room:
    """What an executor can take now.

    A pack holds trials of one kind. `kind`: of the pack that has free places, None where the next trial's kind will do; `free`: trials that
    it can take; `waiting`: released trials that are in no pack, by name, with their kind; `at`: the step of each trial that is in a pack.
    The place of a trial in `at` whose segment has ended isn't free; the trial leaves it unless its next segment is among the actions.
    Where there are several devices: it is the pack, or the packs that are to be built, with free places; others train meanwhile.
    """

    free: int
    kind: Hashable | None = None
    waiting: Mapping[str, Hashable] = field(default_factory=dict)
    at: Mapping[str, int] = field(default_factory=dict)
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    """The step of each trial in a pack of another device."""
    devices: int = 1
    """That train at the same time."""

    @property
    def steps(self) -> dict[str, int]:
        """How far each trial in a pack has come."""
        return {**self.elsewhere, **self.at}


@dataclass(frozen=True)
class Budget:
    """Time, as it was when the scheduler was asked."""

    limit: float | None = None
    """Seconds that the whole selection may take; None for no limit."""
    elapsed: float = 0.0
    """Seconds since its start, earlier starts included."""

    @property
    def left(self) -> float:
        """Seconds until the limit; infinite without one."""
        return math.inf if self.limit is None else self.limit - self.elapsed


class Scheduler(Protocol):
    """Decides. The same history, room and budget give the same actions."""

    def actions(self, history: History, room: Room, budget: Budget) -> Sequence[Action]:
        """What is to be done now; empty while the executor's next events have to be waited for."""

    def deadline(self, history: History, room: Room, budget: Budget) -> float:
        """Seconds left of the limit at which it has to be asked again, whatever has ended by then; -inf for never."""


class Executor(Protocol):
    """Does. Its events are logged by the driver, in their order."""

    def room(self) -> Room:
        """Free places."""

    def running(self) -> Collection[Segment]:
        """Segments that have been started and haven't ended."""

    def start(self, actions: Sequence[Task]) -> None:
        """Take them on. Nothing is trained before `wait`, which first returns the ends of trials that were stopped at a rung.

        `Fit`, `TakeOver` and `Score` are carried out at once; no training is under way then.
        """

    def wait(self, expired: Callable[[], bool]) -> Sequence[Event]:
        """Train until a segment or a trial has ended, or `expired()`, which is asked before every step.

        `SegmentEnded`, `TrialEnded` and `StateLost` events, the earlier first; none when there is nothing to train, when the time is up,
        and when a pack of another kind is next, whose free places can be filled before it trains.
        """

    def stop(self) -> None:
        """Let go of what it holds."""
