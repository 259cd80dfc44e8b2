"""The report split: opened once, after the search; every finalist's run is scored on the same examples of it."""

from collections.abc import Sequence

import numpy as np

from pelt_automl.log.events import FinalistScored, Phase, ReportOpened, TrialEnded
from pelt_automl.methods import BASELINES
from pelt_automl.selection.baseline_phase import confirm_baselines, score_baselines
from pelt_automl.selection.context import Context
from pelt_automl.selection.finalist_weights import packs_of, trained_pack
from pelt_automl.tasks import Examples
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.tokens import Tokens

FEWEST_SCORED = 50
"""Examples of the report split that are scored however little time is left."""

MARGIN = 0.8
"""Share of the time left that scoring is planned for: the speed was measured, but on few examples."""


def score_finalists(context: Context, more_runs: int = 0) -> None:
    """Score every trained run of a finalist that isn't scored yet; the first in a process opens the report split.

    `more_runs`: as many more are expected to follow, so that fewer examples are opened where the time is short.
    """
    runs = context.record.history.finals()
    confirm_baselines(context, {run.number: run.seeds for run in runs if run.method not in BASELINES})
    scored = {event.trial for event in context.record.history.scored}
    runs = context.record.history.finals()
    todo = [run for run in runs if run.trial not in scored]
    if not todo:
        return
    trained, fitted = ([run for run in todo if (run.method in BASELINES) == baseline] for baseline in (False, True))
    tokens, examples = _opened(context, len(trained) + more_runs + bool(fitted))
    packs = packs_of(context, trained)
    for done, pack in enumerate(packs):
        context.progress(Phase.FINALISTS, done, len(packs), "scoring on the report split")
        _score(context, pack, tokens)
    score_baselines(context, fitted, examples)


def _opened(context: Context, runs: int) -> tuple[Tokens, Examples]:
    """The examples that are scored, the same for all finalists; `runs`: how many are waiting for them, when it is opened.

    All baselines together count as one run: they share a pass of the backbone.
    """
    if context.report_opened is None:
        indices, openings = _examples(context, runs), len(context.record.history.of_kind(ReportOpened)) + 1
        context.report_opened = context.report(indices), context.data.report.take(indices)
        tokens, _ = context.report_opened
        context.record.append(ReportOpened(openings, len(indices), len(context.data.report), tokens.labels.tolist(), tokens.cut))
    return context.report_opened


def _score(context: Context, runs: Sequence[TrialEnded], tokens: Tokens) -> None:
    for run, evaluation in zip(runs, evaluate(trained_pack(context, runs), [tokens] * len(runs)), strict=True):
        kind = context.data.task_kind
        predictions = kind.predictions(evaluation.logits, kind.scale(context.splits(run.seeds.split)[0].labels))
        score = context.data.metric.value(predictions, tokens.labels)
        context.record.append(FinalistScored(run.trial, run.candidate, run.method, run.number, score, predictions.tolist()))


def _examples(context: Context, runs: int) -> list[int]:
    """Which examples are scored: those of an earlier opening, all, or as many as the time allows, drawn once by the seed."""
    size = len(context.data.report)
    opened = context.record.history.opened
    count = size
    if opened:
        count = opened.examples
    elif context.clock.limit is not None:
        left = MARGIN * (context.clock.left - context.closing_seconds())
        count = min(size, max(FEWEST_SCORED, int(left / (runs * context.speed.example))))
    if count >= size:
        return list(range(size))
    order = np.random.default_rng(context.settings.search.seed).permutation(size)
    return [int(index) for index in np.sort(order[:count])]
