"""Time: a clock that spans restarts, and what a time limit allows at the speed that was measured."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pelt_automl.config import SearchSettings, TrainingSettings
from pelt_automl.records import Event, SelectionStarted
from pelt_automl.training.schedule import even_steps, make_plan

FEW_FINALISTS, FEWEST_FINALISTS = 3, 2
"""The first are a fixed default, the leader and the runner-up: before there are fewer, trainings are shortened to `LONG`."""

FEWEST_SEEDS = 2
"""Of a finalist, where time is very short: fewer tell nothing of their spread."""

LONG = 0.75
"""Of an unshortened training: shorter ones come after fewer finalists, since what is recommended is no better than its training."""

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
    seeds: int
    """Seeds that each of them can be trained on; decided anew when they are trained."""
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
    First the list of finalists gets shorter (down to `FEW_FINALISTS`), then the trainings (down to `LONG`), then the same with
    `FEWEST_FINALISTS`; what is left then are the longest trainings that fit with `FEWEST_SEEDS`, and with more if that fits, too.
    """
    select_size, report_size = sizes
    if math.isinf(left):
        return Allowance(even_steps(wanted), candidates, search.finalist_seeds, "no time limit")
    final = max(left * search.finalist_share - WRITING, 1.0)

    def fits(steps: int, finalists: int, seeds: int) -> bool:
        evidence = min(select_size, EVIDENCE_EXAMPLES) * seeds * 5 * speed.example
        one = training_seconds(steps, select_size, speed, search, training)
        scoring = finalists * seeds * min(report_size, FEWEST_REPORT) * speed.example
        return finalists * seeds * one + scoring + evidence <= final and methods * one <= 0.8 * (left - final)

    shortest = min(training.min_steps, wanted)
    lengths = sorted({even_steps(steps) for steps in range(shortest, wanted + 1)}, reverse=True)
    wanted, seeds = lengths[0], search.finalist_seeds
    long = [steps for steps in lengths if steps >= LONG * wanted]
    few, fewest, fewest_seeds = min(FEW_FINALISTS, candidates), min(FEWEST_FINALISTS, candidates), min(FEWEST_SEEDS, seeds)
    ways = [(wanted, count, seeds) for count in range(candidates, few, -1)]
    ways += [(steps, few, seeds) for steps in long]
    ways += [(steps, fewest, seeds) for steps in long]
    ways += [(steps, *way) for steps in lengths for way in ((few, seeds), (fewest, seeds), (fewest, fewest_seeds))]
    steps, finalists, each = next((way for way in ways if fits(*way)), ways[-1])
    return Allowance(steps, finalists, each, _message((steps, wanted), (finalists, candidates), (each, seeds)))


def _message(steps: tuple[int, int], finalists: tuple[int, int], seeds: tuple[int, int]) -> str:
    shortened = []
    if steps[0] < steps[1]:
        shortened.append(f"trainings of {steps[0]} instead of {steps[1]} steps")
    if finalists[0] < finalists[1]:
        shortened.append(f"about {finalists[0]} instead of {finalists[1]} finalists")
    if seeds[0] < seeds[1]:
        shortened.append(f"{seeds[0]} instead of {seeds[1]} seeds for each")
    return f"the time limit allows {', '.join(shortened)}" if shortened else "the time limit allows everything"
