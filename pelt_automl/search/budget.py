"""Time: a clock that spans restarts, and what a time limit allows at the speed that was measured."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pelt_automl.config import SearchSettings, TrainingSettings
from pelt_automl.records import Event, SelectionStarted
from pelt_automl.training.schedule import even_steps, make_plan

FEWEST_FINALISTS = 3
"""Below this many finalists trainings are shortened, not the list."""

FEWEST_REPORT = 500
"""Examples of the report split that time is kept for, if it has as many."""

EVIDENCE_EXAMPLES = 200
"""Examples of select on which gates are measured and submodules switched off."""

WRITING = 4.0
"""Seconds kept for the verdict, the report and the recorders at the very end."""


COST_SECONDS, COST_SHARE = 2.0, 0.03
"""Seconds kept for measuring what a finalist costs, and the share of the time limit that those of all finalists are of at most."""


@dataclass(frozen=True)
class Clock:
    """Wall time of a selection; time spent before a restart counts."""

    limit: float | None
    """Seconds; None for no limit."""
    used: float = 0.0
    """Seconds spent by earlier starts."""
    now: Callable[[], float] = time.monotonic
    started: float = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds spent so far."""
        return self.used + self.now() - self.started

    @property
    def left(self) -> float:
        """Seconds until the limit; infinite without one."""
        return math.inf if self.limit is None else self.limit - self.elapsed


def seconds_used(events: Sequence[Event]) -> float:
    """Wall time of a selection's earlier starts, from its records: each from its start to its last event."""
    used, start, last = 0.0, None, 0.0
    for event in events:
        if isinstance(event, SelectionStarted):
            used += last - start if start is not None else 0.0
            start = event.time
        last = max(last, getattr(event, "time", last))
    return used + (last - start if start is not None else 0.0)


@dataclass(frozen=True)
class Speed:
    """Measured on this machine, with this backbone and these texts."""

    step: float
    """Seconds for one optimizer step of one trial in a pack."""
    example: float
    """Seconds to evaluate one example with one trial."""


@dataclass(frozen=True)
class Allowance:
    """What the time limit allows."""

    steps: int
    """Optimizer steps of a full training."""
    finalists: int
    """Configurations that can be confirmed; decided anew when the search has ended."""
    message: str


def training_seconds(steps: int, select_size: int, speed: Speed, search: SearchSettings, training: TrainingSettings) -> float:
    """A full training with its evaluations."""
    plan = make_plan(steps, search.rungs, select_size, training)
    looked_at = len(plan.evaluate_at) * (plan.select_most or select_size) + (select_size if plan.select_most else 0)
    return plan.steps * speed.step + looked_at * speed.example


def allowance(
    wanted: int,
    candidates: int,
    methods: int,
    sizes: tuple[int, int],
    left: float,
    speed: Speed,
    search: SearchSettings,
    training: TrainingSettings,
) -> Allowance:
    """Shorten what has to be shortened so that the search's defaults and the finalists fit into `left` seconds.

    `wanted`: steps of an unshortened training; `candidates`: finalists without a limit; `sizes`: examples in select and report.
    First the trainings get shorter (down to half), then the list of finalists, then the trainings again.
    """
    select_size, report_size = sizes
    if math.isinf(left):
        return Allowance(even_steps(wanted), candidates, "no time limit")
    final = max(left * search.finalist_share - WRITING, 1.0)
    seeds = search.finalist_seeds
    evidence = min(select_size, EVIDENCE_EXAMPLES) * seeds * 5 * speed.example

    def fits(steps: int, finalists: int) -> bool:
        one = training_seconds(steps, select_size, speed, search, training)
        scoring = finalists * seeds * min(report_size, FEWEST_REPORT) * speed.example
        return finalists * seeds * one + scoring + evidence <= final and methods * one <= 0.8 * (left - final)

    shortest = min(training.min_steps, wanted)
    lengths = sorted({even_steps(steps) for steps in range(shortest, wanted + 1)}, reverse=True)
    wanted = lengths[0]
    ways = [(steps, candidates) for steps in lengths if steps >= wanted / 2]
    ways += [(max(lengths[-1], even_steps(math.ceil(wanted / 2))), count) for count in range(candidates - 1, FEWEST_FINALISTS - 1, -1)]
    ways += [(steps, min(FEWEST_FINALISTS, candidates)) for steps in lengths if steps < wanted / 2]
    steps, finalists = next((way for way in ways if fits(*way)), (lengths[-1], min(2, candidates)))
    return Allowance(steps, finalists, _message((steps, wanted), (finalists, candidates)))


def _message(steps: tuple[int, int], finalists: tuple[int, int]) -> str:
    shortened = []
    if steps[0] < steps[1]:
        shortened.append(f"trainings of {steps[0]} instead of {steps[1]} steps")
    if finalists[0] < finalists[1]:
        shortened.append(f"about {finalists[0]} instead of {finalists[1]} finalists")
    return f"the time limit allows {', '.join(shortened)}" if shortened else "the time limit allows everything"
