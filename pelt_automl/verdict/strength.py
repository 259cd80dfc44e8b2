"""How far gates may be believed: none, weak or strong, by rules that are written down here.

Four orders of the submodules are set beside each other: by gate (most open first), by contribution (greatest share of the hidden states
first), by knock-out (greatest loss first), and by the own score of the single method of the same name. A rank correlation of two or three
submodules is a coarse number (three submodules have six orders), so that it is reported, but decides nothing: agreement is all or nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from pelt_automl.log.events import Standing
from pelt_automl.log.history import History
from pelt_automl.verdict.agreement import rank_agreement
from pelt_automl.verdict.submodules import Measure, measured

MOVED = 0.05
"""A submodule whose gates drifted less than this from their start says nothing."""
COMPARABLE = 2
"""Submodules that an order needs at least, and seeds that its stability needs at least."""

Strength = Literal["none", "weak", "strong"]


@dataclass(frozen=True)
class GateEvidence:
    """What the gates of one finalist say, and whether anything else says the same."""

    candidate: str
    strength: Strength
    reason: str
    """In words, for the report."""
    submodules: dict[str, dict[str, Measure]]
    """By name, the most open first, without gates the one that contributes most: what was measured of each (see
    `pelt_automl.verdict.submodules.MEASURES`); a knock-out's is positive where the submodule helps."""
    moved: dict[str, float]
    """By submodule with gates: mean over its gates of the drift's size, so that layers that move in opposite directions don't cancel."""
    own_scores: dict[str, float]
    """Report score of the best finalist of the single method of each submodule's name; best first."""
    agreement: dict[str, float]
    """Kendall's tau with the own scores, of ``gates``, ``contributions`` and ``knock-outs``, where there are two submodules or more."""


def gate_evidence(history: History, candidate: str, standings: Sequence[Standing]) -> GateEvidence:
    """All that was measured of the submodules of `candidate`, with the strength of the evidence (see `strength`).

    `standings`: the finalists, best first.
    """
    sign = history.data.sign
    rows = {what: measured(history, what, candidate) for what in ("gate", "contribution")}
    rows |= {"knock-out": measured(history, "knock-out", candidate, sign), "drift": measured(history, "drift", candidate)}
    moved = {row.submodule: fmean(abs(fmean(values)) for values in row.by_place.values()) for row in rows["drift"]}
    submodules: dict[str, dict[str, Measure]] = {}
    for what, found in rows.items():
        for row in found:
            submodules.setdefault(row.submodule, {})[what] = row
    own = {row.method: row.report_score for row in reversed(standings) if row.method in submodules}  # the first of a method is its best
    own = {row.method: own[row.method] for row in standings if row.method in own}
    better = {name: sign * score for name, score in own.items()}
    taus = {what: rank_agreement({row.submodule: row.mean for row in found}, better) for what, found in rows.items() if what != "drift"}
    how, why = strength(rows["gate"], moved, rows["contribution"], rows["knock-out"], own)
    return GateEvidence(candidate, how, why, submodules, moved, own, {f"{what}s": tau for what, tau in taus.items() if tau is not None})


def strength(
    gates: Sequence[Measure],
    moved: Mapping[str, float],
    contributions: Sequence[Measure],
    losses: Sequence[Measure],
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
        gates: by submodule, the most open first.
        moved: by submodule, see `GateEvidence`.
        contributions: by submodule, the greatest first; may be empty (old records) or lack some.
        losses: by submodule, the greatest first; may be empty or lack some.
        own_scores: report score by submodule, best first; may lack some.
    """
    if not gates:
        return "none", "it has no gates, or none was measured."
    if len(gates) < COMPARABLE:
        return "none", f"{gates[0].submodule} is the only gated submodule, so that there is nothing to compare it with."
    order, orders, doubts = [gate.submodule for gate in gates], _orders_by_seed(gates), list[str]()
    still = [name for name in order if moved[name] < MOVED]
    if still == order:
        return "none", f"the gates hardly left their start: each submodule's moved by less than {MOVED:.2f} on average."
    if still:
        doubts.append(f"the gates of {', '.join(still)} hardly left their start")
    if len(orders) < COMPARABLE:
        doubts.append("the gates were measured on one seed only")
    elif any(own != orders[0] for own in orders):
        doubts.append("the order by gate changes with the seed")
    doubts += _doubts(contributions, order, "contribution", "measured") + _doubts(losses, order, "knock-out", "switched off")
    if missing := [name for name in order if name not in own_scores]:
        doubts.append(f"{', '.join(missing)} alone is not among the finalists")
    elif list(own_scores) != order:
        doubts.append(f"the methods' own scores say {' > '.join(own_scores)}, gates say {' > '.join(order)}")
    if doubts:
        return "weak", "; ".join(doubts) + "."
    return "strong", f"gates, contributions, knock-outs and the methods' own scores agree on {' > '.join(order)}, on every seed."


def _orders_by_seed(rows: Sequence[Measure]) -> list[list[str]]:
    """The order of the submodules for each seed that all of them have."""
    seeds = set.intersection(*(set(row.by_seed) for row in rows)) if rows else set()
    return [[row.submodule for row in sorted(rows, key=lambda row: -row.by_seed[seed])] for seed in sorted(seeds)]


def _doubts(rows: Sequence[Measure], order: Sequence[str], what: str, done: str) -> list[str]:
    """Of contributions or knock-outs: whether they say what the gates say, on every seed."""
    known = [row.submodule for row in rows]
    if missing := [name for name in order if name not in known]:
        return [f"no {what} of {', '.join(missing)}"]
    # All or nothing: an order that holds on average only is a doubt, too.
    if known != list(order):
        return [f"{what}s say {' > '.join(known)}, gates say {' > '.join(order)}"]
    orders = _orders_by_seed(rows)
    if len(orders) < COMPARABLE:
        return [f"the submodules were {done} on one seed only"]
    return [f"the order by {what} changes with the seed"] if any(own != list(order) for own in orders) else []
