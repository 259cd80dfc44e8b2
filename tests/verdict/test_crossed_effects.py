"""The two sources of luck, each against a formula where it is alone."""

import numpy as np
import pytest

from pelt_automl.verdict.crossed_effects import PRIOR_DF, mean_draws
from pelt_automl.verdict.statistics import interval

DRAWS = 40_000


def without_examples(scores, fitted=()):
    """Draws as if there were endlessly many examples: resamples never change a score."""
    scores = np.array(scores, dtype=float)
    return mean_draws(np.broadcast_to(scores, (DRAWS, *scores.shape)), scores, np.random.default_rng(0), fitted)


def test_alone_a_finalists_seeds_give_students_t():
    # 70, 80, 90: mean 80, standard error 10 / sqrt(3) = 5.77, t(2) at 97.5 % = 4.303: 24.8 to either side
    assert interval(without_examples([[70, 80, 90]])[:, 0]) == pytest.approx((80 - 24.8, 80 + 24.8), abs=1.2)


def test_two_finalists_borrow_nothing_for_their_difference():
    # Differences -5, 5, 15: mean 5, the same standard error and t(2)
    draws = without_examples([[70, 80, 90], [75, 75, 75]])
    assert interval(draws[:, 0] - draws[:, 1]) == pytest.approx((5 - 24.8, 5 + 24.8), abs=1.2)


def test_among_many_a_finalists_spread_is_averaged_with_that_of_all():
    assert PRIOR_DF == 2
    # Residuals -4, 0, 4 and three times 0, 0, 0. What all share: -1, 0, 1. A finalist's own: -3, 0, 3 and three times 1, 0, -1, so that the
    # variances are 9, 1, 1, 1, on average 3. Averaged half and half: 6 and 2, with 2 + 2 degrees of freedom, t(4) at 97.5 % = 2.776.
    draws = without_examples([[76, 80, 84], [80, 80, 80], [80, 80, 80], [80, 80, 80]])
    own = draws - draws.mean(axis=1, keepdims=True)
    assert interval(own[:, 0])[1] == pytest.approx(2.776 * (6 / 3) ** 0.5, rel=0.04)
    assert interval(own[:, 1])[1] == pytest.approx(2.776 * (2 / 3) ** 0.5, rel=0.04)
    # What all share has nobody to borrow from: variance 1, t(2) at 97.5 % = 4.303
    assert interval(draws.mean(axis=1))[1] == pytest.approx(80 + 4.303 * (1 / 3) ** 0.5, rel=0.04)


def test_what_all_finalists_share_cancels_in_differences():
    draws = without_examples([[70, 80, 90], [71, 81, 91], [72, 82, 92]])
    assert np.ptp(draws[:, 0]) > 20
    assert np.allclose(draws[:, 1] - draws[:, 0], 1)


TRAINED = [[76, 80, 84], [70, 80, 90], [80, 80, 80]]


def test_a_fitted_finalists_spread_is_its_own():
    # 79, 80, 81: standard error 1 / sqrt(3), t(2) at 97.5 % = 4.303: 2.48 to either side; one that never differs is a point.
    draws = without_examples([[79, 80, 81], *TRAINED, [80, 80, 80]], [True, False, False, False, True])
    assert interval(draws[:, 0]) == pytest.approx((80 - 2.48, 80 + 2.48), abs=0.12)
    assert interval(draws[:, 4]) == pytest.approx((80, 80))


def test_a_fitted_finalist_changes_nothing_for_the_trained():
    alone = without_examples(TRAINED)
    assert without_examples([[60, 80, 100], *TRAINED], [True, False, False, False])[:, 1:] == pytest.approx(alone, abs=1e-9)
    # Two trained ones still borrow nothing: differences -5, 5, 15 have a mean of 5 and t(2).
    draws = without_examples([[79, 80, 81], [70, 80, 90], [75, 75, 75]], [True, False, False])
    assert interval(draws[:, 1] - draws[:, 2]) == pytest.approx((5 - 24.8, 5 + 24.8), abs=1.2)


def test_a_trained_finalist_and_a_fitted_one_differ_by_the_spread_of_the_trained_and_by_what_they_do_not_share():
    draws = without_examples([[70, 80, 90], [75, 75, 75]], [False, True])
    assert interval(draws[:, 0] - draws[:, 1]) == pytest.approx((5 - 24.8, 5 + 24.8), abs=1.2)
    # The split helps and hurts both alike: 10, 10, 10 apart on every seed.
    draws = without_examples([[70, 80, 90], [60, 70, 80]], [False, True])
    assert draws[:, 0] - draws[:, 1] == pytest.approx(np.full(DRAWS, 10.0))


def test_where_all_are_fitted_each_stands_by_itself():
    draws = without_examples([[70, 80, 90], [79, 80, 81], [80, 80, 80]], [True, True, True])
    assert interval(draws[:, 0])[1] == pytest.approx(80 + 24.8, abs=1.2)
    assert interval(draws[:, 1])[1] == pytest.approx(80 + 2.48, abs=0.12)
    assert interval(draws[:, 2]) == pytest.approx((80, 80))


def chance_alone(rng, seeds):
    """One finalist whose scores differ over seeds by nothing but chance on single examples, with a variance of 1: (R, 1, S) and (1, S)."""
    scores = rng.normal(80, 1, (1, seeds))
    return scores + rng.normal(0, 1, (4000, 1, seeds)), scores


def test_what_a_seed_does_to_single_examples_counts_once():
    """The variance of the mean of 10 such scores is 1 / 10. Counted twice it would be 2 / 10, and with t(9) even 0.26."""
    rng = np.random.default_rng(1)
    variances = [np.var(mean_draws(*chance_alone(rng, 10), rng)) for _ in range(200)]
    # Too high by what is left where the part beyond chance is cut off at 0, 0.018 (E max(0, chi2(9) / 9 - 1) = 0.18), and by Student's t.
    assert 0.11 < np.mean(variances) < 0.16


def test_with_one_seed_only_the_examples_count():
    resampled = np.random.default_rng(0).normal(80, 2, (DRAWS, 2, 1))
    draws = mean_draws(resampled, np.array([[80.0], [81.0]]), np.random.default_rng(1))
    assert draws.mean(axis=0) == pytest.approx([80, 81], abs=0.05)
    assert draws.std(axis=0) == pytest.approx([2, 2], rel=0.02)
