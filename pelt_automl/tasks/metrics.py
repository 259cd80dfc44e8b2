"""Metrics of text tasks: each is written once, for the predictions as they are and for thousands of resamples of the examples alike.

A metric has two halves. `Metric.statistics` turns predictions and labels into one row of numbers per example. `Metric.score` turns these
rows into the metric's value, with each row counted as often as its weight says. A resample (a draw of a bootstrap) is a row of weights, so
one bootstrap serves every metric. Most metrics need the weighted sums of their statistics alone. Spearman's is no function of sums: its
statistics are the values themselves, and they are ranked under each row of weights.

Definitions follow scikit-learn and SciPy, with two differences. What is undefined there (a correlation with a constant, R2 of constant
labels, a ranking of examples of one class) is 0.0 here, without a warning, since a constant prediction is a common way for a small training
to fail. And a mean over classes leaves out a class that no example has, since a resample may miss a rare one.
Shapes: `n` examples, `s` statistics, `R` resamples, `C` classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pelt_automl.errors import SettingsError
from pelt_automl.log.events import sign_of
from pelt_automl.tasks.answers import exact_match, token_f1

Floats = NDArray[np.float64]

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Metric:
    """How predictions are scored."""

    name: str
    """Unique over all kinds of tasks: records say nothing else of a metric."""
    greater_is_better: bool
    kind: str
    """Of task: a name in `pelt_automl.tasks.kinds.KINDS`."""
    statistics: Callable[[Any, Any], Floats]
    """From what it `reads` ``(n, ...)`` and labels ``(n, ...)`` of the task's kind: ``(n, s)``, numbers of each example."""
    score: Callable[[Floats, Floats], Floats]
    """From statistics ``(n, s)`` and weights ``(R, n)``, how often each example counts: ``(R,)``, values in the metric's own unit."""
    binary: bool = False
    """Whether it needs exactly two classes; the class with index 1 is the positive one (`pelt_automl.tasks.positive` sees to that)."""
    low: float = 0.0
    """The least value that it can take."""
    high: float = 1.0
    """The greatest."""
    broken: float = 0.0
    """Its value where a prediction isn't finite: as bad as it allows, or no skill."""
    in_label_unit: bool = False
    """Whether it is an error in the unit of the labels."""
    counts: bool = False
    """Whether it counts right and wrong answers, or pairs in order, so that none wrong among n examples doesn't mean that none are made."""
    reads: Literal["predictions", "probabilities"] = "predictions"
    """What it scores: the kind's predictions, or a probability for each class, ``(n, C)``."""
    ordered: bool = False
    """Whether the order of the classes matters to it: that of their indices."""
    of_texts: bool = False
    """Whether predictions and labels are texts."""

    def values(self, found: ArrayLike) -> NDArray[Any]:
        """Predictions or labels as it reads them."""
        return np.asarray(found, str if self.of_texts else np.float64)

    @property
    def sign(self) -> int:
        """1 where a greater value is better, else -1."""
        return sign_of(self.greater_is_better)

    def value(self, predictions: ArrayLike, labels: ArrayLike) -> float:
        """The score in the metric's own unit (accuracy 0 to 1).

        Args:
            predictions: ``(n, ...)``, what it `reads`: for instance predicted class indices, numbers, or probabilities.
            labels: ``(n, ...)``, the true ones.

        Raises:
            ValueError: the lengths differ or are 0.
        """
        found, true = self.values(predictions), self.values(labels)
        if len(found) != len(true) or not len(true):
            raise ValueError(f"{self.name} needs a prediction for each label, one at least: {len(true)} labels, {len(found)} predictions")
        if not (self.of_texts or np.isfinite(found).all()):
            return self.broken
        return float(self.score(self.statistics(found, true), np.ones((1, len(true))))[0])

    def can_read(self, outputs: NDArray[Any], labels: NDArray[Any]) -> bool:
        """Whether outputs have the shape of what it `reads`, for these labels."""
        if self.reads == "probabilities":
            return outputs.ndim == 2 and len(outputs) == len(labels)
        return outputs.shape == labels.shape

    def fits(self, kind: str, classes: int) -> bool:
        """Whether it can score a task of this kind with so many classes."""
        return self.kind == kind and (not self.binary or classes == 2)


def _ratio(above: Floats, below: Floats) -> Floats:
    """``above / below``, 0 where `below` is 0: a metric without a defined value counts as no skill."""
    return np.asarray(np.divide(above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=below > 0), np.float64)


