"""Which setting suits some examples, found inside them: K folds and the one-standard-error rule (Breiman et al. 1984).

Of the settings whose mean loss is no more than one standard error above the least, the simplest. The standard error is that of the
difference, paired over examples: all settings see the same ones. Shapes: `n` examples, `C` classes (1 for numbers). Labels are ``(n,)``,
class indices or numbers, or where an example has several of them ``(n, C)``, zeros and ones.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

FEWEST_OF_A_CLASS = 3
"""Examples of each class without which nothing is chosen."""

FOLDS = 5

LEAST_GAIN = 0.01
"""Share of a constant's loss by which a map has to be better: a map of next to no weights beats it by a hair, and starts a head at zero."""

MOST_EXAMPLES = 5000
"""Examples that a contender is fitted on at most, drawn by a fixed seed: with more it gets slower, hardly better."""

MOST_VALIDATED = 1000
"""Of these, examples that a setting is chosen on, drawn likewise."""


@dataclass(frozen=True)
class CrossValidation:
    """What a map learned from some examples says of others, over all folds."""

    loss: float
    """Mean loss of an example at the setting chosen: log loss (of several labels its mean over them), or squared error in units of the
    labels' variance."""
    chance: float
    """The same of a constant: the classes' shares in the other folds, or their mean."""
    error: float
    """Standard error of ``chance - loss``, paired over examples."""
    score: float
    """Share of examples whose class is found, or of labels that are told right; for numbers the share of the variance that is explained."""
    chance_score: float
    """The same of always predicting the most frequent class of the other folds, or the labels that most of their examples have; 0 for
    numbers."""

    @property
    def above_chance(self) -> bool:
        """Whether the features tell anything: the loss is below a constant's by more than one standard error and `LEAST_GAIN`."""
        return self.chance - self.loss > max(self.error, LEAST_GAIN * self.chance)


@dataclass(frozen=True)
class Chosen:
    """The setting, and how good it is."""

    index: int
    """Among the settings."""
    validation: CrossValidation
    losses: Floats
    """``(n,)``, of each example out of its fold."""


Folds = list[tuple[Indices, Indices]]
"""Positions to fit on, and the others."""


def folds_of(labels: NDArray[np.floating], classes: int, groups: Sequence[int] | NDArray[np.integer]) -> Folds:
    """Equal texts (the same number in `groups`) in one fold; classes in about equal shares. None where there is nothing to be learned."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    groups = np.asarray(groups)
    count = min(FOLDS, len(set(groups.tolist())))
    if count < 2 or len(np.unique(labels, axis=0)) < 2:
        return []
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # a class with fewer examples than folds
        if classes == 1 or labels.ndim == 2:
            return list(GroupKFold(count, shuffle=True, random_state=0).split(labels, groups=groups))
        count = min(count, max(Counter(labels.tolist()).values()))
        if count < 2:
            return []
        splits = StratifiedGroupKFold(count, shuffle=True, random_state=0).split(labels, labels.astype(np.int64), groups)
        # Few and large groups may leave a fold empty.
        return [(rest, out) for rest, out in splits if len(rest) and len(out)]


def too_few(labels: NDArray[np.floating], classes: int) -> bool:
    """Whether some class that occurs has fewer examples than `FEWEST_OF_A_CLASS`, so that a fixed setting is used."""
    if labels.ndim == 2:
        counts = labels.sum(axis=0)
        return bool(min(counts[counts > 0], default=0) < FEWEST_OF_A_CLASS)
    return classes > 1 and min(Counter(labels.tolist()).values()) < FEWEST_OF_A_CLASS


def out_of_fold(count: int, classes: int, settings: int, folds: Folds, of: Callable[[Indices, Indices], Sequence[Floats]]) -> list[Floats]:
    """For each setting probabilities ``(n, C)``, or numbers ``(n, 1)``, of each example by what the other folds have taught.

    `of` gives them for all settings: from the positions to fit on, for the positions left out.
    """
    found = [np.zeros((count, classes)) for _ in range(settings)]
    for rest, out in folds:
        for own, values in zip(found, of(rest, out), strict=True):
            own[out] = values
    return found


def choose(outputs: Sequence[Floats], labels: NDArray[np.floating], classes: int, folds: Folds) -> Chosen:
    """By the one-standard-error rule. `outputs`: of `out_of_fold`, the simplest setting first."""
    losses = [_losses(own, labels, classes) for own in outputs]
    best = min(losses, key=np.mean)
    at = next(i for i, own in enumerate(losses) if own.mean() <= best.mean() + standard_error(own - best))
    constant = _constant(labels, classes, folds)
    chance = _losses(constant, labels, classes)
    scores = [_score(own, labels, classes) for own in (outputs[at], constant)]
    validation = CrossValidation(float(losses[at].mean()), float(chance.mean()), standard_error(chance - losses[at]), *scores)
    return Chosen(at, validation, losses[at])


def standard_error(values: Floats) -> float:
    """Of the mean of ``(n,)`` values; 0 for one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def mixed(probabilities: Floats, n: int) -> Floats:
    """With one example's weight in ``n + 1`` for all classes alike: one that a fold hasn't seen isn't impossible."""
    return np.asarray((probabilities * n + 1 / probabilities.shape[-1]) / (n + 1), np.float64)


def mixed_each(probabilities: Floats, n: int) -> Floats:
    """As `mixed`, for labels of which each is there or not by itself."""
    return np.asarray((probabilities * n + 0.5) / (n + 1), np.float64)


def _constant(labels: NDArray[np.floating], classes: int, folds: Folds) -> Floats:
    """Out-of-fold values of a map that sees no features."""

    def of(rest: Indices, _: Indices) -> list[Any]:
        if labels.ndim == 2:
            return [mixed_each(labels[rest].mean(axis=0), len(rest))]
        if classes == 1:
            return [labels[rest].mean()]
        return [mixed(np.bincount(labels[rest].astype(np.int64), minlength=classes) / len(rest), len(rest))]

    return out_of_fold(len(labels), classes, 1, folds, of)[0]


def _score(outputs: Floats, labels: NDArray[np.floating], classes: int) -> float:
    """See `CrossValidation.score`."""
    if labels.ndim == 2:
        return float(((outputs >= 0.5) == (labels > 0)).mean())
    return float((outputs.argmax(axis=1) == labels).mean() if classes > 1 else 1 - _losses(outputs, labels, 1).mean())


def _losses(outputs: Floats, labels: NDArray[np.floating], classes: int) -> Floats:
    if labels.ndim == 2:
        return np.asarray(-np.log(np.where(labels > 0, outputs, 1 - outputs)).mean(axis=1), np.float64)
    if classes == 1:
        return np.asarray((outputs[:, 0] - labels) ** 2 / (labels.var() or 1.0), np.float64)
    return np.asarray(-np.log(outputs[np.arange(len(labels)), labels.astype(np.int64)]), np.float64)
