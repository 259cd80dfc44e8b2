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

from pelt_automl.log.events import Stage, State, TrialEnded
from pelt_automl.methods import BASELINES


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

    def seconds(self, trials: int) -> float:
        """Wall time of so many trials."""
        return trials * self.seconds_a_trial


def expected_best(scores: Sequence[float], n: int, *, greater_is_better: bool = True) -> tuple[float, float]:
    """Expectation and variance of the best of `n` >= 1 draws with replacement from `scores`; the smallest where smaller is better."""
    total = len(scores)
    ordered = sorted(scores, reverse=not greater_is_better)
    weights = [(rank / total) ** n - ((rank - 1) / total) ** n for rank in range(1, total + 1)]
    mean = sum(weight * score for weight, score in zip(weights, ordered, strict=True))
    variance = sum(weight * (score - mean) ** 2 for weight, score in zip(weights, ordered, strict=True))
    return mean, variance


def expected_best_by_method(trials: Sequence[TrialEnded], *, greater_is_better: bool) -> list[ExpectedBest]:
    """A curve for each method with at least one scored trial of the search, in the order in which the methods were first trained.

    A trial that failed has no score to be drawn; its time counts. Baselines have one configuration each: there is nothing to draw.
    """
    search = [trial for trial in trials if trial.stage == Stage.SEARCH and trial.method not in BASELINES]
    found = []
    for method in dict.fromkeys(trial.method for trial in search):
        own = sorted((trial for trial in search if trial.method == method), key=lambda trial: trial.number)
        scores = tuple(score for trial in own if (score := _score(trial)) is not None)
        if not scores:
            continue
        moments = [expected_best(scores, n, greater_is_better=greater_is_better) for n in range(1, len(scores) + 1)]
        means, spreads = tuple(mean for mean, _ in moments), tuple(math.sqrt(variance) for _, variance in moments)
        found.append(ExpectedBest(method, scores, sum(trial.seconds for trial in own) / len(scores), means, spreads))
    return found


def _score(trial: TrialEnded) -> float | None:
    score = trial.select_score
    return score if trial.state != State.FAILED and score is not None and math.isfinite(score) else None


def budgets(curves: Sequence[ExpectedBest]) -> list[int]:
    """Numbers of trials to show in a table: 1, 2, 4, 8, ..., and the most that a method had."""
    most = max((len(curve.means) for curve in curves), default=0)
    return sorted({2**power for power in range(most.bit_length())} | {most} - {0})