def _mean(statistics: Floats, weights: Floats) -> Floats:
    """Of the first statistic."""
    return np.asarray(weights @ statistics[:, 0] / weights.sum(axis=1), np.float64)


def _positives(predictions: Floats, labels: Floats) -> Floats:
    """Of the class with index 1: whether it is there, whether it is predicted, whether both."""
    true, said = labels == 1, predictions == 1
    return np.stack([true, said, true & said], axis=1).astype(np.float64)


def _f1(statistics: Floats, weights: Floats) -> Floats:
    """0 when the positive class was neither there nor predicted."""
    true, said, hits = (weights @ statistics).T
    return _ratio(2 * hits, true + said)


def _confusion(predictions: Floats, labels: Floats) -> Floats:
    """``(n, 3 C)``: for each class that is there or predicted whether it is there, whether it is predicted, whether both."""
    classes = np.union1d(labels, predictions)
    true, said = labels[:, None] == classes, predictions[:, None] == classes
    return np.hstack([true, said, true & said]).astype(np.float64)


def _counted(statistics: Floats, weights: Floats) -> list[Floats]:
    """Of each class, ``(R, C)``: the weight of its examples, of those predicted as it, and of both."""
    return np.split(weights @ statistics, 3, axis=1)


def _macro_f1(statistics: Floats, weights: Floats) -> Floats:
    """Mean over the classes that are there or predicted."""
    true, said, hits = _counted(statistics, weights)
    support = true + said
    in_all = np.cumsum(_ratio(2 * hits, support), axis=1)[:, -1]  # class after class, as one adds by hand
    return _ratio(in_all, (support > 0).sum(axis=1).astype(np.float64))


def _cells(predictions: Floats, labels: Floats) -> Floats:
    """``(n, 3 C)``: of each of several labels whether it is there, whether it is predicted, whether both."""
    return np.hstack([labels, predictions, labels * predictions])


def _all_right(predictions: Floats, labels: Floats) -> Floats:
    """Whether an example has all of its labels and no other."""
    return np.asarray((predictions == labels).all(axis=1), np.float64)[:, None]


def _micro_f1(statistics: Floats, weights: Floats) -> Floats:
    """All labels of all examples taken together; 0 where none is there or predicted."""
    true, said, hits = (counts.sum(axis=1) for counts in _counted(statistics, weights))
    return _ratio(2 * hits, true + said)


def _mcc(statistics: Floats, weights: Floats) -> Floats:
    """Gorodkin's R_K (2004), which is Matthews' coefficient for two classes."""
    true, said, hits = _counted(statistics, weights)
    total = true.sum(axis=1)
    covariance = hits.sum(axis=1) * total - (true * said).sum(axis=1)
    spread = (total**2 - (said**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1))
    return _ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def _balanced_accuracy(statistics: Floats, weights: Floats) -> Floats:
    """Mean over the classes that are there of the share that is found."""
    true, _, hits = _counted(statistics, weights)
    return _ratio(_ratio(hits, true).sum(axis=1), (true > 0).sum(axis=1).astype(np.float64))


def _indices(predictions: Floats, labels: Floats) -> Floats:
    """Both classes by index, their squares, and their product."""
    return np.stack([labels, predictions, labels**2, predictions**2, labels * predictions], axis=1)


def _quadratic_kappa(statistics: Floats, weights: Floats) -> Floats:
    """Cohen's kappa with squared distances between class indices (Cohen 1968): 1 less their mean over that of independent pairs."""
    x, y, xx, yy, xy = (weights @ statistics / weights.sum(axis=1, keepdims=True)).T
    independent = xx + yy - 2 * x * y
    agree_by_nature = independent <= 1e-12 * (xx + yy)  # both say one class throughout, the same one
    return np.where(agree_by_nature, 0.0, 1 - _ratio(xx + yy - 2 * xy, independent))


def _chances(probabilities: Floats, labels: Floats) -> Floats:
    """``(n, 2 C)``: of each class its probability and whether it is there. Of two classes only the second: the first mirrors it."""
    classes = np.arange(probabilities.shape[1])[1 if probabilities.shape[1] == 2 else 0 :]
    return np.hstack([probabilities[:, classes], labels[:, None] == classes]).astype(np.float64)


def _running(weights: Floats) -> Floats:
    """``(R, n + 1)``: the weight of the first examples, from none to all n."""
    return np.concatenate([np.zeros((len(weights), 1)), weights.cumsum(axis=1)], axis=1)


