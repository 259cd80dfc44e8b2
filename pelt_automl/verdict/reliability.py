"""How often a method's trainings go wrong: fail, or end with the same prediction for every example."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pelt_automl.log.events import Because, Event, FinalistScored, State, TrialEnded, of_kind
from pelt_automl.verdict.finalists import is_constant, report_labels, scored_runs


@dataclass(frozen=True)
class Reliability:
    """One method's trainings, in the search and the finals."""

    trainings: int
    failed: int
    """Ended in an error, or with a loss, a score or predictions that aren't finite."""
    constant: int
    """Didn't fail, but predict one class or value throughout."""


def reliability(events: Sequence[Event]) -> dict[str, Reliability]:
    """By method. A training that the time limit ended before it could be evaluated says nothing about its method and doesn't count."""
    trials = {trial.trial: trial for trial in of_kind(events, TrialEnded) if (trial.state, trial.cause) != ("failed", Because.TIME)}
    finite = {run.trial: run for runs in scored_runs(events).values() for run in runs.values()}
    failed = {trial.trial for trial in trials.values() if trial.state == State.FAILED}
    failed |= {run.trial for run in of_kind(events, FinalistScored) if run.trial not in finite}
    constant = {trial.trial for trial in trials.values() if trial.constant_predictions}
    if len(np.unique(np.asarray(report_labels(events)), axis=0)) > 1:
        constant |= {run.trial for run in finite.values() if is_constant(run)}
    by_method: dict[str, list[str]] = {}
    for trial in trials.values():
        by_method.setdefault(trial.method, []).append(trial.trial)
    return {
        method: Reliability(len(names), len(failed.intersection(names)), len(constant.difference(failed).intersection(names)))
        for method, names in by_method.items()
    }
