"""The peer of a whole selection: one Optuna study (TPE, MedianPruner) over methods and their hyper-parameters, each trial by HF Trainer.

Run by time_to_answer.py in a process of its own: ``python -m benchmarks.peer_search OPTIONS [SEEDS]`` with the selection's options as JSON.
It has the selection's own data, splits, tokens, search spaces, published defaults (asked first), steps, batch, schedule, clipping and
patience. One study over all methods, its samples grouped by method: of the two sensible choices the one that is better for the peer, since
its pruner then stops weak methods by the others' scores. Made as a careful user would: the model is read once, padding is dynamic and texts
are batched by length, nothing is saved (the best weights stay in memory), an evaluation comes once an epoch and is reported to the pruner.

With SEEDS it then confirms as the selection does: each method's best configuration and the fixed published defaults are trained on so many
fresh splits and orders of examples, and scored on the report split. Those seconds are handed over apart.
"""

import copy
import json
import math
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measuring import hand_over
from benchmarks.our_steps import Work
from benchmarks.peer import BY_FLAGS, BY_PEFT, PeerPrecision, by_trainer, trainer_arguments, tuned
from pelt_automl.backbones.loading import best_device, load_outline
from pelt_automl.backbones.sources import find_model
from pelt_automl.evidence.statistics import interval, paired_bootstrap
from pelt_automl.methods import FIXED_DEFAULTS, LEARNING_RATE, METHODS
from pelt_automl.options import settings_from
from pelt_automl.search.spaces import SearchSpace, load_spaces
from pelt_automl.selection.finalist_phase import finalist_seeds
from pelt_automl.selection.text_length import text_length
from pelt_automl.tasks import TaskData, load_task
from pelt_automl.training.evaluation import LabelScale
from pelt_automl.training.schedule import even_steps, wanted_steps
from pelt_automl.training.tokens import Tokens, tokenize

METHODS_OF_BOTH = (*BY_PEFT, *BY_FLAGS)
EVALUATION_BATCH = 64

Example = dict[str, Any]


@dataclass
class _Best:
    """The best evaluation so far of a trial, or of all trials."""

    score: float | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    method: str = ""
    values: dict[str, Any] = field(default_factory=dict)


class _Prefixed:
    """An Optuna trial whose parameters carry their method's name, so that methods don't share learning rates."""

    def __init__(self, trial: Any, method: str) -> None:
        self._trial, self._method = trial, method

    def suggest_float(self, name: str, low: float, high: float, **more: Any) -> Any:
        return self._trial.suggest_float(f"{self._method}.{name}", low, high, **more)

    def suggest_int(self, name: str, low: int, high: int, **more: Any) -> Any:
        return self._trial.suggest_int(f"{self._method}.{name}", low, high, **more)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self._trial.suggest_categorical(f"{self._method}.{name}", choices)


