"""Metrics against tables worked out by hand, and against scikit-learn and SciPy."""

import math
import random
import warnings

import pytest

from pelt_automl.errors import SettingsError
from pelt_automl.tasks.metrics import METRICS, metric_for

# 8 examples, two classes: 3 true positives, 1 false positive, 2 false negatives, 2 true negatives.
LABELS = [1, 1, 1, 1, 1, 0, 0, 0]
PREDICTIONS = [1, 1, 1, 0, 0, 1, 0, 0]
F1 = 6 / 9
NEGATIVE_F1 = 4 / 7
BY_CHANCE = [[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("name", "labels", "predictions", "expected"),
    [
        ("accuracy", LABELS, PREDICTIONS, 5 / 8),
        ("f1", LABELS, PREDICTIONS, F1),
        ("f1", [0, 0, 1], [0, 0, 0], 0.0),
        ("f1", [0, 0], [0, 0], 0.0),
        ("macro_f1", LABELS, PREDICTIONS, (F1 + NEGATIVE_F1) / 2),
        ("macro_f1", [0, 0, 1, 2], [0, 0, 1, 1], (1 + 2 / 3 + 0) / 3),
        # (3 * 2 - 1 * 2) / sqrt(4 * 5 * 3 * 4)
        ("mcc", LABELS, PREDICTIONS, 4 / math.sqrt(240)),
        ("mcc", [0, 1, 0, 1], [1, 0, 1, 0], -1.0),
        ("accuracy_f1", LABELS, PREDICTIONS, (5 / 8 + F1) / 2),
        ("accuracy_macro_f1", LABELS, PREDICTIONS, (5 / 8 + (F1 + NEGATIVE_F1) / 2) / 2),
        # recalls 3 / 5 and 2 / 3
        ("balanced_accuracy", LABELS, PREDICTIONS, (3 / 5 + 2 / 3) / 2),
        ("quadratic_kappa", [0, 1, 2], [0, 1, 2], 1.0),
        ("quadratic_kappa", [0, 1, 2], [2, 1, 0], -1.0),
        # one of four is two classes off: 4 / 4; of independent pairs 2 + 3 - 2 * 1 * 1.5 (means of squares and of values)
        ("quadratic_kappa", [0, 0, 2, 2], [0, 2, 2, 2], 1 - 1 / (2 + 3 - 2 * 1 * 1.5)),
        # of 2 x 2 pairs of a positive and a negative example three are in order
        ("roc_auc", [0, 0, 1, 1], BY_CHANCE, 3 / 4),
        # precision 1 at the first positive example, 2 / 3 at the second
        ("average_precision", [0, 0, 1, 1], BY_CHANCE, (1 + 2 / 3) / 2),
        ("log_loss", [0, 0, 1, 1], BY_CHANCE, -math.log(0.9 * 0.4 * 0.5 * 0.8) / 4),
        ("log_loss", [0, 1], [[0.0, 1.0], [0.0, 1.0]], -math.log(2**-52) / 2),
        ("spearman", [1, 2, 3], [10, 20, 3000], 1.0),
        # ranks 1 2 3 4 against 1 2.5 2.5 4: 4.5 / sqrt(5 * 4.5)
        ("spearman", [1, 2, 3, 4], [1, 5, 5, 9], 4.5 / math.sqrt(22.5)),
        ("pearson", [1, 2, 3], [1, 2, 4], 3 / math.sqrt(2 * 14 / 3)),
        ("pearson_spearman", [1, 2, 3], [1, 2, 4], (3 / math.sqrt(2 * 14 / 3) + 1) / 2),
        # residuals 0, 0, 1; spread 2
        ("r2", [1, 2, 3], [1, 2, 4], 1 - 1 / 2),
        ("mae", [1, 2, 3], [2, 2, 1], 1.0),
        ("rmse", [1, 2, 3], [2, 2, 1], math.sqrt(5 / 3)),
        # 3 labels are there, 3 predicted, 2 of them rightly; the third is neither there nor predicted, and doesn't count
        ("micro_f1", [[1, 1, 0], [0, 1, 0]], [[1, 0, 0], [1, 1, 0]], 2 * 2 / 6),
        ("multilabel_macro_f1", [[1, 1, 0], [0, 1, 0]], [[1, 0, 0], [1, 1, 0]], (2 / 3 + 2 / 3) / 2),
        ("subset_accuracy", [[1, 1, 0], [0, 1, 0], [0, 0, 0]], [[1, 0, 0], [1, 1, 0], [0, 0, 0]], 1 / 3),
        ("micro_f1", [[0, 0]], [[0, 0]], 0.0),
    ],
)
def test_scores_are_those_worked_out_by_hand(name, labels, predictions, expected):
    assert METRICS[name].value(predictions, labels) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["mcc", "spearman", "pearson", "pearson_spearman"])
