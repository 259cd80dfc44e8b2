"""The peer of a whole selection: one Optuna study (TPE, MedianPruner) over methods and their hyper-parameters, each trial by HF Trainer.

It has the selection's own data, splits, tokens, search spaces, published defaults (asked first), steps, batch, schedule, clipping and
patience. One study over all methods, its samples grouped by method: of the two sensible choices the one that is better for the peer, since
its pruner then stops weak methods by the others' scores. Made as a careful user would: the model is read once, padding is dynamic and texts
are batched by length, nothing is saved (the best weights stay in memory), an evaluation comes once an epoch and is reported to the pruner.

With `seeds` it then confirms as the selection does: each method's best configuration and the fixed published defaults are trained on so
many fresh splits and orders of examples, and scored on the report split. Those seconds are handed over apart.
"""

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from torch import Tensor, nn

from pelt_automl.backbones.loading import best_device, load_backbone
from pelt_automl.backbones.sources import find_model
from pelt_automl.methods import FIXED_DEFAULTS, LEARNING_RATE, METHODS
from pelt_automl.options import settings_from
from pelt_automl.search.spaces import load_spaces
from pelt_automl.tasks import load_task
from pelt_automl.training.tokens import Tokens
from pelt_automl.verdict.statistics import interval, paired_bootstrap
from studies.contenders import JointStudy
from studies.harness import Row
from studies.steps import BY_PEFT, PeerPrecision, quiet_trainer, trainer_arguments, tuned
from studies.trainings import TaskTrainings

EVALUATION_BATCH = 64
FRESH = 2_000_000
"""The first seed of the peer's finals."""


@dataclass
class Best:
    """The best evaluation so far of a trial, or of all trials."""

    method: str
    values: Row
    score: float | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)


