"""How far gates may be believed: none, weak or strong, by rules that are written down here.

A rank correlation of two or three submodules means nothing, so the three orders are reported and it is said whether they agree:
by gate (most open first), by knock-out (greatest loss first), and by the own score of the single method of the same name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pelt_automl.evidence.gates import SubmoduleGate, submodule_gates
from pelt_automl.evidence.knockouts import SubmoduleLoss, submodule_losses
from pelt_automl.records import Event, Standing

MOVED = 0.05
"""A submodule whose gates drifted less than this from their start says nothing."""
COMPARABLE = 2
"""Submodules that an order needs at least, and seeds that its stability needs at least."""


@dataclass(frozen=True)
class GateEvidence:
    """What the gates of one finalist say, and whether anything else says the same."""

    candidate: str
    strength: Literal["none", "weak", "strong"]
    reason: str
    """In words, for the report."""
    gates: list[SubmoduleGate]
    losses: list[SubmoduleLoss]
    own_scores: dict[str, float]
    """Report score of the best finalist of the single method of each submodule's name; best first."""


def gate_evidence(events: Sequence[Event], candidate: str, standings: Sequence[Standing], greater_is_better: bool = True) -> GateEvidence:
    """Gates, knock-outs and own scores of the submodules of `candidate`, with the strength of the evidence (see `strength`)."""
    gates = submodule_gates(events, candidate)
    losses = submodule_losses(events, candidate, greater_is_better)
    # Standings come best first, so the first of a method is its best.
    own = {row.method: row.report_score for row in reversed(standings)}
    names = {gate.submodule for gate in gates}
    order = list(dict.fromkeys(row.method for row in standings if row.method in names))
    own_scores = {name: own[name] for name in order}
    return GateEvidence(candidate, *strength(gates, losses, own_scores), gates, losses, own_scores)


def _order(values: Mapping[str, float]) -> list[str]:
    return sorted(values, key=lambda name: -values[name])


def _orders_by_seed(rows: Sequence[SubmoduleGate] | Sequence[SubmoduleLoss]) -> list[list[str]]:
    """The order of the submodules for each seed that all of them have."""
    seeds = set.intersection(*(set(row.by_seed) for row in rows)) if rows else set()
    return [_order({row.submodule: row.by_seed[seed] for row in rows}) for seed in sorted(seeds)]


def _in_words(order: Sequence[str]) -> str:
    return " > ".join(order)


def strength(
    gates: Sequence[SubmoduleGate], losses: Sequence[SubmoduleLoss], own_scores: Mapping[str, float]
) -> tuple[Literal["none", "weak", "strong"], str]:
    """The strength of the evidence, and why.

    - **none**: no gate was measured; or every submodule's gates moved by less than `MOVED` on average (they are still where they
      started); or there is one submodule only, so that there is nothing to prefer.
    - **strong**: all of these hold: each submodule's gates moved by `MOVED` or more; the order of the submodules by gate is the same for
      each of two or more seeds; each submodule was switched off, and the order by loss is that same order for each of two or more
      seeds; each submodule's own method is among the finalists, and the order by their scores is that same order too.
    - **weak**: anything between; the reason names what is missing or disagrees.

    Args:
        gates: by submodule.
        losses: by submodule; may be empty or lack some.
        own_scores: report score by submodule, best first; may lack some.
    """
    if not gates:
        return "none", "no gate was measured."
    if len(gates) < COMPARABLE:
        return "none", f"{gates[0].submodule} is the only gated submodule, so that there is nothing to compare it with."
    if all(gate.moved < MOVED for gate in gates):
        return "none", f"the gates hardly left their start: each submodule's moved by less than {MOVED:.2f} on average."
    if doubts := [*_gate_doubts(gates), *_loss_doubts(gates, losses), *_own_doubts(gates, own_scores)]:
        return "weak", "; ".join(doubts) + "."
    order = _in_words(_order({gate.submodule: gate.mean for gate in gates}))
    return "strong", f"gates, knock-outs and the methods' own scores agree on {order}, on every seed."


def _gate_doubts(gates: Sequence[SubmoduleGate]) -> list[str]:
    doubts = []
    if still := [gate.submodule for gate in gates if gate.moved < MOVED]:
        doubts.append(f"the gates of {', '.join(still)} hardly left their start")
    orders = _orders_by_seed(gates)
    if len(orders) < COMPARABLE:
        doubts.append("the gates were measured on one seed only")
    elif any(order != orders[0] for order in orders):
        doubts.append("the order by gate changes with the seed")
    return doubts


def _loss_doubts(gates: Sequence[SubmoduleGate], losses: Sequence[SubmoduleLoss]) -> list[str]:
    expected = _order({gate.submodule: gate.mean for gate in gates})
    if missing := [name for name in expected if name not in {row.submodule for row in losses}]:
        return [f"{', '.join(missing)} was not switched off"]
    # All or nothing: a knock-out order that holds on average only is a doubt, too.
    order = _order({row.submodule: row.loss for row in losses})
    if order != expected:
        return [f"knock-outs say {_in_words(order)}, gates say {_in_words(expected)}"]
    orders = _orders_by_seed(losses)
    if len(orders) < COMPARABLE:
        return ["the submodules were switched off on one seed only"]
    return ["the order by knock-out changes with the seed"] if any(by_seed != expected for by_seed in orders) else []


def _own_doubts(gates: Sequence[SubmoduleGate], own_scores: Mapping[str, float]) -> list[str]:
    expected = _order({gate.submodule: gate.mean for gate in gates})
    if missing := [name for name in expected if name not in own_scores]:
        return [f"{', '.join(missing)} alone is not among the finalists"]
    if list(own_scores) != expected:
        return [f"the methods' own scores say {_in_words(list(own_scores))}, gates say {_in_words(expected)}"]
    return []
