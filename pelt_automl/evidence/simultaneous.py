"""Intervals of the differences between finalists that hold all at once.

Each 95 % interval by itself leaves out the truth once in twenty times. Whoever looks at the differences of 8 equal finalists to the best of them
looks at the most extreme of 28, and finds one whose interval leaves 0 out in more than a third of all selections (docs/verdict.md). So
that "different" is said wrongly in at most 5 % of the selections, however many finalists there are and whichever turned out the best, the
intervals are stretched until the 95 % of the draws that they hold are the same for all pairs: a bootstrap max-t, as Tukey's range test is for
independent means (Westfall and Young 1993; Hothorn, Bretz and Westfall 2008).
"""

import numpy as np

from pelt_automl.evidence.statistics import LEVEL, interval
from pelt_automl.evidence.weighted_scores import Floats


def stretch(draws: Floats, level: float = LEVEL) -> float:
    """The factor by which the single intervals of all pairwise differences of `draws` (R, F) have to be stretched to hold together.

    1 for two finalists (one pair), and when nothing differs.
    """
    first, second = np.triu_indices(draws.shape[1], 1)
    if len(first) < 2:
        return 1.0
    extremes = [_reach(draws[:, i] - draws[:, j], level) for i, j in zip(first, second, strict=True)]
    return max(1.0, float(np.quantile(np.max(extremes, axis=0), level)))


def _reach(differences: Floats, level: float) -> Floats:
    """(R,): how far from the center each draw lies, as a multiple of the distance to the interval's end on that side."""
    center = np.median(differences)
    low, high = interval(differences, level)
    side = np.where(differences > center, high - center, center - low)
    reach: Floats = np.divide(np.abs(differences - center), side, out=np.zeros_like(differences), where=side > 0)
    return reach


def stretched(differences: Floats, factor: float, level: float = LEVEL) -> tuple[float, float]:
    """The interval of the draws (R,) of one difference, made wider by `factor` on either side of its center."""
    center = float(np.median(differences))
    low, high = interval(differences, level)
    return center - factor * (center - low), center + factor * (high - center)
