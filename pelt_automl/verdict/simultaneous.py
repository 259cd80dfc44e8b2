"""Intervals of the differences between finalists that hold all at once.

Each 95 % interval by itself leaves out the truth once in twenty times. Whoever looks at the differences of 8 equal finalists to the best of
them looks at the most extreme of 28, and finds one whose interval leaves 0 out in more than a third of all selections (docs/verdict.md). So
that "different" is said wrongly in at most 5 % of the selections, however many finalists there are and whichever turned out the best, the
intervals are stretched until all of them together hold 95 % of the draws: a bootstrap max-t, as Tukey's range test is for independent means
(Westfall and Young 1993; Hothorn, Bretz and Westfall 2008).
"""

import numpy as np

from pelt_automl.tasks.metrics import Floats
from pelt_automl.verdict.statistics import LEVEL


def simultaneous_intervals(draws: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Low and high ends, ``(F, F)`` each: entry ``[i, j]`` is about how much higher the mean of `i` is than that of `j`.

    Each interval by itself (the central `level` of its draws) is stretched on either side of the draws' median, all by the same factor: 1
    for two finalists, and when nothing differs.

    Args:
        draws: (R, F), of the finalists' means.
        level: probability that all intervals hold at once.
    """
    finalists = draws.shape[1]
    first, second = np.triu_indices(finalists, 1)
    differences = draws[:, first] - draws[:, second]
    center = np.median(differences, axis=0)
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2], axis=0)
    factor = 1.0
    if finalists > 2:  # how far the most extreme pair of a draw lies from its center, over the distance to its interval's end, at `level`
        side = np.where(differences > center, high - center, center - low)
        reach = np.divide(np.abs(differences - center), side, out=np.zeros_like(differences), where=side > 0)
        factor = max(1.0, float(np.quantile(reach.max(axis=1), level)))
    lows, highs = np.zeros((finalists, finalists)), np.zeros((finalists, finalists))
    lows[first, second], highs[first, second] = center - factor * (center - low), center + factor * (high - center)
    return lows - highs.T, highs - lows.T  # the other way round, an interval is its own mirror image
