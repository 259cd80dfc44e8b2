"""A mean and a difference use every run, also where finalists have different seeds."""

import numpy as np
import pytest

from pelt_automl.verdict.crossed_effects import mean_draws
from pelt_automl.verdict.statistics import interval
from pelt_automl.verdict.unequal_seeds import unequal_draws

DRAWS = 2000
SIX_THREE = np.arange(6) < np.array([[6], [6], [3], [3]])


def drawn(scores, has, fitted=()):
    """Means and draws where the examples bring no luck."""
    return unequal_draws(np.broadcast_to(scores, (DRAWS, *scores.shape)), scores, has, np.random.default_rng(0), fitted)


def made(rng, has, own=1.0, common=3.0):
    return 80 + rng.normal(0, common, has.shape[1]) + rng.normal(0, own, has.shape)


def width(draws):
    low, high = interval(draws)
    return high - low


def test_a_finalist_that_lacks_the_hard_seeds_is_not_flattered_by_it():
    first, third = [80.0, 81.0, 80.0, 60.0, 61.0, 60.0], [79.0, 80.0, 79.0, 0.0, 0.0, 0.0]
    scores = np.array([first, [80.1, 80.8, 80.2, 60.1, 61.1, 60.2], third, [79.1, 80.0, 78.9, 0.0, 0.0, 0.0]])
    means, _ = drawn(scores, SIX_THREE)
    assert scores[2, :3].mean() > scores[0].mean()
    assert means[0] - means[2] == pytest.approx(1, abs=1.5)  # that of the plain means: -8.8


def test_what_stands_where_there_is_no_run_does_not_matter():
    scores = made(np.random.default_rng(1), SIX_THREE)
    means, draws = drawn(scores, SIX_THREE)
    other_means, other_draws = drawn(np.where(SIX_THREE, scores, -1e6), SIX_THREE)
    assert np.array_equal(means, other_means)
    assert np.array_equal(draws, other_draws)


def test_further_seeds_of_two_narrow_their_difference_and_their_means():
    rng, widths = np.random.default_rng(2), []
    for _ in range(20):
        scores = made(rng, SIX_THREE)
        (_, every), (_, three) = drawn(scores, SIX_THREE), drawn(scores[:, :3], SIX_THREE[:, :3])
        widths.append([width(draws[:, 0] - draws[:, 1]) for draws in (every, three)] + [width(draws[:, 0]) for draws in (every, three)])
    difference, difference_before, mean, mean_before = np.mean(widths, axis=0)
    assert difference < 0.8 * difference_before
    assert mean < 0.8 * mean_before


def test_what_all_seeds_do_to_all_cancels_on_shared_seeds_alone():
    has = np.array([[True] * 3 + [False] * 3] * 3 + [[False] * 3 + [True] * 3])
    _, draws = drawn(made(np.random.default_rng(3), has, own=0.5, common=5), has)
    assert width(draws[:, 0] - draws[:, 3]) > 2 * width(draws[:, 0] - draws[:, 1])


def test_a_fitted_finalist_changes_nothing_for_the_others():
    rng = np.random.default_rng(4)
    scores = made(rng, SIX_THREE)
    means, draws = drawn(np.vstack([scores, 70 + rng.normal(0, 0.1, 6)]), np.vstack([SIX_THREE, [True] * 6]), [False] * 4 + [True])
    assert means[:4] == pytest.approx(drawn(scores, SIX_THREE)[0])
    without = drawn(scores, SIX_THREE)[1]
    assert [width(draws[:, at]) for at in range(4)] == pytest.approx([width(without[:, at]) for at in range(4)], rel=0.15)


def test_where_no_run_is_missing_it_says_about_what_the_paired_draws_say():
    rng, has, ratios = np.random.default_rng(7), np.ones((4, 6), dtype=bool), []
    for _ in range(20):
        scores = made(rng, has)
        means, draws = drawn(scores, has)
        paired = mean_draws(np.broadcast_to(scores, (DRAWS, 4, 6)), scores, np.random.default_rng(0))
        assert means == pytest.approx(scores.mean(axis=1))
        ratios.append([width(draws[:, 0]) / width(paired[:, 0]), width(draws[:, 0] - draws[:, 1]) / width(paired[:, 0] - paired[:, 1])])
    assert np.median(ratios, axis=0) == pytest.approx([1, 1], abs=0.25)


def test_what_seeds_do_to_a_lone_fitted_finalist_cancels_in_differences_to_the_trained():
    rng, has = np.random.default_rng(8), np.vstack([SIX_THREE, [True] * 6])
    common = rng.normal(0, 5, 6)
    scores = 80 + common + rng.normal(0, 0.5, (5, 6))
    _, draws = drawn(scores, has, [False] * 4 + [True])
    assert width(draws[:, 0] - draws[:, 4]) < 0.6 * width(draws[:, 4])


def test_runs_that_all_score_alike_leave_nothing_open():
    means, draws = drawn(np.full((4, 6), 80.0), SIX_THREE)
    assert means == pytest.approx(np.full(4, 80))
    assert draws == pytest.approx(np.full((DRAWS, 4), 80))


@pytest.mark.parametrize("has", [[[1, 0], [0, 1]], [[1, 1, 0], [0, 0, 1]], [[1, 1, 1]], [[1], [1]], [[1, 1, 1], [1, 1, 0], [1, 0, 0]]])
def test_every_pattern_of_runs_gives_finite_draws_around_finite_means(has):
    mask = np.array(has, dtype=bool)
    means, draws = drawn(made(np.random.default_rng(5), mask), mask)
    assert np.isfinite(means).all()
    assert np.isfinite(draws).all()
    assert np.median(draws, axis=0) == pytest.approx(means, abs=1)


@pytest.mark.parametrize(("own", "common"), [(2, 2), (1, 5), (5, 1)])
@pytest.mark.parametrize("has", [SIX_THREE, np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=bool)], ids=["6-6-3-3", "3-2-1"])
def test_intervals_of_unequal_seeds_hold_the_truth(has, own, common):
    rng, held = np.random.default_rng(6), []
    for _ in range(200):
        scores = made(rng, has, own, common)
        _, draws = unequal_draws(np.broadcast_to(scores, (400, *scores.shape)), scores, has, rng)
        errors = draws[:, 0] - 80, draws[:, -1] - 80, draws[:, 0] - draws[:, -1], draws[:, 0] - draws[:, 1]
        held.append([low <= 0 <= high for low, high in map(interval, errors)])
    assert (np.mean(held, axis=0) > 0.90).all()  # three standard errors below 95 %
