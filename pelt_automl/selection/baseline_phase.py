"""The contenders that train no backbone: fitted before the search and on each seed of the finals, on train alone, and scored as all are."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pelt_automl.baselines import Fitted, fit_baseline, load_fitted
from pelt_automl.log.events import CurvePoint, Decision, FinalistScored, Phase, Seeds, Stage, State, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES
from pelt_automl.selection.costs import LIMIT_PASSES, baseline_passes
from pelt_automl.selection.field import too_many
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question
from pelt_automl.selection.working_folders import fitted_at
from pelt_automl.settings import SearchSettings
from pelt_automl.tasks import Examples, TaskData
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training.evaluation import Predictions
from pelt_automl.training.failures import Failure
from pelt_automl.training.tokens import drawn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """One baseline on one seed triple, of which it reads the split's alone."""

    method: str
    seeds: Seeds
    index: int | None = None
    """Of a finalist's seed triple; None before the search."""

    @property
    def candidate(self) -> str:
        return f"{self.method}-0000"

    @property
    def name(self) -> str:
        return self.candidate if self.index is None else f"final-{self.candidate}-seed{self.index}"


def fit_baselines(question: Question, machine: Machine, log: Log) -> None:
    """Before the search: fit each on the search's split, and score it on select. What is over a limit of the user's is left out.

    One that fails is a failed trial and costs the selection nothing else. What an earlier start has done isn't done again.
    """
    seed, history = question.search.seed, log.history
    wanted = [name for name in BASELINES if name in question.search.baselines and question.data.task_kind.fitted_as]
    for done, name in enumerate(wanted):
        run = _Run(name, Seeds(seed, seed, seed))
        if run.name in history.trials or name in history.decided(What.METHOD_OVER):
            continue
        log.progress(Phase.BASELINES, done, len(wanted), name)
        found = _fit(machine, run, question.most_probed)
        reason = _over_a_limit(question.search, machine, found) if is_usable(found) else None
        log.append(Decision(What.METHOD_OVER, name, reason) if reason else found)


def confirm_baselines(question: Question, machine: Machine, log: Log, seeds: Mapping[int, Seeds]) -> None:
    """Fit each that has a score on the train parts of these seed triples, by index, as far as an earlier start hasn't."""
    for index, triple in seeds.items():
        for trial in fitted_in_search(log.history):
            run = _Run(trial.method, triple, index)
            if run.name not in log.history.trials and run.candidate not in log.history.out_of_finals:
                log.append(_fit(machine, run, question.most_probed))


def fitted_in_search(history: History) -> list[TrialEnded]:
    """The baselines that have a score on select, in their order."""
    return [trial for trial in history.ended(Stage.SEARCH) if trial.method in BASELINES and is_usable(trial)]


def is_usable(trial: TrialEnded) -> bool:
    """Whether it ended with a score."""
    return trial.state != State.FAILED and trial.select_score is not None


def score_baselines(machine: Machine, log: Log, runs: Sequence[TrialEnded], examples: Examples) -> None:
    """Score runs on the report examples that all finalists are scored on."""
    for run in runs:
        predictions = _predictions(machine.data, load_fitted(fitted_at(machine.folder, run), machine.encoder), examples)
        score = machine.data.metric.value(predictions, examples.labels)
        log.append(FinalistScored(run.trial, run.candidate, run.method, run.number, score, predictions.tolist()))


def _fit(machine: Machine, run: _Run, most: int) -> TrialEnded:
    """Fit one on at most so many examples, write it, and score it on its split's select. Nothing of select has a part in what is fitted."""
    started = time.perf_counter()
    data = machine.data
    train, select = (part.take(drawn(len(part), most, run.seeds.split).tolist()) for part in data.split(run.seeds.split))
    try:
        encoder = machine.encoder if BASELINES[run.method].reads_backbone else None
        fitted = fit_baseline(run.method, train, data.outputs, encoder)
        predictions = _predictions(data, fitted, select)
        score = data.metric.value(predictions, select.labels)
    except Exception as error:  # noqa: BLE001 whatever it is, the selection has other contenders
        failure = Failure.of(error)
        log.info("%s failed: %s", run.name, failure.traceback)
        ended = _record(run, time.perf_counter() - started)
        return replace(ended, state=State.FAILED, cause=failure.cause, traceback=failure.traceback)
    fitted.save(fitted_at(machine.folder, _record(run, 0.0)))
    seconds = time.perf_counter() - started
    ended = _record(run, seconds)
    return replace(
        ended,
        parameters=ended.parameters | {"head": fitted.parameters, "kept": fitted.parameters},
        curve=[CurvePoint(0, None, score, 0.0, seconds)],
        select_score=score,
        constant_predictions=data.task_kind.is_constant(predictions),
        select_predictions=predictions.tolist() if run.index is None else [],
    )


def _record(run: _Run, seconds: float) -> TrialEnded:
    """What is the same whether it failed or not."""
    return TrialEnded(
        trial=run.name,
        candidate=run.candidate,
        method=run.method,
        stage=Stage.SEARCH if run.index is None else Stage.FINALIST,
        number=run.index or 0,
        state=State.COMPLETED,
        is_default=True,
        hyper_parameters={},
        seeds=run.seeds,
        parameters=dict.fromkeys(("pelt", "gates", "head", "kept", "training_only"), 0),
        curve=[],
        select_score=None,
        steps=0,
        seconds=seconds,
    )


def _predictions(data: TaskData, fitted: Fitted, examples: Examples) -> Predictions:
    """Class indices, or numbers in the labels' unit. Raises `ValueError` for outputs that aren't finite."""
    outputs = np.asarray(fitted.outputs(examples), dtype=np.float64)
    if not np.isfinite(outputs).all():
        raise ValueError("outputs are not finite")
    return data.task_kind.predictions(outputs, LabelScale())


def _over_a_limit(search: SearchSettings, machine: Machine, ended: TrialEnded) -> str | None:
    """Why it is over a limit of the user's; None if it isn't. Nothing of it is trained on the device, so that its memory has no limit."""
    if search.max_trainable is not None and (reason := too_many(ended.parameters["kept"], search.max_trainable)):
        return reason
    if search.max_latency_ms is None:
        return None
    took = 1000 * float(np.median(baseline_passes(machine, ended, LIMIT_PASSES)))
    over = took > search.max_latency_ms
    return f"it takes {took:.3g} ms for one text, over the {search.max_latency_ms:g} of --max-latency-ms" if over else None
