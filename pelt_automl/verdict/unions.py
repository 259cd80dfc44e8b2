"""Everything that was measured about a finalist union, laid side by side: by submodule, and by site and layer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pelt_automl.log.events import ContributionMeasured, Event, GateMeasured, KnockedOut
from pelt_automl.verdict.contributions import submodule_contributions
from pelt_automl.verdict.gates import LayerGate, layer_gates


@dataclass(frozen=True)
class PlaceRow:
    """One submodule at one site of one layer."""

    submodule: str
    site: str
    """A prefix with a gate for keys and one for values has three: ``heads``, ``heads.key``, ``heads.value``."""
    layer: int
    gate: LayerGate | None
    """None where there is no gate, as in a union without gates."""
    contribution: float | None
    """Mean over seeds; None where it wasn't measured, as in old records."""


def union_candidates(events: Iterable[Event]) -> list[str]:
    """Finalists that were taken apart, in the order of the records."""
    kinds = GateMeasured | ContributionMeasured | KnockedOut
    return list(dict.fromkeys(event.candidate for event in events if isinstance(event, kinds)))


def place_rows(events: Sequence[Event], candidate: str) -> list[PlaceRow]:
    """One row a submodule, site and layer of `candidate`, in this order."""
    gates = {(gate.submodule, gate.site, gate.layer): gate for gate in layer_gates(events, candidate)}
    shares = {(row.submodule, *place): share for row in submodule_contributions(events, candidate) for place, share in row.by_place.items()}
    return [PlaceRow(*place, gates.get(place), shares.get(place)) for place in sorted(gates.keys() | shares.keys())]
