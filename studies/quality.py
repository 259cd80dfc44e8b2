"""How good a selection's answer is: its regret to an oracle that had ten times the time, and beside fixed defaults and plain searches.

For each data set an oracle tunes every method generously and trains the best of each on fresh seeds. Then each contender makes whole
selections, each in a fresh process with a seed of its own, in a share of the seconds that the oracle has cost; what they recommend is
trained on the same fresh seeds. Everything lies in --cache and is never measured twice: a second start goes on, --only-oracle stops after
the oracles. docs/benchmarks.md says how each figure is made. Scores are in the metric's own unit; `sign` is 1 where greater is better, else
-1. Shapes: ``C`` configurations, ``S`` seeds, ``n`` report examples.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pelt_automl
from pelt_automl.errors import PeltError
from pelt_automl.log.events import Phase, Seeds, Stage, sign_of
from pelt_automl.methods import FIXED_DEFAULTS, LEARNING_RATE, METHODS
from pelt_automl.options import settings_from
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.drive import drive
from pelt_automl.settings import SelectionSettings
from pelt_automl.tasks import METRICS, load_task
from pelt_automl.verdict.decision import best_by_select_score
from pelt_automl.verdict.statistics import interval, paired_bootstrap, point, probability_best
from studies.contenders import CONTENDERS as SCHEDULERS
from studies.contenders import Setting
from studies.data_sets import Options, find
from studies.harness import (
    REQUIRED,
    Kept,
    ProcessError,
    Report,
    Row,
    TimeLimit,
    add_options,
    fresh_process,
    names,
    parser,
    say,
    shares,
    usable_cores,
)

REPEAT_SEEDS = 10_000
"""Seeds that a repeat has for itself; its finalists' are the search's and the next few thousand."""
GOAL_BUDGET, GOAL_REGRET, GOAL_RIGHT, GOAL_BRIER = 0.1, 0.5, 95.0, 0.15
DRAWS = 4000
"""Of a bootstrap over data sets and repeats."""
ROUNDING = 1e-9
TRUTH = 1_000_000
"""The first of the truth's seeds; no selection comes near them."""
FOR_WRITING = 0.01
"""Share of the time that a search without finalists leaves for its end."""

PLAIN = {"rungs": "none", "race": False, "portfolio": False}
GENEROUS = PLAIN | {"promoted": 1.0}
"""Options of the oracle's search, in which every trial is trained in full."""
OURS, MEDIAN = "ours", "tpe+median"
CONTENDERS: Mapping[str, tuple[Mapping[str, Any], bool]] = {
    OURS: ({}, True),
    "random": (PLAIN | {"sampler": "random"}, False),
    "tpe": (PLAIN | {"sampler": "tpe"}, False),
    "asha": ({"race": False, "portfolio": False, "sampler": "random"}, False),
    MEDIAN: (PLAIN, False),
    "random+finalists": (PLAIN | {"sampler": "random"}, True),
    "tpe+finalists": (PLAIN | {"sampler": "tpe"}, True),
}
"""Options of `pelt_automl.select` beside those that all have, and whether finalists decide; else the search has all the time, and the best
select score decides. `MEDIAN` is the scheduler of that name, driven in place of the program's. The fixed defaults compete beside them
without a selection."""


# -------------------------------------------------------------------- what is run in fresh processes


def settings_of(options: Mapping[str, Any], search_seed: int) -> SelectionSettings:
    """Options as settings; the K examples stay those of the options' ``seed``, whatever the search's seed.

    Without baselines, unless they are asked for: what is measured is the choice among configurations that are trained.
    """
    settings = settings_from(**{"baselines": "none"} | dict(options))
    return replace(settings, search=replace(settings.search, seed=search_seed))


def full_length(settings: SelectionSettings) -> int:
    """Steps of a training without a time limit."""
    from pelt_automl.timing.schedule import even_steps, wanted_steps

    train, _ = load_task(settings.task).split(settings.search.seed)
    return even_steps(wanted_steps(len(train), settings.training))


def on_a_quiet_machine(wall: float, began: tuple[float, float]) -> float:
    """Of so many seconds the part of the cores that this process has had since it `began` (wall and processor seconds)."""
    import torch

    passed, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    return wall if torch.cuda.is_available() or passed <= 0 else wall * min(1.0, cpu / (usable_cores() * passed))


