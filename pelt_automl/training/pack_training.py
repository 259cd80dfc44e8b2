"""One pack on its way: steps of all its trials together, each with its own data, learning rate and place in its schedule."""

import copy
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.log.events import CurvePoint
from pelt_automl.modifications import Pack, PackTrial, pack_order, without_reparameterization
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.timing.schedule import learning_rate_share
from pelt_automl.training.evaluation import Evaluation, Predictions, evaluate, pad_id_of
from pelt_automl.training.optimizer import PackedAdamW
from pelt_automl.training.padding import by_length, passes
from pelt_automl.training.tokens import Tokens, collate
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work


class PackTraining:
    """Trials that train together until some of them end or others join: then a new one is made."""

    def __init__(self, work: Work, runs: Sequence[TrialRun]) -> None:
        """Take up every trial where its progress left it."""
        self.work, self.plan, self.backbone = work, work.plan, work.backbone
        self.kind = KINDS[work.metric.kind]
        self.runs = sorted(runs, key=lambda run: pack_order(run.modifications))
        self.held = [copy.copy(run.progress) for run in self.runs]
        """Each trial's progress as of the last time that it was held, to go back to."""
        self.begun_at = [run.progress.step for run in self.runs]
        self.taken = 0
        """Steps since then."""
        trials = [PackTrial(run.modifications, run.seeds.initialization, run.head) for run in self.runs]
        self.pack = Pack(self.backbone, trials, work.outputs, work.lower)
        self.optimizer = PackedAdamW(self.pack, self.plan.weight_decay)
        for slot, run in enumerate(self.runs):
            if run.progress.continuation:
                self.pack.load_weights(slot, run.progress.continuation)
                self.optimizer.load(slot, run.progress.step, run.progress.continuation)
            self.pack.begin(slot, self.plan.steps, run.progress.continuation)
        device = self.backbone.device
        self.peaks = torch.tensor([run.learning_rate for run in self.runs], device=device)
        weights = [run.class_weights for run in self.runs if run.class_weights is not None]
        self.class_weights = torch.from_numpy(np.stack(weights)).to(device) if weights else None
        """``(N, C)``; a selection has them for all of its trials, or for none."""
        self.losses = torch.tensor([run.progress.loss_sum for run in self.runs], device=device)
        self.summed = [run.progress.loss_steps for run in self.runs]
        """Steps that each trial's loss is the sum of: those since its last evaluation."""
        self.clock = time.perf_counter()

    def advance(self, until: Callable[[TrialRun], int], expired: Callable[[], bool]) -> list[TrialRun]:
        """Train to the next evaluation of some trial, or until one has come to its step `until`, or until the time is up.

        Returns the trials that have been evaluated; of these, those that are at a rung are held, and of all those that have come to their
        step `until`. A trial whose head starts from given weights is also scored before its first step.
        """
        if self.taken == 0 and (untouched := [s for s, run in enumerate(self.runs) if run.head is not None and not run.progress.curve]):
            self._evaluate(untouched)
            if failed := [self.runs[slot] for slot in untouched if not self.runs[slot].running]:
                return failed
        while not expired():
            self._one_step()
            slots = range(len(self.runs))
            due = [slot for slot in slots if self._step_of(slot) in self.plan.evaluate_at]
            there = [slot for slot in slots if self._step_of(slot) >= until(self.runs[slot])]
            if due:
                self._evaluate(due)
            for slot in {*there, *(slot for slot in due if self._step_of(slot) in self.plan.rungs)}:
                if self.runs[slot].running:
                    self._hold(slot)
            if due or there:
                return [self.runs[slot] for slot in due]
        return []

    def left(self, until: Callable[[TrialRun], int]) -> list[TrialRun]:
        """The trials that have ended, or have come to their step `until`."""
        return [run for slot, run in enumerate(self.runs) if not run.running or self._step_of(slot) >= until(run)]

    def steps(self) -> dict[TrialRun, int]:
        """Optimizer steps that each trial has taken since its start."""
        return {run: self._step_of(slot) for slot, run in enumerate(self.runs)}

    def hold(self, runs: Collection[TrialRun] | None = None) -> None:
        """Keep what the trials that are still running need to go on later; `runs`: those of them that matter, None for all."""
        self.share_time()
        for slot, run in enumerate(self.runs):
            if run.running and (runs is None or run in runs):
                self._hold(slot)

    def restore(self) -> None:
        """Set every trial back to where it was held last."""
        for run, progress in zip(self.runs, self.held, strict=True):
            run.progress = progress

    def _step_of(self, slot: int) -> int:
        return self.begun_at[slot] + self.taken

    def _one_step(self) -> None:
        self.pack.train()
        steps = [self._step_of(slot) for slot in range(len(self.runs))]
        parts = [
            by_length(run.train.take(run.order.batch(step)).one_window(step // run.order.batches_an_epoch))
            for run, step in zip(self.runs, steps, strict=True)
        ]
        sizes = torch.tensor([len(part) for part in parts], device=self.backbone.device)
        penalty = self.pack.penalty()
        for positions in passes(parts, self.backbone.device.type, self.plan.batch_size):
            own = [part[positions] for part in parts]
            batch = collate(own, pad_id_of(self.pack), self.backbone.device)
            labels = torch.from_numpy(self.kind.collate([part.labels if part.targets is None else part.targets for part in own])).to(
                self.backbone.device
            )
            each = self.kind.losses(self.pack(**batch.inputs).logits, labels, [run.scale for run in self.runs])
            if self.class_weights is not None:
                each = each * self.class_weights.gather(1, labels.long())
            losses = (each * batch.weights).sum(1) / sizes
            (losses.sum() + penalty).backward()  # type: ignore[no-untyped-call]
            self.losses += losses.detach()
            penalty = 0.0  # once a step
            for run, part in zip(self.runs, own, strict=True):
                run.progress.tokens_computed += batch.inputs["input_ids"][0].numel()
                run.progress.tokens_of_text += int(part.lengths.sum())
        shares = torch.tensor([learning_rate_share(step, self.plan) for step in steps], device=self.backbone.device)
        self.optimizer.step(self.peaks * shares, self.plan.clip)
        self.summed = [steps + 1 for steps in self.summed]
        self.taken += 1
        self.pack.after_step(self._step_of(0))
        self.work.on_step(len(self.runs))

    def _evaluate(self, due: Sequence[int]) -> None:
        """Score the trials that are due; the others, in the middle of their way, get a single example each to look at."""
        sets = [run.watched(self.plan.select_most) if slot in due else run.select.take([0]) for slot, run in enumerate(self.runs)]
        evaluations = evaluate(self.pack, sets)
        losses = [float(loss / steps) if steps else None for loss, steps in zip(self.losses.cpu(), self.summed, strict=True)]
        self.share_time()
        for slot in due:
            run, evaluation = self.runs[slot], evaluations[slot]
            if not (evaluation.finite and np.isfinite(losses[slot] or 0.0)):
                run.end("failed", f"loss or output is not finite by step {self._step_of(slot)}")
            else:
                self.work.on_evaluation(run, self._step_of(slot), evaluation)
                self._take(slot, sets[slot], evaluation, losses[slot])
            self.losses[slot], self.summed[slot] = 0.0, 0

    def _take(self, slot: int, tokens: Tokens, evaluation: Evaluation, loss: float | None) -> None:
        run, step, metric = self.runs[slot], self._step_of(slot), self.work.metric
        passages = tokens.texts_of_passages
        scale = self.kind.fitted(run.scale, evaluation.logits, tokens.labels, metric, passages)
        progress, predictions = run.progress, self.kind.read_by(metric, evaluation.logits, scale, passages)
        score = metric.value(predictions, tokens.labels)
        rate = run.learning_rate * learning_rate_share(step - 1, self.plan) if step else 0.0
        progress.curve += (CurvePoint(step, loss, score, rate, progress.seconds),)
        progress.step = step
        gain = score if metric.greater_is_better else -score
        best = progress.best_score
        if best is None or gain >= (best if metric.greater_is_better else -best):  # among equals the later: it has trained longer
            progress.best_score, progress.best_constant = score, self.kind.is_constant(predictions)
            progress.best_predictions, progress.best_threshold = tuple(predictions.tolist()), scale.threshold
            progress.best_weights = _on_cpu(self.pack.kept_weights(slot))
        if self._out_of_patience(run):
            run.end("completed", f"no new best in {self.plan.patience} evaluations, stopped at step {step}")

    def _out_of_patience(self, run: TrialRun) -> bool:
        # before half of the schedule, or while it predicts one class throughout, a slow starter hasn't had its chance
        in_second_half = self.plan.steps / 2 <= run.progress.step < self.plan.steps
        if not in_second_half or run.progress.best_constant:
            return False
        scores = [point.select_score for point in run.progress.curve if point.step]  # a start to be beaten isn't a lack of progress
        since = len(scores) - 1 - scores.index(max(scores) if self.work.metric.greater_is_better else min(scores))
        return since >= self.plan.patience

    def share_time(self) -> None:
        """Put the wall time since this was last done on the trials that are still running, in equal parts."""
        now, running = time.perf_counter(), [run for run in self.runs if run.running]
        for run in running:
            run.progress.seconds += (now - self.clock) / len(running)
        self.clock = now

    def _hold(self, slot: int) -> None:
        progress = self.runs[slot].progress
        progress.step = self._step_of(slot)
        progress.loss_sum, progress.loss_steps = float(self.losses[slot]), self.summed[slot]
        if progress.step < self.plan.steps:
            needed = self.pack.trained_weights(slot) | self.optimizer.moments_of(slot) | self.pack.state(slot)
            progress.continuation = _on_cpu(needed, progress.best_weights)
        self.held[slot] = copy.copy(progress)


def score_in_full(work: Work, run: TrialRun) -> None:
    """Score the best weights of a training on all of select, where its evaluations have looked at a part of it."""
    kind, logits, passages = KINDS[work.metric.kind], logits_of_best(work, run, run.select), run.select.texts_of_passages
    scale = kind.fitted(run.scale, logits, run.select.labels, work.metric, passages)
    predictions, run.progress.best_threshold = kind.read_by(work.metric, logits, scale, passages), scale.threshold
    run.progress.best_score = work.metric.value(predictions, run.select.labels)
    run.progress.best_constant = kind.is_constant(predictions)
    run.progress.best_predictions = tuple(predictions.tolist())


def predict_best(work: Work, run: TrialRun, tokens: Tokens) -> Predictions:
    """What the best weights of a training say of other examples, as the metric reads it."""
    scale = replace(run.scale, threshold=run.progress.best_threshold)
    return KINDS[work.metric.kind].read_by(work.metric, logits_of_best(work, run, tokens), scale, tokens.texts_of_passages)


def logits_of_best(work: Work, run: TrialRun, tokens: Tokens) -> NDArray[np.floating]:
    """``(n, C)``, of the best weights of a training for other examples."""
    trial = PackTrial(without_reparameterization(run.modifications), run.seeds.initialization)
    pack = Pack(work.backbone, [trial], work.outputs, work.lower)
    pack.load_weights(0, run.progress.best_weights)
    return evaluate(pack, [tokens])[0].logits


def _on_cpu(tensors: Mapping[str, Tensor], known: Mapping[str, Tensor] = MappingProxyType({})) -> dict[str, Tensor]:
    """Copies of tensors; one that is equal to a `known` one of its name is that one."""

    def kept(name: str, tensor: Tensor) -> Tensor:
        same = name in known and torch.equal(known[name], tensor.cpu())
        return known[name] if same else tensor.to("cpu", copy=True)

    return {name: kept(name, tensor.detach()) for name, tensor in tensors.items()}
