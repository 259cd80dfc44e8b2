"""A regularized linear map from features to classes or numbers, with its strength chosen inside the examples that it is fitted on.

Logistic regression for classes, ridge regression for numbers, both with an L2 penalty on the weights. Where an example has several labels,
each has a logistic regression of its own, all of one strength. The strength comes from a cross-validation by the one-standard-error rule,
toward the stronger (see `cross_validation`).
Shapes: `n` examples, `H` features, `C` classes or labels (1 for numbers).
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelt_automl.baselines.blas import one_blas_thread
from pelt_automl.baselines.cross_validation import (
    MOST_EXAMPLES,
    MOST_VALIDATED,
    Chosen,
    CrossValidation,
    Floats,
    Indices,
    choose,
    folds_of,
    mixed,
    mixed_each,
    out_of_fold,
    too_few,
)
from pelt_automl.training.tokens import drawn

STRENGTHS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""L2 penalties on the weights of features whose mean squared length is 1, over the sum of the examples' losses; the strongest first."""

FIXED_STRENGTH = 0.1
"""Where a class has too few examples for a cross-validation: C = 10 in scikit-learn's terms, on features of length 1."""


@dataclass(frozen=True)
class Linear:
    """``features @ weight.T + bias``: logits, or the number."""

    weight: Floats
    """``(C, H)``."""
    bias: Floats | None
    """``(C,)``; None for a map without."""
    strength: float
    validation: CrossValidation | None
    """None where the strength was given, and where the examples are too few or too alike for folds."""
    losses: Floats | None = None
    """``(n,)``, out of fold, of the examples that the strength was chosen on; None as `validation`."""

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
    """The map for these examples; of more than `MOST_EXAMPLES` it sees so many, drawn by a fixed seed.

    Args:
        features: ``(n, H)``.
        labels: ``(n,)``, class indices or numbers; of several labels ``(n, C)``, zeros and ones.
        classes: how many there are, whether they all occur or not; 1 for numbers.
        groups: ``(n,)``: examples with the same number (equal texts) stay in one fold.
        bias: whether the map has one.
        strength: the penalty, where it isn't to be chosen.
    """
    seen = drawn(len(labels), MOST_EXAMPLES, 0)
    x, y, chosen = np.asarray(features[seen], np.float64), labels[seen], None
    with one_blas_thread():
        if strength is None:
            strength, chosen = choose_strength(lambda rest, out: (x[rest], x[out]), y, classes, np.asarray(groups)[seen], bias=bias)
        weight, offset = Problem(x, y, classes, bias=bias).solved(strength)
    return Linear(weight, offset, strength, *(chosen.validation, chosen.losses) if chosen else (None, None))


def choose_strength(
    parts: Callable[[Indices, Indices], tuple[Floats, Floats]],
    labels: NDArray[np.floating],
    classes: int,
    groups: Sequence[int] | NDArray[np.integer],
    *,
    bias: bool = True,
) -> tuple[float, Chosen | None]:
    """The strength, and how good the map is at it; None where the examples are too few or too alike for folds.

    `parts` gives the features of the examples at two lists of positions: those to fit on, and others. It may learn from the first of them.
    It is asked for `MOST_VALIDATED` of the examples at most, drawn by a fixed seed.
    """
    few = drawn(len(labels), MOST_VALIDATED, 0)
    own = labels[few]
    folds = folds_of(own, classes, np.asarray(groups)[few])
    if len(folds) < 2:
        return FIXED_STRENGTH, None
    strengths = (FIXED_STRENGTH,) if too_few(labels, classes) else STRENGTHS

    def of(rest: Indices, out: Indices) -> list[Floats]:
        x, others = parts(few[rest], few[out])
        problem = Problem(x, own[rest], classes, bias=bias)
        return [problem.out_of_fold(strength, others) for strength in strengths]

    found = choose(out_of_fold(len(few), classes, len(strengths), folds, of), own, classes, folds)
    return strengths[found.index], found


