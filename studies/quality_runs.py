"""The processes of the quality study: an oracle's search of a method, a contender's selection, trainings on the truth's seeds."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pelt_automl.log.codec import read
from pelt_automl.log.events import DataDescribed, Planned, SelectionEnded, Stage, TrialEnded, VerdictReached, of_kind
from pelt_automl.log.folder import RECORDS
from studies.harness import Kept, Row, usable_cores

TRUTH = 1_000_000
"""The first of the truth's seeds; no selection comes near them."""
SEARCH_SEED = 0
"""Of the oracle's search."""
GENEROUS = {"promoted": 1.0, "rungs": "none", "race": False, "portfolio": False}
"""Options of a search in which every trial is trained in full."""
FOR_WRITING = 0.01
"""Share of the time that a search without finalists leaves for its end."""


def settings_of(options: Mapping[str, Any], search_seed: int) -> Any:
    """Options as settings; the K examples stay those of the options' ``seed``, whatever the search's seed.

    Without baselines, unless they are asked for: what is measured is the choice among configurations that are trained.
    """
    from pelt_automl.options import settings_from

    settings = settings_from(**{"baselines": "none"} | dict(options))
    return replace(settings, search=replace(settings.search, seed=search_seed))


def full_length(settings: Any) -> int:
    """Steps of a training without a time limit."""
    from pelt_automl.tasks import load_task
    from pelt_automl.training.schedule import even_steps, wanted_steps

    train, _ = load_task(settings.task).split(settings.search.seed)
    return even_steps(wanted_steps(len(train), settings.training))


def search_in_full(folder: str, options: Mapping[str, Any], method: str, trials: int) -> Row:
    """The oracle's search of a method: the program's own without anything that saves time. It goes on where a killed one stood.

    ``cost``: seconds of its trainings on a quiet machine that keeps all cores busy.
    """
    from pelt_automl.selection import Selection

    own = dict(options) | GENEROUS | {"methods": method, "trials": trials}
    with Selection.open(settings_of(own, SEARCH_SEED), Path(folder)) as selection:
        selection.prepare()
        began = Began()
        selection.search()
    events = list(read(Path(folder) / RECORDS))
    ended, described = of_kind(events, TrialEnded), of_kind(events, DataDescribed)[-1]
    wall = sum(trial.seconds for trial in ended)
    found = [
        {"method": method, "hyper_parameters": trial.hyper_parameters, "state": trial.state, "is_default": trial.is_default,
         "select_score": trial.select_score} for trial in ended
    ]  # fmt: skip
    return {"steps": of_kind(events, Planned)[-1].steps, "wall": wall, "cost": wall * began.share(), "found": found,
            "metric": described.metric, "greater_is_better": described.greater_is_better}  # fmt: skip


