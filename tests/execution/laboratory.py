"""A log in memory, an executor on a tiny model, and what a scheduler would say, said by hand."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from pelt_automl.execution.packs import Packs
from pelt_automl.log.events import Because, Released, Seeds, Segment, SegmentEnded, Stopped, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.methods import METHODS
from pelt_automl.scheduling.actions import Stop, Train
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work
from tests.tiny import a_run
from tests.training import test_packing

Configuration = tuple[str, dict[str, Any], float]
"""Method, structural hyper-parameters, learning rate."""

ADAPTERS: Mapping[str, Configuration] = {f"adapter-{index}": ("adapter", {"bottleneck": 2 + index}, 1e-2) for index in range(8)}
MIXED: Mapping[str, Configuration] = {f"{method}-{index}": one for index, one in enumerate(test_packing.MIXED) for method in one[:1]}
OTHERS: Mapping[str, Configuration] = {
    "full": ("full", {}, 1e-3),
    "prompt-0": ("prompt", {}, 1e-2),
    "prompt-1": ("prompt", {}, 1e-2),
    "broken": ("prefix", {"prefix_length": -1}, 1e-2),
    "diverges": ("adapter", {"bottleneck": 3}, math.nan),
}
KNOWN = {**ADAPTERS, **MIXED, **OTHERS}


def plan_of(steps: int) -> TrainingPlan:
    """Evaluated four times."""
    return replace(test_packing.plan_of(steps), steps=steps, evaluate_at=tuple(steps // 4 * part for part in (1, 2, 3, 4)), rungs=())


def work(**changes: Any) -> Work:
    """On the tiny BERT."""
    return replace(test_packing.work(), plan=plan_of(12), **changes)


def begin(segment: Segment) -> TrialRun:
    """A trial at its start; its seed is its number."""
    method, sizes, rate = KNOWN[segment.trial]
    return a_run(segment.trial, METHODS[method].modifications(sizes), rate=rate, seed=segment.number)


def ended(segment: Segment, run: TrialRun) -> TrialEnded:
    """Its record."""
    progress = run.progress
    return TrialEnded(
        run.name, run.name, segment.method, "search", segment.number, progress.state, False, {}, run.seeds, {}, list(progress.curve),
        progress.best_score, progress.step, progress.seconds, progress.best_constant, progress.cause, progress.traceback,
        Outputs().put(progress.best_predictions), {"computed": progress.tokens_computed, "text": progress.tokens_of_text},
    )  # fmt: skip


def segment(name: str, start: int = 0, end: int = 3, steps: int = 12, attempt: int = 0) -> Segment:
    """Of one of the configurations above."""
    number = int(name[-1]) if name[-1].isdigit() else 0
    return Segment(name, name, KNOWN[name][0], {}, "search", number, False, Seeds(0, number, number), steps, start, end, attempt)


@dataclass
class Laboratory:
    """One process's executor, with the log."""

    folder: Path
    at_once: int = 4
    history: History = field(default_factory=History)
    changes: dict[str, Any] = field(default_factory=dict)
    """Of the work."""
    plan: Callable[[int], TrainingPlan] = plan_of
    weights: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    """The best ones that were handed out."""
    lives: "list[Laboratory]" = field(default_factory=list)
    """It, and those after it: their executors are to be stopped."""

    def __post_init__(self) -> None:
        """Start its executor."""
        self.lives.append(self)
        self.packs = Packs(
            work(**self.changes), self.history, self.plan, begin, ended, self.keep, self.folder / "states", "q", self.at_once
        )

    def keep(self, event: TrialEnded, weights: Mapping[str, torch.Tensor]) -> None:
        """Before the log has it."""
        assert self.history.trials[event.trial].ended is None
        self.weights[event.trial] = dict(weights)

    def release(self, *segments: Segment) -> None:
        """Log and start them."""
        actions = [Train(one, Because.FIRST) for one in segments]
        for action in actions:
            self.history.apply(Released(action.segment, action.because))
        self.packs.start(actions)

    def end(self, *names: str, because: Because = Because.NOT_PROMOTED) -> None:
        """Log and carry out that these stop."""
        for name in names:
            self.history.apply(Stopped(name, because))
        self.packs.start([Stop(name, because) for name in names])

    def wait(self, expired: Callable[[], bool] = lambda: False) -> list[Any]:
        """What comes of it, logged."""
        events = list(self.packs.wait(expired))
        for event in events:
            self.history.apply(event)
        return events

    def to_the_end(self, end: int = 12, stop: frozenset[str] = frozenset()) -> None:
        """All that is released; those that come to a segment's end go on to the step `end`, but those to stop."""
        while self.packs.running():
            for event in self.wait():
                if isinstance(event, SegmentEnded) and event.trial in stop:
                    self.end(event.trial)
                elif isinstance(event, SegmentEnded):
                    known = self.history.trials[event.trial].segment
                    self.release(replace(known, start=known.end, end=end))
        self.wait()

    def after_a_kill(self, **changes: Any) -> "Laboratory":
        """Another process that finds the log and the states."""
        other = Laboratory(self.folder, self.at_once, History.of(self.history.events), self.changes | changes, self.plan, lives=self.lives)
        again = [Stop(t.name, t.stopped.because) if t.stopped else Train(t.segment, Because.FIRST) for t in other.history.open()]
        other.packs.start(again)
        return other

    def results(self) -> dict[str, TrialEnded]:
        """By trial."""
        return {name: trial.ended for name, trial in self.history.trials.items() if trial.ended}