class Problem:
    """Examples to fit on. The penalty is on features that are centered (where the map has a bias) and scaled.

    Fewer examples than features span no more directions than there are examples: the same solution, found in those.
    """

    def __init__(self, x: Floats, y: NDArray[np.floating], classes: int, *, bias: bool) -> None:
        """`x`: ``(n, H)``; `y`: ``(n,)`` or ``(n, C)``."""
        self.y, self.classes, self.bias = y, classes, bias
        self.center = x.mean(axis=0) if bias else np.zeros(x.shape[1])
        self.scale = float(np.sqrt(((x - self.center) ** 2).sum(axis=1).mean())) or 1.0
        self.inputs, self.directions = (x - self.center) / self.scale, None
        if len(x) < x.shape[1]:
            left, lengths, self.directions = np.linalg.svd(self.inputs, full_matrices=False)
            self.inputs = left * lengths

    def solved(self, strength: float) -> tuple[Floats, Floats | None]:
        """Weights ``(C, H)`` and bias ``(C,)`` for the features as they are."""
        weight, offset = penalized(self.inputs, self.y, self.classes, strength, bias=self.bias)
        weight = (weight if self.directions is None else weight @ self.directions) / self.scale
        return weight, (offset - weight @ self.center) if self.bias else None

    def out_of_fold(self, strength: float, others: Floats) -> Floats:
        """Probabilities, or numbers, ``(n, C)`` of other examples."""
        from scipy.special import expit, softmax

        weight, offset = self.solved(strength)
        outputs: Floats = others @ weight.T + (0.0 if offset is None else offset)
        if self.y.ndim == 2:
            return mixed_each(expit(outputs), len(self.y))
        return outputs if self.classes == 1 else mixed(softmax(outputs, axis=1), len(self.y))


def penalized(x: Any, y: NDArray[np.floating], classes: int, strength: float, *, bias: bool) -> tuple[Floats, Floats]:
    """Weights ``(C, H)`` and bias ``(C,)`` with this penalty on the weights of `x`, ``(n, H)``, dense or sparse, as it is."""
    if not x.shape[1]:  # scikit-learn wants a feature
        weight, offset = penalized(np.zeros((len(y), 1)), y, classes, strength, bias=bias)
        return weight[:, :0], offset
    if y.ndim == 2:
        each = [_logistic(x, own, 2, strength, bias) for own in y.T]
        return np.stack([weight[1] - weight[0] for weight, _ in each]), np.array([offset[1] - offset[0] for _, offset in each])
    if classes > 1:
        return _logistic(x, y, classes, strength, bias)
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=strength, fit_intercept=bias).fit(x, y)
    return np.asarray(model.coef_, np.float64).reshape(1, -1), np.atleast_1d(np.asarray(model.intercept_, np.float64))


def _logistic(x: Any, y: NDArray[np.floating], classes: int, strength: float, bias: bool) -> tuple[Floats, Floats]:
    """Of a class without an example the logit lies below that of every other by what one example in ``n + C`` would make it."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(y.astype(np.int64))
    weight, offset = np.zeros((classes, x.shape[1])), np.zeros(classes)
    if len(seen) > 1:
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # the best so far is good enough for a start
            model: Any = LogisticRegression(C=1 / strength, fit_intercept=bias, max_iter=300).fit(x, y.astype(np.int64))
        own, own_offset = np.asarray(model.coef_, np.float64), np.atleast_1d(np.asarray(model.intercept_, np.float64))
        if len(seen) == 2:  # a single row: that of the second class against the first
            own, own_offset = np.concatenate([-own, own]) / 2, np.concatenate([-own_offset, own_offset]) / 2
        weight[seen], offset[seen] = own, own_offset
    absent = np.setdiff1d(np.arange(classes), seen)
    offset[absent] = offset[seen].min() - np.log(len(y) + classes)
    return weight, offset