class Began:
    """How much of the machine this process has had since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def share(self) -> float:
        """Processor time over what all cores could have had, 1 at most: wall time times this is about that of a quiet machine."""
        import torch

        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return 1.0 if torch.cuda.is_available() or wall <= 0 else min(1.0, cpu / (usable_cores() * wall))


def choose(folder: str, options: Mapping[str, Any], seed: int, finalists: bool) -> Row:
    """A contender's selection: what it recommends and how sure it is.

    With `finalists` it is the program's whole; without, the search has all of the time, its trainings have their full length, and the
    trial with the best select score is the answer, as someone chooses who runs Optuna.
    """
    from pelt_automl.selection import Selection
    from pelt_automl.verdict.decision import best_by_select_score

    settings = settings_of(options, seed)
    full = full_length(settings)
    if not finalists:
        settings = settings_of(dict(options) | {"finalist_share": FOR_WRITING, "min_steps": full}, seed)
    start = time.monotonic()
    with Selection.open(settings, Path(folder)) as selection:
        if finalists:
            selection.run()
        else:
            selection.prepare()
            selection.search()
    events = list(read(Path(folder) / RECORDS))
    trials, planned = of_kind(events, TrialEnded), of_kind(events, Planned)[-1]
    standings, ended = [], of_kind(events, SelectionEnded)
    if finalists:
        verdict = of_kind(events, VerdictReached)[-1]
        standings, chosen = verdict.standings, next(trial for trial in trials if trial.candidate == verdict.candidate)
    else:
        chosen = best_by_select_score(trials, of_kind(events, DataDescribed)[-1].greater_is_better)
    names = ("method", "hyper_parameters", "p_best", "tied", "difference")
    return {
        "method": chosen.method, "hyper_parameters": chosen.hyper_parameters,
        "steps": planned.final_steps or planned.steps if standings else planned.steps, "full_steps": full,
        "trials": sum(trial.stage == Stage.SEARCH for trial in trials), "seconds": ended[-1].seconds if ended else time.monotonic() - start,
        "finalists": [{name: getattr(row, name) for name in names} for row in standings],
    }  # fmt: skip


def train_on_truth(kept: str, key: Mapping[str, Any], options: Mapping[str, Any], wanted: Sequence[tuple[Row, int]]) -> int:
    """Train configurations (``method``, ``hyper_parameters``, ``steps``), each on one of the truth's seeds, and keep what came out."""
    from pelt_automl.backbones.loading import load_backbone
    from pelt_automl.log.events import Seeds
    from pelt_automl.methods import LEARNING_RATE, METHODS
    from pelt_automl.modifications import needs_own_pack
    from pelt_automl.tasks import load_task
    from pelt_automl.training.trials import begin
    from studies.trainings import TaskTrainings, of_best_weights, train

    settings, store = settings_of(options, TRUTH), Kept(Path(kept))
    data, training = load_task(settings.task), settings.training
    backbone = load_backbone(settings.model, precision=training.precision, dropout=training.dropout)
    task = TaskTrainings(data, backbone, training)
    at_once = training.pack_size or (16 if backbone.device.type == "cuda" else 4)
    todo = [(own, seed, METHODS[own["method"]].modifications(own["hyper_parameters"])) for own, seed in wanted]
    todo.sort(key=lambda one: (one[0]["steps"], needs_own_pack(one[2], backbone.architecture)))
    for steps in dict.fromkeys(own["steps"] for own, _, _ in todo):
        same = [one for one in todo if one[0]["steps"] == steps]
        for first in range(0, len(same), at_once):
            pack, began, plan = same[first : first + at_once], Began(), task.plan(TRUTH, steps)
            runs: list[Any] = []
            start = time.perf_counter()
            for own, seed, modifications in pack:
                seeds, splits = Seeds(TRUTH + seed, TRUTH + seed, TRUTH + seed), task.split(TRUTH + seed)
                head = task.starts.of(seeds.split, seeds.initialization, splits[0]) if training.head_start == "probe" else None
                rate = own["hyper_parameters"][LEARNING_RATE]
                runs.append(begin(f"truth-{len(runs)}", modifications, rate, seeds, splits, plan, kind=data.task_kind, head=head))
            train(task, plan, runs)
            wall = (time.perf_counter() - start) / len(pack)
            for (own, seed, _), run in zip(pack, runs, strict=True):
                score_start = time.perf_counter()
                if run.progress.state != "failed" and run.progress.best_weights:
                    predictions = data.task_kind.predictions(of_best_weights(task, {"": run}, task.report)[""].logits, run.scale)
                else:  # a training that fails predicts the most frequent class, or the mean
                    constant, _ = data.task_kind.constant(run.train.labels.tolist())
                    predictions = np.full(len(task.report), constant, dtype=np.float64)
                run.progress.best_weights = {}
                seconds = wall + time.perf_counter() - score_start
                score = data.metric.value(predictions, task.report.labels)
                row = {"state": run.progress.state, "cause": run.progress.cause, "score": score, "wall": seconds,
                       "cost": seconds * began.share(), "predictions": predictions.tolist()}  # fmt: skip
                store.put(row, **key, run=own, seed=seed)
    store.put(task.report.labels.tolist(), **key, what="report")
    return len(wanted)
