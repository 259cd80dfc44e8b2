"""The Pareto front: which finalists nothing else beats in score, trainable parameters and latency at once."""

from collections.abc import Sequence
from dataclasses import replace

from pelt_automl.log.events import Standing
from pelt_automl.verdict.costs import as_counted
from pelt_automl.verdict.wording import Unit, listed, name_of


def with_front(standings: Sequence[Standing]) -> list[Standing]:
    """The standings, each marked whether it is on the front.

    By mean scores, and by what they cost: parameters kept, and latency at batch 1 where it was measured for all.
    """
    points = [_point(row, timed=has_latencies(standings)) for row in standings]
    return [replace(row, pareto=not any(dominates(other, own) for other in points)) for row, own in zip(standings, points, strict=True)]


def has_latencies(standings: Sequence[Standing]) -> bool:
    """Whether latency takes part."""
    return all(row.served_latency_ms is not None for row in standings)


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether a point is nowhere worse (greater) than another, and better somewhere."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def _point(row: Standing, *, timed: bool) -> tuple[float, ...]:
    """Smaller is better in each. Scores as differences to the best, rounded: so that what is equal doesn't differ by rounding."""
    latency = (as_counted(row.served_latency_ms),) if timed and row.served_latency_ms is not None else ()
    return (round(row.difference, 9), row.parameters, *latency)


def front_in_words(standings: Sequence[Standing], unit: Unit) -> str:
    """Who is on the front, and whose place on it may be luck; empty for a single finalist."""
    front = sorted((row for row in standings if row.pareto), key=lambda row: row.parameters)
    if len(standings) < 2 or not front:
        return ""
    costs = "trainable parameters and latency" if has_latencies(standings) else "trainable parameters (latencies were not measured)"
    members = listed([f"{name_of(row)} ({unit.number(row.report_score)}, {_cost(row)})" for row in front])
    return f"Not dominated in mean score, {costs}: {members}.{_luck(front, standings)}"


def _cost(row: Standing) -> str:
    latency = "" if row.served_latency_ms is None else f", {row.served_latency_ms:.3g} ms"
    return f"{row.parameters:,}{latency}"


def _luck(front: Sequence[Standing], standings: Sequence[Standing]) -> str:
    """The front follows means; where intervals say that a better mean may be luck, so does this."""
    best = standings[0]
    unsure = [row for row in front if row is not best and not row.distinguishable]
    if not unsure or best not in front:
        return ""
    names = listed([name_of(row) for row in unsure])
    return f" There is no evidence for a difference in score between {name_of(best)} and {names}, which cost less in something."
