"""Draws of mean scores where finalists have different seeds: a crossed random-effects model of all runs.

``y[f, s] = mean_f + seed_s + run_fs`` over the runs that there are, with `seed` and `run` random. A finalist's mean is what generalized
least squares make of it: on the seeds that it lacks it is judged by what these did to the others, as far as a seed does the same to all.

- Two **mean squares** tell the variances (Henderson's method 3): the residuals of finalists and seeds, which is the run's alone, and what
  seeds explain beyond the finalists, which holds both. The same squares of resamples measure what a seed does to single examples.
- Each **draw** has variances of its own: a mean square times its degrees of freedom over a chi-square number, taken apart into runs and
  seeds, less what a seed does to single examples (generalized confidence intervals, Weerahandi 1993). Nothing is assumed about the
  variances beforehand. Few degrees of freedom make the draws wide, wider than Student's t where seeds do little.
- A finalist's own variance is averaged with that of all as in `pelt_automl.verdict.crossed_effects`. Where nothing tells seeds from runs
  (no two finalists share two seeds), all luck is a run's own, which is too wide rather than too narrow; that of a lone finalist that is
  fitted without a random start is the seeds'.
- The **weights** take the seeds' share of the variance averaged with one half, which counts for `PRIOR_DF` degrees of freedom. They decide
  how precise the means are, not whether these are unbiased.

With equal seeds `crossed_effects` says it without a model. How often the intervals hold the truth: docs/verdict.md.
Shapes: `R` draws, `F` finalists, `S` seeds, `N` runs.
"""

from collections.abc import Sequence

import numpy as np

from pelt_automl.tasks.metrics import Floats
from pelt_automl.verdict.crossed_effects import PRIOR_DF, Bools


def unequal_draws(
    resampled: Floats, scores: Floats, has: Bools, rng: np.random.Generator, fitted: Sequence[bool] = ()
) -> tuple[Floats, Floats]:
    """Each finalist's mean ``(F,)``, and draws of it ``(R, F)``.

    Args:
        resampled: (R, F, S), each run's score on resampled examples, the same for all runs in a resample; anything where there is no run.
        scores: (F, S), each run's score; anything where there is no run.
        has: (F, S), whether there is a run; at least one for each finalist.
        rng: of the draws over seeds.
        fitted: (F,), which finalists have no random start or order; none by default. The others' means and the distribution of their draws
            are those without them.
    """
    resamples, (finalists, seeds) = len(resampled), has.shape
    means, draws = np.zeros(finalists), np.zeros((resamples, finalists))
    by_seed, luck = rng.standard_normal((resamples, seeds)), rng.random((2, resamples, 1))
    by_run = rng.standard_normal((resamples, finalists, seeds))
    alone = np.array(fitted, dtype=bool) if fitted else np.zeros(finalists, dtype=bool)
    for group in (~alone, alone):
        if group.any():
            mask = has & group[:, None]
            lone_fitted = group is alone and group.sum() == 1
            means[group], draws[:, group] = _drawn(
                resampled[:, mask], scores[mask], mask[group], by_seed, by_run[:, mask], luck, lone_fitted=lone_fitted
            )
    return means, draws


def _drawn(
    resampled: Floats, scores: Floats, has: Bools, by_seed: Floats, by_run: Floats, luck: Floats, *, lone_fitted: bool
) -> tuple[Floats, Floats]:
    """Of finalists that know of each other, from the scores of their runs, (R, N) and (N,).

    `by_seed` (R, S) and `by_run` (R, N) are standard normal; `luck` (2, R, 1), from 0 to 1, says how far off the two mean squares are.
    """
    from scipy.stats import chi2

    (finalists, seeds), runs = has.shape, len(scores)
    examples = resampled - resampled.mean(axis=0)
    if runs == finalists:  # one run each, which says nothing about seeds
        return scores, scores + examples
    who, seed = np.nonzero(has)
    of, on = np.eye(finalists)[who], np.eye(seeds)[seed]
    within, residual = (np.eye(runs) - known @ np.linalg.pinv(known) for known in (of, np.hstack([of, on])))
    runs_df = round(np.trace(residual))
    seeds_df = runs - finalists - runs_df
    of_one_seed = float(np.trace(on.T @ within @ on)) / seeds_df  # the seeds' mean square is a run's variance and so many times a seed's

    def squares(by: Floats) -> tuple[Floats, Floats]:
        """(N,) each: of what `by` leaves of the scores, and, on average, of the resamples."""
        return (by @ scores) ** 2, ((examples @ by) ** 2).mean(axis=0)

    square, single = (float(all_runs.sum()) / seeds_df for all_runs in squares(within - residual))
    drawn = square * seeds_df / chi2.ppf(luck[0], seeds_df)
    if runs_df:
        free = np.diag(residual) @ of
        own_df = np.minimum(runs_df, free * finalists / (finalists - 1))
        prior_df = np.minimum(PRIOR_DF, runs_df - own_df)

        def shrunken(all_runs: Floats) -> tuple[float, Floats]:
            """The runs' mean square, and each finalist's ``(F,)``, averaged with it."""
            pooled = float(all_runs.sum()) / runs_df
            own = np.divide(all_runs @ of, free, out=np.full(finalists, pooled), where=free > 1e-9)
            return pooled, (own_df * own + prior_df * pooled) / (own_df + prior_df)

        (run_square, own_square), (run_single, own_single) = map(shrunken, squares(residual))
        run_drawn = run_square * runs_df / chi2.ppf(luck[1], runs_df)
        own_drawn = own_square * (own_df + prior_df) / chi2.ppf(luck[1], own_df + prior_df)
    else:  # nothing tells seeds from runs
        share = 0.0 if lone_fitted else 1.0
        run_square, run_single, run_drawn = share * square, share * single, share * drawn
        own_single, own_drawn = np.full(finalists, run_single), np.repeat(run_drawn, finalists, axis=1)

    by_seeds = max(0.0, square - run_square) / of_one_seed
    share = by_seeds / (by_seeds + run_square) if by_seeds + run_square > 0 else 0.5
    share = (runs_df * share + PRIOR_DF / 2) / (runs_df + PRIOR_DF)
    inverse = np.linalg.inv((1 - share) * np.eye(runs) + share * on @ on.T)
    weights = np.linalg.solve(of.T @ inverse @ of, of.T @ inverse)
    beyond_seed = np.maximum(0.0, np.maximum(0.0, drawn - run_drawn) - max(0.0, single - run_single)) / of_one_seed
    beyond_run = np.maximum(0.0, own_drawn - own_single)
    deviations = examples + (by_seed * np.sqrt(beyond_seed)) @ on.T + by_run * np.sqrt(beyond_run)[:, who]
    means = weights @ scores
    return means, np.asarray(means + deviations @ weights.T, np.float64)
