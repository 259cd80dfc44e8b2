"""The finalists of a selection, gathered from its records: what was trained, what it cost, what it predicted."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelt_automl.errors import SelectionError, all_problems
from pelt_automl.log.events import Because, FinalistScored, Standing, State, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.methods.baselines import BASELINES


@dataclass(frozen=True)
class Run:
    """What a finalist's training on one seed triple has scored on the report split."""

    trial: str
    report_score: float
    predictions: Sequence[Any] | NDArray[Any]
    """Of each example scored."""


@dataclass(frozen=True)
class Finalist:
    """A configuration that was trained again on fresh seeds and scored on the report split."""

    candidate: str
    method: str
    is_default: bool
    hyper_parameters: dict[str, Any]
    parameters: int
    """Trainable parameters kept."""
    training_seconds: float
    """Mean over its finalist runs."""
    select_score: float
    """Mean over its finalist runs."""
    runs: dict[int, Run]
    """By seed index; runs without a finite score are not among them."""

    @property
    def fitted(self) -> bool:
        """Whether it has neither a random start nor an order of training: a baseline, whose seeds differ by their split alone."""
        return self.method in BASELINES


def _is_constant(values: Sequence[Any] | NDArray[Any]) -> bool:
    return len(np.unique(np.asarray(values), axis=0)) < 2


def report_labels(history: History) -> list[Any]:
    """The true labels of the report examples that were scored; empty when the split was never opened.

    Raises `SelectionError` when their file is missing or damaged.
    """
    return list(history.outputs.get(history.opened.outputs)) if history.opened else []


def finalists(history: History) -> list[Finalist]:
    """The finalists with at least one scored run, in the order of the records; of a run that was scored twice the later counts.

    Raises `SelectionError` when the records contradict themselves: predictions that don't match the report labels, or a scored
    finalist without a record of its training; and when a file of predictions is missing or damaged.
    """
    labels, runs, trained = report_labels(history), defaultdict[str, dict[int, Run]](dict), defaultdict[str, list[TrialEnded]](list)
    for scored in history.scored:
        found = history.outputs.get(scored.outputs)
        texts = isinstance(found, list) and all(isinstance(said, str) for said in found)
        if not (texts or isinstance(found, np.ndarray)):
            raise SelectionError(f"the selection's records: {scored.trial} has predictions that are neither numbers nor texts")
        predictions = np.asarray(found)
        if math.isfinite(scored.report_score) and (texts or np.isfinite(predictions).all()):
            runs[scored.candidate][scored.seed_index] = Run(scored.trial, scored.report_score, predictions)
    for trial in history.ended():
        if trial.select_score is not None:
            trained[trial.candidate].append(trial)
    problems = [
        f"{run.trial} has {len(run.predictions)} predictions for {len(labels)} report labels"
        for own in runs.values()
        for run in own.values()
        if len(run.predictions) != len(labels)
    ]
    problems += [f"{name} was scored, but there is no record of its training with a select score" for name in runs if name not in trained]
    if problems:
        raise SelectionError(all_problems("the selection's records", problems))
    return [_finalist(candidate, trained[candidate], own) for candidate, own in runs.items()]


def _finalist(candidate: str, trainings: Sequence[TrialEnded], runs: dict[int, Run]) -> Finalist:
    names = {run.trial for run in runs.values()}
    # The search trial stands in where the records of the finalist's own runs are incomplete.
    own = [trial for trial in trainings if trial.trial in names] or list(trainings)
    return Finalist(
        candidate,
        own[0].method,
        is_default=any(trial.is_default for trial in trainings),
        hyper_parameters=own[0].hyper_parameters,
        parameters=own[0].parameters["kept"],
        training_seconds=fmean(trial.seconds for trial in own),
        select_score=fmean(trial.select_score for trial in own if trial.select_score is not None),
        runs=dict(sorted(runs.items())),
    )


def not_finite(history: History, found: Sequence[Finalist]) -> list[FinalistScored]:
    """The runs on the report split that are no part of these finalists, since their scores or predictions aren't finite."""
    finite = {run.trial for finalist in found for run in finalist.runs.values()}
    return [run for run in history.scored if run.trial not in finite]


def constant_runs(history: History, found: Sequence[Finalist]) -> dict[str, str]:
    """The candidate of each run of these finalists that says the same of all report examples, by its name, where these aren't all alike."""
    if _is_constant(report_labels(history)):
        return {}
    return {run.trial: finalist.candidate for finalist in found for run in finalist.runs.values() if _is_constant(run.predictions)}


def with_failures(standings: Sequence[Standing], history: History, found: Sequence[Finalist]) -> list[Standing]:
    """Each with how many trainings its method had, in the search and the finals, and how many of these went wrong.

    A training that the time limit ended before it could be evaluated says nothing about its method and doesn't count. One of the search
    that stands for a finalist's counts once.
    """
    twice = history.taken_over()
    trials = {trial.trial: trial for trial in history.ended() if (trial.state, trial.cause) != (State.FAILED, Because.TIME)}
    trials = {name: trial for name, trial in trials.items() if name not in twice}
    failed = {trial.trial for trial in trials.values() if trial.state == State.FAILED} | {run.trial for run in not_finite(history, found)}
    constant = {trial.trial for trial in trials.values() if trial.constant_predictions} | set(constant_runs(history, found))
    own = [{trial.trial for trial in trials.values() if trial.method == row.method} for row in standings]
    return [
        replace(row, trainings=len(names), failed=len(names & failed), constant=len(names & constant - failed))
        for row, names in zip(standings, own, strict=True)
    ]
