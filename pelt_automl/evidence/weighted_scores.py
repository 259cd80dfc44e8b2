"""A metric's value on thousands of resamples at once: the examples' weights times what the metric counts.

A resample of the examples is a row of weights (how often each example was drawn), so that its confusion counts, or its moments, are
one matrix product. Shapes: `n` examples, `P` rows of predictions (finalists times seeds), `R` resamples, `C` classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POSITIVE = 1.0
"""Class index that the binary F1 is about, as in `pelt_automl.tasks.metrics`."""


def _ratio(above: Floats, below: Floats) -> Floats:
    """``above / below``, 0 where `below` is 0: a metric without a defined value counts as no skill."""
    result: Floats = np.divide(above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=below > 0)
    return result


@dataclass(frozen=True)
class Confusion:
    """Weighted confusion counts of one row of predictions."""

    classes: Floats
    """(C,), ascending."""
    true: Floats
    """(R, C): weight of the examples of each class."""
    predicted: Floats
    """(R, C): weight of the examples predicted as each class."""
    hits: Floats
    """(R, C): weight of the examples of each class that were predicted rightly."""

    @cached_property
    def total(self) -> Floats:
        """(R,): weight of all examples."""
        total: Floats = self.true.sum(axis=1)
        return total

    def accuracy(self) -> Floats:
        """(R,)."""
        return _ratio(self.hits.sum(axis=1), self.total)

    def f1(self) -> Floats:
        """(R,): F1 of the class with index 1; 0 when it was neither there nor predicted."""
        positive = self.classes == POSITIVE
        return _ratio(2 * self.hits[:, positive].sum(axis=1), (self.true + self.predicted)[:, positive].sum(axis=1))

    def macro_f1(self) -> Floats:
        """(R,): mean F1 over the classes that are there or predicted in the resample."""
        support = self.true + self.predicted
        return _ratio(_ratio(2 * self.hits, support).sum(axis=1), (support > 0).sum(axis=1).astype(np.float64))

    def mcc(self) -> Floats:
        """(R,): Matthews correlation for any number of classes (Gorodkin 2004); 0 for constant labels or predictions."""
        total = self.total
        covariance = self.hits.sum(axis=1) * total - (self.true * self.predicted).sum(axis=1)
        spread = (total**2 - (self.predicted**2).sum(axis=1)) * (total**2 - (self.true**2).sum(axis=1))
        return _ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def _classified(score: Callable[[Confusion], Floats]) -> Callable[[Floats, Floats, Floats], Floats]:
    def scores(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
        classes = np.union1d(labels, predictions)
        is_class = (labels[:, None] == classes).astype(weights.dtype)
        true = weights @ is_class
        columns = []
        for row in predictions:
            said_class = (row[:, None] == classes).astype(weights.dtype)
            columns.append(score(Confusion(classes, true, weights @ said_class, weights @ (is_class * said_class))))
        return np.stack(columns, axis=1)

    return scores


def _pearson(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    x, y = predictions - predictions.mean(axis=1, keepdims=True), labels - labels.mean()
    mean_x, mean_y = weights @ x.T / total, (weights @ y)[:, None] / total
    variance_x = weights @ (x**2).T / total - mean_x**2
    variance_y = (weights @ y**2)[:, None] / total - mean_y**2
    covariance = weights @ (x * y).T / total - mean_x * mean_y
    # What is left of a constant column after subtraction is rounding, not variance.
    constant = (variance_x <= _rounding(predictions)) | (variance_y <= _rounding(labels))
    product = np.maximum(variance_x * variance_y, 0)
    return np.where(constant, 0.0, np.clip(_ratio(covariance, np.sqrt(product)), -1, 1))


def _rounding(values: Floats) -> Floats:
    """The variance below which values of this size are constant."""
    size: Floats = np.abs(values).max(axis=-1)
    limit: Floats = (1e-12 * size) ** 2 + 1e-14 * np.var(values, axis=-1)
    return limit


def _centered_ranks(values: Floats, weights: Floats) -> Floats:
    """(R, n): each example's rank in each resample, ties sharing their mean rank, minus the mean of all ranks.

    Ranks have to be taken anew in each resample: with those of the whole sample the spread of Spearman's correlation comes out wrong.
    A value's rank is the weight below it and half its own, so that one sorting of the values serves all resamples.
    """
    order = np.argsort(values, kind="stable")
    is_new = np.concatenate([[True], np.diff(values[order]) > 0])
    grouped = np.add.reduceat(weights[:, order], np.flatnonzero(is_new), axis=1)
    ranks = grouped.cumsum(axis=1) - grouped / 2 - grouped.sum(axis=1, keepdims=True) / 2
    group = np.empty(len(values), dtype=np.int64)
    group[order] = is_new.cumsum() - 1
    by_example: Floats = ranks[:, group]
    return by_example


def _spearman(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
    label_ranks = _centered_ranks(labels, weights)
    weighted = weights * label_ranks
    label_variance = np.einsum("rn,rn->r", weighted, label_ranks)
    columns = []
    for row in predictions:
        ranks = _centered_ranks(row, weights)
        variance = label_variance * np.einsum("rn,rn,rn->r", weights, ranks, ranks)
        columns.append(_ratio(np.einsum("rn,rn->r", weighted, ranks), np.sqrt(variance)))
    return np.stack(columns, axis=1)


def _mean_of(values: Callable[[Floats, Floats], Floats]) -> Callable[[Floats, Floats, Floats], Floats]:
    def scores(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
        means: Floats = weights @ values(labels, predictions).T / weights.sum(axis=1, keepdims=True)
        return means

    return scores


# One matrix product for all rows: accuracy needs no confusion counts.
_accuracy = _mean_of(lambda labels, predictions: (predictions == labels).astype(np.float64))
_mae = _mean_of(lambda labels, predictions: np.abs(predictions - labels))
_mse = _mean_of(lambda labels, predictions: (predictions - labels) ** 2)


def _r2(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
    centered = (labels - labels.mean())[None, :]
    total = weights.sum(axis=1, keepdims=True)
    variance = weights @ (centered**2).T / total - (weights @ centered.T / total) ** 2
    return np.where(variance > 0, 1 - _ratio(_mse(labels, predictions, weights), variance), 0.0)


def _macro_f1_and_accuracy(confusion: Confusion) -> Floats:
    return (confusion.accuracy() + confusion.macro_f1()) / 2


QUICK: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "accuracy": _accuracy,
    "f1": _classified(Confusion.f1),
    "macro_f1": _classified(Confusion.macro_f1),
    "mcc": _classified(Confusion.mcc),
    "accuracy_f1": _classified(lambda confusion: (confusion.accuracy() + confusion.f1()) / 2),
    "accuracy_macro_f1": _classified(_macro_f1_and_accuracy),
    "pearson": _pearson,
    "spearman": _spearman,
    "pearson_spearman": lambda *arrays: (_pearson(*arrays) + _spearman(*arrays)) / 2,
    "mae": _mae,
    "rmse": lambda *arrays: np.sqrt(_mse(*arrays)),
    "r2": _r2,
}
"""Metrics whose value under weights is a closed form; a metric that isn't here is scored resample by resample."""


def weighted_scores(metric: str, labels: Floats, predictions: Floats, weights: Floats) -> Floats:
    """The metric of each row of predictions under each row of weights.

    Args:
        metric: a name in `pelt_automl.tasks.metrics.METRICS`.
        labels: (n,), class indices or numbers.
        predictions: (P, n), in the same form.
        weights: (R, n), how often each example counts: whole numbers when the metric has no quick form.

    Returns:
        (R, P), in the metric's own unit; never NaN.
    """
    if metric in QUICK:
        return QUICK[metric](labels, predictions, weights)
    from pelt_automl.tasks.metrics import METRICS

    drawn = [np.repeat(np.arange(len(labels)), row.astype(np.int64)) for row in weights]
    score = METRICS[metric].score
    return np.array([[score(labels[indices].tolist(), row[indices].tolist()) for row in predictions] for indices in drawn])
