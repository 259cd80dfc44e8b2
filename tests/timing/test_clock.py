"""Time of a selection, over its restarts."""

from pelt_automl.log.events import Decision, SelectionStarted, WorkersAwaited
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


def test_what_was_waited_for_the_first_worker_does_not_count_before_and_after_a_restart():
    now = [100.0]
    clock = Clock(60.0, now=lambda: now[0], started=100.0)
    now[0] = 140.0
    clock = clock.without(30.0)
    assert (clock.elapsed, clock.left) == (10.0, 50.0)
    started = SelectionStarted("s", "k", "t", "m", [], {}, {}, time=100.0)
    assert seconds_used([started, WorkersAwaited(30.0, time=135.0), Decision("a", "b", "c", time=140.0)]) == 10.0