def _roc_auc(statistics: Floats, weights: Floats) -> Floats:
    """Share of the pairs of an example of a class and one of another that are in order, a tie being half a pair; the mean over classes."""
    areas, defined = np.zeros(len(weights)), np.zeros(len(weights))
    for chance, there in zip(*np.split(statistics.T, 2), strict=True):
        own, others = np.flatnonzero(there), np.flatnonzero(there == 0)
        others = others[np.argsort(chance[others], kind="stable")]
        of_own, below = np.take(weights, own, axis=1), _running(np.take(weights, others, axis=1))
        first, last = (np.searchsorted(chance[others], chance[own], side) for side in ("left", "right"))
        ordered = np.einsum("rp,rp->r", of_own, np.take(below, first, axis=1) + np.take(below, last, axis=1)) / 2
        pairs = of_own.sum(axis=1) * below[:, -1]
        areas += _ratio(ordered, pairs)
        defined += pairs > 0
    return _ratio(areas, defined)


def _average_precision(statistics: Floats, weights: Floats) -> Floats:
    """Of the class with index 1: the mean precision at its examples, those of one probability taken together."""
    chance, there = statistics.T
    order = np.argsort(-chance, kind="stable")
    descending, own = -chance[order], np.flatnonzero(there[order])
    of_all = np.take(weights, order, axis=1)
    of_own = np.take(of_all, own, axis=1)
    hits, said = _running(of_own), _running(of_all)
    ends = (np.searchsorted(some, descending[own], "right") for some in (descending[own], descending))
    true, every = (np.take(some, end, axis=1) for some, end in zip((hits, said), ends, strict=True))
    precision = true / np.maximum(every, np.finfo(np.float64).tiny)  # without any weight 0
    return _ratio(np.einsum("rp,rp->r", of_own, precision), hits[:, -1])


def _surprise(probabilities: Floats, labels: Floats) -> Floats:
    """Minus the logarithm of the true class's probability, which is kept from 0 as scikit-learn does."""
    own = probabilities[np.arange(len(labels)), labels.astype(np.int64)]
    return -np.log(np.clip(own, _EPSILON, 1 - _EPSILON))[:, None]


