import numpy as np
import pytest

from pelt_automl.verdict.statistics import interval, paired_bootstrap, probability_best, probability_within, share_best, shrunken

ACCURACY = "accuracy"


def test_ties_share_the_probability_evenly_and_the_direction_counts():
    draws = np.array([[0.8, 0.8, 0.1], [0.9, 0.7, 0.1], [0.5, 0.5, 0.5], [0.1, 0.2, 0.3]])
    # Draw by draw: 1/2 1/2 0, 1 0 0, 1/3 1/3 1/3, 0 0 1
    assert share_best(draws).tolist() == pytest.approx([(0.5 + 1 + 1 / 3) / 4, (0.5 + 1 / 3) / 4, (1 / 3 + 1) / 4])
    # Least is best: 0 0 1, 0 0 1, 1/3 1/3 1/3, 1 0 0
    assert share_best(draws, greater_is_better=False).tolist() == pytest.approx([(1 / 3 + 1) / 4, 1 / 12, (2 + 1 / 3) / 4])


def test_within_the_region_of_the_best_is_counted_draw_by_draw():
    # Nothing is drawn together: where most draws are alike, luck has no spread.
    draws = np.array([[0.80, 0.79, 0.5]] * 90 + [[0.80, 0.815, 0.5]] * 6 + [[0.80, 0.79, 0.9]] * 4)
    assert [probability_within(draws, 0, region) for region in (0.0, 0.01, 0.02, 0.2)] == [0.90, 0.90, 0.96, 1.0]
    assert [probability_within(-draws, 0, region, greater_is_better=False) for region in (0.01, 0.02)] == [0.90, 0.96]
    assert probability_within(draws, 1, 0.02) == 0.96
    assert probability_within(draws[:, :1], 0, 0.0) == 1.0


def test_within_the_region_is_what_the_plain_draws_say_not_those_that_are_drawn_together():
    rng = np.random.default_rng(0)
    draws = rng.normal([0.817, 0.80], 0.01, size=(4000, 2))
    plain, together = (float((some.max(axis=1) - some[:, 1] <= 0.01).mean()) for some in (draws, shrunken(draws)))
    assert (plain < together, probability_within(draws, 1, 0.01)) == (True, plain)


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


def two_finalists(distance, draws=40_000):
    """Draws of two means whose difference has a standard error of 1."""
    return np.random.default_rng(0).normal([distance, 0.0], 0.5**0.5, (draws, 2))


@pytest.mark.parametrize(
    ("distance", "plain", "expected"),
    [
        # nothing seen: nobody is favored
        (0.0, 0.5, 0.5),
        # The share of luck b has the density b^(-1/2) / 2 before, and d given b is normal with the variance 1/b, so that b's density after
        # is exp(-b d^2/2), and P = integral of Phi(d sqrt(1 - b)) exp(-b d^2/2) db / integral of exp(-b d^2/2) db, by quadrature:
        (1.0, 0.8413, 0.7526),
        (2.0, 0.9772, 0.9271),
        (4.0, 1.0000, 0.9996),
    ],
)
def test_the_probability_of_being_the_best_takes_off_what_luck_adds(distance, plain, expected):
    draws = two_finalists(distance)
    assert share_best(draws)[0] == pytest.approx(plain, abs=0.008)
    assert probability_best(draws)[0] == pytest.approx(expected, abs=0.008)


def test_drawing_together_leaves_the_common_mean_of_each_draw_alone():
    draws = two_finalists(1.0, 100)
    assert shrunken(draws).mean(axis=1) == pytest.approx(draws.mean(axis=1))


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
