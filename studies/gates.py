"""Do UniPELT's gates, contributions and knock-outs rank its submodules as the methods' own scores do?

A cell is a data set, K, seed and learning rate: UniPELT-APL, adapter, prefix and LoRA are trained on the same K examples (UniPELT's
protocol: the next 1,000 to select on, the official validation set to report on), the union is taken apart on select, and the single
methods are scored on report. Each measure orders the three submodules, and so do the methods' own scores: Kendall's tau between the two
orders (a tied pair counts 0), and how often the first is the same (a tie is drawn: 1/3 by chance). The intervals are 95 %, by a bootstrap
over data sets. Two references stand beside the measures: the own scores of the same data set and K on the *other* seeds (nothing can be
expected to do better), and the mean order on the *other* data sets (a measure that doesn't do better says nothing of the task).

Finished cells are kept in `--cache` and not done again. docs/gate-validity.md has the analysis as it was laid down before the first run.
"""

import argparse
import csv
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pelt_automl.backbones.loading import Backbone, load_backbone
from pelt_automl.durable import replacing
from pelt_automl.errors import PeltError
from pelt_automl.log.codec import from_json, to_json
from pelt_automl.log.events import Seeds, sign_of
from pelt_automl.log.history import History
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.settings import TaskSettings, TrainingSettings
from pelt_automl.tasks import TaskData, load_task
from pelt_automl.tasks.files import read_table
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training.dissection import dissect
from pelt_automl.training.evaluation import Evaluation
from pelt_automl.training.trials import begin
from pelt_automl.verdict.agreement import rank_agreement
from pelt_automl.verdict.submodules import measured
from studies.harness import REQUIRED, Kept, Report, Row, add_options, names, numbers, parser, say
from studies.trainings import TaskTrainings, of_best_weights, train

UNION, SINGLES = "unipelt-apl", ("adapter", "prefix", "lora")
PUBLISHED = "published"
"""In place of a learning rate for all: each method's own published one."""
TUNED = "tuned"
"""The variant in which each method has the learning rate with its best select score."""
DECIDED = 0.02
"""Own scores that lie at least so far apart, best against worst (2 points): a cell in which there is something to foretell."""
DRAWS = 10_000
DATASETS = "qnli,rte,mrpc,cola,sst2,atis,snips"
OWN_FILES: dict[str, tuple[str, str, str, str]] = {
    "atis": ("custom/atis/train.csv", "custom/atis/test.csv", "utterance", "intent"),
    "snips": ("custom/snips/train.jsonl", "custom/snips/test.jsonl", "text", "intent"),
}
"""Data sets without a task's name: train and report file below the data's folder, columns of text and label."""

Values = Mapping[str, float]
"""By submodule."""


def top_agreement(one: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Whether both have the same greatest name, of those that both have: 1 or 0.

    Where several are equally great, the chance that one drawn from each side's greatest is the same name, so that drawing blindly from
    n names is right once in n whatever is tied. None for fewer than two names.
    """
    names = one.keys() & other.keys()
    if len(names) < 2:
        return None
    tops = [{name for name in names if values[name] == max(values[other_name] for other_name in names)} for values in (one, other)]
    return len(tops[0] & tops[1]) / (len(tops[0]) * len(tops[1]))


# -------------------------------------------------------------------- a cell


def settings_of(name: str, folder: Path, k: int, cleaned: Path) -> TaskSettings:
    """The task `name` with UniPELT's protocol. Own files are copied to `cleaned` without the rows that the program would refuse."""
    if name not in OWN_FILES:
        return TaskSettings(task=name, data_dir=folder, k=k, protocol="paper")
    train_file, test, text, label = OWN_FILES[name]
    files = usable(folder / train_file, folder / test, (text, label), cleaned / name)
    return TaskSettings(train=files[0], test=files[1], text_columns=(text,), label_column=label, k=k, protocol="paper")


def usable(train_file: Path, test: Path, columns: tuple[str, str], folder: Path) -> tuple[Path, Path]:
    """Copies without classes that have one training example only, and without report examples of a class that isn't in train."""
    text, label = columns
    rows = {path: [(row[text], row[label]) for row in read_table(path).rows] for path in (train_file, test)}
    classes = {name for name, count in Counter(name for _, name in rows[train_file]).items() if count > 1}
    copies = folder / "train.csv", folder / "test.csv"
    for source, copy in zip((train_file, test), copies, strict=True):
        with replacing(copy) as draft, draft.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *(row for row in rows[source] if row[1] in classes)])
    return copies


