"""The finalists: trained anew on fresh paired seed triples, then scored on the report split, which is opened once."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial, without_reparameterization
from pelt_automl.records import Decision, FinalistScored, ReportOpened, Seeds, TrialEnded
from pelt_automl.search.budget import FEWEST_REPORT
from pelt_automl.search.finalists import choose_finalists, wanted_finalists
from pelt_automl.search.race import out_of_race
from pelt_automl.selection.context import Context
from pelt_automl.training.checkpoints import load_tensors, save_tensors
from pelt_automl.training.evaluation import LabelScale, evaluate, predictions_of, score_of
from pelt_automl.training.trials import TrialRun

FEWEST_SCORED = 50
"""Examples of the report split that are scored however little time is left."""

AMPLE = 1.3
"""Time left over what all seeds are predicted to take, from which on they train together, which fills packs better than one by one."""

MARGIN = 0.8
"""Share of the time left that scoring is planned for: the speed was measured, but on few examples."""


@dataclass(frozen=True)
class _FinalistRun:
    """One finalist on one seed triple."""

    candidate: TrialEnded
    """The search's trial that it repeats."""
    index: int
    """Of the seed triple."""

    @property
    def name(self) -> str:
        return f"final-{self.candidate.candidate}-seed{self.index}"


def confirm(context: Context) -> None:
    """Choose the finalists, train them on fresh seeds as long as there is time, and score them on the report split."""
    finalists = _chosen(context)
    seeds = [[_FinalistRun(candidate, index) for candidate in finalists] for index in range(context.settings.search.finalist_seeds)]
    every_run = [run for runs in seeds for run in runs]
    for runs in [every_run] if _time_for(context, every_run) >= AMPLE else seeds:
        if not _train(context, runs):
            break
    _open_report(context)


def finalist_seeds(seed: int, index: int) -> Seeds:
    """The seed triple of this index: shared by all finalists, and by no trial of the search."""
    return Seeds(split=seed + 1 + index, initialization=seed + 1001 + index, order=seed + 2001 + index)


def weights_of_run(folder: Path, run: str) -> Path:
    """A finalist run's best weights."""
    return folder / "finalists" / f"{run}.safetensors"


def modifications_of(trial: TrialEnded) -> PackTrial:
    """A trained finalist as a pack takes it: in the form in which its weights are kept."""
    return PackTrial(without_reparameterization(METHODS[trial.method].modifications(trial.hyper_parameters)), trial.seeds.initialization)


def _chosen(context: Context) -> list[TrialEnded]:
    trials = context.record.of(TrialEnded)
    made = {(d.what, d.subject) for d in context.record.of(Decision)}
    if any(trial.stage == "finalist" for trial in trials):  # an earlier start has chosen, and trained some of them
        return [trial for trial in trials if trial.stage == "search" and ("finalist", trial.candidate) in made]
    out = out_of_race(context.record.of(Decision))
    finalists = choose_finalists(trials, _affordable(context), out=out, greater_is_better=context.data.metric.greater_is_better)
    for decision in finalists.decisions:
        if (decision.what, decision.subject) not in made:  # an earlier start may have been killed between them
            context.record.add(decision)
    return finalists.chosen


def _affordable(context: Context) -> int:
    """How many finalists the time that is left allows, at the speed that the search has shown; never fewer than two."""
    if context.clock.limit is None:
        return wanted_finalists(context.methods)
    left = context.clock.left - context.closing_seconds(0, 0)
    one_run = context.seconds_a_training + _least_scored(context) * context.speed.example
    return max(2, int(left / (context.settings.search.finalist_seeds * one_run)))


def _least_scored(context: Context) -> int:
    """Examples of the report split that time is kept for."""
    return min(FEWEST_REPORT, len(context.data.report))


def _todo(context: Context, runs: Sequence[_FinalistRun]) -> list[_FinalistRun]:
    """Those that no earlier start has trained."""
    ended = {trial.trial for trial in context.record.of(TrialEnded)}
    return [run for run in runs if run.name not in ended]


def _time_for(context: Context, runs: Sequence[_FinalistRun]) -> float:
    """The time that is left for training over what these runs are predicted to take, as far as they aren't done."""
    predicted = len(_todo(context, runs)) * context.seconds_a_training
    return (context.clock.left - _reserve(context, runs)) / predicted if predicted else math.inf


