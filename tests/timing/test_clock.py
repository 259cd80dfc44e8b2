"""Time of a selection, over its restarts."""

from pelt_automl.log.events import Decision, SelectionStarted
from pelt_automl.timing.clock import Clock, seconds_used


def test_time_spent_by_earlier_starts_counts():
    now = iter([107.0, 107.0])
    clock = Clock(limit=60.0, used=20.0, now=lambda: next(now), started=100.0)
    assert clock.elapsed == 27.0
    assert clock.left == 33.0


def test_seconds_used_leaves_out_the_pause_between_two_starts():
    def start(time):
        return SelectionStarted("s", "k", "t", "m", [], {}, {}, time=time)

    events = [start(100.0), Decision("a", "b", "c", time=130.0), start(1000.0), Decision("a", "b", "c", time=1005.0)]
    assert seconds_used(events) == 35.0
    assert seconds_used([]) == 0.0
