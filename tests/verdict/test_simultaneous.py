import numpy as np
import pytest

from pelt_automl.verdict.simultaneous import simultaneous_intervals
from pelt_automl.verdict.statistics import interval


def equal(finalists):
    return np.random.default_rng(0).standard_normal((40_000, finalists))


@pytest.mark.parametrize(
    ("finalists", "range_quantile"),
    # 95 % quantiles of the studentized range with endless degrees of freedom, from tables (Harter 1960); 2.772 is 1.96 * sqrt(2)
    [(2, 2.772), (3, 3.314), (4, 3.633), (8, 4.286)],
)
def test_for_independent_means_it_is_tukeys_range_test(finalists, range_quantile):
    low, high = simultaneous_intervals(equal(finalists))
    assert low[0, 1] == pytest.approx(-range_quantile, abs=0.06)
    assert high[0, 1] == pytest.approx(range_quantile, abs=0.06)


def test_of_one_pair_it_is_the_interval_by_itself_both_ways_round():
    draws = equal(2) + np.array([3.0, 0.0])
    low, high = simultaneous_intervals(draws)
    assert (low[0, 1], high[0, 1]) == pytest.approx(interval(draws[:, 0] - draws[:, 1]))
    assert (low[1, 0], high[1, 0]) == pytest.approx(interval(draws[:, 1] - draws[:, 0]))
    assert (low[0, 0], high[0, 0]) == (0.0, 0.0)


def test_equal_columns_differ_by_nothing():
    low, high = simultaneous_intervals(np.repeat(equal(1), 3, axis=1))
    assert not low.any()
    assert not high.any()


def test_a_lone_finalist_has_no_differences():
    assert [ends.tolist() for ends in simultaneous_intervals(equal(1))] == [[[0.0]], [[0.0]]]


def test_each_side_is_stretched_by_its_own_length():
    # Three finalists: the third is far more certain, so that both others' differences to it have the shape of their own draws.
    skewed = np.random.default_rng(0).exponential(1.0, (40_000, 2)) * [1.0, 0.0] + np.random.default_rng(1).normal(0, 1e-9, (40_000, 2))
    low, high = simultaneous_intervals(np.column_stack([skewed, np.zeros(40_000)]))
    # Exponential: median 0.69, 2.5 % at 0.025, 97.5 % at 3.69: 0.67 below and 3.00 above
    assert (high[0, 2] - 0.693) / (0.693 - low[0, 2]) == pytest.approx(3.00 / 0.668, rel=0.06)