def search_in_full(folder: str, options: Mapping[str, Any], method: str, trials: int) -> Row:
    """The oracle's search of a method: the program's own without anything that saves time. It goes on where a killed one stood.

    ``cost``: seconds of its trainings on a quiet machine that keeps all cores busy.
    """
    own = dict(options) | GENEROUS | {"methods": method, "trials": trials}
    with pelt_automl.Selection.open(settings_of(own, 0), Path(folder)) as selection:
        selection.prepare()
        began = time.perf_counter(), time.process_time()
        selection.search()
        history = selection.log.history
    kept = ("method", "hyper_parameters", "state", "is_default", "select_score")
    wall, plan = sum(trial.seconds for trial in history.ended()), history.plan
    return {"steps": plan.steps if plan else 0, "wall": wall, "cost": on_a_quiet_machine(wall, began), "metric": history.data.metric,
            "found": [{name: getattr(trial, name) for name in kept} for trial in history.ended()],
            "greater_is_better": history.data.greater_is_better}  # fmt: skip


def choose(folder: str, options: Mapping[str, Any], seed: int, finalists: bool, contender: str = OURS) -> Row:
    """A contender's selection: what it recommends and how sure it is.

    With `finalists` it is the program's whole; without, the search has all of the time, its trainings have their full length, and the
    trial with the best select score is the answer, as someone chooses who runs Optuna.
    """
    settings, start = settings_of(options, seed), time.monotonic()
    full = full_length(settings)
    if not finalists:
        settings = settings_of(dict(options) | {"finalist_share": FOR_WRITING, "min_steps": full}, seed)
    with pelt_automl.Selection.open(settings, Path(folder)) as selection:
        if finalists:
            selection.run()
        else:
            selection.prepare()
            (drive_in_place if contender == MEDIAN else pelt_automl.Selection.search)(selection)
        history = selection.log.history
    trials, plan, verdict = history.ended(), history.plan, history.verdict
    chosen = best_by_select_score(trials, history.data.greater_is_better)
    if verdict:
        chosen = next(trial for trial in trials if trial.candidate == verdict.candidate)
    names = ("method", "hyper_parameters", "p_best", "tied", "difference")
    standings, steps, final = verdict.standings if verdict else [], plan.steps if plan else 0, plan.final_steps if plan else 0
    return {
        "method": chosen.method, "hyper_parameters": chosen.hyper_parameters, "steps": (final or steps) if standings else steps,
        "full_steps": full, "trials": len(history.ended(Stage.SEARCH)),
        "seconds": history.end.seconds if history.end else time.monotonic() - start,
        "finalists": [{name: getattr(row, name) for name in names} for row in standings],
    }  # fmt: skip


def drive_in_place(selection: pelt_automl.Selection) -> None:
    """TPE over methods and hyper-parameters with a median pruner, in place of the program's search, on its own packs and clock."""
    from pelt_automl.selection.question import plans_of

    question, machine, log, clock = selection.question, selection.machine, selection.log, selection.clock
    methods, plan, search = question.left(log.history), plans_of(question, log.history).search, question.search
    known = {method: [question.spaces[method].configuration(question.spaces[method].default())] for method in methods}
    setting = Setting(
        methods, known, {}, plan, question.data.metric, machine.splits.search[1].labels, search.seed, search.trials, {}, 0.0, search.seed
    )
    steps = search.trials * len(methods) * plan.steps
    executor = machine.executor(question, log, Phase.SEARCH, lambda: steps, lambda _event, _weights: None)
    limit = None if clock.limit is None else (1 - FOR_WRITING) * clock.limit
    drive(SCHEDULERS[MEDIAN](setting, lambda _method, values, _tried: values), executor, log, lambda: Budget(limit, clock.elapsed))


