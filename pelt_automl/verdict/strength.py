"""How far gates may be believed: none, weak or strong, by rules that are written down here.

Four orders of the submodules are set beside each other: by gate (most open first), by contribution (greatest share of the hidden states
first), by knock-out (greatest loss first), and by the own score of the single method of the same name. A rank correlation of two or three
submodules is a coarse number (three submodules have six orders), so that it is reported, but decides nothing: agreement is all or nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pelt_automl.log.events import Event, Standing, sign_of
from pelt_automl.verdict.agreement import rank_agreement
from pelt_automl.verdict.contributions import SubmoduleContribution, submodule_contributions
from pelt_automl.verdict.gates import SubmoduleGate, submodule_gates
from pelt_automl.verdict.knockouts import SubmoduleLoss, submodule_losses

MOVED = 0.05
"""A submodule whose gates drifted less than this from their start says nothing."""
COMPARABLE = 2
"""Submodules that an order needs at least, and seeds that its stability needs at least."""

Strength = Literal["none", "weak", "strong"]
Rows = Sequence[SubmoduleGate] | Sequence[SubmoduleContribution] | Sequence[SubmoduleLoss]


@dataclass(frozen=True)
class SubmoduleRow:
    """All that is known of one submodule; None for what wasn't measured."""

    submodule: str
    gate: SubmoduleGate | None
    contribution: SubmoduleContribution | None
    loss: SubmoduleLoss | None
    own_score: float | None
    """Report score of the best finalist of the single method of its name."""


@dataclass(frozen=True)
class GateEvidence:
    """What the gates of one finalist say, and whether anything else says the same."""

    candidate: str
    strength: Strength
    reason: str
    """In words, for the report."""
    gates: list[SubmoduleGate]
    contributions: list[SubmoduleContribution]
    losses: list[SubmoduleLoss]
    own_scores: dict[str, float]
    """Report score of the best finalist of the single method of each submodule's name; best first."""
    agreement: dict[str, float]
    """Kendall's tau with the own scores, of ``gates``, ``contributions`` and ``knock-outs``, where there are two submodules or more."""

    @property
    def submodules(self) -> list[SubmoduleRow]:
        """Side by side: the most open first; without gates the one that contributes most."""
        gates, contributions, losses = ({row.submodule: row for row in rows} for rows in (self.gates, self.contributions, self.losses))
        names = dict.fromkeys((*gates, *contributions, *losses))
        return [
            SubmoduleRow(name, gates.get(name), contributions.get(name), losses.get(name), self.own_scores.get(name))  # type: ignore[arg-type]
            for name in names
        ]


def gate_evidence(events: Sequence[Event], candidate: str, standings: Sequence[Standing], greater_is_better: bool = True) -> GateEvidence:
    """All that was measured of the submodules of `candidate`, with the strength of the evidence (see `strength`)."""
    gates, contributions = submodule_gates(events, candidate), submodule_contributions(events, candidate)
    losses = submodule_losses(events, candidate, greater_is_better)
    # Standings come best first, so the first of a method is its best.
    own = {row.method: row.report_score for row in reversed(standings)}
    names = {row.submodule for row in gates} | {row.submodule for row in contributions} | {row.submodule for row in losses}
    order = list(dict.fromkeys(row.method for row in standings if row.method in names))
    own_scores = {name: own[name] for name in order}
    found, reason = strength(gates, contributions, losses, own_scores)
    measures = {
        "gates": {row.submodule: row.mean for row in gates},
        "contributions": {row.submodule: row.mean for row in contributions},
        "knock-outs": {row.submodule: row.loss for row in losses},
    }
    sign = sign_of(greater_is_better)
    better = {name: sign * score for name, score in own_scores.items()}
    taus = {what: tau for what, values in measures.items() if (tau := rank_agreement(values, better)) is not None}
    return GateEvidence(candidate, found, reason, gates, contributions, losses, own_scores, taus)


def _order(values: Mapping[str, float]) -> list[str]:
    return sorted(values, key=lambda name: -values[name])


def _in_words(order: Sequence[str]) -> str:
    return " > ".join(order)


def _value(row: SubmoduleGate | SubmoduleContribution | SubmoduleLoss) -> float:
    return row.loss if isinstance(row, SubmoduleLoss) else row.mean


def _orders_by_seed(rows: Rows) -> list[list[str]]:
    """The order of the submodules for each seed that all of them have."""
    seeds = set.intersection(*(set(row.by_seed) for row in rows)) if rows else set()
    return [_order({row.submodule: row.by_seed[seed] for row in rows}) for seed in sorted(seeds)]


def strength(
    gates: Sequence[SubmoduleGate],
    contributions: Sequence[SubmoduleContribution],
    losses: Sequence[SubmoduleLoss],
    own_scores: Mapping[str, float],
) -> tuple[Strength, str]:
    """The strength of the evidence, and why.

    - **none**: no gate was measured; or every submodule's gates moved by less than `MOVED` on average (they are still where they
      started); or there is one submodule only, so that there is nothing to prefer.
    - **strong**: all of these hold: each submodule's gates moved by `MOVED` or more; the order of the submodules by gate is the same for
      each of two or more seeds; so is the order by contribution, and that by knock-out, and both are the order by gate; each submodule's
      own method is among the finalists, and the order by their scores is that same order too.
    - **weak**: anything between; the reason names what is missing or disagrees.

    Args:
        gates: by submodule.
        contributions: by submodule; may be empty (old records) or lack some.
        losses: by submodule; may be empty or lack some.
        own_scores: report score by submodule, best first; may lack some.
    """
    if not gates:
        return "none", "it has no gates, or none was measured."
    if len(gates) < COMPARABLE:
        return "none", f"{gates[0].submodule} is the only gated submodule, so that there is nothing to compare it with."
    if all(gate.moved < MOVED for gate in gates):
        return "none", f"the gates hardly left their start: each submodule's moved by less than {MOVED:.2f} on average."
    expected = _order({gate.submodule: gate.mean for gate in gates})
    doubts = [
        *_gate_doubts(gates),
        *_other_doubts(contributions, expected, "contribution", "measured"),
        *_other_doubts(losses, expected, "knock-out", "switched off"),
        *_own_doubts(own_scores, expected),
    ]
    if doubts:
        return "weak", "; ".join(doubts) + "."
    return "strong", f"gates, contributions, knock-outs and the methods' own scores agree on {_in_words(expected)}, on every seed."


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


def _other_doubts(rows: Rows, expected: Sequence[str], what: str, done: str) -> list[str]:
    """Of contributions or knock-outs: whether they say what the gates say, on every seed."""
    known = {row.submodule: _value(row) for row in rows}
    if missing := [name for name in expected if name not in known]:
        return [f"no {what} of {', '.join(missing)}"]
    # All or nothing: an order that holds on average only is a doubt, too.
    if (order := _order(known)) != list(expected):
        return [f"{what}s say {_in_words(order)}, gates say {_in_words(expected)}"]
    orders = _orders_by_seed(rows)
    if len(orders) < COMPARABLE:
        return [f"the submodules were {done} on one seed only"]
    return [f"the order by {what} changes with the seed"] if any(by_seed != list(expected) for by_seed in orders) else []


def _own_doubts(own_scores: Mapping[str, float], expected: Sequence[str]) -> list[str]:
    if missing := [name for name in expected if name not in own_scores]:
        return [f"{', '.join(missing)} alone is not among the finalists"]
    if list(own_scores) != list(expected):
        return [f"the methods' own scores say {_in_words(list(own_scores))}, gates say {_in_words(expected)}"]
    return []