def run_cell(backbone: Backbone, data: TaskData, seed: int, rate: str, asked: argparse.Namespace) -> Row:
    """Scores of every training by method, and the union's events as lines of records."""
    settings = TrainingSettings(epochs=asked.epochs, max_steps=asked.max_steps, max_length=asked.max_length)
    task = TaskTrainings(data, backbone, settings, max_length=asked.max_length)
    plan, (fit, select) = task.plan(seed), task.split(seed)
    select = select[: asked.select]
    order = np.random.default_rng(0).permutation(len(data.report))[: asked.report]
    report = task.report.take(np.sort(order).tolist())
    runs = {}
    for method in (UNION, *SINGLES):
        learning_rate = METHODS[method].learning_rate if rate == PUBLISHED else float(rate)
        seeds = Seeds(seed, 1000 + seed, 2000 + seed)
        runs[method] = begin(method, METHODS[method].build(), learning_rate, seeds, (fit, select), plan, kind=data.task_kind)
    train(task, plan, list(runs.values()))
    done = {method: run for method, run in runs.items() if run.progress.state != "failed" and run.progress.best_weights}

    def score(tokens: Any, evaluation: Evaluation) -> float:
        return data.metric.value(data.task_kind.read_by(data.metric, evaluation.logits, LabelScale()), tokens.labels)

    reported = {method: score(report, own) for method, own in of_best_weights(task, done, report).items()}
    events = []
    if UNION in done:
        fresh = Pack(backbone, [PackTrial(done[UNION].modifications, done[UNION].seeds.initialization)], data.outputs)
        [dissection] = dissect(task.best_pack([done[UNION]]), fresh, [select])
        events = [to_json(event) for event in dissection.events(UNION, UNION, seed, lambda own: score(select, own))]
    scores = {
        method: {"learning_rate": run.learning_rate, "state": run.progress.state, "cause": run.progress.cause, "steps": run.progress.step,
                 "select": run.progress.best_score, "constant": run.progress.best_constant, "report": reported.get(method)}
        for method, run in runs.items()
    }  # fmt: skip
    sizes = {"train": len(fit), "select": len(select), "report": len(report)}
    return {"metric": data.metric.name, "greater_is_better": data.metric.greater_is_better, "sizes": sizes, "scores": scores,
            "events": events}  # fmt: skip


# -------------------------------------------------------------------- what it says


def cell_of(found: Mapping[str, Any]) -> Row | None:
    """What is known of a data set, K and seed with one choice of learning rates (``variant``), from its JSON; None where a training failed.

    ``measures``: by measure and submodule, greater says: matters more; ``own``: the report score of the single method of each submodule,
    and ``union``: UniPELT-APL's, the sign such that greater is better.
    """
    sign, reported = sign_of(found["greater_is_better"]), {method: own["report"] for method, own in found["scores"].items()}
    if None in reported.values():
        return None
    history = History.of(from_json(line) for line in found["events"])
    measures = {
        what: {row.submodule: row.mean for row in measured(history, what, UNION, sign if what == "knock-out" else 1)}
        for what in ("gate", "drift", "contribution", "knock-out")
    }
    place = {name: found[name] for name in ("dataset", "k", "seed")} | {"variant": found["rate"], "measures": measures}
    return place | {"own": {name: sign * reported[name] for name in SINGLES}, "union": sign * reported[UNION]}


