"""Whether the finalists need another fresh seed: who can't be tied any more, and when more seeds can't change the verdict.

Asked after each seed that all finalists still in have been scored on. It looks at the report scores several times, so that the probability
of a finalist being the best is a little flattered when it is what ended the looking (``studies.calibration`` measures by how
much).
"""

import math
from dataclasses import dataclass, field

import numpy as np

from pelt_automl.verdict.standings import Comparison

CERTAIN = 0.95
"""Probability of being the best from which on the question is decided."""

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


def outlook(comparison: Comparison, region: float) -> Outlook:
    """What another seed would be good for, over the finalists that are compared.

    - *behind*: the whole 95 % interval of the difference to the best (that for all differences at once) lies above the region of practical
      equivalence.
    - *stop* when the best is the best with a probability above `CERTAIN`; when all but those behind lie within the region of the best by
      their whole intervals; when nobody else is left; or when another seed would narrow the interval between the two best by less than
      `NARROWER`, because nearly all that is uncertain comes from the report's examples.

    Args:
        comparison: of the finalists that are still in.
        region: of practical equivalence, in the metric's unit.
    """
    best, p_best = comparison.best(), comparison.p_best()
    others = {name: comparison.difference(best, name) for name in comparison.compared if name != best}
    behind = tuple(name for name, difference in others.items() if difference.together[0] > region)
    left = {name: difference for name, difference in others.items() if name not in behind}
    numbers = {"p_best": p_best[best], "seeds": float(min(len(comparison.seed_scores(name)) for name in comparison.compared))}
    stop = ""
    if not left:
        stop = "all others are behind the best" if others else "there is nothing to compare"
    elif p_best[best] > CERTAIN:
        stop = f"the best is the best with a probability above {CERTAIN:.0%}"
    elif all(difference.together[1] <= region for difference in left.values()):
        stop = "all that are left are practically equivalent"
    else:
        narrowing = narrowed_by(comparison, best, max(left, key=lambda name: p_best[name]))  # of the most probable others the first
        numbers |= {"narrowing": narrowing}
        if narrowing < NARROWER:
            stop = f"another seed would narrow the interval between the best two by less than {NARROWER:.1%}"
    return Outlook(stop, behind, numbers)


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
