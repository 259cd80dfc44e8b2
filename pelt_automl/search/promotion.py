"""Which trials go on from their rung."""

import math
from collections.abc import Mapping, Sequence

from pelt_automl.log.events import sign_of


def promoted(
    new: Mapping[str, float],
    earlier: Sequence[float],
    share: float,
    *,
    always: frozenset[str] = frozenset(),
    greater_is_better: bool = True,
) -> set[str]:
    """Names in `new` (rung scores by trial) that belong to the best `share` of all rung scores of their method so far.

    The number of places is rounded, and there is one at least; those in `always` (the published default) go on whatever their score. With
    `new` all of a rung's trials this is successive halving; with one at a time, asynchronous successive halving's rule (Li et al. 2020)
    with the stop as final: who isn't promoted when it gets there isn't promoted later.
    """
    sign = sign_of(greater_is_better)
    everything = sorted((sign * score for score in [*earlier, *new.values()]), reverse=True)
    places = max(1, math.floor(share * len(everything) + 0.5))
    bar = everything[places - 1] if everything else math.inf
    ranked = sorted(new, key=lambda name: -sign * new[name])
    free = places - sum(sign * score > bar for score in earlier)
    good = [name for name in ranked if sign * new[name] >= bar][: max(free, 0)]
    return set(good) | (always & new.keys())
