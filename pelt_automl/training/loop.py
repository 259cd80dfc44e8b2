"""The one training loop: a pack of trials to a given step, each with its own data, learning rate, clipping and early stop."""

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications import Pack, PackTrial, needs_own_pack
from pelt_automl.records import CurvePoint
from pelt_automl.tasks import Metric
from pelt_automl.training.evaluation import Evaluation, evaluate, is_constant, pad_id_of, predictions_of, score_of
from pelt_automl.training.memory import give_back
from pelt_automl.training.optimizer import PackedAdamW
from pelt_automl.training.padding import by_length, passes
from pelt_automl.training.schedule import TrainingPlan, learning_rate_share
from pelt_automl.training.tokens import Batch, collate
from pelt_automl.training.trials import TrialRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trainer:
    """Everything that is the same for all trainings of a selection."""

    backbone: Backbone
    plan: TrainingPlan
    metric: Metric
    outputs: int
    """Number of classes, 1 for regression."""
    expired: Callable[[], bool] = lambda: False
    """Asked before every step: True when the time is up. Trials then stay as they are, still running."""
    on_step: Callable[[int], None] = lambda _: None
    """Told after every step how many trials took it."""

    def train(self, runs: Sequence[TrialRun], until: int) -> None:
        """Train all runs that aren't closed to the step `until`, in packs of those that stand at the same step.

        Whatever goes wrong in a pack (memory, or any exception) is tried again in halves; what goes wrong alone closes that trial as
        failed, with its cause. Trials that have reached the last step are closed as completed.
        """
        for step in sorted({run.progress.step for run in runs if run.running}):
            alike = [run for run in runs if run.running and run.progress.step == step]
            if step < until:
                self._train_or_halve(alike, until)
        for run in runs:
            if run.running and run.progress.step >= self.plan.steps:
                run.end("completed")

    def _train_or_halve(self, runs: list[TrialRun], until: int) -> None:
        packed, alone = list[TrialRun](), list[TrialRun]()
        for run in runs:
            (alone if needs_own_pack(run.modifications, self.backbone.architecture) else packed).append(run)
        for pack in [packed, *([run] for run in alone)]:
            if pack:
                self._try(pack, until)
                give_back()

    def _try(self, runs: list[TrialRun], until: int) -> None:
        before = [copy.copy(run.progress) for run in runs]
        try:
            _PackTraining(self, runs).run(until)
        except Exception as error:  # noqa: BLE001 a trial's failure must not end the search
            for run, progress in zip(runs, before, strict=True):
                run.progress = progress
            if len(runs) == 1:
                runs[0].end("failed", f"{type(error).__name__}: {error}")
                return
            log.warning("a pack of %d trials failed (%s: %s); trying it again in halves", len(runs), type(error).__name__, error)
            half = len(runs) // 2
            self._try(runs[:half], until)
            self._try(runs[half:], until)


