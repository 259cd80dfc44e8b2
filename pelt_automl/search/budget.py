"""Time: a clock that spans restarts, and what a time limit allows at the speed that was measured."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pelt_automl.log.events import Event, SelectionStarted
from pelt_automl.search.promotion import expected_share
from pelt_automl.settings import SearchSettings, TrainingSettings
from pelt_automl.training.schedule import even_steps, make_plan

FEW_FINALISTS, FEWEST_FINALISTS = 3, 2
"""The first are a fixed default, the leader and the runner-up: before there are fewer, trainings are shortened to `LONG`."""

FEWEST_SEEDS = 2
"""Of a finalist, where time is very short: fewer tell nothing of their spread."""

LONG = 0.75
"""Of an unshortened training: what is recommended is no better than its training, so that finalists get fewer before they get shorter."""

SHORT = 0.5
"""Of a finalist's training: a trial's in the search gets shorter only when there are fewer trials than `FEW_TRIALS`."""

FEW_TRIALS = 3
"""Of a method in the search: its default and what can be better where that doesn't suit."""

SEARCH_RESERVE = 0.2
"""Share of the search's time that its plan leaves free: trials come in packs, and the speed was measured on few steps."""

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
    """Wall time of a selection's earlier starts, from its records: each from its start, with what came before its record, to its last."""
    used, start, last = 0.0, None, 0.0
    for event in events:
        if isinstance(event, SelectionStarted):
            used += last - start if start is not None else 0.0
            start = event.time - event.seconds_before
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
    """Optimizer steps of a full training in the search."""
    final_steps: int
    """Of a finalist's training; never fewer."""
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
    """Shorten what has to be shortened so that the search and the finalists fit into `left` seconds.

    What is recommended is trained as the finalists are, and a search on shorter trainings finds much the same, as every search by
    successive halving takes for granted: finalists are kept long, the search's trainings may be shorter.

    Of the finalists there are first fewer (down to `FEW_FINALISTS`), then they are shorter (down to `LONG`), then the same with
    `FEWEST_FINALISTS`; what is left then are the longest trainings that fit with `FEWEST_SEEDS`, and with more if that fits, too.
    In the search trainings get shorter (down to `SHORT`), then there are fewer trials than `FEW_TRIALS` a method, then again shorter ones.

    Args:
        wanted: steps of an unshortened training.
        candidates: finalists without a limit.
        methods: in the search.
        sizes: examples in select and report.
        left: seconds.
        speed: as measured.
        search: the settings.
        training: the settings.
    """
    select_size, report_size = sizes
    if math.isinf(left):
        steps = even_steps(wanted)
        return Allowance(steps, steps, candidates, search.finalist_seeds, "no time limit")
    for_finalists = max(left * search.finalist_share - WRITING, 1.0)

    def one(steps: int) -> float:
        return training_seconds(steps, select_size, speed, search, training)

    def final(steps: int, finalists: int, seeds: int) -> float:
        evidence = min(select_size, EVIDENCE_EXAMPLES) * seeds * 5 * speed.example
        return finalists * seeds * (one(steps) + min(report_size, FEWEST_REPORT) * speed.example) + evidence

    def searched(steps: int, trials: int) -> float:
        share = expected_share(make_plan(steps, search.rungs, select_size, training), search.promoted)
        return methods * one(steps) * (1 + (trials - 1) * share)

    shortest = min(training.min_steps, wanted)
    lengths = sorted({even_steps(steps) for steps in range(shortest, wanted + 1)}, reverse=True)
    ways = _finals(lengths, candidates, search.finalist_seeds)
    final_steps, finalists, seeds = next((way for way in ways if final(*way) <= for_finalists), ways[-1])
    for_search = (1 - SEARCH_RESERVE) * (left - for_finalists)
    courses = _courses([steps for steps in lengths if steps <= final_steps], min(FEW_TRIALS, search.trials))
    steps, _ = next((course for course in courses if searched(*course) <= for_search), courses[-1])
    given, asked = (steps, final_steps, finalists, seeds), (lengths[0], candidates, search.finalist_seeds)
    return Allowance(*given, _message(*given, *asked))


