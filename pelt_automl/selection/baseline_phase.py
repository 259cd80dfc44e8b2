"""The contenders that train no backbone: fitted before the search and on each seed of the finals, on train alone, and scored as all are."""

import logging
import shutil
import time
from dataclasses import replace
from time import time as now

import numpy as np
from numpy.typing import NDArray

from pelt_automl.baselines import Fitted, fit_baseline, load_fitted
from pelt_automl.log.events import CurvePoint, Decision, Phase, Seeds, Stage, State, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.log.outputs import Outputs
from pelt_automl.methods import BASELINES
from pelt_automl.search.finalists import has_score
from pelt_automl.selection.costs import LIMIT_PASSES, baseline_passes
from pelt_automl.selection.field import too_many
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question
from pelt_automl.selection.working_folders import kept_at
from pelt_automl.settings import SearchSettings
from pelt_automl.tasks import Examples, TaskData
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training.evaluation import Predictions
from pelt_automl.training.failures import Failure
from pelt_automl.training.tokens import drawn

log = logging.getLogger(__name__)


def fit_baselines(question: Question, machine: Machine, log: Log) -> None:
    """Before the search: fit each on the search's split, and score it on select. What is over a limit of the user's is left out.

    One that fails is a failed trial and costs the selection nothing else. What an earlier start has done isn't done again.
    """
    seed, history = question.search.seed, log.history
    wanted = [name for name in BASELINES if name in question.search.baselines and question.data.task_kind.fitted_as]
    for done, name in enumerate(wanted):
        if f"{name}-0000" in history.trials or name in history.decided(What.METHOD_OVER):
            continue
        log.progress(Phase.BASELINES, done, len(wanted), name)
        found = fit(machine, history.outputs, name, Seeds(seed, seed, seed), question.most_probed)
        reason = _over_a_limit(question.search, machine, found) if has_score(found) else None
        log.append(Decision(What.METHOD_OVER, name, reason) if reason else found)


def baseline_outputs(machine: Machine, run: TrialEnded, examples: Examples) -> NDArray[np.float64]:
    """Outputs of a baseline's run for these. Raises `ValueError` where they aren't finite."""
    return _outputs(load_fitted(kept_at(machine.folder, run), machine.encoder), examples)


def fit(machine: Machine, outputs: Outputs, method: str, seeds: Seeds, most: int, index: int | None = None) -> TrialEnded:
    """Fit one on at most so many examples of a split, write it, and score it on the split's select, which has no part in what is fitted.

    Of the seeds the split's is read alone. `index`: of a finalist's seed triple; None for the search.
    """
    started, data, candidate = time.perf_counter(), machine.data, f"{method}-0000"
    ended = TrialEnded(
        trial=candidate if index is None else f"final-{candidate}-seed{index}",
        candidate=candidate,
        method=method,
        stage=Stage.SEARCH if index is None else Stage.FINALIST,
        number=index or 0,
        state=State.COMPLETED,
        is_default=True,
        hyper_parameters={},
        seeds=seeds,
        parameters=dict.fromkeys(("pelt", "gates", "head", "kept", "training_only"), 0),
        curve=[],
        select_score=None,
        steps=0,
        seconds=0.0,
    )
    train, select = (part.take(drawn(len(part), most, seeds.split).tolist()) for part in data.split(seeds.split))
    try:
        fitted = fit_baseline(method, train, data.outputs, machine.encoder if BASELINES[method].reads_backbone else None)
        outputs_on_select = _outputs(fitted, select)
        scale = data.task_kind.fitted(LabelScale(), outputs_on_select, np.asarray(select.labels), data.metric)
        predictions = data.task_kind.read_by(data.metric, outputs_on_select, scale)
        score = data.metric.value(predictions, select.labels)
    except Exception as error:  # noqa: BLE001 whatever it is, the selection has other contenders
        failure, seconds = Failure.of(error), time.perf_counter() - started
        log.info("%s failed: %s", ended.trial, failure.traceback)
        return replace(ended, state=State.FAILED, cause=failure.cause, traceback=failure.traceback, seconds=seconds)
    fitted.save(kept_at(machine.folder, ended))
    seconds = time.perf_counter() - started
    return replace(
        ended,
        parameters=ended.parameters | {"head": fitted.parameters, "kept": fitted.parameters},
        curve=[CurvePoint(0, None, score, 0.0, seconds)],
        select_score=score,
        constant_predictions=data.task_kind.is_constant(predictions),
        outputs=outputs.put(predictions) if index is None else "",
        seconds=seconds,
        threshold=scale.threshold,
    )


def fitted_again(machine: Machine, history: History, method: str, seeds: Seeds, most: int, index: int) -> TrialEnded:
    """As `fit`, for a finalist's seed triple. One that the search has fitted on the same split is the same, and is taken as it is."""
    searched = next((trial for trial in history.ended(Stage.SEARCH) if trial.method == method and trial.seeds == seeds), None)
    if searched is not None and kept_at(machine.folder, searched).is_dir():
        run = replace(searched, trial=f"final-{searched.candidate}-seed{index}", stage=Stage.FINALIST, number=index, outputs="", time=now())
        shutil.copytree(kept_at(machine.folder, searched), kept_at(machine.folder, run), dirs_exist_ok=True)
        return run
    return fit(machine, history.outputs, method, seeds, most, index)


def _outputs(fitted: Fitted, examples: Examples) -> NDArray[np.float64]:
    outputs = np.asarray(fitted.outputs(examples), dtype=np.float64)
    if not np.isfinite(outputs).all():
        raise ValueError("outputs are not finite")
    return outputs


def baseline_predictions(data: TaskData, run: TrialEnded, outputs: NDArray[np.float64]) -> Predictions:
    """What a baseline's run says by these outputs: class indices, numbers in the labels' unit, or what else the metric reads."""
    return data.task_kind.read_by(data.metric, outputs, LabelScale(threshold=run.threshold))


def _over_a_limit(search: SearchSettings, machine: Machine, ended: TrialEnded) -> str | None:
    """Why it is over a limit of the user's; None if it isn't. Nothing of it is trained on the device, so that its memory has no limit."""
    if search.max_trainable is not None and (reason := too_many(ended.parameters["kept"], search.max_trainable)):
        return reason
    if search.max_latency_ms is None:
        return None
    took = 1000 * float(np.median(baseline_passes(machine, ended, LIMIT_PASSES)))
    over = took > search.max_latency_ms
    return f"it takes {took:.3g} ms for one text, over the {search.max_latency_ms:g} of --max-latency-ms" if over else None