def read_cells(found: Sequence[Row]) -> list[Row]:
    """Cells from their JSON, and those with the learning rates that select chooses where there are several; failed ones left out."""
    places: dict[tuple[str, int, int], list[Row]] = {}
    for one in found:
        places.setdefault((one["dataset"], one["k"], one["seed"]), []).append(one)
    rates = {one["rate"] for one in found}
    mixed = [tuned(own) for own in places.values() if len(own) == len(rates) > 1]
    return [cell for one in (*found, *mixed) if (cell := cell_of(one)) is not None]


def tuned(rates: Sequence[Row]) -> Row:
    """One cell of several that differ in their learning rate: each method from the one with its best select score, of equals the first."""
    sign, best = sign_of(rates[0]["greater_is_better"]), {}
    for method in (UNION, *SINGLES):
        fine = [one for one in rates if one["scores"][method]["report"] is not None] or list(rates[:1])
        best[method] = max(fine, key=lambda one: sign * (one["scores"][method]["select"] or 0.0))
    scores = {method: one["scores"][method] for method, one in best.items()}
    return rates[0] | {"rate": TUNED, "scores": scores, "events": best[UNION]["events"]}


def other_seeds(cell: Row, cells: Sequence[Row]) -> Values | None:
    """Mean own scores of the same data set and K on the other seeds; None without any."""
    others = [one["own"] for one in cells if (one["dataset"], one["k"]) == (cell["dataset"], cell["k"]) and one["seed"] != cell["seed"]]
    return {name: statistics.fmean(own[name] for own in others) for name in SINGLES} if others else None


def other_data_sets(cell: Row, cells: Sequence[Row]) -> Values | None:
    """Mean place (higher is better) by own score on the other data sets at the same K; None without any."""
    others = pd.DataFrame([one["own"] for one in cells if one["k"] == cell["k"] and one["dataset"] != cell["dataset"]])
    return None if others.empty else {name: float(others.rank(axis=1)[name].mean()) for name in SINGLES}


REFERENCES = {"own score, other seeds": other_seeds, "mean order of other data sets": other_data_sets}


