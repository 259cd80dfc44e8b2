"""A metric's value under weights is its value on the resample that the weights stand for; scikit-learn and SciPy say what that is."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn

from pelt_automl.tasks.answers import Answer, as_label
from pelt_automl.tasks.metrics import METRICS

N = 60
CLASSES = 4
ORACLES = {
    "accuracy": sklearn.accuracy_score,
    "f1": sklearn.f1_score,
    "macro_f1": lambda y, p: sklearn.f1_score(y, p, average="macro"),
    "mcc": sklearn.matthews_corrcoef,
    "balanced_accuracy": sklearn.balanced_accuracy_score,
    "quadratic_kappa": lambda y, p: sklearn.cohen_kappa_score(y, p, labels=range(CLASSES), weights="quadratic"),
    "roc_auc": lambda y, p: np.mean([sklearn.roc_auc_score(y == c, p[:, c]) for c in np.unique(y).astype(int)]),
    "average_precision": lambda y, p: sklearn.average_precision_score(y, p[:, 1]),
    "log_loss": lambda y, p: sklearn.log_loss(y, p, labels=range(p.shape[1])),
    "spearman": lambda y, p: stats.spearmanr(y, p).statistic,
    "pearson": lambda y, p: stats.pearsonr(y, p).statistic,
    "r2": sklearn.r2_score,
    "mae": sklearn.mean_absolute_error,
    "rmse": sklearn.root_mean_squared_error,
    "micro_f1": lambda y, p: sklearn.f1_score(y, p, average="micro"),
    "multilabel_macro_f1": lambda y, p: sklearn.f1_score(y, p, average="macro", zero_division=np.nan),
    "subset_accuracy": sklearn.accuracy_score,
    "answer_f1": lambda y, p: squad(y, p)["f1"] / 100,
    "exact_match": lambda y, p: squad(y, p)["exact_match"] / 100,
}
WORDS = ("Rome", "rome", "the city", "Paris", "old", "old Rome")


def squad(labels, predictions):
    """By torchmetrics, in percent."""
    from torchmetrics.functional.text import squad as of_texts

    true = [[text for _, text in json.loads(label)] for label in labels]
    targets = [{"answers": {"answer_start": [0] * len(own), "text": own}, "id": str(i)} for i, own in enumerate(true)]
    found = of_texts([{"prediction_text": str(said), "id": str(i)} for i, said in enumerate(predictions)], targets)
    return {name: float(value) for name, value in found.items()}


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
    if METRICS[metric].of_texts:
        labels = [as_label([Answer(0, str(text)) for text in rng.choice(WORDS, rng.integers(1, 3))]) for _ in range(N)]
        return np.array(labels), rng.choice(WORDS, (3, N))
    if METRICS[metric].kind == "multi-label":
        shares = (0.5, 0.3, 0.1, 0.02)  # of the last one some resamples have no example
        labels = (rng.random((N, CLASSES)) < shares).astype(float)
        return labels, np.where(rng.random((3, N, CLASSES)) < 0.8, labels, rng.random((3, N, CLASSES)) < shares).astype(float)
    classes = 2 if METRICS[metric].binary else CLASSES
    labels = rng.integers(classes, size=N).astype(float)
    if METRICS[metric].reads == "probabilities":
        shares = 0.5 + rng.integers(5, size=(3, N, classes)) + 3 * (labels[:, None] == np.arange(classes))  # many ties
        return labels, shares / shares.sum(axis=2, keepdims=True)
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
    assert np.allclose(found, expected, rtol=0, atol=1e-6 if METRICS[metric].of_texts else 1e-12), "torchmetrics computes in fp32"
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
        ("balanced_accuracy", 0.5),
        ("quadratic_kappa", 0.0),
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


@pytest.mark.parametrize("classes", [2, 3])
def test_the_ranking_of_two_classes_is_scikit_learns_and_of_more_its_mean_one_against_the_rest(classes):
    rng = np.random.default_rng(6)
    labels, shares = rng.integers(classes, size=N), rng.integers(1, 4, size=(N, classes)).astype(float)
    chances = shares / shares.sum(axis=1, keepdims=True)
    own = {} if classes == 2 else {"multi_class": "ovr", "average": "macro"}
    theirs = sklearn.roc_auc_score(labels, chances[:, 1] if classes == 2 else chances, **own)
    assert METRICS["roc_auc"].value(chances, labels) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(("metric", "expected"), [("roc_auc", 1.0), ("average_precision", 0.0)])
def test_a_class_that_a_resample_lacks_does_not_count(metric, expected):
    """Of three classes the third is never drawn; of two the positive one."""
    chances = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])[:, : 3 if metric == "roc_auc" else 2]
    labels = np.array([0.0, 1.0, 2.0]) if metric == "roc_auc" else np.array([0.0, 1.0, 1.0])
    weights = np.array([[1.0, 2.0, 0.0]]) if metric == "roc_auc" else np.array([[3.0, 0.0, 0.0]])
    assert scores(metric, labels, chances[None], weights).tolist() == [[expected]]


def test_the_ranking_of_one_class_alone_is_no_skill():
    assert scores("roc_auc", np.zeros(2), np.array([[[0.4, 0.6], [0.9, 0.1]]]), np.ones((1, 2))).tolist() == [[0.0]]