def train_on_truth(kept: str, key: Mapping[str, Any], options: Mapping[str, Any], wanted: Sequence[tuple[Row, int]]) -> int:
    """Train configurations (``method``, ``hyper_parameters``, ``steps``), each on one of the truth's seeds, and keep what came out."""
    from pelt_automl.backbones.loading import load_backbone
    from pelt_automl.modifications import needs_own_pack
    from pelt_automl.training.trials import TrialRun, begin
    from studies.trainings import TaskTrainings, of_best_weights, train

    settings, store = settings_of(options, TRUTH), Kept(Path(kept))
    data, training = load_task(settings.task), settings.training
    backbone = load_backbone(settings.model, precision=training.precision, dropout=training.dropout)
    task, kind = TaskTrainings(data, backbone, training), data.task_kind
    at_once = training.pack_size or (16 if backbone.device.type == "cuda" else 4)

    def run_of(own: Row, seed: int) -> TrialRun:
        seeds, splits = Seeds(TRUTH + seed, TRUTH + seed, TRUTH + seed), task.split(TRUTH + seed)
        head = task.starts.of(seeds.split, seeds.initialization, splits[0]) if training.head_start == "probe" else None
        values = own["hyper_parameters"]
        modifications, plan = METHODS[own["method"]].modifications(values), task.plan(TRUTH, own["steps"])
        return begin(f"truth-{seed}", modifications, values[LEARNING_RATE], seeds, splits, plan, kind=kind, head=head)

    def alone(one: tuple[Row, int]) -> tuple[int, bool]:
        own, _ = one
        return own["steps"], needs_own_pack(METHODS[own["method"]].modifications(own["hyper_parameters"]), backbone.architecture)

    for steps in sorted({own["steps"] for own, _ in wanted}):
        same = sorted((one for one in wanted if one[0]["steps"] == steps), key=alone)
        for first in range(0, len(same), at_once):
            began, pack = (time.perf_counter(), time.process_time()), same[first : first + at_once]
            runs = [run_of(own, seed) for own, seed in pack]
            train(task, task.plan(TRUTH, steps), runs)
            wall = (time.perf_counter() - began[0]) / len(pack)
            for (own, seed), run in zip(pack, runs, strict=True):
                start, progress = time.perf_counter(), run.progress
                if progress.state != "failed" and progress.best_weights:
                    said = kind.predictions(of_best_weights(task, {"": run}, task.report)[""].logits, run.scale)
                else:  # a training that fails predicts the most frequent class, or the mean or median
                    said = np.full(len(task.report), kind.constant(run.train.labels.tolist(), data.metric)[0], dtype=np.float64)
                progress.best_weights = {}
                seconds, score = wall + time.perf_counter() - start, data.metric.value(said, task.report.labels)
                row = {"state": progress.state, "cause": progress.cause, "score": score, "wall": seconds,
                       "cost": on_a_quiet_machine(seconds, began), "predictions": said.tolist()}  # fmt: skip
                store.put(row, **key, run=own, seed=seed)
    store.put(task.report.labels.tolist(), **key, what="report")
    return len(wanted)


# -------------------------------------------------------------------- figures


def judged(scores: Mapping[Any, Sequence[float]], seeds: int, sign: int) -> list[float]:
    """The oracle's score on each of the first `seeds` seeds: that of the configuration which is best on all *other* seeds.

    The best of C noisy means is too good on average. So nobody is judged on a seed that the choice has seen, as no selection is. Of
    equals the first is chosen; with a single seed there are no others, and the best on it is taken.
    """
    table = sign * np.array(list(scores.values()), dtype=np.float64)
    others = (table.sum(axis=1, keepdims=True) - table) / (table.shape[1] - 1) if table.shape[1] > 1 else table
    return [sign * float(table[int(np.argmax(np.round(others[:, seed], 12))), seed]) for seed in range(seeds)]


def truth(
    methods: Mapping[str, str],
    predictions: Mapping[str, Sequence[Sequence[float]]],
    labels: Sequence[float],
    metric: str,
    sign: int,
    region: float,
) -> tuple[str, frozenset[str]]:
    """The method of the best configuration, and those that can't be told from the ones near it: from `predictions`, (S, n) for each.

    Near: the method's best configuration is within the `region` of practical equivalence (in the metric's unit) of it. Not to be told
    apart: the 95 % interval of the difference, by the program's own paired bootstrap, reaches into the region. `methods`: of each
    configuration.
    """
    names, array, truths = list(predictions), np.array(list(predictions.values()), dtype=np.float64), np.asarray(labels, dtype=np.float64)
    draws, means = sign * paired_bootstrap(truths, array, metric), sign * mean_scores(array, truths, metric)
    best, right = int(np.argmax(means)), set[str]()
    for method in set(methods.values()):
        top = max((i for i, name in enumerate(names) if methods[name] == method), key=lambda i: means[i])
        if means[best] - means[top] <= region + ROUNDING or interval(draws[:, best] - draws[:, top])[0] <= region:
            right.add(method)
    return methods[names[best]], frozenset(right)


def mean_scores(predictions: Any, labels: Any, metric: str) -> Any:
    """(C,): the mean over seeds of the scores on all examples, from (C, S, n)."""
    return np.array([[METRICS[metric].value(row, labels) for row in rows] for rows in predictions]).mean(axis=1)


