"""The finals carried out: trainings on this device, baselines fitted, and runs scored on the report split."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import time as now

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import FinalistScored, Phase, Released, ReportOpened, Seeds, Stage, State, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES
from pelt_automl.scheduling.actions import Budget, Fit, Score, TakeOver
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.finals import Finals, finalist_seeds
from pelt_automl.search.finalists import FAR_POINTS
from pelt_automl.selection.baseline_phase import baseline_outputs, baseline_predictions, fitted_again
from pelt_automl.selection.finalist_weights import logits_of, predictions_of
from pelt_automl.selection.machine import Machine, costs_of
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.selection.search_phase import weights_of_method
from pelt_automl.selection.spreading import computed, spread_packs
from pelt_automl.selection.working_folders import kept_at, logits_at
from pelt_automl.timing.clock import Clock
from pelt_automl.training.checkpoints import load_tensors, save_tensors
from pelt_automl.training.evaluation import Predictions
from pelt_automl.verdict.decision import outlook_of
from pelt_automl.verdict.statistics import point

LOGITS = "logits"
"""Of the tensor."""


def confirm(question: Question, machine: Machine, log: Log, clock: Clock) -> None:
    """Train finalists on fresh seeds and score them on report, as `Finals` decides; smaller unions, too, once they are found."""

    def keep(event: TrialEnded, weights: Mapping[str, Tensor]) -> None:
        save_tensors(kept_at(machine.folder, event), weights)

    def aside(action: Fit | TakeOver | Score) -> None:
        if isinstance(action, Fit):
            log.append(fitted_again(machine, log.history, action.method, action.seeds, question.most_probed, action.index))
        elif isinstance(action, TakeOver):
            log.append(_taken_over(machine.folder, action.run))
        else:
            _score(question, machine, log, action)

    def trainings() -> set[str]:
        segments = [event.segment for event in log.history.of_kind(Released)]
        return {segment.trial for segment in segments if segment.stage == Stage.FINALIST}

    decides = finals_of(question, machine, log.history)
    ended = {trial.trial for trial in log.history.ended(Stage.FINALIST)}

    def total_steps() -> float:
        return decides.steps * len(trainings() - ended)

    executor = machine.executor(question, log, Phase.FINALISTS, total_steps, keep, aside)
    drive(decides, executor, log, lambda: Budget(clock.limit, clock.elapsed), Stage.FINALIST)


def finals_of(question: Question, machine: Machine, history: History) -> Finals:
    """What decides in this selection's finals."""
    metric, equivalence = question.data.metric, question.search.equivalence
    return Finals(
        seeds=partial(finalist_seeds, question.hash),
        settings=question.search,
        steps=plans_of(question, history).final.steps,
        report=len(question.data.report),
        greater_is_better=metric.greater_is_better,
        far=FAR_POINTS * point(metric.name, machine.splits.search[1].labels),
        costs=costs_of(question, machine, history),
        outlook=lambda history: outlook_of(history, equivalence, question.search.most_seeds),
        search_seeds=_search_seeds(history),
    )


def _search_seeds(history: History) -> Seeds | None:
    """The search's triple, which its baselines have as well, where there is no time for fresh ones."""
    if history.plan is None or history.plan.fresh:
        return None
    return next((trial.seeds for trial in history.ended(Stage.SEARCH)), None)


def _taken_over(folder: Path, run: TrialEnded) -> TrialEnded:
    """A training of the search as a finalist's run, with its weights; without them it has failed."""
    try:
        weights, about = load_tensors(weights_of_method(folder, run.method))
    except SelectionError as error:
        return replace(run, state=State.FAILED, cause=str(error), time=now())
    if about.get("trial") != run.candidate:
        return replace(run, state=State.FAILED, cause="the search has kept no weights of it", time=now())
    save_tensors(kept_at(folder, run), weights)
    return replace(run, time=now())


