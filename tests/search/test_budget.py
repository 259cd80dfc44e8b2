"""What a time limit allows."""

import math
from itertools import pairwise

import pytest

from pelt_automl.log.events import Decision, SelectionStarted
from pelt_automl.search.budget import WRITING, Clock, Speed, allowance, of_use_to_finals, seconds_used, training_seconds
from pelt_automl.search.promotion import expected_share
from pelt_automl.settings import SearchSettings, TrainingSettings
from pelt_automl.training.schedule import learning_rate_share, make_plan, wanted_steps

TRAINING, SEARCH = TrainingSettings(batch_size=10, min_steps=20), SearchSettings()
SPEED = Speed(step=0.1, example=0.001)


def allowed(left, wanted=200, candidates=10, methods=8):
    return allowance(wanted, candidates, methods, (30, 1000), left, SPEED, SEARCH, TRAINING)


def planned_seconds(given, methods=8):
    """What the plan costs, reckoned anew: each method's default, and all finalists on their seeds with their scoring."""
    search, final = (training_seconds(steps, 30, SPEED, SEARCH, TRAINING) for steps in (given.steps, given.final_steps))
    return methods * search, given.finalists * given.seeds * (final + 500 * SPEED.example)


@pytest.mark.parametrize("left", [math.inf, 10_000.0])
def test_without_a_limit_or_with_plenty_of_time_nothing_is_shortened(left):
    given = allowed(left)
    assert (given.steps, given.final_steps, given.finalists, given.seeds) == (200, 200, 10, 3)


@pytest.mark.parametrize("left", [100.0, 150.0, 300.0, 600.0, 1200.0, 2000.0])
def test_what_is_allowed_fits_into_the_time(left):
    given = allowed(left)
    search, finalists = planned_seconds(given)
    assert search <= 0.8 * (left * 0.5 + WRITING)
    assert finalists <= left * 0.5
    assert given.steps <= given.final_steps <= 200


def test_less_time_never_allows_more_of_the_search_nor_of_the_finals():
    given = [planned_seconds(allowed(left)) for left in (2000.0, 1000.0, 500.0, 250.0, 120.0)]
    for more, less in pairwise(given):
        assert more[0] >= less[0]
        assert more[1] >= less[1]
    assert "instead of 200 steps" in allowed(120.0).message


def test_what_finals_are_spared_first_and_what_last():
    plans = [allowed(left) for left in range(3000, 30, -2)]
    ways = list(dict.fromkeys((given.finalists, given.seeds) for given in plans))
    assert ways == [*((count, 3) for count in range(10, 1, -1)), (2, 2)]
    steps = {way: [given.final_steps for given in plans if (given.finalists, given.seeds) == way] for way in ways}
    assert all(set(steps[count, 3]) == {200} for count in range(4, 11)), "finalists are left out before trainings are shortened"
    assert (max(steps[3, 3]), min(steps[3, 3])) == (200, 152)
    assert min(steps[2, 3]) == 152, "three quarters before seeds are left out"
    assert (max(steps[2, 2]), min(steps[2, 2])) == (200, 20), "then as short as they have to be"


def test_the_search_has_three_trials_a_method_at_half_the_finalists_length_before_it_has_fewer():
    plans = [allowed(left) for left in range(3000, 30, -2)]
    long = [given for given in plans if given.final_steps == 200 and given.seeds == 3]
    assert {given.steps for given in long} >= {200, 152, 104}
    assert min(given.steps for given in long) == 104, "the shortest of at least a half that eight evaluations divide"
    by_share = expected_share(make_plan(104, SEARCH.rungs, 30, TRAINING), SEARCH.promoted)
    one = training_seconds(104, 30, SPEED, SEARCH, TRAINING)
    enough = next(left for left in range(30, 3000, 2) if allowed(left).steps > 104)
    assert 8 * one * (1 + 2 * by_share) <= 0.8 * (enough * 0.5 + WRITING)
    assert allowed(120.0, methods=20).steps < allowed(120.0, methods=2).steps


