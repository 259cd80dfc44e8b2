"""How long a training is, when it is evaluated, and its learning rate."""

import pytest

from pelt_automl.settings import TrainingSettings
from pelt_automl.timing.schedule import learning_rate_share, make_plan, wanted_steps

TRAINING = TrainingSettings(batch_size=10, min_steps=20)


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


def test_a_trial_that_may_stop_at_rungs_takes_a_part_of_a_full_training():
    plan = make_plan(200, (0.25, 0.5), 100, TRAINING)
    assert plan.expected_share(0.34) == pytest.approx(0.25 + 0.34 * 0.25 + 0.34**2 * 0.5)
    assert make_plan(1, (0.25,), 5, TRAINING).expected_share(0.34) == 1.0