def _score(question: Question, machine: Machine, log: Log, action: Score) -> None:
    """Score runs of finalists on the same examples of report; the first in a process opens it.

    Where all of them were scored on fewer, what they say of the others is added: logged when all is known.
    """
    size, before = len(question.data.report), {run.trial: run.outputs for run in log.history.scored}
    drawn = np.random.default_rng(question.search.seed).permutation(size)[: action.examples]
    runs = [run for run in log.history.finals() if run.trial in action.trials]
    known = log.history.opened.examples if log.history.opened and before.keys() >= set(action.trials) else 0
    found: Iterable[tuple[TrialEnded, Predictions, NDArray[np.floating] | None]]
    if known:
        first, more = np.sort(drawn[:known]), np.sort(drawn[known:])
        machine.splits.open_report(more.tolist())
        place = np.argsort(np.concatenate([first, more]))
        found = [
            (
                run,
                np.concatenate([np.asarray(log.history.outputs.get(before[run.trial])), said])[place],
                _joined(machine, run, logits, place),
            )
            for run, said, logits in _said(question, machine, log, runs)
        ]
    else:
        found = _said(question, machine, log, runs)
    if known or machine.splits.report is None:
        tokens, _ = machine.splits.open_report(np.sort(drawn).tolist())
        openings = len(log.history.of_kind(ReportOpened)) + 1
        log.append(ReportOpened(openings, len(drawn), size, log.history.outputs.put(tokens.labels), tokens.cut))
    tokens, _ = machine.splits.report or machine.splits.open_report([])
    began = time.perf_counter()
    for run, said, logits in found:
        _keep(machine, run, logits)
        score, outputs = question.data.metric.value(said, tokens.labels), log.history.outputs.put(said)
        ended = time.perf_counter()
        log.append(FinalistScored(run.trial, run.candidate, run.method, run.number, score, outputs, ended - began))
        began = ended


def _joined(machine: Machine, run: TrialEnded, more: NDArray[np.floating], place: NDArray[np.intp]) -> NDArray[np.floating] | None:
    """The logits that were kept and `more`, in the order of the examples; None where the kept ones aren't there."""
    earlier = kept_logits(machine.folder, run)
    return None if earlier is None or len(earlier) + len(more) != len(place) else np.concatenate([earlier, more])[place]


def _keep(machine: Machine, run: TrialEnded, logits: NDArray[np.floating] | None) -> None:
    path = logits_at(machine.folder, run)
    if logits is None:
        path.unlink(missing_ok=True)
    elif machine.data.task_kind.tempered:
        save_tensors(path, {LOGITS: torch.from_numpy(np.ascontiguousarray(logits))})


def kept_logits(folder: Path, run: TrialEnded) -> NDArray[np.floating] | None:
    """``(n, C)``, for the report examples that a run was scored on; None where they are gone."""
    try:
        return np.asarray(load_tensors(logits_at(folder, run))[0][LOGITS].numpy())
    except (SelectionError, KeyError):
        return None


def _said(
    question: Question, machine: Machine, log: Log, runs: Sequence[TrialEnded]
) -> Iterator[tuple[TrialEnded, Predictions, NDArray[np.floating]]]:
    """What runs say of the report examples that are open, and their logits, the trained ones first."""
    tuned, size = [run for run in runs if run.method not in BASELINES], plans_of(question, log.history).pack_size
    packs = spread_packs(machine, log, tuned, size)

    def progress(done: int) -> None:
        log.progress(Phase.FINALISTS, done, len(packs), "scoring on the report split")

    for pack, logits_of_pack in zip(packs, computed(machine, log, packs, logits_of, progress), strict=True):
        for run, logits in zip(pack, logits_of_pack, strict=True):
            yield run, predictions_of(machine, run, logits), logits
    _, examples = machine.splits.report or machine.splits.open_report([])
    for run in runs:
        if run.method in BASELINES:
            outputs = baseline_outputs(machine, run, examples)
            yield run, baseline_predictions(machine.data, run, outputs), outputs