def seconds_enough(
    wanted: int, methods: int, sizes: tuple[int, int], used: float, speed: Speed, search: SearchSettings, training: TrainingSettings
) -> float:
    """A time limit that allows every method a full training of its default, and `FEW_FINALISTS` with `FEWEST_SEEDS` full trainings each.

    Args:
        wanted: steps of an unshortened training.
        methods: in the search.
        sizes: examples in select and report.
        used: seconds spent before the search.
        speed: as measured.
        search: the settings.
        training: the settings.
    """
    select_size, report_size = sizes
    one = training_seconds(even_steps(wanted), select_size, speed, search, training)
    finals = FEW_FINALISTS * FEWEST_SEEDS * (one + min(report_size, FEWEST_REPORT) * speed.example)
    return used + methods * one / (1 - SEARCH_RESERVE) + finals + WRITING


def _finals(lengths: Sequence[int], candidates: int, seeds: int) -> list[tuple[int, int, int]]:
    """Steps, finalists and seeds of each, the most wanted first; `lengths`: longest first."""
    long = [steps for steps in lengths if steps >= LONG * lengths[0]]
    few, fewest, fewest_seeds = min(FEW_FINALISTS, candidates), min(FEWEST_FINALISTS, candidates), min(FEWEST_SEEDS, seeds)
    return [
        *((lengths[0], count, seeds) for count in range(candidates, few, -1)),
        *((steps, few, seeds) for steps in long),
        *((steps, fewest, seeds) for steps in long),
        *((steps, *way) for steps in lengths for way in ((few, seeds), (fewest, seeds), (fewest, fewest_seeds))),
    ]


def _courses(lengths: Sequence[int], trials: int) -> list[tuple[int, int]]:
    """Steps of a search's training and trials a method, the most wanted first; `lengths`: longest first."""
    short = next(steps for steps in reversed(lengths) if steps >= SHORT * lengths[0])
    return [
        *((steps, trials) for steps in lengths if steps >= short),
        *((short, fewer) for fewer in range(trials - 1, 0, -1)),
        *((steps, 1) for steps in lengths if steps < short),
    ]


def of_use_to_finals(share: float, one_run: float, closing: float, finalists: int, search: SearchSettings) -> float:
    """Seconds of the finals' `share` that whole seeds of all finalists can fill: what is too short for another one is the search's.

    All of it where it is too short for a seed of the fewest finalists, since they are trained anyhow.

    Args:
        share: seconds that the finals may take.
        one_run: seconds to train one finalist on one seed and to score it.
        closing: seconds that the end of the selection takes after them.
        finalists: candidates without a limit.
        search: the settings.
    """
    fewest = min(FEWEST_FINALISTS, finalists)
    runs = {fewest * seeds for seeds in range(1, search.most_seeds + 1)}  # the fewest are trained on fewer seeds than are wanted
    runs |= {count * seeds for count in range(fewest, finalists + 1) for seeds in range(search.finalist_seeds, search.most_seeds + 1)}
    return max((needed for count in runs if (needed := count * one_run + closing) <= share), default=share)


def _message(steps: int, final_steps: int, finalists: int, seeds: int, wanted: int, candidates: int, wanted_seeds: int) -> str:
    shortened = []
    if steps < wanted:
        where = "" if steps == final_steps else " in the search"
        shortened.append(f"trainings of {steps} instead of {wanted} steps{where}")
    if steps < final_steps:
        of_finalists = f"{final_steps}" if final_steps < wanted else f"all {final_steps}"
        shortened.append(f"{of_finalists} for the finalists")
    if finalists < candidates:
        shortened.append(f"about {finalists} instead of {candidates} finalists")
    if seeds < wanted_seeds:
        shortened.append(f"{seeds} instead of {wanted_seeds} seeds for each")
    return f"the time limit allows {', '.join(shortened)}" if shortened else "the time limit allows everything"
