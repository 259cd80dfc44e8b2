"""One training of the table, on one thread and alone in its pack: what it was, how it went, and what it says of select and report.

Only the training core is used. All settings are the program's defaults but these: fp32; texts are cut at what 99 % of the pool's texts need
in tokens, rounded up to a multiple of 32, and at 128 at most; a training never stops early.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.backbones.loading import Backbone
from pelt_automl.baselines import Encoder, fit_baseline
from pelt_automl.log.events import Seeds
from pelt_automl.methods import BASELINES, LEARNING_RATE, METHODS
from pelt_automl.modifications import count_on
from pelt_automl.settings import TrainingSettings
from pelt_automl.tasks import METRICS, Examples, TaskData
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training import packing
from pelt_automl.training.checkpoints import precision_name
from pelt_automl.training.evaluation import Evaluation, Predictions
from pelt_automl.training.failures import Failure
from pelt_automl.training.pack_training import predict_best
from pelt_automl.training.tokens import Tokens
from pelt_automl.training.trials import TrialRun, begin
from pelt_automl.training.work import Work
from studies.table_grid import Training
from studies.trainings import TaskTrainings

SETTINGS = TrainingSettings(patience=1_000_000, precision="fp32", pack_size=1, threads=1)
"""The program's, without an early stop."""

SCORES = {"classification": ("accuracy", "macro_f1"), "regression": ("spearman", "pearson", "rmse")}
"""What stands on the curve beside the task's own metric; for classes their log loss, too."""

Record = dict[str, Any]
"""Plain values, as they stand in a line of JSON."""


class TableTrainings(TaskTrainings):
    """Trainings of a task as records of the table."""

    def __init__(self, data: TaskData, backbone: Backbone, settings: TrainingSettings = SETTINGS) -> None:
        super().__init__(data, backbone, settings)

    def record(self, training: Training) -> Record:
        """Train it, or fit it, and say how it went. An exception is a failure with its cause."""
        try:
            return (_fitted if training.configuration.method in BASELINES else _trained)(self, training)
        except Exception as error:  # noqa: BLE001 the recording goes on
            return _failed(self, training, Failure.of(error).cause)


@dataclass
class _Watched:
    """What the evaluations of one training say."""

    data: TaskData
    steps: list[int] = field(default_factory=list)
    curve: dict[str, list[float]] = field(default_factory=dict)
    """By score, one value for each of `steps`."""
    predicted: dict[int, Predictions] = field(default_factory=dict)
    """On select, by step."""

    def evaluated(self, run: TrialRun, step: int, evaluation: Evaluation) -> None:
        """A point of the curve."""
        predictions = self.data.task_kind.predictions(evaluation.logits, run.scale)
        self.predicted[step] = predictions
        self.steps.append(step)
        for name, value in scores(self.data, run.select.labels, predictions, evaluation.logits).items():
            self.curve.setdefault(name, []).append(value)


def bytes_of(tensors: Mapping[str, Tensor]) -> int:
    """What they take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def scores(data: TaskData, labels: NDArray[np.float64], predictions: Predictions, logits: NDArray[np.floating]) -> dict[str, float]:
    """The task's metric (``score``) and the others of its kind; ``log_loss`` in nats."""
    found = {"score": data.metric.value(predictions, labels)}
    found |= {name: METRICS[name].value(predictions, labels) for name in SCORES[data.kind]}
    if data.kind == "classification":
        shifted = np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True)
        own = shifted[np.arange(len(labels)), labels.astype(np.int64)]
        found["log_loss"] = float((np.log(np.exp(shifted).sum(axis=1)) - own).mean())
    return found


def _trained(task: TableTrainings, training: Training) -> Record:
    configuration, data, backbone = training.configuration, task.data, task.backbone
    train, select = task.split(training.seed)
    plan = task.plan(training.seed)
    seeds = Seeds(training.seed, training.seed, training.seed)
    probe = task.starts.probe(training.seed, train)  # kept: not part of the training's time
    head = task.starts.of(training.seed, training.seed, train) if training.head_start == "probe" else None
    modifications = METHODS[configuration.method].modifications(configuration.hyper_parameters)
    rate = configuration.hyper_parameters[LEARNING_RATE]
    run = begin(configuration.method, modifications, rate, seeds, (train, select), plan, kind=data.task_kind, head=head)
    watched, state_bytes = _Watched(data), None
    work = Work(backbone, plan, data.metric, data.outputs, on_evaluation=watched.evaluated)
    processor, wall = time.process_time(), time.perf_counter()
    for until in (*plan.rungs, plan.steps):
        packing.train(work, [run], until)
        if run.running:  # at a rung it holds all that it would need to go on later
            state_bytes = bytes_of(run.progress.continuation)
    trained, wall = time.process_time(), time.perf_counter() - wall
    report, cause = _reported(work, run, task.report)
    progress = run.progress
    losses = {point.step: point.train_loss for point in progress.curve}
    count = count_on(run.modifications, backbone, data.outputs)
    steps = [*plan.rungs, plan.steps]
    return _record(task, training, train, select, probe.validation is not None and probe.validation.above_chance) | {
        "failure": cause,
        "steps": progress.step,
        "rungs": list(plan.rungs),
        "parameters": count.kept,
        "parameters_trained": count.kept + count.training_only,
        "state_bytes": state_bytes,
        "tokens_computed": progress.tokens_computed,
        "tokens_of_text": progress.tokens_of_text,
        "processor_seconds": trained - processor,
        "report_processor_seconds": time.process_time() - trained,
        "wall_seconds": wall,
        "curve": {"step": watched.steps, "train_loss": [losses.get(step) for step in watched.steps]} | watched.curve,
        "select": {str(step): plain(data, watched.predicted[step]) for step in steps if step in watched.predicted},
        "select_best": plain(data, progress.best_predictions) if report is not None else None,
        "best_step": _best_step(run, data),
        "select_score": progress.best_score,
        "report": None if report is None else plain(data, report),
        "report_score": None if report is None else data.metric.value(report, task.report.labels),
    }