def _centered(values: Floats) -> Floats:
    """Less their mean; zeros where the differences are of rounding size, without which a constant 0.1 would correlate with something."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values.mean()
        centered = values - mean
        widest = np.abs(centered).max()
    return np.asarray(centered if np.isfinite(widest) and widest > 1e-12 * abs(mean) else np.zeros_like(values), np.float64)


def _moments(predictions: Floats, labels: Floats) -> Floats:
    """Centered and at most 1, which changes no correlation and keeps squares within range."""
    x, y = (centered / (np.abs(centered).max() or 1.0) for centered in map(_centered, (predictions, labels)))
    return np.stack([x, y, x * x, y * y, x * y], axis=1)


def _pearson(statistics: Floats, weights: Floats) -> Floats:
    x, y, xx, yy, xy = (weights @ statistics / weights.sum(axis=1, keepdims=True)).T
    variance_x, variance_y = xx - x**2, yy - y**2
    # What is left of a constant after subtraction is rounding, not variance.
    constant = (variance_x <= 1e-14 * np.var(statistics[:, 0])) | (variance_y <= 1e-14 * np.var(statistics[:, 1]))
    found = np.clip(_ratio(xy - x * y, np.sqrt(np.maximum(variance_x * variance_y, 0))), -1, 1)
    return np.where(constant, 0.0, found)


def _centered_ranks(values: Floats, weights: Floats) -> Floats:
    """``(R, n)``: each example's rank in each resample, ties sharing their mean rank, minus the mean of all ranks.

    They are taken in each resample: with the ranks of the whole sample the spread of Spearman's correlation comes out wrong.
    A value's rank is the weight below it and half its own, so that one sorting of the values serves all resamples.
    """
    order = np.argsort(values, kind="stable")
    is_new = np.concatenate([[True], np.diff(values[order]) > 0])
    own = np.take(weights, order, axis=1)
    if not is_new.all():
        own = np.add.reduceat(own, np.flatnonzero(is_new), axis=1)
    ranks = own.cumsum(axis=1)
    ranks -= own / 2
    ranks -= weights.sum(axis=1, keepdims=True) / 2
    group = np.empty(len(values), dtype=np.int64)
    group[order] = is_new.cumsum() - 1
    return np.asarray(np.take(ranks, group, axis=1), np.float64)


def _spearman(statistics: Floats, weights: Floats) -> Floats:
    one, other = (_centered_ranks(column, weights) for column in statistics.T)
    weighted = weights * one
    variance = np.einsum("rn,rn->r", weighted, one) * np.einsum("rn,rn,rn->r", weights, other, other)
    return _ratio(np.einsum("rn,rn->r", weighted, other), np.sqrt(variance))


def _errors(predictions: Floats, labels: Floats) -> Floats:
    """Of each example: the size of its error, the error squared, the label less the mean label, and that squared."""
    error, centered = predictions - labels, _centered(labels)
    return np.stack([np.abs(error), error**2, centered, centered**2], axis=1)


def _mse(statistics: Floats, weights: Floats) -> Floats:
    return _mean(statistics[:, 1:2], weights)


def _r2(statistics: Floats, weights: Floats) -> Floats:
    variance = _mean(statistics[:, 3:], weights) - _mean(statistics[:, 2:], weights) ** 2
    constant = variance <= 1e-14 * np.var(statistics[:, 2])
    return np.where(constant, 0.0, 1 - _ratio(_mse(statistics, weights), variance))


def _mean_of(name: str, one: Metric, width: int, other: Metric) -> Metric:
    """The mean of two metrics of one kind; `width`: the statistics of the first of them."""
    return Metric(
        name,
        True,
        one.kind,
        lambda *outputs: np.hstack([one.statistics(*outputs), other.statistics(*outputs)]),
        lambda both, weights: (one.score(both[:, :width], weights) + other.score(both[:, width:], weights)) / 2,
        other.binary,
        low=(one.low + other.low) / 2,
        counts=one.counts,
    )


_ACCURACY = Metric("accuracy", True, "classification", lambda said, true: np.asarray(said == true, np.float64)[:, None], _mean, counts=True)
_F1 = Metric("f1", True, "classification", _positives, _f1, binary=True, counts=True)
_MACRO_F1 = Metric("macro_f1", True, "classification", _confusion, _macro_f1, counts=True)
_PEARSON = Metric("pearson", True, "regression", _moments, _pearson, low=-1.0)
_SPEARMAN = Metric("spearman", True, "regression", lambda *values: np.stack(values, axis=1), _spearman, low=-1.0)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _ACCURACY,
        _F1,
        _MACRO_F1,
        Metric("mcc", True, "classification", _confusion, _mcc, low=-1.0, counts=True),
        Metric("balanced_accuracy", True, "classification", _confusion, _balanced_accuracy, counts=True),
        Metric("quadratic_kappa", True, "classification", _indices, _quadratic_kappa, low=-1.0, counts=True, ordered=True),
        Metric("roc_auc", True, "classification", _chances, _roc_auc, counts=True, reads="probabilities"),
        Metric("average_precision", True, "classification", _chances, _average_precision, True, counts=True, reads="probabilities"),
        Metric("log_loss", False, "classification", _surprise, _mean, high=inf, broken=inf, reads="probabilities"),
        _mean_of("accuracy_f1", _ACCURACY, 1, _F1),
        _mean_of("accuracy_macro_f1", _ACCURACY, 1, _MACRO_F1),
        _SPEARMAN,
        _PEARSON,
        _mean_of("pearson_spearman", _PEARSON, 5, _SPEARMAN),
        Metric("r2", True, "regression", _errors, _r2, low=-inf, broken=-inf),
        Metric("mae", False, "regression", _errors, _mean, high=inf, broken=inf, in_label_unit=True),
        Metric("rmse", False, "regression", _errors, lambda *of: np.sqrt(_mse(*of)), high=inf, broken=inf, in_label_unit=True),
        Metric("micro_f1", True, "multi-label", _cells, _micro_f1, counts=True),
        Metric("multilabel_macro_f1", True, "multi-label", _cells, _macro_f1, counts=True),
        Metric("subset_accuracy", True, "multi-label", _all_right, _mean, counts=True),
        Metric("answer_f1", True, "question-answering", token_f1, _mean, of_texts=True),
        Metric("exact_match", True, "question-answering", exact_match, _mean, counts=True, of_texts=True),
    )
}


def metric_for(name: str, kind: str, classes: int) -> Metric:
    """The metric called `name`, when it fits the task; ``macro_f1`` is also what several labels' is called, ``f1`` that of answers.

    Raises `SettingsError`, which lists those that fit, when it is unknown or doesn't.
    """
    fitting = [metric.name for metric in METRICS.values() if metric.fits(kind, classes)]
    for own in (name, f"multilabel_{name}", f"answer_{name}"):
        if own in fitting:
            return METRICS[own]
    task = f"{classes} classes" if classes else kind
    reason = f"the metric {name!r} doesn't fit a task with {task}" if name in METRICS else f"there is no metric {name!r}"
    raise SettingsError(f"{reason}; choose one of: {', '.join(fitting)}")
