"""What stopping weak trials early saved, and whether it was right to: examples trained, padding, and how well rungs foretell the end.

A trial that was stopped at a rung never shows what it would have become. So the agreement between rungs and ends is known for the trials
that were trained in full alone, which were the better ones at their rungs: over so narrow a field it looks smaller than it is over all.
``studies.rungs`` trains every trial in full and measures it over all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pelt_automl.log.events import Because, CurvePoint, Stage, State, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES
from pelt_automl.tasks.metrics import METRICS

FEWEST = 3
"""Trials that a rank correlation needs: any two agree or disagree fully."""

Agreement = tuple[int, float | None, int]
"""A rung in optimizer steps; Spearman's correlation between the best scores by it and the final ones, over the trials trained in full
beyond it, None with fewer than `FEWEST` or where all scores of one side are equal; and how many these are."""


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
    agreements: dict[str, list[Agreement]]
    """By method in the order of their first trials, one a rung; empty where there are no rungs."""

    @property
    def in_full(self) -> int:
        """Examples of training every trial in full."""
        return self.trained + self.by_rungs + self.by_race + self.by_patience

    @property
    def share(self) -> float | None:
        """Examples trained on over training every trial in full; None without a trial."""
        return self.trained / self.in_full if self.in_full else None


def savings(history: History) -> Savings | None:
    """What the search saved; None where the records hold no plan or no batch size.

    Trials that failed or that the time limit cut off saved nothing: they count with what they were trained on, on both sides.
    """
    plan, settings = history.plan, history.started.settings.get("training") if history.started else None
    batch = settings.get("batch_size") if isinstance(settings, dict) else None
    if plan is None or not batch:
        return None
    by_method = searched(history)
    trials = [trial for own in by_method.values() for trial in own]
    stopped = [trial for trial in trials if trial.state == State.STOPPED and not trial.out_of_time]
    rungs = [rung for rung in plan.rungs or [plan.rung_steps] if rung < plan.steps]  # none in a training too short for any

    def left(ended: Sequence[TrialEnded]) -> int:
        return int(batch) * sum(plan.steps - trial.steps for trial in ended)

    return Savings(
        trained=int(batch) * sum(trial.steps for trial in trials),
        by_rungs=left([trial for trial in stopped if trial.cause != Because.METHOD_OUT]),
        by_race=left([trial for trial in stopped if trial.cause == Because.METHOD_OUT]),
        by_patience=left([trial for trial in trials if trial.state == State.COMPLETED]),
        padding=padding_share(trials),
        agreements={name: rung_agreements(own, rungs, history.data.greater_is_better) for name, own in by_method.items()} if rungs else {},
    )


def latest(history: History) -> list[TrialEnded]:
    """All trainings that have ended; of one that was recorded twice (after a restart) the later."""
    return list({trial.trial: trial for trial in history.ended()}.values())


def searched(history: History) -> dict[str, list[TrialEnded]]:
    """The search's trainings by method, in the order of their first ones. Baselines, with one configuration each, aren't among them."""
    by_method: dict[str, list[TrialEnded]] = {}
    for trial in latest(history):
        if trial.stage == Stage.SEARCH and trial.method not in BASELINES:
            by_method.setdefault(trial.method, []).append(trial)
    return by_method


def padding_share(trials: Sequence[TrialEnded]) -> float | None:
    """Share of the tokens computed in these trainings that are no text; None where none were counted."""
    computed = sum(trial.tokens.get("computed", 0) for trial in trials)
    return 1 - sum(trial.tokens.get("text", 0) for trial in trials) / computed if computed else None


def rung_agreements(trials: Sequence[TrialEnded], rungs: Sequence[int], greater_is_better: bool) -> list[Agreement]:
    """For each rung: how a method's best select scores by the rung rank its trials, against the final ones.

    Over completed trials that were trained beyond the rung: one that ended at it has no other score to be compared with.
    """
    found = []
    for rung in rungs:
        ended = [(trial, trial.select_score) for trial in trials if trial.state == State.COMPLETED and trial.steps > rung]
        early = [(score_by(trial.curve, rung, greater_is_better), final) for trial, final in ended]
        pairs = [(score, final) for score, final in early if score is not None and final is not None]
        found.append((rung, rank_correlation(pairs), len(pairs)))
    return found


def score_by(curve: Sequence[CurvePoint], step: int, greater_is_better: bool) -> float | None:
    """The best select score up to and with a step; None before the first evaluation, or when none of them is finite.

    The untouched start, step 0, doesn't count: heads that start from the probe all have it in common, so it ranks nobody.
    """
    scores = [point.select_score for point in curve if 0 < point.step <= step and math.isfinite(point.select_score)]
    return (max if greater_is_better else min)(scores, default=None)


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's, ties sharing their mean rank; None with fewer than `FEWEST` pairs, or where one side is constant."""
    if len(pairs) < FEWEST or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    return METRICS["spearman"].value(*zip(*pairs, strict=True))
