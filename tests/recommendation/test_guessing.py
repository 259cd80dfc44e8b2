"""The warning that a recommendation is no better than a constant prediction, by a table checked by hand."""

import pytest

from pelt_automl.recommendation.warnings import no_better_than_guessing
from pelt_automl.records import DataDescribed, Standing

LABELS = [0.0, 0.0, 0.0, 1.0]  # always class 0: accuracy 0.75; mean 0.25: mae (3 * 0.25 + 0.75) / 4 = 0.375


def standing(low, high):
    return Standing("lora-0", "lora", True, {}, 1, 1.0, (low + high) / 2, (low, high), [], 0.5, 1.0, 0.0, (0.0, 0.0), True, False)


def data(metric, kind, greater):
    return DataDescribed("t", kind, metric, greater, [], 16, "strict", {}, {})


@pytest.mark.parametrize(
    ("metric", "kind", "greater", "interval", "warns"),
    [
        ("accuracy", "classification", True, (0.76, 0.9), False),
        ("accuracy", "classification", True, (0.74, 0.9), True),
        ("accuracy", "classification", True, (0.5, 0.6), True),  # worse than guessing is no better, too
        ("mae", "regression", False, (0.1, 0.3), False),
        ("mae", "regression", False, (0.1, 0.4), True),
        ("spearman", "regression", True, (0.1, 0.4), False),  # a constant correlates with nothing: 0
        ("spearman", "regression", True, (-0.1, 0.4), True),
    ],
)
def test_a_recommendation_that_may_be_no_better_than_a_constant_says_so(metric, kind, greater, interval, warns):
    found = no_better_than_guessing(standing(*interval), data(metric, kind, greater), LABELS)
    assert bool(found) is warns
    assert not found or ("the most frequent class (75.0)" in found[0]) is (metric == "accuracy")