def forecast(stated: Sequence[float], predictions: Any, labels: Sequence[float], metric: str, sign: int) -> dict[str, list[float]]:
    """One selection's P(best), a value a finalist, against `predictions`, (C, S, n), of the finalists on the truth's seeds.

    ``errors``: squared, where the outcome is 1 for the finalist with the best mean over these seeds (equals share it) and else 0;
    ``ignorant``: those of someone who gives every finalist the same probability; ``unsure``: the variance of the outcome given the seeds
    and examples seen, the part of the errors that the truth's few seeds may account for.
    """
    array, truths = np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    means = sign * mean_scores(array, truths, metric)
    first = means >= means.max() - ROUNDING
    outcome, chance = first / first.sum(), probability_best(sign * paired_bootstrap(truths, array, metric))
    found = {"errors": (np.asarray(stated) - outcome) ** 2, "ignorant": (1 / len(stated) - outcome) ** 2, "unsure": chance * (1 - chance)}
    return {name: values.tolist() for name, values in found.items()}


def agreement(groups: Sequence[Sequence[frozenset[str]]]) -> float | None:
    """Share of the pairs of repeats whose sets meet, over all groups (a data set's repeats each); None without a pair."""
    met = [bool(a & b) for sets in groups for a, b in combinations(sets, 2)]
    return statistics.fmean(met) if met else None


Estimate = tuple[float, float, float]
"""A mean with its 95 % interval."""


def clustered(clusters: Sequence[Sequence[float]], seed: int = 0) -> Estimate | None:
    """The mean over data sets of the mean over each one's repeats, every data set with the same weight; None without values.

    The interval is a bootstrap's that draws data sets, and then repeats of each that was drawn: repeats of one data set aren't
    independent of each other. With one data set it says nothing about others.
    """
    if not (filled := [np.asarray(values, dtype=np.float64) for values in clusters if len(values)]):
        return None
    rng, count = np.random.default_rng(seed), len(filled)
    chosen = rng.integers(count, size=(DRAWS, count))
    drawn = np.empty((DRAWS, count))
    for i, values in enumerate(filled):
        here = chosen == i
        drawn[here] = rng.choice(values, (int(here.sum()), len(values))).mean(axis=1)
    return (float(np.mean([values.mean() for values in filled])), *interval(drawn.mean(axis=1)))


