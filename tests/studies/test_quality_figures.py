"""Regret, right methods, Brier score, agreement and clustered intervals, by hand."""

import numpy as np
import pytest

from studies.quality import agreement, clustered, forecast, judged, leads, truth

ONE_POINT = 0.01


def test_the_oracle_is_judged_on_seeds_that_its_choice_has_not_seen():
    # Without seed 0 "a" is best (0.8, 0.8 against 0.7, 0.7), which has 0.6 on it; without seed 1 "b" (0.9, 0.7), which has 0.7 on it;
    # without seed 2 "b" again (0.9, 0.7 against 0.6, 0.8), 0.7 on it. The best mean of all would be 0.767.
    scores = {"a": [0.6, 0.8, 0.8], "b": [0.9, 0.7, 0.7]}
    assert judged(scores, 3, sign=1) == [0.6, 0.7, 0.7]
    assert judged(scores, 2, sign=1) == [0.6, 0.7]


def test_of_errors_the_smallest_is_the_best_and_a_single_seed_judges_itself():
    assert judged({"a": [0.3, 0.1], "b": [0.2, 0.2]}, 2, sign=-1) == [0.3, 0.2]
    assert judged({"a": [0.3], "b": [0.2]}, 1, sign=1) == [0.3]


LABELS = [0.0, 1.0] * 100


def predictions(*wrong):
    """On each seed, the first so many of the labels turned around."""
    return [[1 - label if i < count else label for i, label in enumerate(LABELS)] for count in wrong]


def test_right_are_the_methods_near_the_best_and_those_that_cannot_be_told_from_them():
    best, right = truth(
        {"a1": "a", "a2": "a", "b1": "b", "c1": "c", "d1": "d"},
        {
            "a1": predictions(90, 90, 90),
            "a2": predictions(20, 20, 20),  # 90.0: the best, and a's
            "b1": predictions(22, 22, 22),  # 89.0: one point worse
            "c1": predictions(20, 60, 20),  # 83.3 on average, but 90.0 on two of three seeds
            "d1": predictions(80, 80, 80),  # 60.0 on every seed
        },
        LABELS, "accuracy", 1, ONE_POINT,
    )  # fmt: skip
    assert best == "a"
    assert right == {"a", "b", "c"}


def outcome_of(found):
    """Of someone who stated 0 for everyone the error is the squared outcome."""
    return [error**0.5 for error in found["errors"]]


def test_brier_is_the_squared_error_of_what_was_stated():
    found = forecast([0.7, 0.2, 0.1], [predictions(10, 10), predictions(80, 80), predictions(90, 90)], LABELS, "accuracy", 1)
    assert found["errors"] == pytest.approx([0.09, 0.04, 0.01])
    assert found["ignorant"] == pytest.approx([4 / 9, 1 / 9, 1 / 9])
    assert found["unsure"] == pytest.approx([0.0, 0.0, 0.0], abs=0.01), "the truth's seeds and examples leave no doubt"


def test_the_outcome_is_the_best_mean_on_the_fresh_seeds_and_equals_share_it():
    runs = [predictions(20, 30), predictions(30, 20), predictions(100, 100)]
    found = forecast([0.0, 0.0, 0.0], runs, LABELS, "accuracy", 1)
    assert outcome_of(found) == pytest.approx([0.5, 0.5, 0.0])
    assert found["unsure"][0] > 0.1 > found["unsure"][2]


def test_for_errors_the_smallest_mean_is_the_outcome():
    labels = [0.0, 1.0, 2.0, 3.0]
    near, far = [[0.1, 1.1, 2.1, 3.1]] * 2, [[1.0, 2.0, 3.0, 4.0]] * 2
    assert outcome_of(forecast([0.0, 0.0], [far, near], labels, "mae", -1)) == [0.0, 1.0]


def test_agreement_is_the_share_of_pairs_of_repeats_within_a_data_set_that_meet():
    a, b, both = frozenset("a"), frozenset("b"), frozenset("ab")
    assert agreement([[a, a, b]]) == pytest.approx(1 / 3)
    assert agreement([[a, both, b], [b, b]]) == pytest.approx(3 / 4)  # a-both, both-b, b-b of four
    assert agreement([[a], []]) is None


def test_the_clustered_mean_gives_every_data_set_the_same_weight():
    found = clustered([[1.0, 1.0, 1.0, 1.0], [3.0]])
    assert found[0] == 2.0
    # Two data sets are drawn: both times the first (1/4), both times the second (1/4), or one of each.
    assert found[1:] == (1.0, 3.0)
    assert clustered([[], []]) is None
    assert clustered([[2.0, 2.0], []])[1] == 2.0


def test_repeats_of_one_data_set_do_not_make_its_interval_as_narrow_as_as_many_data_sets():
    rng = np.random.default_rng(0)
    means = rng.normal(0, 1, 10)
    together = clustered([[mean] * 9 for mean in means])
    apart = clustered([[mean] for mean in np.repeat(means, 9)])
    assert together[2] - together[1] > 2.5 * (apart[2] - apart[1])  # the square root of 9 is 3
    # The standard error of the mean of ten data sets: their standard deviation (with n) over the square root of 10.
    error = np.std(means) / np.sqrt(10)
    assert together[2] - together[1] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_repeats_vary_within_a_data_set():
    found = clustered([[0.0, 1.0]])
    assert found == (0.5, 0.0, 1.0)


def test_a_lead_is_paired_by_data_set_and_repeat():
    ours = {"x": [1.0, 2.0], "y": [5.0, 5.0], "only ours": [9.0]}
    found = leads(ours, {"x": [2.0, 3.0], "y": [6.0], "only theirs": [0.0]})
    assert found == (1.0, 1.0, 1.0)
    assert leads(ours, {"only theirs": [0.0]}) is None
