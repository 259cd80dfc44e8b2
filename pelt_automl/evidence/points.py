"""What a point is: the unit of differences between scores that users think in."""

import numpy as np
from numpy.typing import ArrayLike

ERRORS = ("mae", "rmse")
"""Metrics in the unit of the labels."""

POINT = 0.01
"""One point of a metric that runs from 0 to 1."""


def point(metric: str, labels: ArrayLike) -> float:
    """One point in the metric's unit: 0.01 of it; for errors 1 % of the standard deviation of the labels, ``(n,)``."""
    return POINT * float(np.std(np.asarray(labels, dtype=np.float64))) if metric in ERRORS else POINT
