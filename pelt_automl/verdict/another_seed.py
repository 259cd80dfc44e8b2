"""Who gets the next fresh seed, who can't be tied any more, and when more seeds can't change the answer.

Asked each time that all runs have been scored. It looks at the report scores several times, so that the probability of a finalist being the
best is a little flattered when it is what ended the looking (``studies.calibration`` measures by how much).
"""

import math
from dataclasses import dataclass, field

import numpy as np

from pelt_automl.verdict.standings import Comparison

CERTAIN = 0.95
"""Probability of being practically as good as the best from which on the question is decided."""

NARROWER = 0.025
"""Share by which another seed has to narrow the interval between the two best: below it the report's examples are what is missing."""


@dataclass(frozen=True)
class Outlook:
    """What another seed would be good for."""

    stop: str
    """Why none is needed; empty while one is."""
    behind: tuple[str, ...] = ()
    """Finalists that can't be tied with the best any more: they need no further seed, whatever the others do."""
    numbers: dict[str, float] = field(default_factory=dict)
    pair: tuple[str, ...] = ()
    """The best and its challenger, who get the next seed; empty where there is no challenger."""


def outlook(comparison: Comparison, region: float) -> Outlook:
    """What another seed would be good for, over the finalists that are compared.

    - *pair*: the next seed is for the best and for its challenger, the most probable best of the others (top-two allocation, Russo 2020;
      Qin et al. 2017). Who is fitted is no challenger of another fitted one: a seed more is a training more.
    - *behind*: the whole 95 % interval of the difference to the best (that for all differences at once) lies above the region of practical
      equivalence.
    - *stop* when with a probability above `CERTAIN` no other is better than the best by more than the region; when there is no challenger;
      or when another seed would narrow the interval between the pair by less than `NARROWER`, because nearly all that is uncertain comes
      from the report's examples.

    Args:
        comparison: of the finalists that are still in.
        region: of practical equivalence, in the metric's unit.
    """
    best, p_best, enough = comparison.best(), comparison.p_best(), comparison.p_within(region)
    others = [name for name in comparison.compared if name != best]
    behind = tuple(name for name in others if comparison.difference(best, name).together[0] > region)
    fitted = comparison.fitted()
    challengers = [name for name in others if name not in behind and not {best, name} <= fitted]
    numbers = {"p_best": p_best[best], "p_within_the_region": enough}
    if not challengers:
        return Outlook("all others are behind the best" if others else "there is nothing to compare", behind, numbers)
    pair = best, max(challengers, key=lambda name: p_best[name])  # of the most probable others the first
    if enough > CERTAIN:
        stop = f"with a probability above {CERTAIN:.0%} no other is better than the best by more than the region of practical equivalence"
        return Outlook(stop, behind, numbers, pair)
    numbers["narrowing"] = narrowing = narrowed_by(comparison, *pair)
    stop = f"another seed would narrow the interval between the best two by less than {NARROWER:.1%}" if narrowing < NARROWER else ""
    return Outlook(stop, behind, numbers, pair)


def narrowed_by(comparison: Comparison, first: str, second: str) -> float:
    """Share by which one seed more is expected to narrow the interval of the difference of two finalists.

    With ``V / S`` the variance that S seeds leave in the mean difference and ``E`` that of the examples, one seed more leaves
    ``E + V / (S + 1)`` of ``E + V / S``. Over the seeds that both have; 1 with fewer than two of them, about
    whose spread nothing is known.
    """
    apart = comparison.seed_differences(first, second)
    seeds = len(apart)
    if seeds < 2:
        return 1.0
    by_seeds = float(np.var(apart, ddof=1)) / seeds
    everything = comparison.variance_by_examples(first, second) + by_seeds
    return 1 - math.sqrt(1 - by_seeds / (seeds + 1) / everything) if everything else 0.0