class PeerSearch:
    """The whole search."""

    def __init__(self, options: dict[str, Any]) -> None:
        """`options` as of `pelt_automl.select`."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.settings = settings_from(**options)
        self.methods = self.settings.search.methods
        self.spaces: dict[str, SearchSpace] = load_spaces(self.settings.search.spaces, self.methods)
        self.data: TaskData = load_task(self.settings.task)
        self.device = best_device()
        location = find_model(self.settings.model).location
        self.tokenizer = AutoTokenizer.from_pretrained(location)
        _, shape = load_outline(self.settings.model)
        self.max_length = text_length(self.settings, self.data, self.tokenizer, shape, self.methods).most
        """Tokens that texts are cut to: as many as in a selection."""
        self.base = AutoModelForSequenceClassification.from_pretrained(
            location, num_labels=self.data.outputs, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        ).to(self.device)
        self.seed = self.settings.search.seed
        """HF Trainer's: of the order of examples. The head's first weights are those of `base`, the same in all trainings."""
        self._split(self.seed)
        self.report = self._examples(self.data.report)
        self.steps = even_steps(wanted_steps(len(self.train), self.settings.training))
        self.precision: PeerPrecision = "fp32"
        self.best = _Best()
        """The best trial of all; of equals the earlier one."""
        self.best_of: dict[str, _Best] = {}
        """The same of each method."""
        self.taken = 0
        """Optimizer steps of all trials."""

    def _split(self, seed: int) -> None:
        train, select = self.data.split(seed)
        self.scale = LabelScale.of(np.asarray(train.labels, dtype=np.float64), regression=self.data.kind == "regression")
        self.train, self.select = self._examples(train), self._examples(select)

    def _examples(self, part: Any) -> list[Example]:
        tokens: Tokens = tokenize(part, self.tokenizer, self.max_length)
        columns: dict[str, Any] = {"input_ids": tokens.input_ids}
        if tokens.token_type_ids:
            columns["token_type_ids"] = tokens.token_type_ids
        columns["labels"] = self._labels(tokens)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _labels(self, tokens: Tokens) -> list[Any]:
        if self.data.kind == "regression":
            return [float(label) for label in (tokens.labels - self.scale.mean) / self.scale.deviation]
        return [int(label) for label in tokens.labels]

    def choose_precision(self, steps: int = 4, rounds: int = 2) -> dict[str, float]:
        """The fastest by LoRA's shortest step, each measured in turn. Returns the seconds of each; they don't count as the peer's."""
        chosen = get_args(PeerPrecision)
        found = dict.fromkeys(chosen, math.inf)
        for self.precision in chosen * rounds:
            found[self.precision] = min(found[self.precision], self._shortest_step(steps))
        self.precision = min(chosen, key=lambda name: found[name])
        return found

    def _shortest_step(self, steps: int) -> float:
        """Seconds, on texts as long as the longest."""
        longest = max(len(example["input_ids"]) for example in self.train)
        padded = self.tokenizer.pad(
            {name: [example[name] for example in self.train[:64]] for name in self.train[0]}, padding="max_length", max_length=longest
        )
        examples = [{name: torch.tensor(column[i]) for name, column in padded.items()} for i in range(len(padded["labels"]))]
        work, marks = Work(self.settings.training.batch_size, longest, steps, 1), list[float]()
        model = self._model("lora", METHODS["lora"].defaults)
        by_trainer(model, examples, work, self.device, self.precision, lambda: marks.append(time.perf_counter()))
        return min(after - before for before, after in pairwise(marks))

    def _model(self, method: str, values: dict[str, Any]) -> nn.Module:
        """A fresh model; with bf16 weights the frozen backbone of a peft method is bf16, what is trained is always fp32."""
        base = copy.deepcopy(self.base)
        if self.precision == "bf16 weights" and method in BY_PEFT:
            base = base.to(torch.bfloat16)
        return tuned(base, method, values)

    def run(self) -> None:
        """The study: every method's published default, then as many trials a method as the selection's."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # TPE's groups
        sampler = optuna.samplers.TPESampler(seed=self.settings.search.seed, multivariate=True, group=True)
        direction: Any = "maximize" if self.data.metric.greater_is_better else "minimize"
        self.study = optuna.create_study(direction=direction, sampler=sampler, pruner=optuna.pruners.MedianPruner())
        for method in self.methods:
            self.study.enqueue_trial({"method": method} | {f"{method}.{k}": v for k, v in self.spaces[method].default().items()})
        self.study.optimize(self._objective, n_trials=self.settings.search.trials * len(self.methods))

    def _objective(self, trial: Any) -> float:
        import optuna

        method = trial.suggest_categorical("method", list(self.methods))
        space = self.spaces[method]
        values = space.configuration(space.suggest(_Prefixed(trial, method)))
        best, pruned = self._train(trial, method, values)
        if best.score is None:
            raise optuna.TrialPruned
        if self.best.score is None or self._better(best.score, self.best.score):
            self.best = best
        if method not in self.best_of or self._better(best.score, self.best_of[method].score):
            self.best_of[method] = best
        if pruned:
            raise optuna.TrialPruned
        return best.score

    def _better(self, score: float | None, than: float | None) -> bool:
        assert score is not None
        assert than is not None
        return score > than if self.data.metric.greater_is_better else score < than

    def _train(self, trial: Any, method: str, values: dict[str, Any]) -> tuple[_Best, bool]:
        """The best evaluation and whether Optuna pruned the `trial`; None for one that nobody prunes."""
        from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

        search, best, scores = self, _Best(method=method, values=values), list[float]()

        class Watch(TrainerCallback):  # one report an epoch; pruning; the selection's own patience
            pruned = False

            def on_evaluate(self, _: Any, state: Any, control: Any, metrics: dict[str, float], model: nn.Module, **__: Any) -> None:
                scores.append(metrics["eval_score"])
                if trial is not None:
                    trial.report(scores[-1], len(scores))
                if best.score is None or not search._better(best.score, scores[-1]):
                    best.score, best.weights = scores[-1], _trained(model)
                since = len(scores) - 1 - scores.index(max(scores, key=lambda s: s if search.data.metric.greater_is_better else -s))
                self.pruned = trial is not None and trial.should_prune()
                out_of_patience = since >= search.settings.training.patience and state.global_step >= search.steps / 2
                control.should_training_stop |= self.pruned or out_of_patience

        training, watch = self.settings.training, Watch()
        arguments = trainer_arguments(
            self.device,
            self.precision,
            per_device_train_batch_size=training.batch_size,
            per_device_eval_batch_size=EVALUATION_BATCH,
            max_steps=self.steps,
            learning_rate=values[LEARNING_RATE],
            lr_scheduler_type="linear",
            warmup_steps=round(training.warmup * self.steps),
            max_grad_norm=training.clip,
            weight_decay=training.weight_decay,
            eval_strategy="epoch",
            train_sampling_strategy="group_by_length",
            label_names=["labels"],
            seed=self.seed,
        )
        trainer = Trainer(
            self._model(method, values),
            TrainingArguments(**arguments),
            train_dataset=self.train,
            eval_dataset=self.select,
            data_collator=DataCollatorWithPadding(self.tokenizer),
            compute_metrics=lambda outcome: {"score": self._score(outcome.predictions, outcome.label_ids)},
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        self.taken += trainer.state.global_step
        return best, watch.pruned

    def _predictions(self, logits: Any) -> Any:
        logits = np.asarray(logits[0] if isinstance(logits, tuple) else logits, dtype=np.float64)
        if self.data.kind == "regression":
            return logits.reshape(-1) * self.scale.deviation + self.scale.mean
        return logits.argmax(axis=1).astype(np.float64)

    def _score(self, logits: Any, labels: Any) -> float:
        true = np.asarray(labels, dtype=np.float64).reshape(-1)
        if self.data.kind == "regression":
            true = true * self.scale.deviation + self.scale.mean
        return self.data.metric.value(self._predictions(logits), true)

    def confirm(self, seeds: int) -> dict[str, Any]:
        """Train each method's best and the fixed defaults on fresh splits and orders; what came out, and what it took."""
        start, taken = time.perf_counter(), self.taken
        candidates = {method: (method, best.values) for method, best in self.best_of.items()}
        for method in FIXED_DEFAULTS:
            default = (method, self.spaces[method].configuration(self.spaces[method].default())) if method in self.methods else None
            if default and default not in candidates.values():
                candidates[f"{method} (default)"] = default
        scores: dict[str, list[float]] = {name: [] for name in candidates}
        for index in range(seeds):
            fresh = finalist_seeds(f"peer-{self.settings.search.seed}", index)
            self.seed = fresh.order
            self._split(fresh.split)
            for name, (method, values) in candidates.items():
                best, _ = self._train(None, method, values)
                if best.score is not None:
                    scores[name].append(self.reported(best)[0])
        means = {name: float(np.mean(own)) for name, own in scores.items() if own}
        chosen = (max if self.data.metric.greater_is_better else min)(means, key=lambda name: means[name])
        return {
            "method": candidates[chosen][0],
            "hyper_parameters": candidates[chosen][1],
            "report_score": means[chosen],
            "trials": {"finalist, completed": sum(len(own) for own in scores.values())},
            "seconds": time.perf_counter() - start,
            "examples": (self.taken - taken) * self.settings.training.batch_size,
            "seed_scores": scores,
        }

    def reported(self, best: _Best) -> tuple[float, tuple[float, float]]:
        """A training's score on the report split with its 95 % interval over examples (it has one seed)."""
        from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

        model = self._model(best.method, best.values)
        model.load_state_dict(best.weights, strict=False)
        arguments = trainer_arguments(self.device, self.precision, per_device_eval_batch_size=EVALUATION_BATCH, label_names=["labels"])
        collator = DataCollatorWithPadding(self.tokenizer)
        trainer = Trainer(model, TrainingArguments(**arguments), data_collator=collator)
        trainer.remove_callback(PrinterCallback)
        predictions = self._predictions(trainer.predict(self.report).predictions)
        labels = np.asarray(self.data.report.labels, dtype=np.float64)
        draws = paired_bootstrap(labels, predictions[None, None], self.data.metric.name)
        return self.data.metric.value(predictions, labels), interval(draws[:, 0])


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().to("cpu", copy=True) for name, weight in model.named_parameters() if weight.requires_grad}


def main(arguments: Sequence[str]) -> None:
    """Search, score the winner, confirm, and hand over what came out."""
    search = PeerSearch(json.loads(arguments[0]))
    start = time.perf_counter()
    seconds = search.choose_precision()
    probing = time.perf_counter() - start
    start = time.perf_counter()
    search.run()
    searching = time.perf_counter() - start
    found, searched = search.best, search.taken
    score, around = search.reported(found)
    seeds = int(arguments[1]) if len(arguments) > 1 else 0
    confirmed = search.confirm(seeds) if seeds else None
    states = [trial.state.name.lower() for trial in search.study.trials]
    hand_over(
        {
            "method": found.method,
            "hyper_parameters": found.values,
            "select_score": found.score,
            "report_score": score,
            "report_interval": around,
            "metric": search.data.metric.name,
            "trials": {state: states.count(state) for state in sorted(set(states))},
            "parts": {"search": {"seconds": searching, "examples": searched * search.settings.training.batch_size}},
            "not_counted_seconds": probing + (confirmed["seconds"] if confirmed else 0.0),
            "precision": search.precision,
            "step_seconds": seconds,
            "confirmed": confirmed,
        }
    )


if __name__ == "__main__":
    main(sys.argv[1:])
