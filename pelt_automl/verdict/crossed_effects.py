"""Draws of mean scores whose luck has two sources, crossed: the examples of the report split, and the seeds of the runs.

With ``y[f, s]`` the score of finalist `f` with seed `s` on n examples, a mean over S seeds varies by

- the **examples**: what is hard for a finalist whatever the seed, and what a seed does to single examples. Resampled examples give both;
- the **seeds** beyond that. The scores' variance over seeds also holds what a seed does to single examples, which would count twice. It
  is measured in the same resamples (how the seeds' scores vary against their mean) and taken off (Owen 2007 on two crossed factors).

Both are split into what all finalists share, which cancels in differences, and what is a finalist's own, and each part is drawn by itself:

- Resampling 3 seeds gives only 10 different samples, a variance that is ``(S - 1) / S`` of what it should be, and no notion of how badly 3
  seeds tell a variance. Instead the seeds' residuals are multiplied by normal numbers that sum to 0 over the seeds (a multiplier
  bootstrap with the unbiased variance).
- A finalist's own variance is averaged with that of all finalists, which weighs as much as `PRIOR_DF` degrees of freedom or as the other
  finalists provide (empirical Bayes, Smyth 2004). Two finalists borrow nothing: a pair's own difference is all that they know about it.
- A finalist that is **fitted** without a random start (a baseline) lacks the others' luck of initialization and order. It is drawn by
  itself, ``b``; what the others share and average is theirs alone, ``t_i = shared + own_i``. So ``t_i`` and ``t_i - t_j`` are what they are
  without `b`, and in ``t_i - b`` cancels what both have of the examples and of the seeds, which are the same ones, multiplied alike.
- The sum of both sources is divided by ``sqrt(chi2 / df)`` with Satterthwaite's degrees of freedom: Student's t of the seeds, as in a
  paired t-test, where the seeds dominate, and normal where the examples do.

How often the intervals hold the truth: docs/verdict.md. Shapes: `R` draws, `F` finalists, `S` seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelt_automl.tasks.metrics import Floats

Bools = NDArray[np.bool_]

PRIOR_DF = 2
"""Degrees of freedom that the finalists' common spread over seeds counts for, at most: as if it had been seen on 3 seeds."""
MOST_DF = 1e6
"""Degrees of freedom from which on Student's t is the normal distribution."""


@dataclass(frozen=True)
class _Part:
    """The deviations that finalists share (one column), or what each has of its own."""

    examples: Floats
    """(R, F): of resampled means over seeds from their center."""
    single: Floats
    """(R, F, S): of resampled scores from their mean over seeds: what a seed does to single examples."""
    seeds: Floats
    """(F, S): of the scores from their mean over seeds."""

    def shared(self) -> "_Part":
        """What all finalists have in common."""
        return _Part(self.examples.mean(1, keepdims=True), self.single.mean(1, keepdims=True), self.seeds.mean(0, keepdims=True))

    def of(self, finalists: Bools) -> "_Part":
        """That of some finalists alone. In the same order of memory, so that sums over all of them stay the same to the last bit."""
        return _Part(self.examples.compress(finalists, 1), self.single.compress(finalists, 1), self.seeds.compress(finalists, 0))

    def own(self) -> "_Part":
        """The rest."""
        shared = self.shared()
        return _Part(self.examples - shared.examples, self.single - shared.single, self.seeds - shared.seeds)


def mean_draws(resampled: Floats, scores: Floats, rng: np.random.Generator, fitted: Sequence[bool] = ()) -> Floats:
    """(R, F): draws of each finalist's mean over seeds, around the observed one.

    Args:
        resampled: (R, F, S), each run's score on resampled examples, the same for all runs in a resample.
        scores: (F, S), each run's score.
        rng: of the draws over seeds.
        fitted: (F,), which finalists have no random start or order, so that their spread over seeds is compared with nobody's; none by
            default. The draws of the others are those that they have without them.
    """
    resamples, finalists, seeds = resampled.shape
    means = resampled.mean(axis=2)
    single = resampled - means[:, :, None]
    everything = _Part(means - means.mean(axis=0), single - single.mean(axis=0), scores - scores.mean(axis=1, keepdims=True))
    observed = scores.mean(axis=1)
    draws = np.asarray(observed + everything.examples, np.float64)
    if seeds == 1:
        return draws
    normal = rng.standard_normal((resamples, seeds))
    multipliers, luck = normal - normal.mean(axis=1, keepdims=True), rng.random((resamples, 1))
    alone = np.array(fitted, dtype=bool) if fitted else np.zeros(finalists, dtype=bool)
    if alone.any():
        draws[:, alone] = observed[alone] + _drawn(everything.of(alone), multipliers, luck)
    together, trained = everything.of(~alone), finalists - int(alone.sum())
    if trained > 0:
        draws[:, ~alone] = observed[~alone] + _drawn(together.shared(), multipliers, luck)
    if trained > 1:
        borrowed = rng.standard_normal((resamples, trained))
        borrowed = (borrowed - borrowed.mean(axis=1, keepdims=True)) * np.sqrt(trained / (trained - 1))
        prior_df = min(PRIOR_DF, (trained - 2) * (seeds - 1))
        draws[:, ~alone] += _drawn(together.own(), multipliers, luck, borrowed, prior_df)
    return draws


def _drawn(part: _Part, multipliers: Floats, luck: Floats, borrowed: Floats | float = 0.0, prior_df: int = 0) -> Floats:
    """(R, F): draws of one part's deviations.

    `multipliers` (R, S) sum to 0; `luck` (R, 1), from 0 to 1, says how far off the variances are; `borrowed` (R, F) is standard normal.
    """
    from scipy.stats import chi2

    seeds = part.seeds.shape[1]
    own_df = seeds - 1
    df = own_df + prior_df
    own_variance = (part.seeds**2).sum(axis=1) / own_df
    spread = (own_df * own_variance + prior_df * own_variance.mean()) / df
    own_single = (part.single**2).mean(axis=0).sum(axis=1) / own_df
    single = (own_df * own_single + prior_df * own_single.mean()) / df
    beyond = np.maximum(0.0, spread - single) / seeds
    own = multipliers @ part.seeds.T / np.sqrt(seeds * own_df)
    by_seeds = (np.sqrt(own_df) * own + np.sqrt(prior_df * own_variance.mean() / seeds) * borrowed) / np.sqrt(df)
    kept = np.sqrt(np.divide(beyond * seeds, spread, out=np.zeros_like(spread), where=spread > 0))
    total = (part.examples**2).mean(axis=0) + beyond
    precise = np.divide(df * total**2, (spread / seeds) ** 2, out=np.full_like(total, MOST_DF), where=spread > 0)
    satterthwaite = np.clip(precise, 1.0, MOST_DF)
    student = np.sqrt(satterthwaite / chi2.ppf(luck, satterthwaite))
    return np.asarray(student * (part.examples + kept * by_seeds), np.float64)
