"""The report split: opened once, after the search; every finalist's run is scored on the same examples of it."""

import numpy as np

from pelt_automl.log.events import FinalistScored, Phase, ReportOpened, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES
from pelt_automl.search.budget import Clock
from pelt_automl.selection.baseline_phase import confirm_baselines, score_baselines
from pelt_automl.selection.finalist_weights import packs_of, trained_pack
from pelt_automl.selection.machine import Machine, costs_of
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.training.evaluation import Evaluation, Predictions, evaluate

FEWEST_SCORED = 50
"""Examples of the report split that are scored however little time is left."""

MARGIN = 0.8
"""Share of the time left that scoring is planned for: the speed was measured, but on few examples."""


def score_finalists(question: Question, machine: Machine, log: Log, clock: Clock, more_runs: int = 0) -> None:
    """Score every trained run of a finalist that isn't scored yet; the first in a process opens the report split.

    `more_runs`: as many more are expected to follow, so that fewer examples are opened where the time is short.
    """
    seeds = {run.number: run.seeds for run in log.history.finals() if run.method not in BASELINES}
    confirm_baselines(question, machine, log, seeds)
    scored = {event.trial for event in log.history.scored}
    todo = [run for run in log.history.finals() if run.trial not in scored]
    if not todo:
        return
    trained, fitted = ([run for run in todo if (run.method in BASELINES) == baseline] for baseline in (False, True))
    if machine.splits.report is None:  # all baselines together count as one run: they share a pass of the backbone
        indices = _examples(question, machine, log.history, clock, len(trained) + more_runs + bool(fitted))
        tokens, _ = machine.splits.open_report(indices)
        openings = len(log.history.of_kind(ReportOpened)) + 1
        log.append(ReportOpened(openings, len(indices), len(question.data.report), tokens.labels.tolist(), tokens.cut))
    tokens, examples = machine.splits.report or machine.splits.open_report([])
    packs = packs_of(machine, trained, plans_of(question, log.history).pack_size)
    for done, pack in enumerate(packs):
        log.progress(Phase.FINALISTS, done, len(packs), "scoring on the report split")
        for run, evaluation in zip(pack, evaluate(trained_pack(machine, pack), [tokens] * len(pack)), strict=True):
            predictions = predictions_of(machine, run, evaluation)
            score = question.data.metric.value(predictions, tokens.labels)
            log.append(FinalistScored(run.trial, run.candidate, run.method, run.number, score, predictions.tolist()))
    score_baselines(machine, log, fitted, examples)


def predictions_of(machine: Machine, run: TrialEnded, evaluation: Evaluation) -> Predictions:
    """What a trained run says of the examples that it was evaluated on."""
    kind = machine.data.task_kind
    return kind.predictions(evaluation.logits, kind.scale(machine.splits.of(run.seeds.split)[0].labels))


def _examples(question: Question, machine: Machine, history: History, clock: Clock, runs: int) -> list[int]:
    """Which examples are scored: those of an earlier opening, all, or as many as the time allows, drawn once by the seed."""
    count = size = len(question.data.report)
    if history.opened:
        count = history.opened.examples
    elif clock.limit is not None:
        left = MARGIN * (clock.left - costs_of(question, machine, history).closing(history, clock.limit))
        count = min(size, max(FEWEST_SCORED, int(left / (runs * plans_of(question, history).example_seconds))))
    if count >= size:
        return list(range(size))
    order = np.random.default_rng(question.search.seed).permutation(size)
    return [int(index) for index in np.sort(order[:count])]