def _train(context: Context, runs: Sequence[_FinalistRun]) -> bool:
    """Train runs of all finalists, one seed's where the time is short, so that they stay paired. False when there is no time for them."""
    todo, reserve = _todo(context, runs), _reserve(context, runs)
    if not todo:
        return True
    if runs[0].index > 0 and _time_for(context, runs) < 1:
        numbers = {"seconds_left": context.clock.left, "seconds_needed": len(todo) * context.seconds_a_training + reserve}
        context.record.add(Decision("left out", f"seed {runs[0].index}", "the time left is too short for another seed", numbers))
        return False
    trainer = context.trainer("finalists", len(todo) * context.plan.steps, reserve=reserve)
    source = _Finalists(context, deque(todo))
    trainer.stream(source, context.pack_size)
    for run in source.todo:  # the time was up before they could begin
        _end(context, run, _start(context, run))
    return True


@dataclass
class _Finalists:
    """Gives the training its runs, and records each when it ends."""

    context: Context
    todo: deque[_FinalistRun]
    begun: dict[str, _FinalistRun] = field(default_factory=dict)

    def next(self, waiting: Sequence[TrialRun]) -> TrialRun | None:  # noqa: ARG002 the protocol's
        if not self.todo:
            return None
        run = self.todo.popleft()
        self.begun[run.name] = run
        return _start(self.context, run)

    def judge(self, run: TrialRun) -> None:
        """Finalists are trained in full."""

    def ended(self, run: TrialRun) -> None:
        _end(self.context, self.begun[run.name], run)


def _start(context: Context, run: _FinalistRun) -> TrialRun:
    seeds = finalist_seeds(context.settings.search.seed, run.index)
    return context.run(run.name, run.candidate.method, run.candidate.hyper_parameters, seeds)


def _end(context: Context, run: _FinalistRun, training: TrialRun) -> None:
    if training.running:
        training.end("stopped" if training.progress.best_weights else "failed", "time limit")
    if training.progress.state != "failed":
        save_tensors(weights_of_run(context.folder, run.name), training.progress.best_weights)
    context.record.add(
        context.ended(
            training,
            candidate=run.candidate.candidate,
            method=run.candidate.method,
            stage="finalist",
            number=run.index,
            is_default=run.candidate.is_default,
            hyper_parameters=run.candidate.hyper_parameters,
        )
    )


def _reserve(context: Context, runs: Sequence[_FinalistRun]) -> float:
    """Seconds kept for scoring these runs and those of earlier seeds, for evidence and writing."""
    if context.clock.limit is None:
        return 0.0
    finalists, seeds = len({run.candidate.candidate for run in runs}), max(run.index for run in runs) + 1
    return context.closing_seconds(seeds * finalists, _least_scored(context))


def _open_report(context: Context) -> None:
    """Score every trained finalist on the same examples of the report split."""
    scored = {event.trial for event in context.record.of(FinalistScored)}
    runs = [trial for trial in context.record.of(TrialEnded) if trial.stage == "finalist" and trial.state != "failed"]
    todo = [run for run in runs if run.trial not in scored]
    if not todo:
        return
    indices = _examples(context, len(todo))
    tokens = context.report(indices)
    openings = len(context.record.of(ReportOpened)) + 1
    context.record.add(ReportOpened(openings, len(indices), len(context.data.report), tokens.labels.tolist()))
    packs = context.packs(todo, lambda run: context.modifications(run.method, run.hyper_parameters))
    for done, pack in enumerate(packs):
        context.progress("finalists", done, len(packs), "scoring on the report split")
        trained = Pack(context.backbone, [modifications_of(run) for run in pack], context.data.outputs, context.lower)
        for slot, run in enumerate(pack):
            trained.load_weights(slot, load_tensors(weights_of_run(context.folder, run.trial))[0])
        for run, evaluation in zip(pack, evaluate(trained, [tokens] * len(pack)), strict=True):
            scale = LabelScale.of(context.splits(run.seeds.split)[0].labels, regression=context.data.kind == "regression")
            predictions = predictions_of(evaluation, scale)
            score = score_of(context.data.metric, tokens.labels, predictions)
            context.record.add(FinalistScored(run.trial, run.candidate, run.method, run.number, score, predictions.tolist()))


def _examples(context: Context, runs: int) -> list[int]:
    """Which examples are scored: those of an earlier opening, all, or as many as the time allows, drawn once by the seed."""
    size = len(context.data.report)
    opened = context.record.of(ReportOpened)
    count = size
    if opened:
        count = opened[-1].examples
    elif context.clock.limit is not None:
        left = MARGIN * (context.clock.left - context.closing_seconds(0, 0))
        count = min(size, max(FEWEST_SCORED, int(left / (runs * context.speed.example))))
    if count >= size:
        return list(range(size))
    order = np.random.default_rng(context.settings.search.seed).permutation(size)
    return [int(index) for index in np.sort(order[:count])]
