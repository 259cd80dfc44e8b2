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


def top_agreement(one: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Whether both have the same greatest name, of those that both have: 1 or 0.

    Where several are equally great, the chance that one drawn from each side's greatest is the same name, so that drawing blindly from
    n names is right once in n whatever is tied. None for fewer than two names.
    """
    names = one.keys() & other.keys()
    if len(names) < 2:
        return None
    tops = [{name for name in names if values[name] == max(values[other_name] for other_name in names)} for values in (one, other)]
    return len(tops[0] & tops[1]) / (len(tops[0]) * len(tops[1]))
