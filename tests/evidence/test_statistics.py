import numpy as np
import pytest

from pelt_automl.evidence.statistics import PRIOR_DF, _seed_draws, interval, paired_bootstrap, probability_best, shared_seeds

ACCURACY = "accuracy"


@pytest.mark.parametrize(
    ("runs", "seeds", "left_out"),
    [
        ({"a": [0, 1, 2], "b": [0, 1, 2]}, (0, 1, 2), ()),
        ({"a": [0, 1, 2], "b": [0, 2]}, (0, 2), ()),
        ({"a": [0, 1, 2], "b": [1]}, (0, 1, 2), ("b",)),  # fewer than half
        ({"a": [0, 1], "b": [0]}, (0,), ()),  # half is enough
        ({"a": [0, 1], "b": [1, 2], "c": [0, 2]}, (1,), ("c",)),  # nothing common to three: the last goes
        ({"a": [0], "b": [1]}, (0,), ("b",)),
        ({"a": [4]}, (4,), ()),
    ],
)
def test_finalists_are_compared_on_the_seeds_that_they_share(runs, seeds, left_out):
    shared = shared_seeds(runs)
    assert (shared.seeds, shared.left_out) == (seeds, left_out)
    assert set(shared.compared) == set(runs) - set(left_out)


def test_ties_share_the_probability_evenly_and_the_direction_counts():
    draws = np.array([[0.8, 0.8, 0.1], [0.9, 0.7, 0.1], [0.5, 0.5, 0.5], [0.1, 0.2, 0.3]])
    # Draw by draw: 1/2 1/2 0, 1 0 0, 1/3 1/3 1/3, 0 0 1
    assert probability_best(draws).tolist() == pytest.approx([(0.5 + 1 + 1 / 3) / 4, (0.5 + 1 / 3) / 4, (1 / 3 + 1) / 4])
    # Least is best: 0 0 1, 0 0 1, 1/3 1/3 1/3, 1 0 0
    assert probability_best(draws, greater_is_better=False).tolist() == pytest.approx([(1 / 3 + 1) / 4, 1 / 12, (2 + 1 / 3) / 4])


def test_the_interval_holds_the_central_95_percent():
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))


def right_or_wrong(rng, skills, seeds, n, seed_sd=0.0, difficulty_sd=0.1):
    """Labels of zeros, and predictions (F, S, n) that are right with a skill, the example's difficulty and the run's luck."""
    difficulty = rng.normal(0, difficulty_sd, n)
    luck = rng.normal(0, seed_sd, (len(skills), seeds, 1))
    right = rng.random((len(skills), seeds, n)) < np.asarray(skills)[:, None, None] + difficulty + luck
    return np.zeros(n), (~right).astype(float)


def test_the_same_input_gives_the_same_draws():
    labels, predictions = right_or_wrong(np.random.default_rng(0), [0.7, 0.8], 3, 50)
    first, second = (paired_bootstrap(labels, predictions, ACCURACY, 100) for _ in range(2))
    assert (first == second).all()
    assert (first != paired_bootstrap(labels, predictions, ACCURACY, 100, seed=1)).any()


def test_what_helps_all_finalists_alike_cancels_in_differences():
    rng = np.random.default_rng(0)
    labels, predictions = right_or_wrong(rng, [0.7], 3, 400, seed_sd=0.05)
    twice = np.concatenate([predictions, predictions])
    draws = paired_bootstrap(labels, twice, ACCURACY, 300)
    assert np.ptp(draws[:, 0]) > 0.02
    assert np.allclose(draws[:, 0], draws[:, 1])
    assert probability_best(draws).tolist() == pytest.approx([0.5, 0.5])


def test_a_mean_over_examples_has_the_bootstraps_spread():
    labels = np.zeros(400)
    predictions = (np.arange(400) >= 320).astype(float)[None, None]
    draws = paired_bootstrap(labels, predictions, ACCURACY, 4000)
    # One seed: nothing but sqrt(0.8 * 0.2 / 400) = 0.02
    assert draws.std() == pytest.approx(0.02, rel=0.06)
    assert draws.mean() == pytest.approx(0.8, abs=0.002)


