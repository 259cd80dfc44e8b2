"""One cell of gate_validity.py: UniPELT-APL and its methods trained on one data set, K, seed and learning rate, scored and taken apart."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pelt_automl.backbones.loading import Backbone
from pelt_automl.durable import replacing
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial, without_reparameterization
from pelt_automl.records import Seeds, to_json
from pelt_automl.settings import TaskSettings, TrainingSettings
from pelt_automl.tasks import TaskData
from pelt_automl.tasks.files import read_table
from pelt_automl.training.dissection import dissect
from pelt_automl.training.evaluation import Evaluation, LabelScale, evaluate, predictions_of
from pelt_automl.training.loop import Trainer
from pelt_automl.training.schedule import make_plan, wanted_steps
from pelt_automl.training.tokens import BatchOrder, Tokens, tokenize
from pelt_automl.training.trials import TrialRun

UNION, SINGLES = "unipelt-apl", ("adapter", "prefix", "lora")
PUBLISHED = "published"
"""In place of a learning rate for all: each method's own published one."""

OWN_FILES: dict[str, tuple[str, str, str, str]] = {
    "atis": ("custom/atis/train.csv", "custom/atis/test.csv", "utterance", "intent"),
    "snips": ("custom/snips/train.jsonl", "custom/snips/test.jsonl", "text", "intent"),
}
"""Data sets without a task's name: train and report file below the data's folder, columns of text and label."""


@dataclass(frozen=True)
class Work:
    """What is done in every cell."""

    epochs: float
    """Passes over the K examples."""
    max_steps: int
    """... but no more optimizer steps than these."""
    max_length: int
    """Tokens that a text, or a pair, is cut to."""
    select: int
    """Examples of select that trainings are watched and unions taken apart on, at most."""
    report: int
    """Examples of report that are scored, at most; the same for all."""


def settings_of(name: str, folder: Path, k: int, cleaned: Path) -> TaskSettings:
    """The task `name` with UniPELT's protocol. Own files are copied to `cleaned` without the rows that the program would refuse."""
    if name not in OWN_FILES:
        return TaskSettings(task=name, data_dir=folder, k=k, protocol="paper")
    train, test, text, label = OWN_FILES[name]
    files = usable(folder / train, folder / test, (text, label), cleaned / name)
    return TaskSettings(train=files[0], test=files[1], text_columns=(text,), label_column=label, k=k, protocol="paper")


def usable(train: Path, test: Path, columns: tuple[str, str], folder: Path) -> tuple[Path, Path]:
    """Copies without classes that have one training example only, and without report examples of a class that isn't in train."""
    text, label = columns
    rows = {path: [(row[text], row[label]) for row in read_table(path).rows] for path in (train, test)}
    classes = {name for name, count in Counter(name for _, name in rows[train]).items() if count > 1}
    copies = folder / "train.csv", folder / "test.csv"
    for source, copy in zip((train, test), copies, strict=True):
        with replacing(copy) as draft, draft.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *(row for row in rows[source] if row[1] in classes)])
    return copies


def run_cell(backbone: Backbone, data: TaskData, seed: int, rate: str, work: Work) -> dict[str, Any]:
    """Scores of every training, and the union's events: plain values for JSON.

    ``scores``: by method ``learning_rate``, ``state``, ``cause``, ``steps``, ``select``, ``constant``, ``report``; ``events``: lines of
    `pelt_automl.records`.
    """
    train, select = (tokenize(part, backbone.tokenizer, work.max_length) for part in data.split(seed))
    select, report = select[: work.select], _drawn(data, backbone, work)
    runs = _trained(backbone, data, (train, select), seed, rate, work)
    done = {method: run for method, run in runs.items() if run.progress.state != "failed" and run.progress.best_weights}
    reported = _report_scores(backbone, data, report, done)
    return {
        "metric": data.metric.name,
        "greater_is_better": data.metric.greater_is_better,
        "sizes": {"train": len(train), "select": len(select), "report": len(report)},
        "scores": {method: _training(run) | {"report": reported.get(method)} for method, run in runs.items()},
        "events": _taken_apart(backbone, data, select, done[UNION], seed) if UNION in done else [],
    }


def _drawn(data: TaskData, backbone: Backbone, work: Work) -> Tokens:
    order = np.random.default_rng(0).permutation(len(data.report))[: work.report]
    return tokenize(data.report.take([int(i) for i in np.sort(order)]), backbone.tokenizer, work.max_length)


def _trained(backbone: Backbone, data: TaskData, parts: tuple[Tokens, Tokens], seed: int, rate: str, work: Work) -> dict[str, TrialRun]:
    settings, (train, select) = TrainingSettings(epochs=work.epochs, max_steps=work.max_steps), parts
    plan = make_plan(wanted_steps(len(train), settings), (), len(select), settings)
    seeds = Seeds(seed, 1000 + seed, 2000 + seed)
    runs = {}
    for method in (UNION, *SINGLES):
        learning_rate = METHODS[method].learning_rate if rate == PUBLISHED else float(rate)
        order = BatchOrder(train.lengths, plan.batch_size, seeds.order, plan.evaluate_at[0])
        runs[method] = TrialRun(method, METHODS[method].build(), learning_rate, seeds, train, select, LabelScale(), order)
    Trainer(backbone, plan, data.metric, data.outputs).train(list(runs.values()), plan.steps)
    return runs


def _training(run: TrialRun) -> dict[str, Any]:
    progress = run.progress
    return {
        "learning_rate": run.learning_rate,
        "state": progress.state,
        "cause": progress.cause,
        "steps": progress.step,
        "select": progress.best_score,
        "constant": progress.best_constant,
    }


def _report_scores(backbone: Backbone, data: TaskData, report: Tokens, runs: Mapping[str, TrialRun]) -> dict[str, float]:
    if not runs:
        return {}
    evaluations = evaluate(_pack(backbone, data, list(runs.values())), [report] * len(runs))
    return {method: _score(data, report, evaluation) for method, evaluation in zip(runs, evaluations, strict=True)}


def _pack(backbone: Backbone, data: TaskData, runs: Sequence[TrialRun]) -> Pack:
    """With the best weights of each."""
    kept = [PackTrial(without_reparameterization(run.modifications), run.seeds.initialization) for run in runs]
    pack = Pack(backbone, kept, data.outputs)
    for slot, run in enumerate(runs):
        pack.load_weights(slot, run.progress.best_weights)
    return pack


def _taken_apart(backbone: Backbone, data: TaskData, select: Tokens, run: TrialRun, seed: int) -> list[str]:
    fresh = Pack(backbone, [PackTrial(run.modifications, run.seeds.initialization)], data.outputs)
    [dissection] = dissect(_pack(backbone, data, [run]), fresh, [select])
    return [to_json(event) for event in dissection.events(UNION, UNION, seed, lambda evaluation: _score(data, select, evaluation))]


def _score(data: TaskData, tokens: Tokens, evaluation: Evaluation) -> float:
    return data.metric.value(predictions_of(evaluation, LabelScale()), tokens.labels)