def clustered_interval(values: pd.Series, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of the mean of `values` (index: data sets): whole data sets are drawn; None for fewer than two of them."""
    by_set = values.groupby(level=0).agg(["sum", "count"]).to_numpy()
    if len(by_set) < 2:
        return None
    drawn = by_set[np.random.default_rng(seed).integers(0, len(by_set), (DRAWS, len(by_set)))].sum(axis=1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return float(low), float(high)


def agreement_rows(cells: Sequence[Row]) -> list[Row]:
    """For each choice of learning rates, set of cells and measure: mean Kendall's tau and mean agreement on the first, with intervals."""
    rows = []
    for variant in dict.fromkeys(cell["variant"] for cell in cells):
        every = [cell for cell in cells if cell["variant"] == variant]
        subsets = {"all": every} | {f"K = {k}": [cell for cell in every if cell["k"] == k] for k in sorted({cell["k"] for cell in every})}
        decided = [cell for cell in every if max(cell["own"].values()) - min(cell["own"].values()) >= DECIDED]
        for (name, subset), measure in product(
            [*subsets.items(), (f"own scores {100 * DECIDED:.0f} points apart", decided)], [*every[0]["measures"], *REFERENCES]
        ):
            said = [(one, REFERENCES[measure](one, every) if measure in REFERENCES else one["measures"][measure]) for one in subset]
            pairs = [(one, values) for one, values in said if values is not None]
            if pairs:
                sets = [one["dataset"] for one, _ in pairs]
                row: Row = {"learning rates": variant, "cells of": name, "measure": measure, "cells": len(pairs),
                            "data sets": len(set(sets))}  # fmt: skip
                for column, agreement in (("tau", rank_agreement), ("same first", top_agreement)):
                    found = pd.Series([agreement(values, one["own"]) or 0.0 for one, values in pairs], sets)
                    interval = clustered_interval(found)
                    shown = f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else None
                    row |= {column: round(float(found.mean()), 3), f"{column}, 95 %": shown}
                rows.append(row)
    return rows


def cell_rows(cells: Sequence[Row]) -> list[Row]:
    """Means over seeds, by learning rates, data set, K and submodule; scores and knock-outs in points."""
    rows = [
        {"learning rates": one["variant"], "data set": one["dataset"], "K": one["k"], "submodule": name}
        | {measure: values[name] * (100 if measure == "knock-out" else 1) for measure, values in one["measures"].items()}
        | {"own score": 100 * one["own"][name], "UniPELT-APL": 100 * one["union"], "seeds": 1}
        for one in cells
        for name in SINGLES
    ]
    if not rows:
        return []
    by = pd.DataFrame(rows).groupby(["learning rates", "data set", "K", "submodule"], sort=False)
    frame = by.mean().round(3).assign(seeds=by["seeds"].sum()).reset_index()
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


# -------------------------------------------------------------------- all of them


def cells_of(asked: argparse.Namespace, report: Report) -> list[Row]:
    """Those that are kept, and those that the time allows, seed by seed, so that a run that is cut off has all data sets."""
    started, kept, found = time.monotonic(), Kept(asked.cache), []
    own = ("model", "epochs", "max_steps", "max_length", "select", "report")
    for rate, seed, k, name in product(names(asked.learning_rates), range(asked.seeds), asked.ks, names(asked.datasets)):
        place = {"dataset": name, "k": k, "seed": seed, "rate": rate}
        key = place | {option: getattr(asked, option) for option in own}
        if (cell := kept.get(**key)) is None:
            what = f"{name}, K = {k}, seed {seed}, learning rate {rate}"
            if asked.seconds and time.monotonic() - started > asked.seconds:
                report.leave_out(what, "the time was up")
                continue
            say(what)
            try:
                data = load_task(settings_of(name, asked.data_dir, k, asked.cache / "data"))
                cell = kept.put(place | run_cell(load_backbone(asked.model), data, seed, rate, asked), **key)
            except PeltError as error:
                report.leave_out(what, error)
                continue
        found.append(cell)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the cells that aren't there yet, then compare."""
    made = parser("gates", __doc__)
    add_options(made, {
        "data-dir": (Path, REQUIRED, "folder with glue/TASK and custom/atis, custom/snips"),
        "datasets": (str, DATASETS, "of the folder"),
        "ks": (numbers, [100, 500], "labeled examples to train on"),
        "seeds": (int, 3, "of data, initialization and order"),
        "learning-rates": (str, PUBLISHED, "published: each method's own; or rates for all, of which select decides"),
        "model": (str, "minilm", ""),
        "epochs": (float, 20.0, "passes over the K examples"),
        "max-steps": (int, 2000, "optimizer steps of a training at most"),
        "max-length": (int, 128, "tokens that texts are cut to"),
        "select": (int, 500, "examples of select that are used at most"),
        "report": (int, 1000, "examples of report that are scored at most"),
        "threads": (int, None, "of torch (default: its own choice)"),
        "seconds": (float, None, "begin no further cell after so many"),
        "cache": (Path, Path("pelt-home/gates"), "finished cells"),
    })  # fmt: skip
    asked = made.parse_args(arguments)
    if asked.threads:
        import torch

        torch.set_num_threads(asked.threads)
    report = Report("gates", asked)
    report.data["cells"] = cells_of(asked, report)
    cells = read_cells(report.data["cells"])
    title = "Agreement with the methods' own scores (tau by chance 0, same first by chance 0.333)"
    report.tables |= {title: agreement_rows(cells), "Means over seeds (knock-out, scores: points on select, on report)": cell_rows(cells)}
    report.notes.append("intervals: 95 %, percentiles of 10,000 bootstrap draws of whole data sets")
    report.write()


if __name__ == "__main__":
    main()