def test_alone_a_finalists_seeds_give_students_t():
    # 70, 80, 90: mean 80, standard error 10 / sqrt(3) = 5.77, t(2) at 97.5 % = 4.303: 24.8 to either side
    low, high = interval(_seed_draws(np.array([[70.0, 80.0, 90.0]]), 100_000, np.random.default_rng(0))[:, 0])
    assert low == pytest.approx(-24.8, rel=0.05)
    assert high == pytest.approx(24.8, rel=0.05)


def test_among_many_a_finalists_spread_is_averaged_with_that_of_all():
    assert PRIOR_DF == 4
    still, shaky = [80.0, 80.0, 80.0], [77.0, 80.0, 83.0]
    draws = _seed_draws(np.array([still, shaky, still, shaky]), 100_000, np.random.default_rng(0))
    # Variances 0 and 9, mean 4.5. Moderated: (2 * 0 + 4 * 4.5) / 6 = 3 and (2 * 9 + 4 * 4.5) / 6 = 6; t(6) at 97.5 % = 2.447
    assert interval(draws[:, 0])[1] == pytest.approx(2.447 * (3 / 3) ** 0.5, rel=0.04)
    assert interval(draws[:, 1])[1] == pytest.approx(2.447 * (6 / 3) ** 0.5, rel=0.04)


def test_two_finalists_borrow_nothing_for_their_difference():
    scores = np.array([[70.0, 80.0, 90.0], [75.0, 75.0, 75.0]])
    draws = _seed_draws(scores, 100_000, np.random.default_rng(0))
    assert interval(draws[:, 0] - draws[:, 1])[1] == pytest.approx(24.8, rel=0.05)


@pytest.mark.parametrize(("finalists", "seed_sd"), [(2, 0.0), (2, 0.03), (6, 0.0), (6, 0.03)])
def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says(finalists, seed_sd):
    """250 made-up selections with 3 seeds. The band is 93 to 100 %: too wide is by design, too narrow is a defect."""
    rng = np.random.default_rng(3)
    skills = np.linspace(0.70, 0.74, finalists)
    covered = 0
    for repeat in range(250):
        labels, predictions = right_or_wrong(rng, skills, 3, 150, seed_sd)
        draws = paired_bootstrap(labels, predictions, ACCURACY, 300, seed=repeat)
        low, high = interval(draws[:, -1] - draws[:, 0])
        covered += low <= 0.04 <= high
    assert 0.93 <= covered / 250 <= 1.0


def test_an_interval_of_a_difference_is_not_wide_for_nothing():
    """At two seeds and six equal finalists it is at most half as wide again as the normal interval with known variances."""
    rng = np.random.default_rng(4)
    widths = []
    for repeat in range(40):
        labels, predictions = right_or_wrong(rng, [0.75] * 6, 2, 200, seed_sd=0.03)
        draws = paired_bootstrap(labels, predictions, ACCURACY, 400, seed=repeat)
        low, high = interval(draws[:, 0] - draws[:, 1])
        widths.append(high - low)
    # Variance of a difference: 2 * (0.03^2 / 2 + 0.75 * 0.25 / (2 * 200))
    known = 2 * 1.96 * (2 * (0.03**2 / 2 + 0.1875 / 400)) ** 0.5
    assert known * 0.8 < np.mean(widths) < known * 1.6


def test_equal_finalists_have_no_favorite():
    rng = np.random.default_rng(5)
    shares = np.mean(
        [
            probability_best(paired_bootstrap(*right_or_wrong(rng, [0.75] * 4, 3, 100, 0.02), ACCURACY, 200, seed=repeat))
            for repeat in range(150)
        ],
        axis=0,
    )
    # The mean of 150 shares has a standard error of about 0.02.
    assert shares.sum() == pytest.approx(1)
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.06)


def test_a_clearly_better_finalist_is_recognized():
    labels, predictions = right_or_wrong(np.random.default_rng(6), [0.70, 0.70, 0.90], 3, 300)
    assert probability_best(paired_bootstrap(labels, predictions, ACCURACY))[2] > 0.99