class _PackTraining:
    """One pack on its way to a step; trials that end leave it and the rest is packed anew."""

    def __init__(self, trainer: Trainer, runs: Sequence[TrialRun]) -> None:
        self.trainer, self.plan, self.backbone = trainer, trainer.plan, trainer.backbone
        self.step = runs[0].progress.step
        self._pack(list(runs))

    def _pack(self, runs: list[TrialRun]) -> None:
        self.runs = runs
        self.pack = Pack(self.backbone, [PackTrial(run.modifications, run.seeds.initialization) for run in runs], self.trainer.outputs)
        self.optimizer = PackedAdamW(self.pack, self.plan.weight_decay)
        for slot, run in enumerate(runs):
            if run.progress.continuation:
                self.pack.load_weights(slot, run.progress.continuation)
                self.optimizer.load(slot, run.progress.step, run.progress.continuation)
            self.pack.begin(slot, self.plan.steps, run.progress.continuation)
        device = self.backbone.device
        self.peaks = torch.tensor([run.learning_rate for run in runs], device=device)
        self.losses = torch.zeros(len(runs), device=device)
        self.steps_since = 0
        self.clock = time.perf_counter()

    def run(self, until: int) -> None:
        """Train to `until`, or until the time is up or no trial is left."""
        while self.runs and self.step < until and not self.trainer.expired():
            self._one_step()
            if self.step in self.plan.evaluate_at:
                self._evaluate()
                if any(not run.running for run in self.runs):
                    self._leave()
        if self.runs:
            self._hold()

    def _one_step(self) -> None:
        self.pack.train()
        parts = [by_length(run.train.take(run.order.batch(self.step))) for run in self.runs]
        sizes = torch.tensor([len(part) for part in parts], device=self.backbone.device)
        penalty = self.pack.penalty()
        for positions in passes(parts, self.backbone.device.type, self.plan.batch_size):
            batch = collate([part[positions] for part in parts], pad_id_of(self.pack), self.backbone.device)
            losses = self._losses(self.pack(**batch.inputs).logits, batch) / sizes
            (losses.sum() + penalty).backward()  # type: ignore[no-untyped-call]
            self.losses += losses.detach()
            penalty = 0.0  # once a step
        self.optimizer.step(self.peaks * learning_rate_share(self.step, self.plan), self.plan.clip)
        self.steps_since += 1
        self.step += 1
        self.pack.after_step(self.step)
        self.trainer.on_step(len(self.runs))

    def _losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """Sum of each trial's losses, ``(N,)``: cross-entropy, or squared error of standardized labels."""
        if logits.shape[2] == 1:
            scales = [run.scale for run in self.runs]
            means = torch.tensor([scale.mean for scale in scales], device=logits.device)[:, None]
            deviations = torch.tensor([scale.deviation for scale in scales], device=logits.device)[:, None]
            each = (logits[:, :, 0] - (batch.labels - means) / deviations).square()
        else:
            each = functional.cross_entropy(logits.transpose(1, 2), batch.labels.long(), reduction="none")
        return (each * batch.weights).sum(1)

    def _evaluate(self) -> None:
        evaluations = evaluate(self.pack, [run.select for run in self.runs])
        losses = (self.losses / self.steps_since).tolist()
        self._share_time()
        for slot, (run, evaluation) in enumerate(zip(self.runs, evaluations, strict=True)):
            if not (evaluation.finite and np.isfinite(losses[slot])):
                run.end("failed", f"loss or output is not finite by step {self.step}")
            else:
                self._take(run, slot, evaluation, losses[slot])
        self.losses.zero_()
        self.steps_since = 0

    def _take(self, run: TrialRun, slot: int, evaluation: Evaluation, loss: float) -> None:
        progress, metric = run.progress, self.trainer.metric
        predictions = predictions_of(evaluation, run.scale)
        score = score_of(metric, run.select.labels, predictions)
        rate = run.learning_rate * learning_rate_share(self.step - 1, self.plan)
        progress.curve += (CurvePoint(self.step, loss, score, rate, progress.seconds),)
        progress.step = self.step
        gain = score if metric.greater_is_better else -score
        best = progress.best_score
        if best is None or gain >= (best if metric.greater_is_better else -best):  # among equals the later: it has trained longer
            progress.best_score, progress.best_constant = score, is_constant(predictions)
            progress.best_weights = _on_cpu(self.pack.kept_weights(slot))
        if self._out_of_patience(run):
            run.end("completed", f"no new best in {self.plan.patience} evaluations, stopped at step {self.step}")

    def _out_of_patience(self, run: TrialRun) -> bool:
        scores = [point.select_score for point in run.progress.curve]
        since = len(scores) - 1 - scores.index(max(scores) if self.trainer.metric.greater_is_better else min(scores))
        # before half of the schedule, or while it predicts one class throughout, a slow starter hasn't had its chance
        in_second_half = self.plan.steps / 2 <= self.step < self.plan.steps
        return since >= self.plan.patience and in_second_half and not run.progress.best_constant

    def _share_time(self) -> None:
        now = time.perf_counter()
        for run in self.runs:
            run.progress.seconds += (now - self.clock) / len(self.runs)
        self.clock = now

    def _hold(self) -> None:
        """Keep what the trials need to go on later."""
        self._share_time()
        for slot, run in enumerate(self.runs):
            run.progress.step = self.step
            if self.step < self.plan.steps:
                run.progress.continuation = _on_cpu(
                    self.pack.trained_weights(slot) | self.optimizer.moments_of(slot) | self.pack.state(slot)
                )

    def _leave(self) -> None:
        """Go on with those that are still running."""
        self._hold()
        left = [run for run in self.runs if run.running]
        for run in self.runs:
            if not run.running:
                run.progress.continuation = {}
        if left:
            self._pack(left)
        else:
            self.runs = []


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