def _reported(work: Work, run: TrialRun, tokens: Tokens) -> tuple[Predictions | None, str]:
    """What the best checkpoint says of the report split, or why there is nothing."""
    if run.progress.state != "completed":
        return None, run.progress.cause or f"it is {run.progress.state}"
    try:
        return predict_best(work, run, tokens), ""
    except Exception as error:  # noqa: BLE001 as in the training
        return None, Failure.of(error).cause


def _best_step(run: TrialRun, data: TaskData) -> int | None:
    """The checkpoint that report was scored with: of equals the latest."""
    curve = run.progress.curve
    sign = data.metric.sign
    return max(curve, key=lambda point: (sign * point.select_score, point.step)).step if curve else None


def _fitted(task: TableTrainings, training: Training) -> Record:
    """A contender that trains no backbone: no steps, no order, no initialization. Its seconds are those of the fit, features at hand."""
    data, (train, select) = task.data, task.split(training.seed)
    own, _ = data.split(training.seed)
    selected = data.pool.take(data.indices(training.seed)[1].tolist())
    encoder = Encoder(task.starts.features, task.tokenized)
    if BASELINES[training.configuration.method].reads_backbone:
        encoder.joint(own)
    processor, wall = time.process_time(), time.perf_counter()
    fitted = fit_baseline(training.configuration.method, own, data.outputs, encoder)
    ready, wall = time.process_time(), time.perf_counter() - wall

    def predicted(examples: Examples) -> tuple[Predictions, NDArray[np.float64]]:
        outputs = fitted.outputs(examples)
        return data.task_kind.predictions(outputs.astype(np.float32), LabelScale()), outputs  # numbers are in the labels' unit

    (on_select, outputs), (on_report, _) = predicted(selected), predicted(data.report)
    found = scores(data, select.labels, on_select, outputs)
    validation = fitted.validation
    return _record(task, training, train, select, validation is not None and validation.above_chance) | {
        "failure": "",
        "steps": 0,
        "rungs": [],
        "parameters": fitted.parameters,
        "parameters_trained": fitted.parameters,
        "state_bytes": None,
        "tokens_computed": 0,
        "tokens_of_text": 0,
        "processor_seconds": ready - processor,
        "report_processor_seconds": time.process_time() - ready,
        "wall_seconds": wall,
        "curve": {"step": [0], "train_loss": [None]} | {name: [value] for name, value in found.items()},
        "select": {},
        "select_best": plain(data, on_select),
        "best_step": 0,
        "select_score": found["score"],
        "report": plain(data, on_report),
        "report_score": data.metric.value(on_report, task.report.labels),
    }


def _failed(task: TableTrainings, training: Training, cause: str) -> Record:
    """What has not even begun, or can't be fitted."""
    return _record(task, training, *task.split(training.seed), above_chance=False) | {
        "failure": cause,
        "steps": 0,
        "rungs": [],
        "processor_seconds": 0.0,
        "report_processor_seconds": 0.0,
        "wall_seconds": 0.0,
        "curve": {"step": []},
        "select": {},
        "select_best": None,
        "report": None,
        "report_score": None,
    }


def _record(task: TableTrainings, training: Training, train: Tokens, select: Tokens, above_chance: bool) -> Record:
    data, configuration = task.data, training.configuration
    return {
        "task": training.task,
        "kind": data.kind,
        "metric": data.metric.name,
        "classes": data.outputs if data.kind == "classification" else 0,
        "k": training.k,
        "method": configuration.method,
        "configuration": configuration.name,
        "chosen": configuration.chosen,
        "hyper_parameters": dict(configuration.hyper_parameters),
        "head_start": training.head_start,
        "seed": training.seed,
        "data_hash": data.data_hash,
        "above_chance": above_chance,
        "train_size": len(train),
        "select_size": len(select),
        "report_size": len(task.report),
        "max_length": task.max_length,
        "precision": precision_name(task.backbone.dtype),
        "backbone": task.backbone.sha256,
        "select_labels": plain(data, select.labels),
        "report_labels": plain(data, task.report.labels),
    }


def plain(data: TaskData, values: Sequence[Any] | NDArray[np.floating]) -> list[int] | list[float]:
    """Outputs or labels as they are kept: class indices, or numbers rounded to what a float16 holds."""
    if data.kind == "classification":
        return [int(value) for value in values]
    return [float(value) for value in np.asarray(values, np.float16)]
