"""Repeats, ratios, limits and measured processes, by hand."""

import time

import pytest

from benchmarks.measuring import Ended, ProcessError, Spread, TimeLimit, in_turn, ratios, run_process


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def test_a_spread_is_the_median_with_the_extremes():
    assert Spread.of([3.0, 1.0, 8.0, 4.0]) == Spread(median=3.5, low=1.0, high=8.0, repeats=4)
    assert str(Spread.of([2.0, 1.0, 4.0])) == "2 (1 to 4)"


def test_ratios_are_taken_turn_by_turn_so_that_a_slow_moment_of_the_machine_cancels():
    ours, theirs = [10.0, 5.0, 10.0], [2.0, 1.0, 4.0]  # the machine was slow in the second turn, for both
    assert ratios(ours, theirs) == Spread(median=5.0, low=2.5, high=5.0, repeats=3)


def test_ratios_need_a_value_of_both_in_each_turn():
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_measurements_take_turns():
    order = []
    found = in_turn({name: lambda name=name: order.append(name) or len(order) for name in "ab"}, 2, TimeLimit(1000.0))
    assert order == ["a", "b", "a", "b"]
    assert found == {"a": [1, 3], "b": [2, 4]}


@pytest.mark.parametrize(("limit", "turns"), [(35.0, 3), (29.0, 2), (5.0, 1)])
def test_a_turn_that_would_not_end_in_time_is_not_begun_but_one_is_always_taken(limit, turns):
    clock = Clock()

    def ten_seconds():
        clock.time += 10
        return clock.time

    found = in_turn({"a": ten_seconds}, 3, TimeLimit(limit, started=0.0, now=clock))
    assert found == {"a": [10.0, 20.0, 30.0][:turns]}


def test_a_measured_process_tells_its_seconds_its_memory_and_what_it_hands_over():
    program = "from benchmarks.measuring import hand_over; x = bytearray(60_000_000); print('noise'); hand_over({'score': 0.5})"
    start = time.perf_counter()
    ended = run_process(["-c", program])
    assert 0 < ended.seconds <= time.perf_counter() - start
    assert 60e6 < ended.peak_bytes < 600e6
    assert ended.result == {"score": 0.5}


def test_a_process_that_fails_says_how_and_what_it_printed_last():
    with pytest.raises(ProcessError, match=r"(?s)ended with exit code 3:.*out of luck"):
        run_process(["-c", "print('out of luck'); raise SystemExit(3)"])
    with pytest.raises(ProcessError, match="ended with signal SIGKILL"):
        run_process(["-c", "import os; os.kill(os.getpid(), 9)"])


def test_a_process_that_hands_nothing_over_is_no_result():
    with pytest.raises(ProcessError, match="handed nothing over; it said:\nhello"):
        _ = Ended(1.0, 1, "hello\n").result


def test_the_environment_reaches_a_measured_process():
    program = "import os; from benchmarks.measuring import hand_over; hand_over(os.environ['PELT_AUTOML_HOME'])"
    assert run_process(["-c", program], {"PELT_AUTOML_HOME": "/somewhere"}).result == "/somewhere"
