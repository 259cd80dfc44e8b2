"""One training of the table, on one thread and alone in its pack: what it was, how it went, and what it says of select and report.

Only the training core is used. All settings are the program's defaults but these: fp32; texts are cut at what 99 % of the pool's texts need
in tokens, rounded up to a multiple of 32, and at 128 at most; a training never stops early.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pelt_automl.backbones.loading import Backbone
from pelt_automl.baselines import Encoder, fit_baseline
from pelt_automl.log.events import Seeds
from pelt_automl.methods import BASELINES, LEARNING_RATE, METHODS
from pelt_automl.modifications import count_on
from pelt_automl.settings import TrainingSettings
from pelt_automl.tasks import METRICS, TaskData
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training import packing
from pelt_automl.training.checkpoints import precision_name
from pelt_automl.training.evaluation import Evaluation, Predictions
from pelt_automl.training.failures import Failure
from pelt_automl.training.pack_training import predict_best
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
        data, own, (train, select) = self.data, training.configuration, self.split(training.seed)
        same: Record = {
            "task": training.task, "kind": data.kind, "metric": data.metric.name,
            "classes": data.outputs if data.kind == "classification" else 0, "k": training.k, "method": own.method,
            "configuration": own.name, "chosen": own.name.partition("-")[0], "hyper_parameters": dict(own.hyper_parameters),
            "head_start": training.head_start, "seed": training.seed, "data_hash": data.data_hash, "above_chance": False,
            "train_size": len(train), "select_size": len(select), "report_size": len(self.report), "max_length": self.max_length,
            "precision": precision_name(self.backbone.dtype), "backbone": self.backbone.sha256,
            "select_labels": plain(data, select.labels), "report_labels": plain(data, self.report.labels),
            # of what has not even begun, or can't be fitted
            "failure": "", "steps": 0, "rungs": [], "processor_seconds": 0.0, "report_processor_seconds": 0.0, "wall_seconds": 0.0,
            "curve": {"step": []}, "select": {}, "select_best": None, "report": None, "report_score": None,
        }  # fmt: skip
        try:
            return same | (self._fitted(training) if own.method in BASELINES else self._trained(training))
        except Exception as error:  # noqa: BLE001 the recording goes on
            return same | {"failure": Failure.of(error).cause}

    def _trained(self, training: Training) -> Record:
        own, data, seed = training.configuration, self.data, training.seed
        (train, select), plan = self.split(seed), self.plan(seed)
        probe = self.starts.probe(seed, train)  # kept: not part of the training's time
        head = self.starts.of(seed, seed, train) if training.head_start == "probe" else None
        modifications, rate = METHODS[own.method].modifications(own.hyper_parameters), own.hyper_parameters[LEARNING_RATE]
        run = begin(own.method, modifications, rate, Seeds(seed, seed, seed), (train, select), plan, kind=data.task_kind, head=head)
        curve, predicted = dict[str, list[float]](), dict[int, Predictions]()

        def evaluated(_: TrialRun, step: int, evaluation: Evaluation) -> None:
            predicted[step] = data.task_kind.predictions(evaluation.logits, run.scale)
            for name, value in scores(data, select.labels, predicted[step], evaluation.logits).items():
                curve.setdefault(name, []).append(value)

        work, state_bytes = Work(self.backbone, plan, data.metric, data.outputs, on_evaluation=evaluated), None
        processor, wall, steps = time.process_time(), time.perf_counter(), [*plan.rungs, plan.steps]
        for until in steps:
            packing.train(work, [run], until)
            if run.running:  # at a rung it holds all that it would need to go on later
                state_bytes = sum(tensor.numel() * tensor.element_size() for tensor in run.progress.continuation.values())
        trained, wall, progress = time.process_time(), time.perf_counter() - wall, run.progress
        report, cause = None, "" if progress.state == "completed" else progress.cause or f"it is {progress.state}"
        if not cause:
            try:
                report = predict_best(work, run, self.report)
            except Exception as error:  # noqa: BLE001 as in the training
                cause = Failure.of(error).cause
        losses, count = {point.step: point.train_loss for point in progress.curve}, count_on(run.modifications, self.backbone, data.outputs)
        best = max(progress.curve, key=lambda point: (data.metric.sign * point.select_score, point.step), default=None)
        return {
            "above_chance": probe.validation is not None and probe.validation.above_chance, "failure": cause, "steps": progress.step,
            "rungs": list(plan.rungs), "parameters": count.kept, "parameters_trained": count.kept + count.training_only,
            "state_bytes": state_bytes, "tokens_computed": progress.tokens_computed, "tokens_of_text": progress.tokens_of_text,
            "processor_seconds": trained - processor, "report_processor_seconds": time.process_time() - trained, "wall_seconds": wall,
            "curve": {"step": list(predicted), "train_loss": [losses.get(step) for step in predicted]} | curve,
            "select": {str(step): plain(data, predicted[step]) for step in steps if step in predicted},
            "select_best": plain(data, progress.best_predictions) if report is not None else None,
            "best_step": best.step if best else None,  # the checkpoint that report was scored with: of equals the latest
            "select_score": progress.best_score, "report": None if report is None else plain(data, report),
            "report_score": None if report is None else data.metric.value(report, self.report.labels),
        }  # fmt: skip

    def _fitted(self, training: Training) -> Record:
        """A contender that trains no backbone: no steps, no order, no initialization. Its seconds are the fit's, features at hand."""
        data, (own, select) = self.data, self.data.split(training.seed)
        encoder = Encoder(self.starts.features, self.tokenized)
        if BASELINES[training.configuration.method].reads_backbone:
            encoder.joint(own)
        processor, wall = time.process_time(), time.perf_counter()
        fitted = fit_baseline(training.configuration.method, own, data.outputs, encoder)
        ready, wall = time.process_time(), time.perf_counter() - wall
        outputs = fitted.outputs(select)
        on_select, on_report = (  # numbers are in the labels' unit
            data.task_kind.predictions(said.astype(np.float32), LabelScale()) for said in (outputs, fitted.outputs(data.report))
        )
        found = scores(data, self.split(training.seed)[1].labels, on_select, outputs)
        return {
            "above_chance": fitted.validation is not None and fitted.validation.above_chance, "parameters": fitted.parameters,
            "parameters_trained": fitted.parameters, "state_bytes": None, "tokens_computed": 0, "tokens_of_text": 0,
            "processor_seconds": ready - processor, "report_processor_seconds": time.process_time() - ready, "wall_seconds": wall,
            "curve": {"step": [0], "train_loss": [None]} | {name: [value] for name, value in found.items()},
            "select_best": plain(data, on_select), "best_step": 0, "select_score": found["score"], "report": plain(data, on_report),
            "report_score": data.metric.value(on_report, self.report.labels),
        }  # fmt: skip


def scores(data: TaskData, labels: NDArray[np.float64], predictions: Predictions, logits: NDArray[np.floating]) -> dict[str, float]:
    """The task's metric (``score``) and the others of its kind; ``log_loss`` in nats."""
    found = {"score": data.metric.value(predictions, labels)} | {
        name: METRICS[name].value(predictions, labels) for name in SCORES[data.kind]
    }
    if data.kind == "classification":
        own = np.asarray(logits, np.float64)[np.arange(len(labels)), labels.astype(np.int64)]
        found["log_loss"] = float((logsumexp(np.asarray(logits, np.float64), axis=1) - own).mean())
    return found


def plain(data: TaskData, values: Sequence[Any] | NDArray[np.floating]) -> list[int] | list[float]:
    """Outputs or labels as they are kept: class indices, or numbers rounded to what a float16 holds."""
    if data.kind == "classification":
        return [int(value) for value in values]
    return [float(value) for value in np.asarray(values, np.float16)]
