import numpy as np
import pytest

from pelt_automl.evidence.weighted_scores import QUICK, weighted_scores
from pelt_automl.tasks.metrics import METRICS

N = 60


def sample(metric, rng):
    if METRICS[metric].kind == "regression":
        labels = rng.normal(size=N)
        labels = labels.round(1)  # some ties
        return labels, (labels + rng.normal(size=(3, N))).round(1)
    classes = 2 if METRICS[metric].binary else 4
    labels = rng.integers(classes, size=N).astype(float)
    right = rng.random((3, N)) < 0.7
    return labels, np.where(right, labels, rng.integers(classes, size=(3, N)))


@pytest.mark.parametrize("metric", METRICS)
def test_the_quick_form_equals_the_metric_on_explicit_resamples(metric):
    rng = np.random.default_rng(1)
    labels, predictions = sample(metric, rng)
    weights = rng.multinomial(N, np.full(N, 1 / N), size=8).astype(float)
    scores = weighted_scores(metric, labels, predictions, weights)
    drawn = [np.repeat(np.arange(N), row.astype(int)) for row in weights]
    expected = [[METRICS[metric].score(labels[i], row[i]) for row in predictions] for i in drawn]
    assert np.allclose(scores, expected, atol=1e-9)
    assert scores.shape == (8, 3)


@pytest.mark.parametrize("metric", METRICS)
def test_without_resampling_the_quick_form_is_the_metric(metric):
    labels, predictions = sample(metric, np.random.default_rng(2))
    scores = weighted_scores(metric, labels, predictions, np.ones((1, N)))
    assert np.allclose(scores[0], [METRICS[metric].score(labels, row) for row in predictions], atol=1e-9)


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
    assert weighted_scores(metric, labels, np.zeros((1, 6)), np.ones((1, 6)))[0, 0] == pytest.approx(expected)


def test_a_resample_of_one_constant_is_no_correlation_despite_rounding():
    labels, weights = np.array([1.0, 2.0, 3.0]), np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    scores = weighted_scores("pearson", labels, np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 3.0]]), weights)
    assert scores.tolist() == [[0.0, 0.0], [0.0, pytest.approx(1.0)]]


def test_a_metric_without_a_quick_form_is_scored_resample_by_resample(monkeypatch):
    labels, predictions = np.array([0.0, 1.0, 1.0]), np.array([[0.0, 1.0, 0.0]])
    monkeypatch.delitem(QUICK, "accuracy")
    scores = weighted_scores("accuracy", labels, predictions, np.array([[1.0, 1, 1], [0, 0, 3], [2, 1, 0]]))
    assert scores[:, 0].tolist() == [pytest.approx(2 / 3), 0.0, 1.0]