def leads(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> Estimate | None:
    """By how much our regret is smaller than theirs, over the data sets that both have; paired by data set.

    A data set's repeats are paired in their order where both have as many, else theirs stand as their mean.
    """
    both = [(np.asarray(ours[name]), np.asarray(theirs[name])) for name in ours if len(ours[name]) and len(theirs.get(name, ()))]
    return clustered([(theirs if len(own) == len(theirs) else theirs.mean()) - own for own, theirs in both])


# -------------------------------------------------------------------- a data set


def program() -> str:
    """A hash of the program's source and search spaces: a selection that another version made isn't this one's."""
    package, digest = Path(pelt_automl.__file__).parent, hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *(package.parent / "search_spaces").glob("*.yaml")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def key_of(own: Mapping[str, Any]) -> Row:
    """A configuration: a method with all of its hyper-parameters, trained for so many steps."""
    return {name: own[name] for name in ("method", "hyper_parameters", "steps")}


def best_of(searched: Row, finalists: int) -> list[Row]:
    """Of an oracle's search the default, and the best `finalists` trials by select score (of equals the earlier), each once."""
    sign, completed = sign_of(searched["greater_is_better"]), [trial for trial in searched["found"] if trial["state"] == "completed"]
    scored = sorted((trial for trial in completed if trial["select_score"] is not None), key=lambda trial: -sign * trial["select_score"])
    wanted = [*(trial for trial in completed if trial["is_default"]), *scored[:finalists]]
    return _unique([key_of(trial | {"steps": searched["steps"]}) for trial in wanted])


def _unique(rows: Sequence[Row]) -> list[Row]:
    return [row for index, row in enumerate(rows) if row not in rows[:index]]


class Study:
    """What is to be measured of one data set, where it is kept, and how long it may take."""

    def __init__(
        self, name: str, options: Options, asked: argparse.Namespace, limit: TimeLimit, report: Report, longest: dict[str, float]
    ) -> None:
        """`longest`: seconds of the longest process of each kind so far. Raises `PeltError` where no such selection can be made."""
        self.name, self.asked, self.limit, self.report, self.longest = name, asked, limit, report, longest
        given = {name: getattr(asked, name) for name in ("k", "protocol", "model", "epochs", "seed", "head_start")}
        self.options = dict(options) | {name: value for name, value in given.items() if value is not None}
        # another program may draw other examples
        hashes = load_task(settings_of(self.options, TRUTH).task).hashes(TRUTH)
        self.key, self.kept = {"options": self.options, "hashes": hashes}, Kept(asked.cache / name)
        self.searches: dict[str, Row] = {}

    def process(self, kind: str, what: str, expected: float, place: str, **arguments: Any) -> Any:
        """A process; None, with the reason in the report, when it can't be afforded or fails. `expected`: seconds at least."""
        if not self.limit.allows(max(expected, self.longest.get(kind, 0.0))):
            return self.report.leave_out(what, f"the limit of {self.limit.seconds:.0f} s")
        say(what)
        with tempfile.TemporaryDirectory() as home:
            try:
                ended = fresh_process(f"studies.quality:{place}", Path(home), **arguments)
            except ProcessError as error:
                return self.report.leave_out(what, error)
        self.longest[kind] = max(ended.seconds, self.longest.get(kind, 0.0))
        return ended

    def runs(self, own: Row, seeds: int) -> list[Row] | None:
        """A configuration's trainings on the first of the truth's seeds; None if one is missing."""
        found = [self.kept.get(**self.key, run=key_of(own), seed=seed) for seed in range(seeds)]
        return None if None in found else found

    def train(self, wanted: Sequence[Row], seeds: int, what: str) -> None:
        """Train configurations on the truth's seeds, as far as that isn't done."""
        missing = [(own, seed) for own in _unique(wanted) for seed in range(seeds) if self.kept.get(**self.key, run=own, seed=seed) is None]
        if missing:
            own = {"kept": str(self.kept.folder), "key": self.key, "options": self.options, "wanted": missing}
            self.process("retraining", f"{self.name}: {len(missing)} trainings of {what}", 0.0, "train_on_truth", **own)

    def ask_oracle(self) -> bool:
        """Search each method and train its best, as far as that isn't done; whether all is there."""
        asked, name = self.asked, self.name
        for method in asked.methods:
            key = self.key | {"oracle": method, "trials": asked.oracle_trials}
            folder = (self.kept.folder / f"search-{method}-{asked.oracle_trials}-{program()}").absolute()
            own = {"folder": str(folder), "options": self.options, "method": method, "trials": asked.oracle_trials}
            found = self.kept.get(**key)
            if found is None and (ended := self.process("oracle", f"oracle of {name}: {method}", 0.0, "search_in_full", **own)):
                found = self.kept.put(ended.result, **key)
            if found:
                self.searches[method] = found
        chosen = [own for searched in self.searches.values() for own in best_of(searched, asked.oracle_finalists)]
        self.train(chosen, asked.oracle_seeds, "the oracle's best")
        if len(self.searches) < len(asked.methods) or None in [self.runs(own, asked.oracle_seeds) for own in chosen]:
            self.report.leave_out(name, "its oracle isn't complete; start again to go on")
            return False
        self._know(chosen)
        return True

    def _know(self, chosen: Sequence[Row]) -> None:
        """What the oracle knows; the best of its means would be too good by chance, so nobody is judged on seeds that a choice has seen."""
        first, seeds = next(iter(self.searches.values())), self.asked.oracle_seeds
        self.metric, self.sign = first["metric"], sign_of(first["greater_is_better"])
        self.labels = self.kept.get(**self.key, what="report")
        self.point = point(self.metric, self.labels)
        every = {f"{own['method']} {index}": self.runs(own, seeds) or [] for index, own in enumerate(chosen)}
        methods = {name: name.split()[0] for name in every}
        predictions = {name: [run["predictions"] for run in own] for name, own in every.items()}
        self.best, self.right = truth(methods, predictions, self.labels, self.metric, self.sign, self.point)
        self.judged = judged({name: [run["score"] for run in own] for name, own in every.items()}, self.asked.check_seeds, self.sign)
        flat = [run for own in every.values() for run in own]
        self.cost = sum(own["cost"] for own in [*self.searches.values(), *flat])
        defaults = {method: self.default(method) for method in FIXED_DEFAULTS}
        means = {
            f"{method} default": statistics.fmean(run["score"] for run in own) / self.point if own else None
            for method, own in defaults.items()
        }
        self.report.add("The oracle", **{
            "data set": self.name, "metric": self.metric, "report examples": len(self.labels), "best method": self.best,
            "score": statistics.fmean(self.judged) / self.point, "right methods": ", ".join(sorted(self.right)), **means,
            "configurations": len(chosen), "cost s": self.cost, "wall s": sum(own["wall"] for own in [*self.searches.values(), *flat]),
        })  # fmt: skip

    def default(self, method: str) -> list[Row] | None:
        """Trainings of a method's published default."""
        found = self.searches[method]["found"] if method in self.searches else []
        own = next((trial for trial in found if trial["is_default"] and trial["state"] == "completed"), None)
        return self.runs(own | {"steps": self.searches[method]["steps"]}, self.asked.check_seeds) if own else None

    def regret(self, runs: Sequence[Row]) -> float:
        """Points."""
        own = np.array([run["score"] for run in runs[: self.asked.check_seeds]])
        return float((self.sign * (np.array(self.judged) - own)).mean()) / self.point

    def choose(self, contender: str, budget: float, repeat: int) -> Row | None:
        """A contender's selection in this share of the oracle's cost, made now or found."""
        asked, (own, finalists) = self.asked, CONTENDERS[contender]
        options = self.options | {
            "methods": ",".join(asked.methods), "trials": asked.trials, "seconds": max(1, round(budget * self.cost)),
            "finalist_seeds": asked.finalist_seeds, "most_seeds": asked.most_seeds, **own,
        }  # fmt: skip
        request: Row = {"options": {name: value for name, value in options.items() if value is not None}, "finalists": finalists,
                   "seed": (1 + repeat) * REPEAT_SEEDS} | ({"contender": contender} if contender == MEDIAN else {})  # fmt: skip
        key = {"program": program(), **self.key, **request}
        if (found := self.kept.get(**key)) is None:
            what = f"{self.name}, {contender}, {budget:g} of the oracle's cost, repeat {repeat + 1}"
            with tempfile.TemporaryDirectory() as folder:
                ended = self.process(f"{contender} {budget:g}", what, options["seconds"], "choose", folder=f"{folder}/selection", **request)
            found = ended and self.kept.put(ended.result | {"process_seconds": ended.seconds}, **key)
        return found and found | {"contender": contender, "budget": budget, "repeat": repeat}  # type: ignore[no-any-return]

    def judge(self, choice: Row) -> Row | None:
        """How good an answer was; None when what it recommends hasn't been trained on the truth's seeds."""
        seeds, steps = self.asked.check_seeds, {"steps": choice["steps"]}
        if (recommended := self.runs(choice, seeds)) is None:
            return None
        finalists = choice["finalists"]
        trained = [self.runs(row | steps, seeds) for row in finalists]
        best = min(range(len(finalists)), key=lambda i: finalists[i]["difference"], default=None)
        of_best = None if best is None else trained[best]
        tied = {row["method"] for row in finalists if row["tied"]}
        said: dict[str, list[float]] = {}
        if len(finalists) > 1 and None not in trained:
            predictions = [[run["predictions"] for run in own] for own in trained if own]
            said = forecast([row["p_best"] for row in finalists], predictions, self.labels, self.metric, self.sign)
        return {
            "data set": self.name, "contender": choice["contender"], "budget": choice["budget"], "repeat": choice["repeat"],
            "method": choice["method"], "regret": self.regret(recommended), "regret_of_best": self.regret(of_best) if of_best else None,
            "tied": sorted(tied), "holds_best": self.best in tied, "holds_right": bool(tied & self.right), **said,
            "seconds": choice["seconds"], "start": choice["process_seconds"] - choice["seconds"],
            "steps_share": choice["steps"] / choice["full_steps"], "trials": choice["trials"],
        }  # fmt: skip

    def defaults(self) -> list[Row]:
        """What the fixed defaults are worth, as answers without a budget."""
        found = {method: self.default(method) for method in FIXED_DEFAULTS}
        same: Row = {"data set": self.name, "budget": None, "repeat": 0, "tied": []}
        return [
            same | {"contender": f"{method} default", "method": method, "regret": self.regret(own)} for method, own in found.items() if own
        ]


# -------------------------------------------------------------------- tables


def regrets(answers: pd.DataFrame, column: str = "regret") -> dict[str, list[float]]:
    """Those of each data set, in the order of the repeats."""
    if column not in answers:
        return {}
    groups = answers.sort_values("repeat").groupby("data set", sort=False)[column]
    return {str(name): own.dropna().tolist() for name, own in groups}


def of_contender(answers: pd.DataFrame, contender: str, budget: float | None) -> pd.DataFrame:
    """A contender's answers at a budget; a default's are the same at each."""
    own = answers[answers["contender"] == contender]
    at = own[own["budget"] == budget] if budget is not None else own.iloc[:0]
    return own[own["budget"].isna()] if at.empty else at


def quality(own: pd.DataFrame) -> Row:
    """A contender's line at one budget."""
    mean_regret, low, high = clustered(list(regrets(own).values())) or (None, None, None)
    best = clustered(list(regrets(own, "regret_of_best").values()))
    claimed, sets = own[own["tied"].map(len) > 0], own.groupby("data set", sort=False)
    ties = [[frozenset(tied) for tied in group["tied"] if tied] for _, group in sets]
    methods = [[frozenset({method}) for method in group["method"]] for _, group in sets]

    def mean(frame: pd.DataFrame, column: str, times: float = 1.0) -> float | None:
        values = frame[column].explode().dropna().astype(float).tolist() if column in frame else list[float]()
        return times * float(np.mean(values)) if values else None

    percent = {"same method %": agreement(methods), "tie sets meet %": agreement(ties)}
    return {
        "selections": len(own), "data sets": len(sets), "regret": mean_regret, "low": low, "high": high,
        "regret of best mean": best[0] if best else None, "holds best %": mean(claimed, "holds_best", 100),
        "holds right %": mean(claimed, "holds_right", 100), "tied": float(claimed["tied"].map(len).mean()),
        "Brier": mean(own, "errors"), "ignorant": mean(own, "ignorant"), "truth's part": mean(own, "unsure"),
        **{name: None if share is None else 100 * share for name, share in percent.items()}, "seconds": mean(own, "seconds"),
        "start s": mean(own, "start"), "steps %": mean(own, "steps_share", 100), "trials": mean(own, "trials"),
    }  # fmt: skip


def lead_over(answers: pd.DataFrame, contender: str, budget: float) -> Estimate | None:
    """By how much our regret is smaller at this budget."""
    return leads(regrets(of_contender(answers, OURS, budget)), regrets(of_contender(answers, contender, budget)))


def tabulate(report: Report, answers: pd.DataFrame, budgets: Sequence[float]) -> None:
    """Fill the report."""
    contenders = list(dict.fromkeys(answers["contender"]))
    for _, own in answers.groupby(["budget", "contender"], sort=False, dropna=False):
        report.add("Quality of the answers", **_place(own, "budget", "contender"), **quality(own))
    for budget in budgets:
        for contender in contenders:
            if contender != OURS and (lead := lead_over(answers, contender, budget)):
                report.add("Our lead", budget=budget, **{"ours over": contender}, points=lead[0], low=lead[1], high=lead[2])
    for _, own in answers.groupby(["data set", "budget", "contender"], sort=False, dropna=False):
        means = {"regret": own["regret"].mean(), "lowest": own["regret"].min(), "highest": own["regret"].max()}
        counts = ", ".join(f"{count} {method}" for method, count in Counter(own["method"]).most_common())
        report.add("By data set", **_place(own, "data set", "budget", "contender"), **means, recommended=counts)
    report.notes += goals(answers)


def _place(own: pd.DataFrame, *columns: str) -> Row:
    """What all of these rows have in common."""
    first = own.iloc[0]
    return {name: None if pd.isna(first[name]) else first[name] for name in columns}


def goals(answers: pd.DataFrame) -> list[str]:
    """The goals of our selections at a tenth of the oracle's cost, each with what came out; none without such selections."""
    own = answers[(answers["contender"] == OURS) & (answers["budget"] == GOAL_BUDGET)]
    if own.empty:
        return []
    line = quality(own)
    rivals = [name for name in dict.fromkeys(answers["contender"]) if name != OURS]
    found = {name: lead for name in rivals if (lead := lead_over(answers, name, GOAL_BUDGET))}
    behind = [name for name, lead in found.items() if lead[0] <= 0]
    shown = ", ".join(f"{name} {lead[0]:+.2f} [{lead[1]:+.2f}, {lead[2]:+.2f}]" for name, lead in found.items())
    said = []
    for what, value, bound, sign in (
        (f"mean regret at most {GOAL_REGRET} points", line["regret"], GOAL_REGRET, 1),
        (f"tie set right at least {GOAL_RIGHT:.0f} %", line["holds right %"], GOAL_RIGHT, -1),
        (f"Brier score at most {GOAL_BRIER}", line["Brier"], GOAL_BRIER, 1),
    ):
        came = "not measured, missed" if value is None else f"{value:.3g}, {'met' if sign * value <= sign * bound else 'missed'}"
        said.append(f"goal: {what}: {came}")
    versus = "missed against " + ", ".join(behind) if behind else "met"
    return [*said, f"goal: smaller regret than every other contender: {versus} ({shown})"]


# -------------------------------------------------------------------- the whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write; repeat by repeat over all data sets, so that a study that is cut short has some of each."""
    asked = _options(arguments)
    report, limit, longest, studies = Report("quality", asked), TimeLimit(asked.seconds), dict[str, float](), []
    data_sets, left_out = find(asked.data_dir, asked.tasks)
    report.left_out += left_out
    for name, options in data_sets.items():
        try:
            study = Study(name, options, asked, limit, report, longest)
        except PeltError as error:
            report.leave_out(name, error)
            continue
        if study.ask_oracle():
            studies.append(study)
    answers = [row for study in studies for row in study.defaults()]
    for repeat in () if asked.only_oracle else range(asked.repeats):
        for study in studies:
            wanted = [(budget, name) for budget in asked.budgets for name in asked.contenders
                      if name == OURS or budget in asked.baseline_budgets]  # fmt: skip
            choices = [choice for budget, name in wanted if (choice := study.choose(name, budget, repeat))]
            own = [row | {"steps": choice["steps"]} for choice in choices
                   for row in [choice, *(choice["finalists"] if asked.check == "finalists" else [])]]  # fmt: skip
            study.train([key_of(row) for row in own], asked.check_seeds, "what was recommended")
            for choice in choices:
                if judgement := study.judge(choice):
                    answers.append(judgement)
                else:
                    what = f"{study.name}, {choice['contender']}, repeat {repeat + 1}"
                    report.leave_out(what, "its answer wasn't trained on fresh seeds")
    if answers:
        tabulate(report, pd.DataFrame(answers), asked.budgets)
        right = statistics.fmean(len(study.right) for study in studies)
        report.notes.append(f"right methods: {right:.3g} of {len(asked.methods)} a data set")
        report.notes += [f"{own.name}: 1 point is {own.point:.3g} of {own.metric}" for own in studies if own.point != 0.01]
    report.data["answers"] = answers
    report.write()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser("quality", __doc__)
    made.add_argument("--data-dir", type=Path, nargs="+", default=[], help="folders with data sets: benchmarks, or tables of your own")
    add_options(made, {
        "tasks": (names, [], "their names (default: all that are there)"),
        "cache": (Path, REQUIRED, "folder in which everything that was measured is kept"),
        "k": (str, "100", "labeled examples"),
        "protocol": (str, "strict", "strict or paper"),
        "model": (str, "minilm", "as in pelt-automl select"),
        "methods": (names, names("lora,adapter,prefix,bitfit,unipelt-apl"), "to choose from"),
        "epochs": (float, None, "of a full training (default: the program's)"),
        "seed": (int, 0, "of the K examples, the same for all"),
        "head-start": (("probe", "random"), "probe", "of every training"),
        "seconds": (float, 24 * 3600.0, "no process is begun that wouldn't end within so many"),
    })  # fmt: skip
    oracle = made.add_argument_group("the oracle")
    add_options(oracle, {
        "oracle-trials": (int, 16, "trials a method, all trained in full"),
        "oracle-finalists": (int, 2, "best trials of a method, beside its default"),
        "oracle-seeds": (int, 5, "fresh seeds on which each of these is trained"),
        "only-oracle": (bool, False, "stop after the oracles"),
    })  # fmt: skip
    choice = made.add_argument_group("the selections")
    add_options(choice, {
        "contenders": (names, list(CONTENDERS), f"of {', '.join(CONTENDERS)} (default: all)"),
        "budgets": (shares, [0.05, 0.1, 0.2], "shares of the oracle's cost"),
        "baseline-budgets": (shares, None, "those at which the other contenders run, too (default: all)"),
        "repeats": (int, 3, "selections of each, with seeds of their own"),
        "trials": (int, 16, "a method at most, so that the seconds decide"),
        "finalist-seeds": (int, None, "as in pelt-automl select (default: the program's)"),
        "most-seeds": (int, None, "as in pelt-automl select (default: the program's)"),
        "check": (("finalists", "recommended"), "finalists", "what is trained on the truth's seeds"),
        "check-seeds": (int, 5, "of the oracle's seeds, for what was recommended"),
    })  # fmt: skip
    asked = made.parse_args(arguments)
    asked.baseline_budgets = asked.baseline_budgets or asked.budgets
    problems = [f"unknown contender {name}; there are {', '.join(CONTENDERS)}" for name in asked.contenders if name not in CONTENDERS]
    problems += [f"unknown method {name}" for name in asked.methods if name not in METHODS]
    if not asked.data_dir and not asked.tasks:
        problems.append("give --data-dir, --tasks, or both")
    if asked.check_seeds > asked.oracle_seeds:
        problems.append("--check-seeds can't be more than --oracle-seeds: they are the same seeds")
    if problems:
        made.error("; ".join(problems))
    return asked


if __name__ == "__main__":
    main()
