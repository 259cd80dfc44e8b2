"""What a point is: the unit of differences between scores that users think in."""

import numpy as np
from numpy.typing import ArrayLike

from pelt_automl.tasks.metrics import METRICS

POINT = 0.01
"""One point of a metric that runs from 0 to 1."""


def point(metric: str, labels: ArrayLike) -> float:
    """One point in the metric's unit: 0.01 of it; for errors 1 % of the standard deviation of the labels, ``(n,)``."""
    return POINT * float(np.std(np.asarray(labels, dtype=np.float64))) if METRICS[metric].in_label_unit else POINT
