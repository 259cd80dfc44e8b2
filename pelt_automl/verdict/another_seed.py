"""Who gets the next fresh seed, who can't be tied any more, and when the best mean is practically as good as any.

Asked each time that all runs have been scored. It looks at the report scores several times, so that the probability of the best being
practically as good as any is a little flattered when it is what ended the looking (``studies.calibration`` measures by how much).
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from pelt_automl.verdict.standings import Comparison

CERTAIN = 0.90
"""Probability of being practically as good as the best from which on the question is decided. Of the made-up finals that it ended the best
was truly so in 95 % (docs/verdict.md).
"""

NARROWER = 0.025
"""Share by which another seed has to narrow the interval between the best and another: below it examples are what is missing."""

ALL_BEHIND = "all others are behind the best"


@dataclass(frozen=True)
class Outlook:
    """What another seed would be good for."""

    stop: str
    """Why none is needed; empty while one is."""
    behind: tuple[str, ...] = ()
    """Finalists that can't be tied with the best any more: they need no further seed, whatever the others do."""
    numbers: dict[str, float] = field(default_factory=dict)
    pair: tuple[str, ...] = ()
    """The best and its challenger, who get the next seed; empty where nobody does."""


def outlook(comparison: Comparison, region: float, full: Collection[str] = ()) -> Outlook:
    """What another seed would be good for, over the finalists that are compared.

    - *pair*: the next seed is for the best and for its challenger, the most probable best of the others (top-two allocation, Russo 2020;
      Qin et al. 2017) among those where a seed more of either narrows the interval between the two by `NARROWER` or more. Who is fitted is
      no challenger of another fitted one: a seed more is a training more.
    - *behind*: the whole 95 % interval of the difference to the best (that for all differences at once) lies above the region of practical
      equivalence.
    - *stop* when with a probability above `CERTAIN` no other is better than the best by more than the region; when no trained finalist can
      catch up; or when there is no challenger, because nearly all that is uncertain comes from the report's examples.

    As long as the best and the most probable other have fewer than two seeds in common, nothing is known of seeds: neither is said then.

    Args:
        comparison: of the finalists that are still in.
        region: of practical equivalence, in the metric's unit.
        full: those that have been trained on as many seeds as they may be.
    """
    best, p_best, fitted = comparison.best(), comparison.p_best(), comparison.fitted()
    others = [name for name in comparison.compared if name != best]
    rivals = sorted((name for name in others if not {best, name} <= fitted), key=lambda name: -p_best[name])  # of equal ones the first
    more = [name for name in rivals if not {best, name} - fitted <= set(full)]
    numbers = {"p_best": p_best[best], "p_within_the_region": comparison.p_within(region)}
    if more and len(comparison.seed_differences(best, more[0])) < 2:
        return Outlook("", (), numbers, (best, more[0]))
    behind = tuple(name for name in others if comparison.difference(best, name).together[0] > region)
    rivals, more = ([name for name in some if name not in behind] for some in (rivals, more))
    if not rivals:
        level = "no trained finalist can still catch up, and the fitted ones need no further seeds"
        return Outlook(
            "there is nothing to compare" if not others else ALL_BEHIND if len(behind) == len(others) else level, behind, numbers
        )
    if numbers["p_within_the_region"] > CERTAIN:
        stop = f"with a probability above {CERTAIN:.0%} no other is better than the best by more than the region of practical equivalence"
        return Outlook(stop, behind, numbers, (best, rivals[0]))
    if not more:
        return Outlook("", behind, numbers, (best, rivals[0]))
    for name in more:
        numbers["narrowing"] = narrowed_by(comparison, best, name)
        if numbers["narrowing"] >= NARROWER:
            return Outlook("", behind, numbers, (best, name))
    stop = f"another seed would narrow the interval between the best and any other by less than {NARROWER:.1%}"
    return Outlook(stop, behind, numbers, (best, more[0]))


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
