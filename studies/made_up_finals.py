"""Made-up finals whose truth is known: finalists of stated skill, seeds that help or hurt, examples that are hard for all.

A run's prediction of an example depends on a latent number, after the crossed random effects of a finals::

    z[f, s, e] = skill_f + common_s + own_fs + difficulty_e + taste_fe + chance_fse

For classification the prediction is right where ``z > 0``; for ``mae`` the error is a number of that size. The variances of difficulty,
taste and chance sum to 1, so that the true score is a closed form (an integral over the seeds for macro F1).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]

DIFFICULTY, TASTE, CHANCE = 0.35, 0.15, 0.5
"""Shares of the latent variance: of the example for all, of the example for one finalist, of the example in one run."""
FITTED_CHANCE = 0.05
"""Share of the example in one run where nothing starts at random: what is less than `CHANCE` is the finalist's taste."""
POSITIVES = 0.25
"""Share of the positive class where the metric is macro F1."""
SLOPE = 0.28
"""Accuracy gained a unit of skill, at an accuracy of 80 %."""


@dataclass(frozen=True)
class World:
    """What a finals looks like, and what is true in it."""

    finalists: int
    seeds: int
    metric: str = "accuracy"
    examples: int = 300
    own: float = 2.0
    """Standard deviation over seeds of a finalist's accuracy, in points, beside what all share."""
    common: float = 2.0
    """Standard deviation over seeds of what helps or hurts all finalists alike, in points."""
    unstable: float = 1.0
    """The first finalist's `own`, as a multiple of the others'."""
    fitted: int = 0
    """How many finalists, the first ones, are fitted without a random start: `FITTED_CHANCE`, and `fitted_own` for `own`."""
    fitted_own: float = 0.3
    """Standard deviation over seeds of a fitted finalist's accuracy, in points, beside what all share."""
    spread: float = 0.0
    """Standard deviation of the finalists' true accuracies, in points; 0: all are equal."""
    center: float = 0.8

    def finals(self, rng: np.random.Generator) -> "Finals":
        """One finals of this world."""
        F, S, n = self.finalists, self.seeds, self.examples
        aims = np.clip(self.center + rng.normal(0, self.spread / 100, F), 0.55, 0.97)
        own_sd = np.full(F, self.own / 100 / SLOPE)
        own_sd[0] *= self.unstable
        own_sd[: self.fitted] = self.fitted_own / 100 / SLOPE
        fitted = np.arange(F) < self.fitted
        taste = np.where(fitted, TASTE + CHANCE - FITTED_CHANCE, TASTE)[:, None, None]
        chance = np.where(fitted, FITTED_CHANCE, CHANCE)[:, None, None]
        common_sd = self.common / 100 / SLOPE
        seed = rng.normal(0, common_sd, (1, S)) + rng.normal(0, 1, (F, S)) * own_sd[:, None]
        noise = (
            math.sqrt(DIFFICULTY) * rng.standard_normal((1, 1, n))
            + np.sqrt(taste) * rng.standard_normal((F, 1, n))
            + np.sqrt(chance) * rng.standard_normal((F, S, n))
        )
        who = tuple(fitted.tolist())
        seed_variance = own_sd**2 + common_sd**2
        if self.metric == "mae":
            # A seed scales a run's errors by as many points as it would move an accuracy.
            sizes = 1 - aims
            labels = rng.standard_normal(n)
            predictions = labels + sizes[:, None, None] * (1 + seed * SLOPE)[:, :, None] * noise
            return Finals(self.metric, labels, predictions, sizes * math.sqrt(2 / math.pi), who)
        skills = ndtri(aims) * np.sqrt(1 + seed_variance)
        right = skills[:, None, None] + seed[:, :, None] + noise > 0
        if self.metric == "accuracy":
            return Finals(self.metric, np.zeros(n), (~right).astype(np.float64), aims, who)
        labels = (rng.random(n) < POSITIVES).astype(np.float64)
        return Finals(self.metric, labels, np.where(right, labels, 1 - labels), _true_macro_f1(skills, seed_variance), who)


@dataclass(frozen=True)
class Finals:
    """What a comparison gets to see, and the truth."""

    metric: str
    labels: Floats
    """(n,)"""
    predictions: Floats
    """(F, S, n)"""
    truth: Floats
    """(F,): expected score over seeds and examples."""
    fitted: tuple[bool, ...] = ()
    """(F,): whether it is fitted without a random start."""

    def first(self, seeds: int) -> "Finals":
        """The same with the first seeds alone."""
        return Finals(self.metric, self.labels, self.predictions[:, :seeds], self.truth, self.fitted)


def _true_macro_f1(skills: Floats, seed_variance: Floats) -> Floats:
    """(F,): mean over seeds of the macro F1 on endless examples, both classes being recognized equally well."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    hit = ndtr(skills[:, None] + np.sqrt(seed_variance)[:, None] * nodes)
    parts = [2 * share * hit / (share + share * hit + (1 - share) * (1 - hit)) for share in (POSITIVES, 1 - POSITIVES)]
    expected: Floats = (sum(parts) / 2) @ weights / weights.sum()
    return expected
