"""A clock that spans restarts."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pelt_automl.log.events import Event, SelectionStarted, WorkersAwaited


@dataclass(frozen=True)
class Clock:
    """Wall time of a selection, less waits in which nothing could be done; time spent before a restart counts."""

    limit: float | None
    """Seconds; None for no limit."""
    used: float = 0.0
    """Seconds spent by earlier starts."""
    now: Callable[[], float] = time.monotonic
    started: float = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds spent so far."""
        return self.used + self.now() - self.started

    @property
    def left(self) -> float:
        """Seconds until the limit; infinite without one."""
        return math.inf if self.limit is None else self.limit - self.elapsed

    def without(self, seconds: float) -> "Clock":
        """One that doesn't count so many seconds that have passed."""
        return replace(self, started=self.started + seconds)


def seconds_used(events: Sequence[Event]) -> float:
    """Wall time of a selection's earlier starts, from its records: each from its start, with what came before its record, to its last.

    What was waited for workers doesn't count.
    """
    used, start, last = 0.0, None, 0.0
    for event in events:
        if isinstance(event, SelectionStarted):
            used += last - start if start is not None else 0.0
            start = event.time - event.seconds_before
        if isinstance(event, WorkersAwaited):
            used -= event.seconds
        last = max(last, getattr(event, "time", last))
    return used + (last - start if start is not None else 0.0)
