"""The Pareto front: which finalists nothing else beats in score, trainable parameters and latency at once."""

from collections.abc import Sequence
from dataclasses import replace

from pelt_automl.log.events import Standing
from pelt_automl.verdict.costs import as_counted
from pelt_automl.verdict.wording import Unit, listed, name_of


def with_front(standings: Sequence[Standing]) -> list[Standing]:
    """The standings, each marked whether it is on the front.

    By mean scores, as differences to the best rounded to 9 digits, so that what is equal doesn't differ by rounding; and by what they
    cost: parameters kept, and latency at batch 1 where it was measured for all. Smaller is better in each.
    """
    served = [row.served_latency_ms for row in standings]
    latencies = [(as_counted(ms),) if ms is not None and None not in served else () for ms in served]
    points = [(round(row.difference, 9), row.parameters, *latency) for row, latency in zip(standings, latencies, strict=True)]
    return [replace(row, pareto=not any(dominates(other, own) for other in points)) for row, own in zip(standings, points, strict=True)]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether a point is nowhere worse (greater) than another, and better somewhere."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def front_in_words(standings: Sequence[Standing], unit: Unit) -> str:
    """Who is on the front, and whose place on it may be luck, since intervals say so; empty for a single finalist."""
    front = sorted((row for row in standings if row.pareto), key=lambda row: row.parameters)
    if len(standings) < 2 or not front:
        return ""
    timed = all(row.served_latency_ms is not None for row in standings)
    costs = "trainable parameters and latency" if timed else "trainable parameters (latencies were not measured)"
    latency = [f", {row.served_latency_ms:.3g} ms" if row.served_latency_ms is not None else "" for row in front]
    members = [f"{name_of(row)} ({unit.number(row.report_score)}, {row.parameters:,}{ms})" for row, ms in zip(front, latency, strict=True)]
    best = standings[0]
    unsure = [name_of(row) for row in front if row is not best and not row.distinguishable] if best in front else []
    luck = f" There is no evidence for a difference in score between {name_of(best)} and {listed(unsure)}, which cost less in something."
    return f"Not dominated in mean score, {costs}: {listed(members)}.{luck if unsure else ''}"
