"""Whether probabilities can be taken at their word, and the one number that makes them so: the temperature (Guo et al. 2017).

Logits are divided by a temperature before the softmax: above 1 it makes probabilities less sure, below 1 surer. The most probable class
stays the same. Shapes: `n` examples, `C` classes.
"""

import numpy as np
from numpy.typing import NDArray

from pelt_automl.tasks.metrics import Floats

BINS = 15
LOWEST, HIGHEST = 0.1, 10.0
"""Bounds of a temperature."""


def best_temperature(logits: NDArray[np.floating], labels: NDArray[np.floating]) -> float:
    """The temperature with the smallest log loss on these examples, within its bounds.

    1 where every example is right: the surer the better there, which says nothing of others.

    Args:
        logits: ``(n, C)``, or log probabilities.
        labels: ``(n,)``, class indices.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    own, true = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if (own.argmax(axis=1) == true).all():
        return 1.0

    def log_loss(logarithm: float) -> float:
        tempered = own / np.exp(logarithm)
        return float((logsumexp(tempered, axis=1) - tempered[np.arange(len(true)), true]).mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded").x))


def calibration_error(probabilities: Floats, labels: NDArray[np.floating]) -> float:
    """The expected calibration error (Naeini et al. 2015; Guo et al. 2017), from 0 to 1.

    Examples are put into `BINS` bins of equal width by the probability of their most probable class. The gap of a bin is that between the
    mean of these probabilities and the share of its examples whose most probable class is the true one. The error is the mean gap over
    examples.

    Args:
        probabilities: ``(n, C)``.
        labels: ``(n,)``, class indices.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(place, confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
