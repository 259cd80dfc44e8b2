"""The race between methods: who can still be the best, judged by select scores and how sure they are."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelt_automl.log.events import Decision, Stage, State, TrialEnded, What, sign_of
from pelt_automl.log.outputs import Outputs
from pelt_automl.tasks import METRICS
from pelt_automl.verdict.statistics import paired_bootstrap, point, smallest_error

STANDARD_ERRORS = 2.33
"""Of a difference in select score, by which a method has to be behind: one-sided 1 %."""

SEED_POINTS = 1.5
"""Standard deviation of a trial's score over seeds, in points: the search trains each configuration on one seed, so it is taken from what
others have seen (0.5 to 3 points on GLUE with few examples: Mao et al. 2022, table 1)."""

GRACE, LONG_GRACE = 3, 6
"""Trials that a method has ended before it may leave; the longer one is that of slow starters."""


def leaving(
    trials: Sequence[TrialEnded],
    outputs: Outputs,
    labels: NDArray[Any],
    metric: str,
    out: Collection[str],
    slow: Collection[str],
    defaultless: Collection[str] = (),
    stopping: Sequence[str] = (),
    *,
    greater_is_better: bool,
) -> list[Decision]:
    """Methods that leave now: their best trial is behind the leader's by more than `STANDARD_ERRORS` standard errors of the difference.

    The difference is taken on the same examples of select (`labels`, the split of the search), so that what makes an example hard for
    all cancels; a trial whose `outputs` are lost, or are not what the metric reads, takes no part. Its variance is a paired bootstrap's
    over examples, and what other seeds would change in two trials, by `SEED_POINTS`. Nobody leaves before its published default has been
    trained in full (but `defaultless`, whose defaults may not be trained) and `GRACE` (`slow`: `LONG_GRACE`) of its trials have ended,
    with those that are told to end: `stopping`, their methods.
    """
    sign = sign_of(greater_is_better)
    searched = [trial for trial in trials if trial.stage == Stage.SEARCH]
    read = {trial.trial: outputs.get(trial.outputs) for trial in searched if trial.outputs and outputs.holds(trial.outputs)}
    of = METRICS[metric]
    said = {
        name: of.values(own) for name, own in read.items() if isinstance(own, list) == of.of_texts and of.can_read(np.array(own), labels)
    }
    usable = [trial for trial in searched if trial.state == State.COMPLETED and trial.trial in said]
    best = {t.method: t for t in sorted(usable, key=lambda t: sign * (t.select_score or 0.0)) if t.method not in out}
    leader = max(best.values(), key=lambda t: sign * (t.select_score or 0.0), default=None)
    behind = [trial for method, trial in best.items() if trial is not leader and _may_leave(method, searched, slow, defaultless, stopping)]
    if leader is None or not behind:
        return []
    predictions = of.values([said[trial.trial] for trial in (leader, *behind)])
    draws = paired_bootstrap(labels, predictions[:, None], metric)
    by_examples = np.maximum((draws[:, :1] - draws[:, 1:]).std(axis=0, ddof=1), smallest_error(len(labels), metric))
    errors = np.hypot(by_examples, math.sqrt(2) * SEED_POINTS * point(metric, labels))
    return [
        _decision(trial, leader, float(error))
        for trial, error in zip(behind, errors, strict=True)
        if sign * ((leader.select_score or 0.0) - (trial.select_score or 0.0)) > STANDARD_ERRORS * error
    ]


def _may_leave(
    method: str, searched: Sequence[TrialEnded], slow: Collection[str], defaultless: Collection[str], stopping: Sequence[str] = ()
) -> bool:
    own = [trial for trial in searched if trial.method == method]
    in_full = method in defaultless or any(trial.is_default and trial.state == State.COMPLETED for trial in own)
    return in_full and len(own) + stopping.count(method) >= (LONG_GRACE if method in slow else GRACE)


def _decision(trial: TrialEnded, leader: TrialEnded, error: float) -> Decision:
    numbers = {"best": trial.select_score or 0.0, "leader": leader.select_score or 0.0, "standard_error": error}
    why = f"its best, {trial.trial}, is behind {leader.trial} by more than {STANDARD_ERRORS} standard errors of their difference on select"
    return Decision(What.LEFT_RACE, trial.method, why, numbers)
