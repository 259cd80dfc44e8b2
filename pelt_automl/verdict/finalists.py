"""The finalists of a selection, gathered from its records: what was trained, what it cost, what it predicted."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pelt_automl.errors import SelectionError, all_problems
from pelt_automl.log.events import Event, FinalistScored, ReportOpened, TrialEnded, of_kind
from pelt_automl.methods.baselines import BASELINES
from pelt_automl.verdict.gates import mean


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
    runs: dict[int, FinalistScored]
    """By seed index; runs without a finite score are not among them."""

    @property
    def fitted(self) -> bool:
        """Whether it has neither a random start nor an order of training: a baseline, whose seeds differ by their split alone."""
        return self.method in BASELINES


def report_labels(events: Sequence[Event]) -> list[Any]:
    """The true labels of the report examples that were scored; empty when the split was never opened."""
    opened = of_kind(events, ReportOpened)
    return opened[-1].labels if opened else []


def _is_finite(run: FinalistScored) -> bool:
    return math.isfinite(run.report_score) and bool(np.isfinite(run.predictions).all())


def is_constant(run: FinalistScored) -> bool:
    """Whether it says the same of all examples."""
    return len(np.unique(np.asarray(run.predictions), axis=0)) == 1


def scored_runs(events: Sequence[Event]) -> dict[str, dict[int, FinalistScored]]:
    """Runs with a finite score, by candidate and seed index; of a run that was scored twice (after a restart) the later."""
    runs: dict[str, dict[int, FinalistScored]] = defaultdict(dict)
    for run in of_kind(events, FinalistScored):
        if _is_finite(run):
            runs[run.candidate][run.seed_index] = run
    return dict(runs)


def finalists(events: Sequence[Event]) -> list[Finalist]:
    """The finalists with at least one scored run, in the order of the records.

    Raises `SelectionError` when the records contradict themselves: predictions that don't match the report labels, or a scored
    finalist without a record of its training.
    """
    labels = report_labels(events)
    trained: dict[str, list[TrialEnded]] = defaultdict(list)
    for trial in of_kind(events, TrialEnded):
        trained[trial.candidate].append(trial)
    problems, found = [], []
    for candidate, runs in scored_runs(events).items():
        problems += [
            f"{run.trial} has {len(run.predictions)} predictions for {len(labels)} report labels"
            for run in runs.values()
            if len(run.predictions) != len(labels)
        ]
        trainings = [trial for trial in trained[candidate] if trial.select_score is not None]
        if trainings:
            found.append(_finalist(candidate, trainings, runs))
        else:
            problems.append(f"{candidate} was scored, but there is no record of its training with a select score")
    if problems:
        raise SelectionError(all_problems("the selection's records", problems))
    return found


def _finalist(candidate: str, trainings: Sequence[TrialEnded], runs: dict[int, FinalistScored]) -> Finalist:
    names = {run.trial for run in runs.values()}
    # The search trial stands in where the records of the finalist's own runs are incomplete.
    own = [trial for trial in trainings if trial.trial in names] or list(trainings)
    first = own[0]
    return Finalist(
        candidate,
        first.method,
        is_default=any(trial.is_default for trial in trainings),
        hyper_parameters=first.hyper_parameters,
        parameters=first.parameters["kept"],
        training_seconds=mean([trial.seconds for trial in own]),
        select_score=mean([trial.select_score for trial in own if trial.select_score is not None]),
        runs=dict(sorted(runs.items())),
    )
