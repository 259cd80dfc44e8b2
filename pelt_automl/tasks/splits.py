"""Seeded, stratified splits in which exact duplicates, and the examples of one group, stay on one side.

What the strata are, the kind of the task says: classes, or bins between quantiles. Every draw has a random stream of its own, named by its
purpose, so that one more draw somewhere never changes another.
"""

import random
import warnings
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from typing import TypeVar

import numpy as np

from pelt_automl.tasks.examples import Examples
from pelt_automl.tasks.kinds import KINDS

SELECT_SHARE = 0.3
"""Share of the labeled examples that is carved out as select."""
SELECT_MOST = 1000
"""Select is never larger than this, unless whole groups make it so; it is also what UniPELT selects on."""
SHUFFLES = 50
"""Of groups, until some can be carved out without taking all examples of a class."""
REPORT_SHARE = 0.2
"""Share of a user's file that is put aside as report when there is no test file."""
T = TypeVar("T", bound=Hashable)


def stream(purpose: str, seed: int) -> random.Random:
    """A random stream of its own for each purpose and seed."""
    return random.Random(f"{purpose}-{seed}")  # noqa: S311  # reproducible on purpose


def strata(examples: Examples, kind: str) -> list[int]:
    """The stratum of each example, by the kind of the task."""
    return KINDS[kind].strata(examples.labels)


def shares(counts: dict[int, int], total: int, kept: int = 0) -> dict[int, int]:
    """Divide `total` over strata in proportion to their sizes, by largest remainders.

    Args:
        counts: size of each stratum.
        total: how many to hand out; when there is too little room, fewer are handed out.
        kept: so many of each stratum are never handed out.
    """
    whole = sum(counts.values())
    room = {s: max(0, n - kept) for s, n in counts.items()}
    exact = {s: total * n / whole for s, n in counts.items()}
    result = {s: min(room[s], int(exact[s])) for s in counts}
    for _ in range(total - sum(result.values())):
        movable = [s for s in counts if result[s] < room[s]]
        if not movable:
            break
        result[max(movable, key=lambda s: (exact[s] - result[s], counts[s], -s))] += 1
    return result


def turns(counts: dict[int, int], total: int, *, each: bool) -> list[int]:
    """Which stratum each of `total` examples comes from, so that the first k of them are stratified for every k.

    With `each` every stratum first has one turn, the larger ones first. Then, as far as that allows, the first k turns hold k times its
    share of each stratum, rounded down or up: Balinski and Young's quota method (1975), which, unlike largest remainders, never takes a
    turn back from a stratum when k grows. `total` is at most the sum of `counts`.
    """
    whole = sum(counts.values())
    order = sorted(counts, key=lambda s: (-counts[s], s))[:total] if each else []
    taken = Counter(order)
    for k in range(len(order) + 1, total + 1):
        behind = [s for s in counts if taken[s] * whole < k * counts[s]]  # the others would get more than their share rounded up
        chosen = max(behind, key=lambda s: (counts[s] / (taken[s] + 1), -s))
        taken[chosen] += 1
        order.append(chosen)
    return order


def sample(examples: Examples, kind: str, k: int, seed: int) -> list[int]:
    """Indices of `k` examples in their old order, stratified, with one of every class as far as `k` allows.

    The same seed orders the examples once: those of a smaller k are among those of every larger one.
    """
    by_stratum = _positions(strata(examples, kind))
    rng = stream("sample", seed)
    for _, indices in sorted(by_stratum.items()):
        rng.shuffle(indices)
    quota = Counter(turns({s: len(indices) for s, indices in by_stratum.items()}, k, each=KINDS[kind].keeps_strata))
    return sorted(i for s, indices in by_stratum.items() for i in indices[: quota[s]])


def carve(examples: Examples, kind: str, size: int, seed: int, purpose: str) -> tuple[list[int], list[int]]:
    """Split into (rest, carved) with about `size` examples carved out, stratified.

    Examples with the same texts stay together, and at least one example of each class, or of each of several labels, stays in the rest;
    where one of these rules needs it, fewer than `size` are carved out. Where examples have groups, these stay together, too, and more or
    fewer are carved out.
    """
    stratum, held = strata(examples, kind), [KINDS[kind].held(label) for label in examples.labels]
    if examples.groups:
        return _carve_groups(examples, stratum, held, size, stream(purpose, seed))
    by_stratum: dict[int, list[list[int]]] = defaultdict(list)
    for group in _positions(examples.texts).values():
        by_stratum[stratum[group[0]]].append(group)
    counts = {s: sum(map(len, members)) for s, members in by_stratum.items()}
    quota = shares(counts, size, kept=int(KINDS[kind].keeps_strata))
    rng, carved, left = stream(purpose, seed), set[int](), Counter(name for own in held for name in own)
    for s, members in sorted(by_stratum.items()):
        rng.shuffle(members)
        for group in members:
            own = Counter(name for i in group for name in held[i])
            if len(group) <= quota[s] and all(left[name] > n for name, n in own.items()):
                quota[s] -= len(group)
                left.subtract(own)
                carved.update(group)
    return [i for i in range(len(examples)) if i not in carved], sorted(carved)


def _carve_groups(
    examples: Examples, stratum: list[int], held: list[tuple[int, ...]], size: int, rng: random.Random
) -> tuple[list[int], list[int]]:
    """One of the folds of scikit-learn's `StratifiedGroupKFold`, which has about the shares of each stratum that whole groups allow.

    Of the first shuffle in which some folds leave an example of each class or label (`held`), that of these whose size is the closest;
    none where `SHUFFLES` have none.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    units, everything = np.asarray(examples.units()), {name for own in held for name in own}
    most = min(int(units.max()) + 1, max(Counter(stratum).values()))
    if most < 2:
        return list(range(len(examples))), []
    count, closest = max(2, min(round(len(examples) / max(1, size)), most)), list[int]()
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # a stratum with fewer examples than folds
        for _ in range(SHUFFLES):
            folds = StratifiedGroupKFold(count, shuffle=True, random_state=rng.randrange(2**32)).split(units, stratum, units)
            fine = [carved.tolist() for rest, carved in folds if {name for i in rest for name in held[i]} == everything]
            if closest := min(filter(None, fine), key=lambda part: abs(len(part) - size), default=[]):
                break
    return sorted(set(range(len(examples))) - set(closest)), sorted(closest)


def apart_from(examples: Examples, others: Iterable[Examples]) -> tuple[Examples, int]:
    """The examples whose texts and groups don't occur in `others`, and how many were left out."""
    others = list(others)
    seen = {texts for other in others for texts in other.texts}
    groups = {group for other in others for group in other.groups} - {None}
    kept = [i for i, texts in enumerate(examples.texts) if texts not in seen and not (groups and examples.groups[i] in groups)]
    return examples.take(kept), len(examples) - len(kept)


def duplicates(examples: Examples) -> tuple[int, int]:
    """How many examples repeat the texts of an earlier one, and how many distinct texts carry different labels."""
    groups = [group for group in _positions(examples.texts).values() if len(group) > 1]
    contradictory = sum(len({examples.labels[i] for i in group}) > 1 for group in groups)
    return sum(len(group) - 1 for group in groups), contradictory


def _positions(keys: Iterable[T]) -> dict[T, list[int]]:
    """Where each of the keys stands."""
    found: dict[T, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        found[key].append(i)
    return found
