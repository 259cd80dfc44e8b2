"""What stopping weak trials early saved, and whether it was right to: examples trained, padding, and how well rungs foretell the end.

A trial that was stopped at a rung never shows what it would have become. So the agreement between rungs and ends is known for the trials
that were trained in full alone, which were the better ones at their rungs: over so narrow a field it looks smaller than it is over all.
``studies.rungs`` trains every trial in full and measures it over all.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pelt_automl.log.events import Because, CurvePoint, DataDescribed, Event, Planned, SelectionStarted, Stage, State, TrialEnded, of_kind
from pelt_automl.methods import BASELINES
from pelt_automl.tasks.metrics import METRICS

FEWEST = 3
"""Trials that a rank correlation needs: any two agree or disagree fully."""


@dataclass(frozen=True)
class RungAgreement:
    """How well a method's scores at one rung foretell its scores at the end."""

    method: str
    rung: int
    """Optimizer steps."""
    correlation: float | None
    """Spearman's, over the trials trained in full; None with fewer than `FEWEST` trials, or where all scores of one side are equal."""
    trials: int
    """Trained in full, and evaluated by the rung."""


@dataclass(frozen=True)
class Savings:
    """The search's trainings against training every trial in full, in examples: optimizer steps times batch size."""

    trained: int
    """Examples that the search's trials were trained on."""
    by_rungs: int
    """Examples that were not trained on because a trial wasn't promoted from its rung."""
    by_race: int
    """... because a method left the race: the rest of its trials under way; those that it had still to come went to the others."""
    by_patience: int
    """... because a trial's select score had stopped rising."""
    padding: float | None
    """Share of the tokens computed in the search's training that are padding; None where they weren't counted."""
    agreements: list[RungAgreement]
    """By method in the order of their first trials, then by rung."""

    @property
    def by_method(self) -> dict[str, list[RungAgreement]]:
        """The agreements of each method, one a rung."""
        rows: dict[str, list[RungAgreement]] = defaultdict(list)
        for row in self.agreements:
            rows[row.method].append(row)
        return dict(rows)

    @property
    def in_full(self) -> int:
        """Examples of training every trial in full."""
        return self.trained + self.by_rungs + self.by_race + self.by_patience

    @property
    def share(self) -> float | None:
        """Examples trained on over training every trial in full; None without a trial."""
        return self.trained / self.in_full if self.in_full else None


def savings(events: Sequence[Event]) -> Savings | None:
    """What the search of these records saved; None where they hold no plan or no batch size.

    Trials that failed or that the time limit cut off saved nothing: they count with what they were trained on, on both sides.
    """
    plans, batch = of_kind(events, Planned), _batch_size(events)
    if not plans or not batch:
        return None
    plan, trials = plans[-1], search_trials(events)
    stopped = [trial for trial in trials if trial.state == State.STOPPED and not trial.out_of_time]
    rungs = [rung for rung in plan.rungs or [plan.rung_steps] if rung < plan.steps]  # none in a training too short for any
    with_method = [trial for trial in stopped if trial.cause == Because.METHOD_OUT]

    def examples_left(ended: Sequence[TrialEnded]) -> int:
        return batch * sum(plan.steps - trial.steps for trial in ended)

    return Savings(
        trained=batch * sum(trial.steps for trial in trials),
        by_rungs=examples_left(stopped) - examples_left(with_method),
        by_race=examples_left(with_method),
        by_patience=examples_left([trial for trial in trials if trial.state == State.COMPLETED]),
        padding=padding_share(trials),
        agreements=rung_agreements(trials, rungs, _greater_is_better(events)),
    )


def search_trials(events: Sequence[Event]) -> list[TrialEnded]:
    """The search's trainings; of one that was recorded twice (after a restart) the later. Baselines aren't trained."""
    trials = of_kind(events, TrialEnded)
    return list({trial.trial: trial for trial in trials if trial.stage == Stage.SEARCH and trial.method not in BASELINES}.values())


def padding_share(trials: Sequence[TrialEnded]) -> float | None:
    """Share of the tokens computed in these trainings that are no text; None where none were counted."""
    computed = sum(trial.tokens.get("computed", 0) for trial in trials)
    text = sum(trial.tokens.get("text", 0) for trial in trials)
    return 1 - text / computed if computed else None


def rung_agreements(trials: Sequence[TrialEnded], rungs: Sequence[int], greater_is_better: bool) -> list[RungAgreement]:
    """For each method and rung: the rank correlation between the best select score by the rung and the final one.

    Over completed trials that were trained beyond the rung: one that ended at it has no other score to be compared with.
    """
    found = []
    for method in dict.fromkeys(trial.method for trial in trials):
        completed = [trial for trial in trials if trial.method == method and trial.state == State.COMPLETED]
        for rung in rungs:
            pairs = [
                (early, trial.select_score)
                for trial in completed
                if trial.steps > rung
                and trial.select_score is not None
                and (early := score_by(trial.curve, rung, greater_is_better)) is not None
            ]
            found.append(RungAgreement(method, rung, rank_correlation(pairs), len(pairs)))
    return found


def score_by(curve: Sequence[CurvePoint], step: int, greater_is_better: bool) -> float | None:
    """The best select score up to and with a step; None before the first evaluation, or when none of them is finite.

    The untouched start, step 0, doesn't count: heads that start from the probe all have it in common, so it ranks nobody.
    """
    scores = [point.select_score for point in curve if 0 < point.step <= step and math.isfinite(point.select_score)]
    if not scores:
        return None
    return max(scores) if greater_is_better else min(scores)


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's, ties sharing their mean rank; None with fewer than `FEWEST` pairs, or where one side is constant."""
    if len(pairs) < FEWEST:
        return None
    first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return METRICS["spearman"].value(first, second)


def _batch_size(events: Sequence[Event]) -> int:
    return int(_setting(events, "training", "batch_size") or 0)


def _setting(events: Sequence[Event], part: str, name: str) -> Any:
    """None where the records don't hold it."""
    started = of_kind(events, SelectionStarted)
    settings = started[-1].settings.get(part) if started else None
    return settings.get(name) if isinstance(settings, dict) else None


def _greater_is_better(events: Sequence[Event]) -> bool:
    described = of_kind(events, DataDescribed)
    return described[-1].greater_is_better if described else True
