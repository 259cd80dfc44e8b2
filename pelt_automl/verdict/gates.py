"""What UniPELT's gates say: per submodule and layer the mean, its drift from the start, and how stable both are.

UniPELT's paper prints no gate value, so that a gate is a hypothesis here (see `pelt_automl.verdict.strength`), never a verdict.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pelt_automl.log.events import Event, GateMeasured, of_kind


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """Standard deviation with ``n - 1``; 0 for a single value, which tells nothing."""
    if len(values) == 1:
        return 0.0
    center = mean(values)
    return math.sqrt(math.fsum((value - center) ** 2 for value in values) / (len(values) - 1))


@dataclass(frozen=True)
class LayerGate:
    """One gate (a submodule at a site of a layer) over the runs of a finalist."""

    candidate: str
    submodule: str
    site: str
    layer: int
    mean: float
    """Over seeds of the mean over examples; 0 (closed) to 1 (open)."""
    spread: float
    """Standard deviation over examples, mean over seeds."""
    drift: float
    """Mean over seeds of ``mean - start``; the start is about 0.5."""
    seed_spread: float
    """Standard deviation over seeds of the mean; 0 with one seed."""
    seeds: int


@dataclass(frozen=True)
class SubmoduleGate:
    """A submodule's gates over all its layers and sites."""

    submodule: str
    mean: float
    drift: float
    """Mean over gates of the drift, with its sign."""
    moved: float
    """Mean over gates of the drift's size: layers that move in opposite directions don't cancel."""
    seed_spread: float
    by_seed: dict[int, float]
    """Mean over gates for each seed index."""


def _latest(events: Iterable[Event], candidate: str) -> list[GateMeasured]:
    """A gate that was measured again after a restart counts once."""
    gates = [gate for gate in of_kind(events, GateMeasured) if gate.candidate == candidate]
    return list({(gate.submodule, gate.site, gate.layer, gate.seed_index): gate for gate in gates}.values())


def layer_gates(events: Iterable[Event], candidate: str) -> list[LayerGate]:
    """One row a submodule, site and layer of `candidate`, in this order."""
    rows: dict[tuple[str, str, int], list[GateMeasured]] = defaultdict(list)
    for gate in _latest(events, candidate):
        rows[gate.submodule, gate.site, gate.layer].append(gate)
    return [_layer_gate(candidate, key, gates) for key, gates in sorted(rows.items())]


def _layer_gate(candidate: str, key: tuple[str, str, int], gates: Sequence[GateMeasured]) -> LayerGate:
    means = [gate.mean for gate in gates]
    return LayerGate(
        candidate,
        *key,
        mean=mean(means),
        spread=mean([gate.spread for gate in gates]),
        drift=mean([gate.mean - gate.start for gate in gates]),
        seed_spread=deviation(means),
        seeds=len(gates),
    )


def submodule_gates(events: Sequence[Event], candidate: str) -> list[SubmoduleGate]:
    """One row a submodule of `candidate`, most open first."""
    names = dict.fromkeys(gate.submodule for gate in _latest(events, candidate))
    return sorted((_submodule_gate(events, candidate, name) for name in names), key=lambda gate: -gate.mean)


def _submodule_gate(events: Sequence[Event], candidate: str, submodule: str) -> SubmoduleGate:
    seeds: dict[int, list[float]] = defaultdict(list)
    for gate in _latest(events, candidate):
        if gate.submodule == submodule:
            seeds[gate.seed_index].append(gate.mean)
    by_seed = {seed: mean(means) for seed, means in sorted(seeds.items())}
    layers = [gate for gate in layer_gates(events, candidate) if gate.submodule == submodule]
    return SubmoduleGate(
        submodule,
        mean=mean([gate.mean for gate in layers]),
        drift=mean([gate.drift for gate in layers]),
        moved=mean([abs(gate.drift) for gate in layers]),
        seed_spread=deviation(list(by_seed.values())),
        by_seed=by_seed,
    )
