"""Paired bootstrap over seeds and examples: how sure may one be of a mean score, of a difference, of being the best?

A finalist's report score varies for two reasons: other examples could stand in the report split, and other seeds (split,
initialization, order) could have been drawn. A draw varies both, the same way for every finalist, so that whatever helps all of
them alike cancels in the differences. With ``y[f, s]`` the score of finalist `f` with seed `s`, draw `r` of its mean is::

    draw[r, f] = mean_s score(f, s | examples w_r)  +  sum_s m[r, s] * y[f, s]

- Examples: ``w_r`` are n examples drawn with replacement (Efron's bootstrap).
- Seeds: resampling 3 seeds with replacement gives only 10 different samples, a variance that is ``(S - 1) / S`` of what it should be,
  and no notion of how badly 3 seeds tell a variance. Instead the multipliers ``m[r]`` are normal numbers that sum to 0 over the seeds
  (a multiplier bootstrap with the unbiased variance), divided by ``sqrt(chi2 / df)``, so that where the seeds dominate a mean is
  distributed as Student's t, as in a paired t-test on the seeds. With few seeds that alone would be honest but useless (2 seeds: 12.7
  standard errors), although the other finalists show how much seeds matter here. So the variances are moderated (empirical Bayes, Smyth
  2004): each finalist's own, with S - 1 degrees of freedom, is averaged with that of all finalists, which weighs as much as
  `PRIOR_DF` degrees of freedom or as the other finalists provide. It is split into what a seed does to all alike, which cancels in
  differences, and the rest. With one or two finalists nothing is borrowed.

The intervals err on the wide side: what a seed does to single examples is a part of both terms. They err on the narrow side for a
finalist that is far less stable than the others (simulated: 94 to 98 % coverage when all are alike, 90 % when one has five times the
others' spread over seeds). With one seed there is no second term and the interval says nothing about other
seeds; the caller has to say so. Differences are taken to the best of the observed means, so they favor that one a little (a maximum
over F finalists). Related: Owen 2007 on resampling two crossed factors. Shapes: `F` finalists, `S` seeds, `n` examples, `R` draws.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pelt_automl.evidence.crossed_effects import mean_draws
from pelt_automl.evidence.weighted_scores import QUICK, Floats, weighted_scores
from pelt_automl.tasks import METRICS

RESAMPLES = 2000
SLOW_RESAMPLES = 200
"""For a metric without a quick form, which is scored resample by resample."""
BLOCK = 4_000_000
"""Weights held in memory at once (32 MB)."""
LEVEL = 0.95
"""Probability that an interval is meant to cover the truth with."""


@dataclass(frozen=True)
class SharedSeeds:
    """Which finalists are compared, and on which seeds."""

    seeds: tuple[int, ...]
    compared: tuple[str, ...]
    left_out: tuple[str, ...]


def shared_seeds(runs: Mapping[str, Collection[int]]) -> SharedSeeds:
    """The seeds on which finalists can be compared in pairs.

    A finalist with fewer than half as many scored seeds as the most complete one (most of its runs failed) is left out; then, as
    long as no seed is common to all, the one with the fewest seeds (among equals the last). The seeds that the others share count.
    """
    most = max(len(seeds) for seeds in runs.values())
    compared = [name for name, seeds in runs.items() if 2 * len(seeds) >= most]
    while not (common := set.intersection(*(set(runs[name]) for name in compared))):
        compared.remove(min(reversed(compared), key=lambda name: len(runs[name])))
    left_out = tuple(name for name in runs if name not in compared)
    return SharedSeeds(tuple(sorted(common)), tuple(compared), left_out)


def _blocks(rows: int, examples: int) -> Iterator[int]:
    size = max(1, BLOCK // examples)
    for start in range(0, rows, size):
        yield min(size, rows - start)


def _resampled_scores(labels: Floats, predictions: Floats, metric: str, resamples: int, rng: np.random.Generator) -> Floats:
    """(R, F, S): each run's score on resampled examples."""
    finalists, seeds, n = predictions.shape
    rows = predictions.reshape(finalists * seeds, n)
    draws = []
    for size in _blocks(resamples, n):
        drawn = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        draws.append(weighted_scores(metric, labels, rows, weights).reshape(size, finalists, seeds))
    return np.concatenate(draws)


def paired_bootstrap(labels: Floats, predictions: Floats, metric: str, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Draws of every finalist's mean score, with the same examples and seeds for all finalists in a draw.

    Args:
        labels: (n,), class indices or numbers.
        predictions: (F, S, n), in the same form; the seeds are those that all finalists share.
        metric: a name in `pelt_automl.tasks.metrics.METRICS`.
        resamples: number of draws; at most `SLOW_RESAMPLES` for a metric without a quick form.
        seed: of the draws; the same input gives the same draws.

    Returns:
        (R, F), in the metric's own unit. Heavy-tailed with few seeds: single draws may leave the metric's range.
    """
    resamples = resamples if metric in QUICK else min(resamples, SLOW_RESAMPLES)
    finalists, seeds, n = predictions.shape
    rng = np.random.default_rng(seed)
    resampled = _resampled_scores(labels, predictions, metric, resamples, rng)
    scores = weighted_scores(metric, labels, predictions.reshape(-1, n), np.ones((1, n))).reshape(finalists, seeds)
    return mean_draws(resampled, scores, rng)


def probability_best(draws: Floats, greater_is_better: bool = True) -> Floats:
    """(F,): share of the draws (R, F) in which each finalist is the best; ties are split evenly. Sums to 1."""
    oriented = draws if greater_is_better else -draws
    # Equal scores reach here through sums in different order: a difference of rounding is a tie.
    is_best = oriented >= oriented.max(axis=1, keepdims=True) - 1e-12
    shares: Floats = (is_best / is_best.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def interval(draws: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The central interval that holds `level` of the draws (R,)."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def smallest_error(n: int, metric: str) -> float:
    """What a standard error over `n` examples isn't taken to be below, where a bootstrap finds no mistake to draw.

    For classification that of a perfect accuracy after Agresti and Coull (1998): none among n doesn't mean that none are made.
    """
    return math.sqrt(2 * (n + 2) / (n + 4) ** 3) if METRICS[metric].kind == "classification" else 0.0
