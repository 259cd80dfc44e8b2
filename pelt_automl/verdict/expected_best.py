"""The best select score to be expected of n trials of a method, for every n up to those made (Dodge et al. 2019, "Show Your Work").

With the scores ``v_1 <= ... <= v_N`` of the N trials made and their empirical distribution ``F``, the best of n trials drawn from them,
independently and with replacement, is at most v with probability ``F(v)^n``. So::

    E[best of n] = sum_i v_i * ((i / N)^n - ((i - 1) / N)^n)          Var = E[best^2] - E[best]^2

For n = 1 that is the mean of the scores and their variance. For n = N it is below the best score made, since a draw of N may miss it: as
an estimate of what N fresh trials would reach the formula is too low on average, the more so the nearer n comes to N (Tang et al. 2020).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pelt_automl.log.events import State, TrialEnded


@dataclass(frozen=True)
class ExpectedBest:
    """What a method's search can be expected to find with n trials."""

    method: str
    scores: tuple[float, ...]
    """Select scores of its trials, in their order: of each its best, for one that was stopped that of the part it was trained."""
    seconds_a_trial: float
    """Wall time for each trial with a score, the time of those that failed included: its share of its packs'."""
    means: tuple[float, ...]
    """Expected best score of 1, 2, ..., N trials."""
    spreads: tuple[float, ...]
    """Standard deviation of the best of 1, 2, ..., N trials."""


def expected_best(scores: Sequence[float], n: int, sign: int = 1) -> tuple[float, float]:
    """Expectation and variance of the best of `n` >= 1 draws with replacement from `scores`; the smallest where `sign` is -1."""
    ordered = sorted(scores, reverse=sign < 0)
    weights = [(rank / len(scores)) ** n - ((rank - 1) / len(scores)) ** n for rank in range(1, len(scores) + 1)]
    mean = sum(weight * score for weight, score in zip(weights, ordered, strict=True))
    return mean, sum(weight * (score - mean) ** 2 for weight, score in zip(weights, ordered, strict=True))


def expected_best_of(method: str, trials: Sequence[TrialEnded], sign: int) -> ExpectedBest | None:
    """The curve of a method by the trials of its search; None without a scored one. A trial that failed has no score; its time counts.

    `sign`: 1 where a greater score is better, else -1.
    """
    own = sorted(trials, key=lambda trial: trial.number)
    known = [trial.select_score for trial in own if trial.state != State.FAILED]
    scores = tuple(score for score in known if score is not None and math.isfinite(score))
    if not scores:
        return None
    moments = [expected_best(scores, n, sign) for n in range(1, len(scores) + 1)]
    spreads = tuple(math.sqrt(variance) for _, variance in moments)
    return ExpectedBest(method, scores, sum(trial.seconds for trial in own) / len(scores), tuple(mean for mean, _ in moments), spreads)


def budgets(curves: Sequence[ExpectedBest]) -> list[int]:
    """Numbers of trials to show in a table: 1, 2, 4, 8, ..., and the most that a method had."""
    most = max((len(curve.means) for curve in curves), default=0)
    return sorted({2**power for power in range(most.bit_length())} | {most} - {0})
