"""Draws of mean scores where finalists have different seeds: a crossed random-effects model of all runs.

``y[f, s] = mean_f + seed_s + run_fs`` over the runs that there are, with `seed` and `run` random. A finalist's mean is what generalized
least squares make of it: on the seeds that it lacks it is judged by what these did to the others, as far as a seed does the same to all.

- The **variances** are unbiased quadratic forms (Henderson's method 3): the residuals of finalists and seeds give that of a run, those of
  finalists alone give both together. What a seed does to single examples is measured by the same forms in the resamples and taken off.
- A finalist's own variance is averaged with that of all as in `pelt_automl.verdict.crossed_effects`. Where nothing tells seeds from runs
  (no two finalists share two seeds), all luck is a run's own, which is too wide rather than too narrow.
- The **weights** take the seeds' share of the variance averaged with one half, which counts for `WEIGHT_DF` degrees of freedom.
- What all have in common (means weighted by their runs) and what is a finalist's own are drawn each by themselves, over the root of
  ``chi2 / df`` with Satterthwaite's degrees of freedom.

With equal seeds `crossed_effects` says it without a model. How often the intervals hold the truth: docs/verdict.md.
Shapes: `R` draws, `F` finalists, `S` seeds, `N` runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pelt_automl.tasks.metrics import Floats
from pelt_automl.verdict.crossed_effects import MOST_DF, PRIOR_DF, Bools

WEIGHT_DF = 2
"""Degrees of freedom that equal variances of seeds and runs count for in the weights of the runs."""
HALF_DF = 1
"""Degrees of freedom that the same counts for in a run's variance."""


@dataclass(frozen=True)
class _Variances:
    run: Floats
    """(F,): of a run beyond its finalist and seed."""
    run_beyond: Floats
    """(F,): the same without what a seed does to single examples."""
    run_df: Floats
    """(F,)"""
    seed: float
    seed_beyond: float
    seed_df: float


def unequal_draws(
    resampled: Floats, scores: Floats, has: Bools, rng: np.random.Generator, fitted: Sequence[bool] = ()
) -> tuple[Floats, Floats]:
    """Each finalist's mean ``(F,)``, and draws of it ``(R, F)``.

    Args:
        resampled: (R, F, S), each run's score on resampled examples, the same for all runs in a resample; anything where there is no run.
        scores: (F, S), each run's score; anything where there is no run.
        has: (F, S), whether there is a run; at least one for each finalist.
        rng: of the draws over seeds.
        fitted: (F,), which finalists have no random start or order; none by default. The others' means and the
            distribution of their draws are those without them.
    """
    resamples, (finalists, seeds) = len(resampled), has.shape
    means, draws = np.zeros(finalists), np.zeros((resamples, finalists))
    by_seed, luck = rng.standard_normal((resamples, seeds)), rng.random((resamples, 1))
    by_run = rng.standard_normal((resamples, finalists, seeds))
    alone = np.array(fitted, dtype=bool) if fitted else np.zeros(finalists, dtype=bool)
    for group in (~alone, alone):
        if group.any():
            mask = has & group[:, None]
            means[group], draws[:, group] = _drawn(resampled[:, mask], scores[mask], mask[group], by_seed, by_run[:, mask], luck)
    return means, draws


