"""Metrics of text tasks, each with its direction, in plain Python so that importing them costs nothing.

Definitions follow scikit-learn and SciPy, with one difference: what is undefined there (a correlation with a constant, R2 of
constant labels) is 0.0 here, without a warning, since a constant prediction is a common way for a small training to fail.
Predictions that aren't finite score as badly as the metric allows.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import Any

from pelt_automl.errors import SettingsError
from pelt_automl.tasks.examples import Kind

Numbers = Sequence[float]


@dataclass(frozen=True)
class Metric:
    """How predictions are scored."""

    name: str
    greater_is_better: bool
    kind: Kind
    function: Callable[[Numbers, Numbers], float]
    binary: bool = False
    """Whether it needs exactly two classes; the class with index 1 is the positive one (`pelt_automl.tasks.positive` sees to that)."""

    def score(self, labels: Sequence[Any], predictions: Sequence[Any]) -> float:
        """The score in the metric's own unit (accuracy 0 to 1).

        Args:
            labels: the true class indices or numbers, `(n,)`.
            predictions: predicted class indices or numbers, `(n,)`.

        Raises:
            ValueError: the lengths differ or are 0.
        """
        if len(labels) != len(predictions) or not len(labels):
            raise ValueError(
                f"{self.name} needs a prediction for each label, one at least: {len(labels)} labels, {len(predictions)} predictions"
            )
        return self.function([float(x) for x in labels], [float(x) for x in predictions])

    def fits(self, kind: Kind, classes: int) -> bool:
        """Whether it can score a task of this kind with so many classes."""
        return self.kind == kind and (not self.binary or classes == 2)


def _accuracy(labels: Numbers, predictions: Numbers) -> float:
    return sum(a == b for a, b in zip(labels, predictions, strict=True)) / len(labels)


def _f1_of(positive: float, labels: Numbers, predictions: Numbers) -> float:
    hits = sum(a == b == positive for a, b in zip(labels, predictions, strict=True))
    named = sum(a == positive for a in labels) + sum(b == positive for b in predictions)
    return 2 * hits / named if named else 0.0


def _f1(labels: Numbers, predictions: Numbers) -> float:
    return _f1_of(1.0, labels, predictions)


def _macro_f1(labels: Numbers, predictions: Numbers) -> float:
    """Mean over the classes that occur among the labels or the predictions."""
    true, predicted = Counter(labels), Counter(predictions)
    hits = Counter(a for a, b in zip(labels, predictions, strict=True) if a == b)
    classes = true.keys() | predicted.keys()
    return sum(2 * hits[c] / (true[c] + predicted[c]) for c in sorted(classes)) / len(classes)


def _mcc(labels: Numbers, predictions: Numbers) -> float:
    """Gorodkin's R_K (2004), which is Matthews' coefficient for two classes."""
    n, true, predicted = len(labels), Counter(labels), Counter(predictions)
    hits = sum(a == b for a, b in zip(labels, predictions, strict=True))
    covariance = hits * n - sum(true[c] * predicted[c] for c in true)
    spread = (n * n - sum(x * x for x in predicted.values())) * (n * n - sum(x * x for x in true.values()))
    return covariance / sqrt(spread) if spread else 0.0


def _pearson(labels: Numbers, predictions: Numbers) -> float:
    if not all(map(isfinite, predictions)):
        return 0.0
    mean_a, mean_b = sum(labels) / len(labels), sum(predictions) / len(predictions)
    a, b = [x - mean_a for x in labels], [x - mean_b for x in predictions]
    widest_a, widest_b = max(map(abs, a)), max(map(abs, b))
    # Differences of rounding size are no spread: without this a constant 0.1 would correlate with something.
    if widest_a <= 1e-12 * max(1.0, abs(mean_a)) or widest_b <= 1e-12 * abs(mean_b) or not isfinite(widest_b) or not widest_b:
        return 0.0
    a, b = [x / widest_a for x in a], [x / widest_b for x in b]
    covariance = sum(x * y for x, y in zip(a, b, strict=True))
    return max(-1.0, min(1.0, covariance / sqrt(sum(x * x for x in a) * sum(y * y for y in b))))


def ranks(values: Numbers) -> list[float]:
    """Ranks from 1, ties sharing their mean rank."""
    order = sorted(range(len(values)), key=values.__getitem__)
    result = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for i in order[start : end + 1]:
            result[i] = (start + end) / 2 + 1
        start = end + 1
    return result


def _spearman(labels: Numbers, predictions: Numbers) -> float:
    return _pearson(ranks(labels), ranks(predictions)) if all(map(isfinite, predictions)) else 0.0


def _r2(labels: Numbers, predictions: Numbers) -> float:
    if not all(map(isfinite, predictions)):
        return -inf
    mean = sum(labels) / len(labels)
    total = sum((a - mean) * (a - mean) for a in labels)
    return 1 - sum((a - b) * (a - b) for a, b in zip(labels, predictions, strict=True)) / total if total else 0.0


def _mae(labels: Numbers, predictions: Numbers) -> float:
    if not all(map(isfinite, predictions)):
        return inf
    return sum(abs(a - b) for a, b in zip(labels, predictions, strict=True)) / len(labels)


def _rmse(labels: Numbers, predictions: Numbers) -> float:
    if not all(map(isfinite, predictions)):
        return inf
    return sqrt(sum((a - b) * (a - b) for a, b in zip(labels, predictions, strict=True)) / len(labels))


def _mean_of(*functions: Callable[[Numbers, Numbers], float]) -> Callable[[Numbers, Numbers], float]:
    def mean(labels: Numbers, predictions: Numbers) -> float:
        return sum(function(labels, predictions) for function in functions) / len(functions)

    return mean


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, "classification", _accuracy),
        Metric("f1", True, "classification", _f1, binary=True),
        Metric("macro_f1", True, "classification", _macro_f1),
        Metric("mcc", True, "classification", _mcc),
        Metric("accuracy_f1", True, "classification", _mean_of(_accuracy, _f1), binary=True),
        Metric("accuracy_macro_f1", True, "classification", _mean_of(_accuracy, _macro_f1)),
        Metric("spearman", True, "regression", _spearman),
        Metric("pearson", True, "regression", _pearson),
        Metric("pearson_spearman", True, "regression", _mean_of(_pearson, _spearman)),
        Metric("r2", True, "regression", _r2),
        Metric("mae", False, "regression", _mae),
        Metric("rmse", False, "regression", _rmse),
    )
}


def metric_for(name: str, kind: Kind, classes: int) -> Metric:
    """The metric called `name`, when it fits the task.

    Raises `SettingsError`, which lists those that fit, when it is unknown or doesn't.
    """
    fitting = [metric.name for metric in METRICS.values() if metric.fits(kind, classes)]
    if name in fitting:
        return METRICS[name]
    task = f"{classes} classes" if kind == "classification" else "regression"
    reason = f"the metric {name!r} doesn't fit a task with {task}" if name in METRICS else f"there is no metric {name!r}"
    raise SettingsError(f"{reason}; choose one of: {', '.join(fitting)}")
