"""What is tried first: an order of all methods' configurations, learned from what they have gained on other data. Pure.

The portfolio is built greedily (Xu et al. 2010, Hydra; Feurer et al. 2022, Auto-sklearn 2.0): each step takes the configuration that lowers
most, by its cost, the mean regret, of the best of those taken so far, over the data sets that say something of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pelt_automl.log.events import Configuration, HyperParameters

LEAST_WEIGHT = 0.1
"""Of a data set that has nothing in common with the one at hand."""
OTHER_KIND = 2.0
"""How far classes and numbers are apart, as labels; in the unit of `weight`."""
PROBE_POINTS = 20.0
"""Points between two probes that are as far apart as a factor of 2 between numbers of classes."""
NOTHING = 1e-9
"""Points of regret that are none."""


@dataclass(frozen=True)
class Features:
    """What is known of a data set before anything is trained on it."""

    classes: int
    """0: its labels are numbers."""
    examples: int
    """Labeled ones to train and to select on."""
    length: int
    """Tokens that its texts are cut to."""
    probe: float | None = None
    """Points of the metric by which the linear probe is above a constant answer, on select; None where there is no probe."""


@dataclass(frozen=True)
class Source:
    """A data set on which configurations were tried before."""

    name: str
    """Unique."""
    group: str
    """Data sets with the same texts, or from the same place, have the same: together they have the weight of one."""
    features: Features
    data_hash: str = ""
    """SHA-256 (hex) of its labeled data."""


@dataclass(frozen=True)
class Observation:
    """What a configuration has come to on a source."""

    source: str
    """Its name."""
    method: str
    hyper_parameters: HyperParameters
    gain: float
    """Points of the task's metric above the linear probe on the same split and seed, mean over seeds."""
    cost: float
    """Seconds of one training, over those of LoRA's published default."""


def nearest(configurations: Sequence[HyperParameters], hyper_parameters: HyperParameters) -> int:
    """The place of the configuration, of at least one of a method, that is most like these; of equals the first.

    Numbers are compared by the logarithm of their ratio, everything else by being equal or not (which counts as a factor of e).
    """

    def distance(own: HyperParameters) -> float:
        return sum(_distance(own.get(name), hyper_parameters.get(name)) for name in own.keys() | hyper_parameters.keys())

    return min(range(len(configurations)), key=lambda place: distance(configurations[place]))


def _distance(one: Any, other: Any) -> float:
    if one == other:
        return 0.0
    numbers = [value for value in (one, other) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0]
    return abs(math.log(numbers[0] / numbers[1])) if len(numbers) == 2 else 1.0


def weight(own: Features, other: Features) -> float:
    """How much what was seen on another data set says of one's own: from `LEAST_WEIGHT` to 1, a Gaussian kernel over cheap features."""
    apart = [math.log2(own.examples / other.examples), math.log2(own.length / other.length)]
    if own.classes and other.classes:
        apart.append(math.log2(own.classes / other.classes))
    elif own.classes or other.classes:
        apart.append(OTHER_KIND)
    if own.probe is not None and other.probe is not None:
        apart.append((own.probe - other.probe) / PROBE_POINTS)
    return max(LEAST_WEIGHT, math.exp(-sum(distance**2 for distance in apart) / (2 * len(apart))))


def weights(own: Features, sources: Sequence[Source]) -> dict[str, float]:
    """Of each source by its name: `weight`, divided by how many there are of its group."""
    groups = [source.group for source in sources]
    return {source.name: weight(own, source.features) / groups.count(source.group) for source in sources}


def learned(
    candidates: Sequence[Configuration], observations: Sequence[Observation], weights: Mapping[str, float]
) -> tuple[list[Configuration], int]:
    """The candidates in the order in which they are to be tried, and how many of the first of them lower the regret on any source.

    Each step takes the one that lowers the regret most, by its cost: the weighted mean over the sources that say something of it. In a
    source the regret is the best gain there is, less the best of those so far; the probe, with gain 0, is the first. When nothing lowers it
    any more, the others follow by their weighted mean gain. What a source doesn't have has there the gain and the cost of the most similar
    configuration of its method that it has; of a method that it doesn't have it says nothing, and its regret stays. A candidate of which no
    source says anything is left out. `weights`: by the sources' names, above 0; observations of others don't count.
    """
    by_source: dict[tuple[str, str], list[Observation]] = {}
    for own in observations:
        by_source.setdefault((own.source, own.method), []).append(own)
    names = sorted(weights)
    gains_S_C, costs_S_C = np.full((2, len(names), len(candidates)), np.nan)
    for place, candidate in enumerate(candidates):
        for row, name in enumerate(names):
            if seen := by_source.get((name, candidate.method)):
                found = seen[nearest([own.hyper_parameters for own in seen], candidate.hyper_parameters)]
                gains_S_C[row, place], costs_S_C[row, place] = found.gain, found.cost
    weight_S = np.array([weights[name] for name in names])
    known_C = weight_S @ ~np.isnan(gains_S_C)
    told = np.flatnonzero(known_C > 0)
    gains_S_C, costs_S_C, known_C = gains_S_C[:, told], costs_S_C[:, told], known_C[told]
    mean_C, cost_C = weight_S @ np.nan_to_num(gains_S_C) / known_C, weight_S @ np.nan_to_num(costs_S_C) / known_C
    reached_S, left, chosen = np.zeros(len(names)), np.ones(len(told), dtype=bool), list[int]()
    while left.any():
        lowered_C = weight_S @ np.maximum(np.nan_to_num(gains_S_C - reached_S[:, None]), 0) / known_C
        best = int(np.argmax(np.where(left, lowered_C / cost_C, -np.inf)))
        if lowered_C[best] <= NOTHING:
            break
        chosen.append(best)
        left[best], reached_S = False, np.fmax(reached_S, gains_S_C[:, best])
    order = [*chosen, *sorted(map(int, np.flatnonzero(left)), key=lambda place: -mean_C[place])]
    return [candidates[told[place]] for place in order], len(chosen)


def arranged(
    order: Sequence[Configuration],
    useful: int,
    defaults: Mapping[str, HyperParameters],
    handed_on: Mapping[str, Sequence[HyperParameters]],
    most: Mapping[str, int],
) -> tuple[list[str], dict[str, list[HyperParameters]]]:
    """An order as a search takes it: the methods of its first `useful` trials, and by method all known configurations, in this order.

    A method's default comes where those first ones have it, else right after them; what another selection has handed on comes before all
    others of the method, but for the default. `most`: configurations of a method that are known, its default among them; those beyond are
    left out.
    """
    sequence, known = list[str](), dict[str, list[HyperParameters]]()

    def add(method: str, one: HyperParameters) -> None:
        there = known.setdefault(method, [])
        kept_for_default = one != defaults[method] and defaults[method] not in there
        if one not in there and len(there) + kept_for_default < most[method]:
            there.append(one)

    for own in order[:useful]:
        if own.method not in known and (handed := handed_on.get(own.method)):
            for one in (defaults[own.method], *handed):
                add(own.method, one)
        add(own.method, own.hyper_parameters)
        sequence += [own.method] * (len(known[own.method]) - sequence.count(own.method))
    for method, default in defaults.items():
        for one in (default, *handed_on.get(method, ()), *(own.hyper_parameters for own in order if own.method == method)):
            add(method, one)
    return sequence, known
