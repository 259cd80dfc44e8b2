"""A regularized linear map from features to classes or numbers, with its strength chosen inside the examples that it is fitted on.

Logistic regression for classes, ridge regression for numbers, both with an L2 penalty on the weights. The strength comes from a
cross-validation by the one-standard-error rule (Breiman et al. 1984): of the strengths whose mean loss is no more than one standard error
above the least, the strongest. The standard error is that of the difference, paired over examples: all strengths see the same ones.
Shapes: `n` examples, `H` features, `C` classes (1 for numbers).
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STRENGTHS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""L2 penalties on the weights of features whose mean squared length is 1, over the sum of the examples' losses; the strongest first."""

FIXED_STRENGTH = 1.0
"""Where a class has too few examples for a cross-validation."""

FEWEST_OF_A_CLASS = 3

FOLDS = 5

LEAST_GAIN = 0.01
"""Share of a constant's loss by which a map has to be better: a map of next to no weights beats it by a hair, and starts a head at zero."""

MOST_EXAMPLES = 5000
"""Examples that a map is fitted on at most, the first of the order given: with more it gets slower, hardly better."""

MOST_VALIDATED = 1000
"""Of these, examples that the strength is chosen on."""


@dataclass(frozen=True)
class CrossValidation:
    """What a map learned from some examples says of others, over all folds."""

    loss: float
    """Mean loss of an example at the strength chosen: log loss, or squared error in units of the labels' variance."""
    chance: float
    """The same of a constant: the classes' shares in the other folds, or their mean."""
    error: float
    """Standard error of ``chance - loss``, paired over examples."""
    score: float
    """Share of examples whose class is found; for numbers the share of the variance that is explained."""
    chance_score: float
    """The same of always predicting the most frequent class of the other folds; 0 for numbers."""

    @property
    def above_chance(self) -> bool:
        """Whether the features tell anything: the loss is below a constant's by more than one standard error and `LEAST_GAIN`."""
        return self.chance - self.loss > max(self.error, LEAST_GAIN * self.chance)


@dataclass(frozen=True)
class Linear:
    """``features @ weight.T + bias``: logits, or the number."""

    weight: Floats
    """``(C, H)``."""
    bias: Floats | None
    """``(C,)``; None for a map without."""
    strength: float
    validation: CrossValidation | None
    """None where the strength was given."""

    def outputs(self, features: NDArray[np.floating]) -> Floats:
        """``(n, C)``."""
        found: Floats = np.asarray(features, dtype=np.float64) @ self.weight.T
        return found if self.bias is None else found + self.bias


def fit_linear(
    features: NDArray[np.floating],
    labels: NDArray[np.floating],
    classes: int,
    groups: Sequence[int],
    *,
    bias: bool = True,
    strength: float | None = None,
) -> Linear:
    """The map for these examples.

    Args:
        features: ``(n, H)``.
        labels: ``(n,)``, class indices, or numbers.
        classes: how many there are, whether they all occur or not; 1 for numbers.
        groups: ``(n,)``: examples with the same number (equal texts) stay in one fold.
        bias: whether the map has one.
        strength: the penalty, where it isn't to be chosen.
    """
    x, y, validation = np.asarray(features[:MOST_EXAMPLES], np.float64), labels[:MOST_EXAMPLES], None
    if strength is None:
        strength, validation = _chosen(x[:MOST_VALIDATED], y[:MOST_VALIDATED], classes, np.asarray(groups[:MOST_VALIDATED]), bias=bias)
    weight, offset = _fitted(x, y, classes, strength, bias=bias)
    return Linear(weight, offset, strength, validation)


def _fitted(x: Floats, y: NDArray[np.floating], classes: int, strength: float, *, bias: bool) -> tuple[Floats, Floats | None]:
    """Weights ``(C, H)`` and bias ``(C,)`` for the features as they are; the penalty is on features that are centered and scaled.

    Fewer examples than features span no more directions than there are examples: the same solution, found in those.
    """
    center = x.mean(axis=0) if bias else np.zeros(x.shape[1])
    scale = float(np.sqrt(((x - center) ** 2).sum(axis=1).mean())) or 1.0
    inputs, directions = (x - center) / scale, None
    if len(x) < x.shape[1]:
        left, lengths, directions = np.linalg.svd(inputs, full_matrices=False)
        inputs = left * lengths
    weight, offset = (_ridge if classes == 1 else _logistic)(inputs, y, classes, strength, bias)
    weight = (weight if directions is None else weight @ directions) / scale
    return weight, (offset - weight @ center) if bias else None


def _ridge(x: Floats, y: NDArray[np.floating], _classes: int, strength: float, bias: bool) -> tuple[Floats, Floats]:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=strength, fit_intercept=bias).fit(x, y)
    return np.asarray(model.coef_, np.float64)[None], np.atleast_1d(np.asarray(model.intercept_, np.float64))


