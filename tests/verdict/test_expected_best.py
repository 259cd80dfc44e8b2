"""The best that n trials can be expected to find, against sums written out by hand."""

import math

import pytest

from pelt_automl.log.events import Seeds, TrialEnded
from pelt_automl.verdict.expected_best import budgets, expected_best, expected_best_of


def trial(method, number, score, state="completed", seconds=2.0, stage="search"):
    name = f"{method}-{number:04d}"
    return TrialEnded(name, name, method, stage, number, state, number == 0, {}, Seeds(0, 0, 0), {}, [], score, 10, seconds)


@pytest.mark.parametrize(
    ("scores", "n", "greater", "mean", "variance"),
    [
        ([0.7], 1, True, 0.7, 0.0),
        ([0.7], 5, True, 0.7, 0.0),
        # n = 1: mean and variance of the scores
        ([0.6, 0.8], 1, True, 0.7, 0.01),
        # both draws the smaller with 1/4: 0.25 * 0.6 + 0.75 * 0.8; 0.25 * 0.75 * 0.2^2
        ([0.6, 0.8], 2, True, 0.75, 0.0075),
        ([0.8, 0.6], 2, True, 0.75, 0.0075),
        ([0.6, 0.8], 2, False, 0.65, 0.0075),
        # weights 1/27, 7/27, 19/27 of 3, 6, 9: (3 + 42 + 171) / 27 = 8; (1 * 25 + 7 * 4 + 19 * 1) / 27 = 72 / 27
        ([9, 3, 6], 3, True, 8.0, 72 / 27),
        ([9, 3, 6], 3, False, 4.0, 72 / 27),
        # weights 1/9, 3/9, 5/9 of 3, 6, 9
        ([9, 3, 6], 2, True, 66 / 9, (9 * 1 + 36 * 3 + 81 * 5) / 9 - (66 / 9) ** 2),
        # equal scores: both fours together weigh 1 - 1/9
        ([1, 4, 4], 2, True, (1 + 32) / 9, (1 + 128) / 9 - (33 / 9) ** 2),
        # many draws of few scores find the best
        ([0.1, 0.5, 0.9], 200, True, 0.9, 0.0),
    ],
)
def test_mean_and_variance_of_the_best_of_n_draws(scores, n, greater, mean, variance):
    found = expected_best(scores, n, 1 if greater else -1)
    assert found == pytest.approx((mean, variance), abs=1e-12)


def test_with_as_many_draws_as_trials_the_expectation_stays_below_the_best_made():
    scores = [i / 10 for i in range(10)]
    assert expected_best(scores, 10)[0] == pytest.approx(0.9 - sum((i / 10) ** 10 for i in range(10)) / 10)


def test_curves_rise_with_the_trials_and_count_failed_ones_in_their_time_only():
    trials = [
        trial("lora", 1, 0.8, state="stopped", seconds=1.0),
        trial("lora", 0, 0.6, seconds=3.0),
        trial("lora", 2, None, state="failed", seconds=2.0),
        trial("lora", 3, 0.99, state="failed", seconds=2.0),
    ]
    lora, head = expected_best_of("lora", trials, 1), expected_best_of("head", [trial("head", 0, 0.5, seconds=0.5)], 1)
    assert expected_best_of("prefix", [trial("prefix", 0, math.nan)], 1) is None
    assert lora.scores == (0.6, 0.8)
    assert lora.means == pytest.approx((0.7, 0.75))
    assert lora.spreads == pytest.approx((0.1, math.sqrt(0.0075)))
    assert 2 * lora.seconds_a_trial == pytest.approx(8.0), "eight seconds gave two scores"
    assert (head.means, head.spreads, head.seconds_a_trial) == ((0.5,), (0.0,), 0.5)


@pytest.mark.parametrize(
    ("trials", "expected"), [([], []), ([1, 1], [1]), ([2], [1, 2]), ([6, 3], [1, 2, 4, 6]), ([8], [1, 2, 4, 8]), ([9], [1, 2, 4, 8, 9])]
)
def test_the_table_doubles_the_trials_up_to_the_most_made(trials, expected):
    made = [expected_best_of("m", [trial("m", number, 0.5) for number in range(count)], 1) for count in trials]
    assert budgets(made) == expected
