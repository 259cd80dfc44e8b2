"""A metric's value under weights is its value on the resample that the weights stand for; scikit-learn and SciPy say what that is."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn

from pelt_automl.tasks.metrics import METRICS

N = 60
ORACLES = {
    "accuracy": sklearn.accuracy_score,
    "f1": sklearn.f1_score,
    "macro_f1": lambda y, p: sklearn.f1_score(y, p, average="macro"),
    "mcc": sklearn.matthews_corrcoef,
    "spearman": lambda y, p: stats.spearmanr(y, p).statistic,
    "pearson": lambda y, p: stats.pearsonr(y, p).statistic,
    "r2": sklearn.r2_score,
    "mae": sklearn.mean_absolute_error,
    "rmse": sklearn.root_mean_squared_error,
}
MEANS = {
    "accuracy_f1": ("accuracy", "f1"),
    "accuracy_macro_f1": ("accuracy", "macro_f1"),
    "pearson_spearman": ("pearson", "spearman"),
}


def oracle(metric, labels, predictions):
    return np.mean([ORACLES[part](labels, predictions) for part in MEANS.get(metric, (metric,))])


def sample(metric, rng):
    if METRICS[metric].kind == "regression":
        labels = rng.normal(size=N)
        labels = labels.round(1)  # some ties
        return labels, (labels + rng.normal(size=(3, N))).round(1)
    classes = 2 if METRICS[metric].binary else 4
    labels = rng.integers(classes, size=N).astype(float)
    right = rng.random((3, N)) < 0.7
    return labels, np.where(right, labels, rng.integers(classes, size=(3, N)))


def scores(metric, labels, predictions, weights):
    """(R, P)."""
    of = METRICS[metric]
    return np.stack([of.score(of.statistics(row, labels), weights) for row in predictions], axis=1)


def test_every_metric_has_an_oracle():
    assert set(METRICS) == set(ORACLES) | set(MEANS)


@pytest.mark.parametrize("metric", METRICS)
def test_the_value_under_weights_is_the_value_on_the_resample(metric):
    rng = np.random.default_rng(1)
    labels, predictions = sample(metric, rng)
    weights = rng.multinomial(N, np.full(N, 1 / N), size=8).astype(float)
    found = scores(metric, labels, predictions, weights)
    drawn = [np.repeat(np.arange(N), row.astype(int)) for row in weights]
    expected = [[oracle(metric, labels[i], row[i]) for row in predictions] for i in drawn]
    assert np.allclose(found, expected, rtol=0, atol=1e-12)
    assert found.shape == (8, 3)


@pytest.mark.parametrize("metric", METRICS)
def test_with_every_example_once_it_is_the_value(metric):
    labels, predictions = sample(metric, np.random.default_rng(2))
    found = scores(metric, labels, predictions, np.ones((1, N)))
    assert found[0].tolist() == [METRICS[metric].value(row, labels) for row in predictions]


@pytest.mark.parametrize("metric", METRICS)
def test_only_shares_of_the_weights_count(metric):
    labels, predictions = sample(metric, np.random.default_rng(3))
    weights = np.random.default_rng(4).integers(0, 3, (4, N)).astype(float)
    assert np.allclose(scores(metric, labels, predictions, weights), scores(metric, labels, predictions, weights / 7), atol=1e-9)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # 4 examples of class 0 and 2 of class 1, all predicted 0.
        ("accuracy", 4 / 6),
        ("f1", 0.0),
        ("macro_f1", (8 / 10 + 0) / 2),
        ("mcc", 0.0),
        ("accuracy_f1", 2 / 6),
        ("pearson", 0.0),
        ("spearman", 0.0),
    ],
)
def test_constant_predictions_have_a_score_by_hand(metric, expected):
    labels = np.array([0.0, 0, 0, 0, 1, 1])
    assert scores(metric, labels, np.zeros((1, 6)), np.ones((1, 6)))[0, 0] == pytest.approx(expected)


def test_a_resample_of_one_constant_is_no_correlation_despite_rounding():
    labels, weights = np.array([1.0, 2.0, 3.0]), np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    found = scores("pearson", labels, np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 3.0]]), weights)
    assert found.tolist() == [[0.0, 0.0], [0.0, pytest.approx(1.0)]]


@pytest.mark.parametrize("labels", [[0.1, 0.1, 0.1], [9.3, 9.3, 9.3]])
def test_labels_that_are_constant_but_for_rounding_explain_nothing(labels):
    weights = np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    assert scores("r2", np.array(labels), np.array([[1.0, 2.0, 3.0]]), weights).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("metric", [name for name, metric in METRICS.items() if metric.kind == "regression" and metric.high == 1])
@pytest.mark.parametrize("unit", [1e-150, 1e-6, 1e6, 1e150])
def test_no_unit_of_the_labels_is_too_large_or_too_small(metric, unit):
    labels, predictions = sample(metric, np.random.default_rng(5))
    same = METRICS[metric].value(predictions[0], labels)
    assert METRICS[metric].value(predictions[0] * unit, labels * unit) == pytest.approx(same, abs=1e-9)
