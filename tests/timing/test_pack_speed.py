"""How fast packs are thought to be, and how many trials train in one."""

import math
from dataclasses import replace

import pytest

from pelt_automl.backbones.shapes import SHAPES
from pelt_automl.timing.pack_speed import PackSpeed, Watch, estimated
from pelt_automl.timing.policy import POLICY

CPU, GPU = POLICY.device("cpu"), POLICY.device("cuda")


def known(*steps, token_bytes=1.0):
    return PackSpeed(dict(steps), 0.001, token_bytes)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(1, 61.0), (4, 232.0)], {1: 61.0, 2: 118.0, 4: 232.0, 8: 460.0}),
        ([(1, 61.0), (2, 118.0), (4, 232.0)], {1: 61.0, 3: 175.0, 8: 460.0}),
        ([(4, 232.0)], {1: 58.0, 4: 232.0, 8: 464.0}),
        ([(1, 60.0), (4, 40.0)], {1: 50.0, 8: 50.0}),
        ([(2, 1.0), (4, 3.0)], {4: 2.8, 1: 0.7}),
    ],
    ids=["a line", "of three", "one size: in proportion", "never falling", "never from below zero: in proportion"],
)
def test_seconds_lie_on_the_line_through_what_is_known(steps, expected):
    assert {trials: known(*steps).seconds_of(trials) for trials in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("steps", "device", "chosen"),
    [
        pytest.param([(1, 60.0), (4, 240.0)], CPU, 1, id="four in a pack take as long as four alone"),
        pytest.param([(1, 60.0), (4, 300.0)], CPU, 1, id="a pack is slower"),
        pytest.param([(1, 61.0), (4, 232.0)], CPU, 2, id="57 + 4/N: 57.5 at most times 1.05 is 60.4; two take 59 each"),
        pytest.param([(1, 30.0), (8, 37.0)], GPU, 32, id="1 + 29/N: 1.91 at 32, 2.81 at 16"),
        pytest.param([(1, 30.0), (8, 198.0)], GPU, 8, id="24 + 6/N: 24.19 at most times 1.05 is 25.4; 8 take 24.75 each, 4 take 25.5"),
        pytest.param([(1, 60.0), (4, 60.0)], CPU, 8, id="a pack costs the same whatever is in it: no larger than what is believed"),
        pytest.param([(2, 60.0)], CPU, 4, id="one size tells nothing: the device's own"),
        pytest.param([(1, 60.0)], GPU, 16, id="and a GPU's own"),
    ],
)
def test_the_smallest_pack_within_a_twentieth_of_the_cheapest_step_is_chosen(steps, device, chosen):
    assert known(*steps).size(device, math.inf, 1) == chosen


@pytest.mark.parametrize(("free", "chosen"), [(math.inf, 8), (800.0, 8), (799.0, 4), (399.0, 2), (199.0, 1), (50.0, 1)])
@pytest.mark.parametrize("steps", [[(1, 60.0), (4, 60.0)], [(4, 60.0)]])
def test_a_pack_has_to_fit_into_memory_and_one_trial_is_always_tried(steps, free, chosen):
    own = known(*steps, token_bytes=10.0)
    assert own.size(CPU, free, batch_tokens=10) == (chosen if len(steps) > 1 else min(chosen, CPU.pack))


def test_an_estimate_is_in_proportion_to_model_and_batch():
    small, large = (replace(SHAPES[name], vocabulary=30522) for name in ("minilm", "bert-base"))
    one = estimated(small, CPU, 16, 64, 4)
    assert one.steps == {1: pytest.approx(6 * 10.6e6 * 16 * 64 / CPU.flops, rel=0.1)}
    assert estimated(small, CPU, 16, 128, 4).seconds_of(1) == pytest.approx(2 * one.seconds_of(1))
    assert estimated(large, CPU, 16, 64, 4).seconds_of(1) > 5 * one.seconds_of(1)
    assert one.example == pytest.approx(0.5 * one.seconds_of(1) / 16)
    assert estimated(small, CPU, 16, 64, 2).token_bytes == one.token_bytes / 2


@pytest.mark.parametrize(
    "given", [({}, 1.0, 1.0), ({0: 1.0}, 1.0, 1.0), ({1: -1.0}, 1.0, 1.0), ({1: 1.0}, 0.0, 1.0), ({1: 1.0}, 1.0, math.inf)]
)
def test_what_no_machine_shows_is_refused(given):
    with pytest.raises(ValueError, match="positive"):
        PackSpeed(*given)


class Time:
    """A clock that moves only when it is told to."""

    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at


def watched(*happened):
    """What is shown after steps ``(kind, trials, seconds since the last)`` and evaluations ``seconds``."""
    time = Time()
    watch = Watch(time)
    for what in happened:
        if isinstance(what, float):
            time.at += what
            for _ in range(2):  # told of each trial
                watch.evaluation(10)
        else:
            kind, trials, seconds = what
            time.at += seconds
            watch.step(kind, trials, 1000.0 * trials)
    return watch.shown(batch=5, longest=20, token_bytes=7.0)


def test_only_steps_that_follow_one_another_in_a_pack_of_the_same_kind_and_size_count():
    steps = [("a", 2, 99.0), ("a", 2, 1.0), ("a", 2, 1.5), ("a", 2, 1.25)]
    assert watched(*steps) == {"a": PackSpeed({2: 1.25}, 0.5 * 1.25 / 2 / 5, 1000.0 / 100)}
    assert watched(*steps, ("b", 2, 50.0), ("a", 2, 50.0), ("a", 4, 50.0)) == watched(*steps), "another kind, another size"
    assert watched(*steps, 4.0, ("a", 2, 70.0))["a"].steps == {2: 1.25}, "after an evaluation, states are written"
    assert watched(*steps, 4.0)["a"].example == pytest.approx(4.0 / (2 * 10))


def test_sizes_of_packs_are_told_apart_and_what_was_seen_too_seldom_is_left_out():
    four = [("a", 4, 9.0), *[("a", 4, 4.0)] * 3]
    two = [("a", 2, 9.0), *[("a", 2, 2.25)] * 3]
    assert watched(*four, *two)["a"].steps == {4: 4.0, 2: 2.25}
    assert watched(*four, *two[:-1])["a"].steps == {4: 4.0}
    assert watched(*two[:-1]) == {}


def test_memory_is_that_of_the_largest_pack_and_an_estimate_where_packs_have_taken_no_more_than_was_held():
    time = Time()
    for taken, expected in (([0.0, -5.0], 7.0), ([400.0, 800.0], 800.0 / (4 * 5 * 20))):
        watch = Watch(time)
        for trials, held in ((4, taken), (2, [max(taken), max(taken)])):
            for step in range(5):
                time.at += 1.0
                watch.step("a", trials, held[step % 2])
        assert watch.shown(5, 20, 7.0)["a"].token_bytes == expected, taken
