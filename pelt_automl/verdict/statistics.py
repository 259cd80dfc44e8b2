"""Paired bootstrap over seeds and examples: how sure may one be of a mean score, of a difference, of being the best?

A finalist's report score varies for two reasons: other examples could stand in the report split, and other seeds (split,
initialization, order) could have been drawn. A draw varies both, the same way for every finalist, so that whatever helps all of
them alike cancels in the differences. How the two are told apart and put together: `pelt_automl.verdict.crossed_effects`.

With one seed the draws say nothing about other seeds; the caller has to say so. An interval holds for the one mean or difference that was
asked for before the scores were seen; for those that the scores have singled out, as the difference to the best, see
`pelt_automl.verdict.simultaneous`. What is claimed here is simulated by ``studies.calibration``: docs/verdict.md.
Shapes: `F` finalists, `S` seeds, `n` examples, `R` draws.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pelt_automl.tasks import METRICS
from pelt_automl.tasks.metrics import Floats, Metric
from pelt_automl.verdict.crossed_effects import Bools, mean_draws
from pelt_automl.verdict.unequal_seeds import unequal_draws

RESAMPLES = 2000
POINT = 0.01
"""One point of a metric that runs from 0 to 1."""
BLOCK = 4_000_000
"""Weights held in memory at once (32 MB)."""
LEVEL = 0.95
"""Probability that an interval is meant to cover the truth with."""


def _resampled_scores(labels: Floats, predictions: Floats, metric: Metric, resamples: int, rng: np.random.Generator) -> Floats:
    """(R, F, S): each run's score on resampled examples."""
    finalists, seeds, n = predictions.shape[:3]
    most, draws = max(1, BLOCK // n), []
    for size in [most] * (resamples // most) + [resamples % most] * (resamples % most > 0):
        drawn = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        scores = [metric.score(metric.statistics(run, labels), weights) for runs in predictions for run in runs]
        draws.append(np.stack(scores, axis=1).reshape(size, finalists, seeds))
    return np.concatenate(draws)


def paired_bootstrap(
    labels: Floats, predictions: Floats, metric: str, resamples: int = RESAMPLES, seed: int = 0, fitted: Sequence[bool] = ()
) -> Floats:
    """Draws of every finalist's mean score, with the same examples and seeds for all finalists in a draw.

    Args:
        labels: (n, ...), for instance class indices or numbers.
        predictions: (F, S, n, ...), in the same form; the seeds are those that all finalists share.
        metric: a name in `pelt_automl.tasks.metrics.METRICS`.
        resamples: number of draws.
        seed: of the draws; the same input gives the same draws.
        fitted: (F,), which finalists have no random start or order; none by default. Each of these is drawn by itself.

    Returns:
        (R, F), in the metric's own unit. Heavy-tailed with few seeds: single draws may leave the metric's range.
    """
    rng, of = np.random.default_rng(seed), METRICS[metric]
    resampled = _resampled_scores(labels, predictions, of, resamples, rng)
    scores = np.array([[of.value(run, labels) for run in runs] for runs in predictions])
    return mean_draws(resampled, scores, rng, fitted)


def unequal_bootstrap(
    labels: Floats, predictions: Floats, has: Bools, metric: str, resamples: int = RESAMPLES, seed: int = 0, fitted: Sequence[bool] = ()
) -> tuple[Floats, Floats]:
    """The same where finalists lack seeds: each one's mean ``(F,)`` as the model of all runs makes it, and draws of it ``(R, F)``.

    Args:
        labels: (n, ...), as in `paired_bootstrap`.
        predictions: (F, S, n, ...), of all seeds that any finalist has; anything valid where there is no run.
        has: (F, S), whether there is a run; at least one for each finalist.
        metric: a name in `pelt_automl.tasks.metrics.METRICS`.
        resamples: number of draws.
        seed: of the draws.
        fitted: (F,), which finalists have no random start or order.
    """
    rng, of = np.random.default_rng(seed), METRICS[metric]
    resampled = _resampled_scores(labels, predictions, of, resamples, rng)
    scores = np.array([[of.value(run, labels) for run in runs] for runs in predictions])
    return unequal_draws(resampled, scores, has, rng, fitted)


def share_best(draws: Floats, greater_is_better: bool = True) -> Floats:
    """(F,): share of the draws (R, F) in which each finalist is the best; ties are split evenly. Sums to 1."""
    oriented = draws if greater_is_better else -draws
    # Equal scores reach here through sums in different order: a difference of rounding is a tie.
    is_best = oriented >= oriented.max(axis=1, keepdims=True) - 1e-12
    return np.asarray((is_best / is_best.sum(axis=1, keepdims=True)).mean(axis=0), np.float64)


def probability_best(draws: Floats, greater_is_better: bool = True) -> Floats:
    """(F,): the probability of each finalist to be the best, from draws (R, F) of their means. Sums to 1."""
    return share_best(shrunken(draws), greater_is_better)


def probability_within(draws: Floats, chosen: int, region: float, greater_is_better: bool = True) -> float:
    """That no finalist is better than the `chosen` one (an index) by more than `region`, from draws (R, F) of their means.

    The share of the plain draws: those that `probability_best` counts say too much where many finalists are level and the best leads by
    little more than the region (docs/verdict.md). From one finalist 1.
    """
    oriented = draws if greater_is_better else -draws
    return float((oriented.max(axis=1) - oriented[:, chosen] <= region).mean())


def shrunken(draws: Floats) -> Floats:
    """(R, F): the draws, drawn together as far as the finalists differ by no more than luck makes them differ.

    The observed best of several owes its place to luck as well, so that the share of the plain draws in which it is best says 75 % where
    66 % is true (two finalists 0.7 points apart, 3 seeds). The finalists' true means are taken as normal around their common mean; the
    share ``b`` of what is seen that is luck, ``noise / (noise + spread)``, has the density ``b^(-1/2) / 2`` before the scores are seen
    (Strawderman 1971) and a truncated gamma distribution after. Each draw has its own ``b``: the center of its deviations from the common
    mean is multiplied by ``1 - b``, its luck by the root of it. Where the finalists differ by far more than luck, nothing changes.
    """
    from scipy.special import gammainc, gammaincinv

    resamples, finalists = draws.shape
    center = np.median(draws, axis=0)
    luck = draws - center
    own = luck - luck.mean(axis=1, keepdims=True)
    # Quantiles, since with few seeds the draws have no variance.
    low, high = np.quantile(own, [0.16, 0.84], axis=0)
    noise = float((((high - low) / 2) ** 2).sum() / max(1, finalists - 1))
    if noise <= 0:
        return draws
    apart = center - center.mean()
    shape, rate = finalists / 2, float((apart**2).sum() / noise) / 2
    uniform = np.random.default_rng(0).random((resamples, 1))
    share = gammaincinv(shape, uniform * gammainc(shape, rate)) / rate if rate > 1e-6 else uniform ** (1 / shape)
    return np.asarray(draws - own - apart + (1 - share) * apart + np.sqrt(1 - share) * own, np.float64)


def interval(draws: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The central interval that holds `level` of the draws (R,)."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def point(metric: str, labels: ArrayLike) -> float:
    """One point in the metric's unit: 0.01 of it; for errors in the labels' unit 1 % of the standard deviation of the labels, ``(n,)``."""
    return POINT * float(np.std(np.asarray(labels, dtype=np.float64))) if METRICS[metric].in_label_unit else POINT


def smallest_error(n: int, metric: str) -> float:
    """What a standard error over `n` examples isn't taken to be below, where a bootstrap finds no mistake to draw.

    For a metric that counts, that of a perfect accuracy after Agresti and Coull (1998): none among n doesn't mean that none are made.
    """
    return math.sqrt(2 * (n + 2) / (n + 4) ** 3) if METRICS[metric].counts else 0.0
