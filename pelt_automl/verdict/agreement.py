"""Whether two measures of the same submodules order them alike."""

from collections.abc import Mapping
from itertools import combinations


def rank_agreement(one: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Kendall's tau over the names that both have: pairs in the same order less pairs in opposite orders, over all pairs.

    A pair that is tied in one of them is in no order and counts as 0 (tau a). None for fewer than two names: there is no order.
    """
    pairs = list(combinations(sorted(one.keys() & other.keys()), 2))
    if not pairs:
        return None
    return sum(_sign(one[a] - one[b]) * _sign(other[a] - other[b]) for a, b in pairs) / len(pairs)


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)
