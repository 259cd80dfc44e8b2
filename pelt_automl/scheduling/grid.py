"""All of a table: every training that is given, each to its end, as far as there is time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pelt_automl.log.events import Because, Segment
from pelt_automl.log.history import History
from pelt_automl.scheduling.actions import Action, Budget, Finish, Room, Stop, Train


@dataclass(frozen=True)
class Grid:
    """Trainings in the order in which they begin; nobody is compared with anybody."""

    segments: Sequence[Segment]
    """Each from step 0 to the last."""
    least: float = -math.inf
    """Seconds left at which all that is under way is cut off, and what has not begun is recorded as not begun."""

    def actions(self, history: History, room: Room, budget: Budget) -> Sequence[Action]:
        """What has places now; when the time is up, the end of the rest."""
        new = [segment for segment in self.segments if segment.trial not in history.trials]
        begun = [trial for segment in self.segments if (trial := history.trials.get(segment.trial))]
        if not new and all(trial.ended for trial in begun):
            return [Finish()]
        if budget.left <= self.least:
            under_way = [trial.name for trial in begun if not trial.ended and not trial.stopped]
            ends = [Stop(name, Because.TIME) for name in [*under_way, *(segment.trial for segment in new)]]
            return [*(Train(segment, Because.FIRST) for segment in new), *ends]
        return [Train(segment, Because.FIRST) for segment in new[: places(history, room)]]

    def deadline(self, history: History, room: Room, budget: Budget) -> float:  # noqa: ARG002 the protocol's
        """When no more than what is kept is left."""
        return self.least


def places(history: History, room: Room) -> int:
    """Free ones, and those of trials in the pack that have ended, less those that released trials wait for; one at least to begin."""
    left = sum(not history.trials[name].open for name in room.at)
    return max(room.free + left - len(room.waiting), 0 if room.steps or room.waiting else 1)