@pytest.mark.parametrize("constant", [0, 1, 0.1, 1e30])
def test_a_constant_prediction_correlates_with_nothing_and_warns_of_nothing(name, constant):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert METRICS[name].value([constant] * 7, [0, 1, 1, 0, 1, 0, 1]) == 0.0
        assert METRICS[name].value([0, 1, 1, 0, 1, 0, 1], [constant] * 7) == 0.0


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.kind == "regression"])
def test_predictions_that_are_not_finite_score_worst_and_never_nan(name, broken):
    metric = METRICS[name]
    score, fair = metric.value([1, broken, 3, 4], [1, 2, 3, 4]), metric.value([1, 3, 2, 4], [1, 2, 3, 4])
    assert not math.isnan(score)
    assert (score < fair) if metric.greater_is_better else (score > fair)


@pytest.mark.parametrize(("name", "score"), [("log_loss", math.inf), ("roc_auc", 0.0), ("average_precision", 0.0)])
def test_probabilities_that_are_not_finite_score_worst(name, score):
    assert METRICS[name].value([[0.5, 0.5], [math.nan, math.nan]], [0, 1]) == score


def test_only_errors_are_better_when_smaller():
    assert {name for name, metric in METRICS.items() if not metric.greater_is_better} == {"mae", "rmse", "log_loss"}


def test_metrics_agree_with_scikit_learn_and_scipy():
    stats = pytest.importorskip("scipy.stats")
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = random.Random(3)
    y, z = [rng.randrange(4) for _ in range(200)], [rng.randrange(5) for _ in range(200)]
    a = [rng.gauss(2, 3) for _ in range(200)]
    b = [round(x + rng.gauss(0, 2)) for x in a]
    theirs = {
        "accuracy": sklearn.accuracy_score(y, z),
        "macro_f1": sklearn.f1_score(y, z, average="macro"),
        "mcc": sklearn.matthews_corrcoef(y, z),
        "spearman": stats.spearmanr(a, b).statistic,
        "pearson": stats.pearsonr(a, b).statistic,
        "r2": sklearn.r2_score(a, b),
    }
    for name, expected in theirs.items():
        ours = METRICS[name].value(*((z, y) if METRICS[name].kind == "classification" else (b, a)))
        assert ours == pytest.approx(expected), name


@pytest.mark.parametrize(("labels", "predictions"), [([], []), ([1], [1, 0])])
def test_missing_predictions_are_an_error(labels, predictions):
    with pytest.raises(ValueError, match="needs a prediction for each label"):
        METRICS["accuracy"].value(predictions, labels)


@pytest.mark.parametrize(
    ("name", "kind", "classes", "message"),
    [
        ("f2", "classification", 2, r"there is no metric 'f2'; choose one of: accuracy, f1, macro_f1, mcc, balanced_accuracy, "),
        ("f1", "classification", 3, r"'f1' doesn't fit a task with 3 classes; choose one of: accuracy, macro_f1, mcc, balanced_accuracy, "),
        ("accuracy", "regression", 0, r"'accuracy' doesn't fit a task with regression; choose one of: spearman, pearson, "),
    ],
)
def test_an_unknown_or_unfitting_metric_names_those_that_fit(name, kind, classes, message):
    with pytest.raises(SettingsError, match=message):
        metric_for(name, kind, classes)


def test_macro_f1_is_one_name_for_classes_and_for_several_labels():
    assert [metric_for("macro_f1", kind, 3).name for kind in ("classification", "multi-label")] == ["macro_f1", "multilabel_macro_f1"]