def _drawn(resampled: Floats, scores: Floats, has: Bools, by_seed: Floats, by_run: Floats, luck: Floats) -> tuple[Floats, Floats]:
    """Of finalists that know of each other: `resampled` (R, N), `scores` (N,), `by_seed` (R, S) and `by_run` (R, N) standard normal."""
    from scipy.stats import chi2

    finalists, seeds = has.shape
    who, seed = np.nonzero(has)
    of, on = np.eye(finalists)[who], np.eye(seeds)[seed]
    deviations = resampled - resampled.mean(axis=0)
    if len(scores) == finalists:  # one run each
        return scores, scores + deviations
    found = _variances(scores, deviations, of, on)
    runs_df = len(scores) - np.linalg.matrix_rank(np.hstack([of, on]))
    everything = found.seed + found.run.mean()
    share = (runs_df * (found.seed / everything if everything > 0 else 0.5) + WEIGHT_DF / 2) / (runs_df + WEIGHT_DF)
    inverse = np.linalg.inv((1 - share) * np.eye(len(scores)) + share * on @ on.T)
    weights = np.linalg.solve(of.T @ inverse @ of, of.T @ inverse)
    common = of.mean(axis=0, keepdims=True) @ weights

    def part(rows: Floats, run_df: Floats | float) -> Floats:
        """(R, ...): draws of the deviations of weighted sums of the runs."""
        on_seeds, examples = rows @ on, deviations @ rows.T
        run, run_beyond = rows**2 @ found.run[who], rows**2 @ found.run_beyond[who]
        by_seeds = (on_seeds**2).sum(axis=1)
        total = (examples**2).mean(axis=0) + run_beyond + by_seeds * found.seed_beyond
        unsure = run**2 / run_df + (by_seeds * found.seed) ** 2 / found.seed_df
        precise = np.divide(total**2, unsure, out=np.full_like(total, MOST_DF), where=unsure > 0)
        df = np.clip(precise, 1.0, MOST_DF)
        drawn = (by_run * np.sqrt(found.run_beyond)[who]) @ rows.T + by_seed @ on_seeds.T * np.sqrt(found.seed_beyond)
        return np.asarray(np.sqrt(df / chi2.ppf(luck, df)) * (examples + drawn), np.float64)

    means = weights @ scores
    return means, means + part(weights - common, found.run_df) + part(common, max(1.0, float(runs_df)))


def _variances(scores: Floats, deviations: Floats, of: Floats, on: Floats) -> _Variances:
    """From `scores` (N,) and their `deviations` (R, N) on resampled examples; `of` (N, F) and `on` (N, S) say whose and where."""
    runs, finalists = of.shape
    within = np.eye(runs) - of @ np.linalg.pinv(of)
    both = np.hstack([of, on])
    residual = np.eye(runs) - both @ np.linalg.pinv(both)
    within_df, runs_df = runs - finalists, runs - int(np.linalg.matrix_rank(both))
    all_luck = float(((within @ scores) ** 2).sum()) / within_df
    all_single = float(((deviations @ within) ** 2).mean(axis=0).sum()) / within_df
    by_seed = on.T @ within @ on
    seed_df = float(np.trace(by_seed) ** 2 / (by_seed**2).sum())  # seeds that most have count for more: fewer than S - 1
    if finalists == 1:  # as if all were the seeds', which are others' seeds as well
        return _Variances(np.zeros(1), np.zeros(1), np.ones(1), all_luck, max(0.0, all_luck - all_single), seed_df)
    if runs_df == 0:
        every = np.ones(finalists)
        return _Variances(every * all_luck, every * max(0.0, all_luck - all_single), every * within_df, 0.0, 0.0, seed_df)
    free = np.diag(residual) @ of
    own_df = np.minimum(runs_df, free * finalists / (finalists - 1))
    prior_df = np.minimum(PRIOR_DF, runs_df - own_df)

    def shrunken(squares: Floats) -> tuple[Floats, float]:
        pooled = float(squares.sum()) / runs_df
        own = np.divide(squares @ of, free, out=np.full(finalists, pooled), where=free > 1e-9)
        return (own_df * own + prior_df * pooled) / (own_df + prior_df), pooled

    def careful(own: Floats, everything: float) -> Floats:
        """Averaged with half of what runs and seeds vary together: one or two degrees of freedom may show a variance near 0."""
        return (runs_df * own + HALF_DF * everything / 2) / (runs_df + HALF_DF)

    (luck, pooled), (single, pooled_single) = shrunken((residual @ scores) ** 2), shrunken(((deviations @ residual) ** 2).mean(axis=0))
    seed = max(0.0, all_luck - pooled)
    seed_beyond = max(0.0, seed - max(0.0, all_single - pooled_single))
    luck, single = careful(luck, all_luck), careful(single, all_single)
    return _Variances(luck, np.maximum(0.0, luck - single), own_df + prior_df, seed, seed_beyond, seed_df)