class PeerSearch:
    """The whole search."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """`options` as of `pelt_automl.select`."""
        from transformers import AutoModelForSequenceClassification

        self.settings = settings_from(**options)
        self.methods, self.training = self.settings.search.methods, self.settings.training
        self.spaces = load_spaces(self.settings.search.spaces, self.methods)
        self.data, self.device = load_task(self.settings.task), best_device()
        backbone = load_backbone(self.settings.model, precision="fp32")  # for its tokenizer and shape
        self.task, self.tokenizer = TaskTrainings(self.data, backbone, self.training), backbone.tokenizer
        plain = {"num_labels": self.data.outputs, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        location = find_model(self.settings.model).location
        self.base = AutoModelForSequenceClassification.from_pretrained(location, **plain).to(self.device)
        self.split(self.settings.search.seed, self.settings.search.seed)
        self.report = self._examples(self.task.report)
        self.steps = self.task.plan(self.settings.search.seed).steps
        self.precision: PeerPrecision = "fp32"
        self.best: dict[str, Best] = {}
        """The best trial of each method; of equals the earlier one."""
        self.taken = 0
        """Optimizer steps of all trials."""

    def split(self, seed: int, order: int) -> None:
        """Take another split and order of examples. The head's first weights are those of `base`, the same in all trainings."""
        train, select = self.task.split(seed)
        self.order, self.scale = order, self.data.task_kind.scale(train.labels)
        self.train, self.select = self._examples(train), self._examples(select)

    def _examples(self, tokens: Tokens) -> list[Row]:
        labels: Any = tokens.labels.astype(int) if self.data.kind == "classification" else self._scaled(tokens.labels)
        rows = [{"input_ids": list(ids), "labels": label} for ids, label in zip(tokens.input_ids, labels.tolist(), strict=True)]
        types = tokens.token_type_ids
        return [row | {"token_type_ids": list(own)} for row, own in zip(rows, types, strict=True)] if types is not None else rows

    def _scaled(self, labels: Any) -> Any:
        return (labels - self.scale.mean) / self.scale.deviation

    def better(self, score: float, than: float | None) -> bool:
        """Whether it is, in the metric's direction."""
        return than is None or (score > than if self.data.metric.greater_is_better else score < than)

    def choose_precision(self, steps: int = 4, rounds: int = 2) -> dict[str, float]:
        """The fastest for LoRA, each measured in turn. Returns the seconds of each; they don't count as the peer's."""
        found: dict[Any, float] = dict.fromkeys(get_args(PeerPrecision), math.inf)
        longest = sorted(self.train, key=lambda example: -len(example["input_ids"]))[: self.training.batch_size]
        for self.precision in tuple(found) * rounds:
            start = time.perf_counter()
            self._trainer(self._model("lora", METHODS["lora"].defaults), train_dataset=longest, max_steps=steps).train()
            found[self.precision] = min(found[self.precision], (time.perf_counter() - start) / steps)
        self.precision = min(found, key=lambda name: found[name])
        return found

    def _model(self, method: str, values: Mapping[str, Any]) -> nn.Module:
        """A fresh model; with bf16 weights the frozen backbone of a peft method is bf16, what is trained is always fp32."""
        import torch

        base = copy.deepcopy(self.base)
        return tuned(base.to(torch.bfloat16) if self.precision == "bf16 weights" and method in BY_PEFT else base, method, values)

    def _trainer(self, model: nn.Module, callbacks: Any = (), train_dataset: Any = None, **settings: Any) -> Any:
        from transformers import DataCollatorWithPadding

        arguments = trainer_arguments(
            self.device, self.precision, per_device_train_batch_size=self.training.batch_size,
            per_device_eval_batch_size=EVALUATION_BATCH, label_names=["labels"], **settings,
        )  # fmt: skip
        return quiet_trainer(
            model, arguments, train_dataset=train_dataset, eval_dataset=self.select, callbacks=list(callbacks),
            data_collator=DataCollatorWithPadding(self.tokenizer),
            compute_metrics=lambda found: {"score": self._score(found.predictions, found.label_ids)},
        )  # fmt: skip

    def run(self) -> None:
        """The study: every method's published default, then as many trials a method as the selection's."""
        joint = JointStudy(self.spaces, self.settings.search.seed, greater_is_better=self.data.metric.greater_is_better)
        self.study = joint.study
        for _ in range(self.settings.search.trials * len(self.methods)):
            trial, method, values = joint.ask()
            best, pruned = self.trained(trial, method, values)
            if best.score is not None and self.better(best.score, self.best[method].score if method in self.best else None):
                self.best[method] = best
            joint.tell(trial, best.score, pruned=pruned)

    def trained(self, trial: Any, method: str, values: Row) -> tuple[Best, bool]:
        """The best evaluation and whether Optuna pruned the `trial`; None for one that nobody prunes."""
        from transformers import TrainerCallback

        search, best, scores, sign = self, Best(method, values), list[float](), self.data.metric.sign

        class Watch(TrainerCallback):  # one report an epoch; pruning; the selection's own patience
            pruned = False

            def on_evaluate(self, args: Any, state: Any, control: Any, **found: Any) -> None:  # noqa: ARG002 the library's names
                scores.append(found["metrics"]["eval_score"])
                if trial is not None:
                    trial.report(scores[-1], len(scores))
                if best.score is None or not search.better(best.score, scores[-1]):
                    best.score, best.weights = scores[-1], _trained(found["model"])
                since = len(scores) - 1 - scores.index(max(scores, key=lambda score: sign * score))
                self.pruned = trial is not None and trial.should_prune()
                out_of_patience = since >= search.training.patience and state.global_step >= search.steps / 2
                control.should_training_stop |= self.pruned or out_of_patience

        watch, training = Watch(), self.training
        trainer = self._trainer(
            self._model(method, values), [watch], self.train, max_steps=self.steps, learning_rate=values[LEARNING_RATE],
            lr_scheduler_type="linear", warmup_steps=round(training.warmup * self.steps), max_grad_norm=training.clip,
            weight_decay=training.weight_decay, eval_strategy="epoch", train_sampling_strategy="group_by_length", seed=self.order,
        )  # fmt: skip
        trainer.train()
        self.taken += trainer.state.global_step
        return best, watch.pruned

    def _predictions(self, logits: Any) -> Any:
        logits = np.asarray(logits[0] if isinstance(logits, tuple) else logits, dtype=np.float64)
        return self.data.task_kind.predictions(logits.reshape(len(logits), -1), self.scale)

    def _score(self, logits: Any, labels: Any) -> float:
        true = np.asarray(labels, dtype=np.float64).reshape(-1)
        if self.data.kind == "regression":
            true = true * self.scale.deviation + self.scale.mean
        return self.data.metric.value(self._predictions(logits), true)

    def reported(self, best: Best) -> tuple[float, tuple[float, float]]:
        """A training's score on the report split with its 95 % interval over examples (it has one seed)."""
        model = self._model(best.method, best.values)
        model.load_state_dict(best.weights, strict=False)
        predictions = self._predictions(self._trainer(model).predict(self.report).predictions)
        labels = np.asarray(self.data.report.labels, dtype=np.float64)
        draws = paired_bootstrap(labels, predictions[None, None], self.data.metric.name)
        return self.data.metric.value(predictions, labels), interval(draws[:, 0])

    def winner(self) -> Best:
        """The best trial of all."""
        sign = self.data.metric.sign
        return max(self.best.values(), key=lambda best: sign * (best.score or 0.0))

    def confirm(self, seeds: int) -> Row:
        """Train each method's best and the fixed defaults on fresh splits and orders; what came out, and what it took."""
        start, taken = time.perf_counter(), self.taken
        candidates = {method: (method, best.values) for method, best in self.best.items()}
        for method in FIXED_DEFAULTS:
            default = (method, self.spaces[method].configuration(self.spaces[method].default())) if method in self.methods else None
            if default and default not in candidates.values():
                candidates[f"{method} (default)"] = default
        scores: dict[str, list[float]] = {name: [] for name in candidates}
        for index in range(seeds):
            fresh = FRESH + 1000 * self.settings.search.seed + index
            self.split(fresh, fresh)
            for name, (method, values) in candidates.items():
                best, _ = self.trained(None, method, values)
                if best.score is not None:
                    scores[name].append(self.reported(best)[0])
        means = {name: float(np.mean(own)) for name, own in scores.items() if own}
        chosen = (max if self.data.metric.greater_is_better else min)(means, key=lambda name: means[name])
        return {
            "method": candidates[chosen][0], "hyper_parameters": candidates[chosen][1], "report_score": means[chosen],
            "trials": {"finalist, completed": sum(len(own) for own in scores.values())}, "seconds": time.perf_counter() - start,
            "examples": (self.taken - taken) * self.training.batch_size, "seed_scores": scores,
        }  # fmt: skip


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().to("cpu", copy=True) for name, weight in model.named_parameters() if weight.requires_grad}


def peer(options: Mapping[str, Any], seeds: int = 0) -> Row:
    """Search, score the winner, confirm on so many fresh seeds, and say what came out, as `studies.answers.ours` does."""
    search = PeerSearch(options)
    start = time.perf_counter()
    step_seconds = search.choose_precision()
    probing, start = time.perf_counter() - start, time.perf_counter()
    search.run()
    searching, searched, found = time.perf_counter() - start, search.taken, search.winner()
    score, around = search.reported(found)
    confirmed = search.confirm(seeds) if seeds else None
    states = [trial.state.name.lower() for trial in search.study.trials]
    return {
        "method": found.method, "hyper_parameters": found.values, "report_score": score, "report_interval": around,
        "metric": search.data.metric.name, "trials": {state: states.count(state) for state in sorted(set(states))},
        "parts": {"search": {"seconds": searching, "examples": searched * search.training.batch_size}},
        "not_counted_seconds": probing + (confirmed["seconds"] if confirmed else 0.0), "precision": search.precision,
        "step_seconds": step_seconds, "confirmed": confirmed,
    }  # fmt: skip
