"""What makes a finalist cheap: the user's preference among costs that were measured."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pelt_automl.log.events import Standing
from pelt_automl.log.history import History

NOT_MEASURED = "Latencies were not measured for all of the tied, so that the number of trainable parameters decided in their place."

LATENCY_DIGITS = 2
"""Significant digits of a latency that count: repeats on the same machine differ in the third."""


def with_costs(standings: Sequence[Standing], history: History) -> list[Standing]:
    """The standings with what was measured of each finalist."""
    measured = {event.candidate: event for event in history.costs}
    return [
        replace(
            row,
            latency_ms=own.latency(1),
            latency_ms_32=own.latency(32),
            merged_latency_ms=own.latency(1, merged=True),
            merged_latency_ms_32=own.latency(32, merged=True),
            served_latency_ms=own.served,
            memory_gb=own.memory_gb,
        )
        if (own := measured.get(row.candidate))
        else row
        for row in standings
    ]


def as_counted(latency_ms: float) -> float:
    """A latency to `LATENCY_DIGITS` significant digits: 10.43 and 9.98 are both 10."""
    return float(f"{latency_ms:.{LATENCY_DIGITS}g}")


COST_OF: Mapping[str, Callable[[Standing], float]] = {
    "params": lambda row: row.parameters,
    "latency": lambda row: as_counted(math.inf if row.served_latency_ms is None else row.served_latency_ms),
    "time": lambda row: row.training_seconds,
    "score": lambda row: row.difference,
}
"""What a preference looks at: the smallest is preferred."""


def possible_preference(prefer: str, rows: Sequence[Standing]) -> str:
    """The user's preference; ``params`` in place of latencies that weren't measured for all rows."""
    return "params" if prefer == "latency" and any(row.served_latency_ms is None for row in rows) else prefer


def cheapest(rows: Sequence[Standing], prefer: str) -> Standing:
    """The row that the preference likes best; of equals the one with the better score, then the one with fewer parameters."""
    cost = COST_OF[possible_preference(prefer, rows)]
    return min(rows, key=lambda row: (cost(row), row.difference, row.parameters))