def _logistic(x: Floats, y: NDArray[np.floating], classes: int, strength: float, bias: bool) -> tuple[Floats, Floats]:
    """Of a class without an example the logit lies below that of every other by what one example in ``n + C`` would make it."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(y.astype(np.int64))
    weight, offset = np.zeros((classes, x.shape[1])), np.zeros(classes)
    if len(seen) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the best so far is good enough for a start
            model: Any = LogisticRegression(C=1 / strength, fit_intercept=bias, max_iter=300).fit(x, y.astype(np.int64))
        own, own_offset = np.asarray(model.coef_, np.float64), np.atleast_1d(np.asarray(model.intercept_, np.float64))
        if len(seen) == 2:  # a single row: that of the second class against the first
            own, own_offset = np.concatenate([-own, own]) / 2, np.concatenate([-own_offset, own_offset]) / 2
        weight[seen], offset[seen] = own, own_offset
    absent = np.setdiff1d(np.arange(classes), seen)
    offset[absent] = offset[seen].min() - np.log(len(y) + classes)
    return weight, offset


# ------------------------------------------------------------ strength


def _chosen(x: Floats, y: NDArray[np.floating], classes: int, groups: NDArray[Any], *, bias: bool) -> tuple[float, CrossValidation | None]:
    """The strength, and how good the map is at it; no validation where the examples are too few or too alike for folds."""
    folds = _folds(x, y, classes, groups)
    if len(folds) < 2:
        return FIXED_STRENGTH, None
    few = classes > 1 and min(Counter(y.tolist()).values()) < FEWEST_OF_A_CLASS
    strengths = (FIXED_STRENGTH,) if few else STRENGTHS
    outputs = [_out_of_fold(x, y, classes, folds, strength, bias=bias) for strength in strengths]
    losses = [_losses(own, y, classes) for own in outputs]
    best = min(losses, key=np.mean)
    at = next(i for i, own in enumerate(losses) if own.mean() <= best.mean() + standard_error(own - best))
    constant = _constant(y, classes, folds)
    chance = _losses(constant, y, classes)
    gain = chance - losses[at]
    scores = (_score(own, y, classes) for own in (outputs[at], constant))
    return strengths[at], CrossValidation(float(losses[at].mean()), float(chance.mean()), standard_error(gain), *scores)


def standard_error(values: Floats) -> float:
    """Of the mean of ``(n,)`` values; 0 for one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Positions to fit on, and the others."""


def _folds(x: Floats, y: NDArray[np.floating], classes: int, groups: NDArray[Any]) -> Folds:
    """Equal texts in one fold; classes in about equal shares."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    count = min(FOLDS, len(set(groups.tolist())))
    if count < 2 or len(set(y.tolist())) < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer examples than folds
        if classes == 1:
            return list(GroupKFold(count, shuffle=True, random_state=0).split(x, y, groups))
        most = max(Counter(y.tolist()).values())
        return list(StratifiedGroupKFold(min(count, most), shuffle=True, random_state=0).split(x, y.astype(np.int64), groups))


def _out_of_fold(x: Floats, y: NDArray[np.floating], classes: int, folds: Folds, strength: float, *, bias: bool) -> Floats:
    """Class probabilities ``(n, C)`` of each example, or its number, by the map of the other folds."""
    found = np.zeros((len(y), classes))
    for rest, out in folds:
        weight, offset = _fitted(x[rest], y[rest], classes, strength, bias=bias)
        outputs = x[out] @ weight.T + (0.0 if offset is None else offset)
        found[out] = outputs if classes == 1 else _mixed(_softmax(outputs), len(rest))
    return found


def _constant(y: NDArray[np.floating], classes: int, folds: Folds) -> Floats:
    """The same of a map that sees no features."""
    found = np.zeros((len(y), classes))
    for rest, out in folds:
        found[out] = (
            y[rest].mean() if classes == 1 else _mixed(np.bincount(y[rest].astype(np.int64), minlength=classes) / len(rest), len(rest))
        )
    return found


def _softmax(logits: Floats) -> Floats:
    from scipy.special import softmax

    found: Floats = softmax(logits, axis=1)
    return found


def _mixed(probabilities: Floats, n: int) -> Floats:
    """With one example's weight in ``n + 1`` for all classes alike: one that a fold hasn't seen isn't impossible."""
    return np.asarray((probabilities * n + 1 / probabilities.shape[-1]) / (n + 1), np.float64)


def _losses(outputs: Floats, y: NDArray[np.floating], classes: int) -> Floats:
    if classes == 1:
        return np.asarray((outputs[:, 0] - y) ** 2 / (y.var() or 1.0), np.float64)
    return np.asarray(-np.log(outputs[np.arange(len(y)), y.astype(np.int64)]), np.float64)


def _score(outputs: Floats, y: NDArray[np.floating], classes: int) -> float:
    return float(1 - _losses(outputs, y, classes).mean() if classes == 1 else (outputs.argmax(axis=1) == y).mean())