def test_the_message_says_what_is_shorter_for_whom():
    given = allowed(400.0)
    assert (given.steps, given.final_steps, given.finalists) == (104, 200, 3), "what the next line is about"
    trainings = "trainings of 104 instead of 200 steps in the search, all 200 for the finalists"
    assert given.message == f"the time limit allows {trainings}, about 3 instead of 10 finalists"


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


@pytest.mark.parametrize(("epochs", "train", "steps"), [(20, 70, 140), (1, 70, 20), (10_000, 70, 2000)])
def test_wanted_steps_are_whole_passes_within_bounds(epochs, train, steps):
    assert wanted_steps(train, TrainingSettings(batch_size=10, epochs=epochs, min_steps=20)) == steps


PLANS = [
    # steps, select, of which: steps planned, rungs, evaluations, examples looked at (None: all); 10 examples a step
    (200, 100, 200, (50, 100), 8, None),  # 8 * 100 * 0.5 = 400 of 2,000
    (200, 125, 200, (50, 100), 8, None),  # exactly a quarter
    (200, 200, 200, (50, 100), 8, 100),  # 8 * 100 + 200, times 0.5, is a quarter of 2,000
    (200, 700, 200, (50, 100), 4, 75),  # 8 evaluations of 50 examples and the last of 700 are more than a quarter
    (200, 900, 200, (100,), 2, 50),
    (203, 100, 200, (50, 100), 8, None),  # parts of equal length
    (205, 100, 208, (52, 104), 8, None),
    (14, 10, 16, (4, 8), 4, None),
    (3, 5, 4, (2,), 2, None),
    (1, 5, 1, (), 1, None),
]


@pytest.mark.parametrize(("steps", "select_size", "planned", "rungs", "evaluations", "most"), PLANS)
def test_a_training_is_cut_into_equal_parts_and_evaluated_after_each(steps, select_size, planned, rungs, evaluations, most):
    plan = make_plan(steps, (0.25, 0.5), select_size, TRAINING)
    assert (plan.steps, plan.rungs, len(plan.evaluate_at), plan.select_most) == (planned, rungs, evaluations, most)
    assert plan.evaluate_at == tuple(planned * (i + 1) // evaluations for i in range(evaluations))
    assert make_plan(plan.steps, (0.25, 0.5), select_size, TRAINING) == plan


@pytest.mark.parametrize("select_size", [5, 30, 300, 1000, 5000])
@pytest.mark.parametrize("steps", [3, 40, 200, 2000])
def test_evaluation_costs_at_most_a_quarter_of_the_training_unless_only_the_rung_and_the_end_are_left(steps, select_size):
    plan = make_plan(steps, (0.25, 0.5), select_size, TRAINING)
    looked_at = len(plan.evaluate_at) * (plan.select_most or select_size) + (select_size if plan.select_most else 0)
    fewest = len(plan.evaluate_at) == 2 and (plan.select_most or select_size) <= 50
    assert fewest or 0.5 * looked_at <= 0.25 * plan.steps * 10


def test_the_learning_rate_rises_and_falls_linearly():
    plan = make_plan(200, (0.3,), 30, TRAINING)
    shares = [learning_rate_share(step, plan) for step in range(200)]
    assert shares[0] == pytest.approx(0.05)
    assert shares[19] == pytest.approx(1.0)
    assert shares[110] == pytest.approx(0.5)
    assert shares[199] == pytest.approx(1 / 180)


@pytest.mark.parametrize(
    ("share", "kept"),
    [
        (44.0, 28.0),  # two finalists on one seed take 8 + 2 * 10, on two 48: what is left is too short for the second seed
        (48.0, 48.0),
        (67.9, 48.0),
        (70.0, 68.0),  # on three seeds
        (100.0, 98.0),  # three finalists on three seeds
        (20.0, 20.0),  # a seed of two finalists is trained anyhow
        (10_000.0, 608.0),  # six on ten
    ],
)
def test_the_finals_keep_of_their_share_what_whole_seeds_can_fill(share, kept):
    assert of_use_to_finals(share, one_run=10.0, closing=8.0, finalists=6, search=SEARCH) == kept
