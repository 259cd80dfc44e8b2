"""Thousands of selections without a training: contenders over the table of trainings, in milliseconds each.

For each task of the table's open sources every contender of `studies.contenders` makes so many selections. Search, finals and truth have
disjoint seeds, which rotate. ``regret``: by how many points the answer's report scores on the truth's seeds are below those of the oracle,
which had every recorded configuration in full, and is judged on each of these seeds by the configuration that is best on all others. The
cost of an oracle is that of all configurations once; a budget is a share of it. The program's search and finals are its own schedulers
(`pelt_automl.scheduling`); the order of its portfolio is learned on the other open sources. The unit of inference is the source.

With ``--train FOLDER`` what TPE draws is trained, on the search's seed and, if it is the answer, on the truth's; without, it becomes the
most similar recorded configuration. The clock stays the table's cost model.
"""

import argparse
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pelt_automl.errors import PeltError, SelectionError, SettingsError
from pelt_automl.execution.recorded import Recorded, RecordedPool, RecordedTraining
from pelt_automl.log.events import CurvePoint, Seeds, Stage
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES, LEARNING_RATE, METHODS
from pelt_automl.scheduling.actions import Budget, Scheduler
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.finals import Finals
from pelt_automl.search.finalists import FAR_POINTS
from pelt_automl.settings import SearchSettings
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.tasks.metrics import Floats
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.verdict.another_seed import Outlook, outlook
from pelt_automl.verdict.costs import cheapest
from pelt_automl.verdict.decision import on_all_seeds
from pelt_automl.verdict.standings import Comparison
from pelt_automl.verdict.statistics import point
from studies.calibration import comparison
from studies.contenders import ABLATIONS, CONTENDERS, FRESH, OURS, Nearest, Setting, answer, frozen, one_kind, ours
from studies.harness import Report, Row, add_options, names, parser, shares, spoken
from studies.portfolio import learned_from, ordered_by
from studies.quality import judged
from studies.sources.standing import committed
from studies.table_costs import BATCH, Costs, load_costs, seconds_of
from studies.table_files import load_table
from studies.table_grid import PROBE

if TYPE_CHECKING:
    from studies.trained import Trained

KNOWN = ("default", "known")
"""How configurations were chosen that the program tries before any drawn one."""
FEWEST_SEEDS = 3
PROBE_ALONE, FROZEN = "always-probe", "frozen"
"""The probe needs no scheduler: it trains nothing."""
WITH_FINALS = (OURS, FRESH, *ABLATIONS, FROZEN)
"""Those that have finals."""
PARTS = ("search", "finals' trainings", "scoring", "fixed")
"""Of a selection's seconds; fixed: the baselines before the search, the probe among them."""
ALWAYS_FRESH = (FRESH, FROZEN)
"""Those whose finals are on fresh seeds, however short the time is."""
Policy = Callable[[Setting, Nearest], Scheduler]
Configurations = dict[str, list[dict[str, Any]]]
"""Hyper-parameters, by method."""
Key = tuple[str, str]
"""A configuration: method, hyper-parameters as sorted JSON."""


def key_of(method: str, values: Mapping[str, Any]) -> Key:
    """The configuration's."""
    return method, json.dumps(dict(values), sort_keys=True)


def recorded_training(row: Mapping[Any, Any]) -> RecordedTraining:
    """A row of the table (see `studies.table_files.load_table`), with the ``seconds`` that it takes with its evaluations."""
    rungs, planned = list(row["rungs"]), int(row["curve_step"][-1]) if not row["failure"] else 0
    by_step = dict(zip([*rungs[:2], planned], ("select_rung_1", "select_rung_2", "select_best"), strict=False))
    curve = [row[name] if row[name] is not None else [] for name in ("curve_step", "curve_train_loss", "curve_score")]
    points = [
        CurvePoint(
            int(step),
            None if loss is None or np.isnan(loss) else float(loss),
            float(score),
            row["hyper_parameters"].get(LEARNING_RATE, 0.0),
            0,
        )
        for step, loss, score in zip(*curve, strict=False)
    ]
    return RecordedTraining(
        row["method"], row["hyper_parameters"], int(row["seed"]), planned, int(row["steps"]), tuple(points), row["seconds"],
        None if pd.isna(row["select_score"]) else float(row["select_score"]),
        None if pd.isna(row["report_score"]) else float(row["report_score"]), row["failure"],
        {"kept": 0 if pd.isna(row["parameters"]) else int(row["parameters"])},
        {step: tuple(map(float, row[name])) for step, name in by_step.items() if row[name] is not None},
        () if row["report"] is None else tuple(map(float, row["report"])),
    )  # fmt: skip


@dataclass(frozen=True)
class Roles:
    """Seeds of one simulated selection: disjoint."""

    search: int
    finals: Sequence[int]
    truth: Sequence[int]

    @staticmethod
    def of(seeds: Sequence[int], number: int, most: int) -> "Roles":
        """Rotated by the simulation's number: one to search with, half of the others (at most `most`) for finals, the rest for truth.

        `seeds`: `FEWEST_SEEDS` at least.
        """
        turned = [seeds[(number + place) % len(seeds)] for place in range(len(seeds))]
        last = 1 + min(most, (len(turned) - 1) // 2)
        return Roles(turned[0], turned[1:last], turned[last:])


class World:
    """All recorded trainings of one task at one K from one start of the heads, and its baselines."""

    def __init__(self, table: pd.DataFrame, costs: Costs, others: pd.DataFrame | None = None, trained: "Trained | None" = None) -> None:
        """`table`: their rows, of which those on the seeds of all defaults count, failed trainings among them.

        `others`: rows of other sources, from which the order of the portfolio is learned; None: there is none. `trained`: trains what isn't
        recorded.
        Methods whose default is recorded on fewer than `FEWEST_SEEDS` take no part. Raises `SettingsError` where too little is left.
        """
        self.costs, self.trained, self.later = costs, trained, dict[tuple[Key, int], float]()
        self._on = dict[int, tuple[Configurations, Configurations, Floats]]()
        table = table.assign(key=pd.Series(map(key_of, table["method"], table["hyper_parameters"]), table.index, dtype=object))
        defaults = table[table["configuration"] == "default"].groupby("method")["seed"].agg(set)
        self.methods = [method for method in METHODS if len(defaults.get(method, ())) >= FEWEST_SEEDS]
        self.seeds = sorted(set.intersection(*defaults[self.methods])) if self.methods else []
        if len(self.methods) < 2 or len(self.seeds) < FEWEST_SEEDS:
            raise SettingsError(
                f"fewer than two methods have a default recorded on {FEWEST_SEEDS} seeds, and search, finals and truth need one each of "
                "their own; record more: python -m studies.table record"
            )
        table = table[table["seed"].isin(self.seeds) & table["method"].isin([*self.methods, *BASELINES])]
        rows = table[table.groupby("key")["seed"].transform("nunique") == len(self.seeds)].to_dict("records")
        full = next((row for row in rows if row["method"] in self.methods and not row["failure"]), None)
        if full is None:
            raise SettingsError("no training has come to its end")
        self.metric, self.labels, planned = METRICS[full["metric"]], full["report_labels"].astype(np.float64), int(full["curve_step"][-1])
        self.plan = TrainingPlan(planned, tuple(map(int, full["rungs"])), tuple(int(step) for step in full["curve_step"] if step), BATCH,
                                 warmup=0.1, clip=1.0, weight_decay=0.0, patience=planned)  # fmt: skip
        self.rows = pd.DataFrame(rows).assign(seconds=[seconds_of(row, costs) for row in rows])
        trainings = [recorded_training(row) for row in self.rows.to_dict("records")]
        # a failed training doesn't say how long its schedule was: all of a task have the same
        self.pool = RecordedPool(
            [own if own.method in BASELINES else replace(own, planned=planned) for own in trainings],
            self.metric.greater_is_better,
            lambda said: self.metric.value(np.asarray(said), self.labels[: len(said)]),
        )
        constant, _ = KINDS[full["kind"]].constant(self.labels.tolist(), self.metric)  # what a failed training is taken to say
        self.constant = self.metric.value(np.full(len(self.labels), constant), self.labels)
        self.said = {(row["key"], row["seed"]): np.full(len(self.labels), constant) if row["report"] is None else
                     row["report"].astype(np.float64) for row in rows}  # fmt: skip
        self.scores = {key: [self.metric.value(self.said[key, seed], self.labels) for seed in self.seeds] for key, _ in self.said}
        self.oracle = judged(self.scores, len(self.seeds), self.metric.sign)
        self.point = point(self.metric.name, self.labels.tolist())
        self.cost = float(self.rows["seconds"].sum()) / len(self.seeds)
        own, text = costs.methods[full["method"]], full["tokens_of_text"] / full["steps"] / BATCH
        self.example = float(own.example + own.evaluated_token * text)
        self.start = costs.probe if any(row["head_start"] == "probe" for row in rows) else 0.0
        """Seconds of the probe that heads start from."""
        self.seconds: dict[str, float] = dict(self.rows.groupby("method")["seconds"].mean())
        tuned = self.rows[self.rows["method"].isin(self.methods)].drop_duplicates("key")
        prior = None if others is None else learned_from(others, costs)
        self.portfolio = {seed: ordered_by(prior, table[table["seed"] == seed], tuned, costs) if prior else None for seed in self.seeds}
        """By the seed of the search, whose probe says how like the others the task is."""

    def regret(self, key: Key | None, truth: Sequence[int]) -> float:
        """Points behind the oracle on the truth's seeds; may be negative. No answer: of what a failed training is taken to say."""
        scores = [self._score(key, seed) if key else self.constant for seed in truth]
        oracle = [self.oracle[self.seeds.index(seed)] for seed in truth]
        return self.metric.sign * float(np.mean(np.subtract(oracle, scores))) / self.point

    def _score(self, key: Key, seed: int) -> float:
        """On report; what isn't recorded is trained, and joins the pool."""
        if key in self.scores:
            return self.scores[key][self.seeds.index(seed)]
        if self.trained and (key, seed) not in self.later:
            row = self.trained.row(key[0], json.loads(key[1]), seed)
            row["seconds"] = seconds_of(row, self.costs)
            self.pool.add(replace(recorded_training(row), planned=self.plan.steps))
            self.later[key, seed] = self.constant if row["failure"] else float(row["report_score"])
        return self.later[key, seed]

    def setting(self, seed: int, number: int, trials: int, reserve: float) -> Setting:
        """What a contender is told of a search on this seed; drawn configurations in an order that the number decides."""
        known, found, labels = self._on[seed] if seed in self._on else self._on.setdefault(seed, self._recorded_on(seed))
        draw, drawn = random.Random(number), {method: list(own) for method, own in found.items()}
        for own in drawn.values():
            draw.shuffle(own)
        return Setting(self.methods, known, drawn, self.plan, self.metric, labels, seed, trials,
                       self.seconds, reserve, number, self.portfolio[seed])  # fmt: skip

    def _recorded_on(self, seed: int) -> tuple[Configurations, Configurations, Floats]:
        """Configurations that the program knows and those that were drawn, by method, and the labels of select."""
        here, known, drawn = self.rows[self.rows["seed"] == seed].sort_values("configuration"), {}, {}
        for method in self.methods:
            own = here[here["method"] == method]
            known[method] = own[own["chosen"].isin(KNOWN)]["hyper_parameters"].tolist()
            drawn[method] = own[~own["chosen"].isin(KNOWN)]["hyper_parameters"].tolist()
        return known, drawn, here.dropna(subset=["select_labels"])["select_labels"].iloc[0].astype(np.float64)

    def nearest(
        self, method: str, values: Mapping[str, Any], without: Collection[str], seed: int | None = None
    ) -> Mapping[str, Any] | None:
        """The recorded configuration most like these; None where all of the method are tried. These themselves, trained on this seed,
        where what isn't recorded can be trained.
        """
        if self.trained and seed is not None:
            self._score(key_of(method, values), seed)
            return values
        try:
            return self.pool.nearest(method, values, without)
        except SelectionError:
            return None

    def select(self, contender: str, policy: Policy | None, number: int, asked: argparse.Namespace, limit: float | None) -> Row:
        """The selection of this number: its answer, regret and seconds, the start of its heads among them.

        `limit`: in seconds; `policy`: None for the probe alone.
        """
        roles, start, log, took = Roles.of(self.seeds, number, asked.most_seeds), time.perf_counter(), Log(), 0.0
        fixed = searched = 0.0
        executor, alone = Recorded(self.pool, log.history, asked.at_once, kind=one_kind, example=self.example), key_of(PROBE, {})
        best = recommended = alone if alone in self.scores else None

        def clock() -> Budget:
            return Budget(limit, executor.seconds)

        if policy is None:
            executor.seconds = self.seconds.get(PROBE, 0.0)
        else:
            with_finals = contender in WITH_FINALS and bool(roles.finals)
            fresh = contender in ALWAYS_FRESH or self.time_for_fresh_seeds(limit, asked.reserve)
            kept = 0.0 if not with_finals else asked.reserve if fresh else min(asked.reserve, self.scoring() / (limit or math.inf))
            setting = self.setting(roles.search, number, asked.trials, kept)
            seeds = Seeds(roles.search, roles.search, roles.search)
            baselines = [key[0] for key in self.scores if with_finals and key[0] in BASELINES]
            executor.seconds = 0.0 if PROBE in baselines else self.start  # all contenders' heads start from it
            for method in baselines:
                log.append(executor.fitted(f"{method}-0000", method, Stage.SEARCH, 0, seeds))
            fixed = executor.seconds
            drive(policy(setting, partial(self.nearest, seed=roles.search)), executor, log, clock, Stage.SEARCH)
            searched = executor.seconds
            took = time.perf_counter() - start
            found = answer((trial for trial in log.history.ended() if trial.method not in BASELINES), self.metric)
            best = recommended = key_of(found.method, found.hyper_parameters) if found else None
            if with_finals and log.history.ended():
                best, recommended = self._finals(log, executor, roles, clock, None if fresh else seeds) or (best, best)
        trainings = Counter(trial.stage for trial in log.history.ended() if trial.method not in BASELINES)
        regrets = {name: self.regret(key, roles.truth) for name, key in (("regret", best), ("recommended", recommended))}
        return regrets | {
            "method": recommended[0] if recommended else None, "seconds": executor.seconds, "trials": trainings[Stage.SEARCH],
            "finals": trainings[Stage.FINALIST], "ms": 1000 * took, "fixed": fixed, "search": searched - fixed,
            "finals' trainings": max(0.0, executor.seconds - searched - executor.scoring), "scoring": executor.scoring,
        }  # fmt: skip

    def scoring(self) -> float:
        """Seconds to score the fewest finalists as they are."""
        return POLICY.fewest_finalists * len(self.labels) * self.example

    def time_for_fresh_seeds(self, limit: float | None, share: float) -> bool:
        """As the program plans it: the fewest finalists on the fewest seeds, in the finals' share of the limit."""
        training = sum(self.seconds[method] for method in self.methods) / len(self.methods)
        run = training + min(POLICY.fewest_report, len(self.labels)) * self.example
        return limit is None or POLICY.fewest_finalists * POLICY.fewest_seeds * run <= share * limit

    def _compared(self, history: History) -> Comparison:
        """Finalists by what their runs say of the report examples that were scored."""
        runs: dict[str, dict[int, Floats]] = {}
        who, examples = dict[str, tuple[str, int]](), history.opened.examples if history.opened else 0
        for scored in history.scored:
            ended = history.trials[scored.trial].ended
            if ended:
                said = self.said[key_of(ended.method, ended.hyper_parameters), ended.seeds.split]
                runs.setdefault(scored.candidate, {})[scored.seed_index] = said[:examples]
                who[scored.candidate] = (scored.method, ended.parameters["kept"])
        return comparison(runs, who, self.labels[:examples].tolist(), self.metric.name, history.out_of_finals)

    def _finals(
        self, log: Log, executor: Recorded, roles: Roles, clock: Callable[[], Budget], searched: Seeds | None = None
    ) -> tuple[Key, Key] | None:
        """The program's finals: the finalist with the best mean, and what is recommended; None where nobody was scored.

        `searched`: see `Finals`.
        """
        least = min(SearchSettings.finalist_seeds, len(roles.finals))
        settings, better = SearchSettings(finalist_seeds=least, most_seeds=max(least, len(roles.finals))), self.metric.greater_is_better

        def ahead(history: History) -> Outlook:
            return outlook(self._compared(history), self.point, on_all_seeds(history, settings.most_seeds))

        drive(
            Finals(lambda index: Seeds(*[roles.finals[index]] * 3), settings, self.plan.steps, len(self.labels), better,
                   FAR_POINTS * self.point, FinalsCosts(self), ahead, searched),
            executor, log, clock, Stage.FINALIST,
        )  # fmt: skip
        if not log.history.scored:
            return None
        rows = self._compared(log.history).standings(self.point)
        keys = {trial.candidate: key_of(trial.method, trial.hyper_parameters) for trial in log.history.ended(Stage.FINALIST)}
        return keys[rows[0].candidate], keys[cheapest([row for row in rows if row.tied], "params").candidate]


@dataclass(frozen=True)
class FinalsCosts:
    """What things take in the finals (see `pelt_automl.scheduling.finals.Costs`)."""

    world: World
    writing: float = POLICY.writing

    @property
    def least_scored(self) -> int:
        """All of them: they were recorded."""
        return len(self.world.labels)

    def finalist(self, history: History, method: str) -> float:  # noqa: ARG002 the protocol's
        """Seconds of a training."""
        return self.world.seconds[method]

    def example(self, history: History) -> float:  # noqa: ARG002 the protocol's
        """Seconds."""
        return self.world.example

    def scored(self, history: History) -> float:  # noqa: ARG002 the protocol's
        """The same."""
        return self.world.example

    def closing(self, history: History, limit: float | None, runs: int = 0, report_examples: int = 0) -> float:  # noqa: ARG002
        """Seconds of scoring; what the program then measures and writes isn't simulated."""
        return runs * report_examples * self.world.example


def options() -> argparse.ArgumentParser:
    """Of the command line."""
    made = parser("simulate", __doc__)
    add_options(made, {
        "simulations": (int, 50, "selections of each task, contender and budget"),
        "tasks": (names, [], "of the table (default: all of its open sources)"),
        "contenders": (names, [*CONTENDERS, PROBE_ALONE], f"of {', '.join([*CONTENDERS, PROBE_ALONE])} (default: all)"),
        "frozen": (str, None, "a commit whose policy competes, too"),
        "k": (int, 100, "labeled examples"),
        "head-start": (("probe", "random"), "probe", "of the recorded trainings"),
        "model": (str, "minilm", "of the recorded trainings"),
        "at-once": (int, 1, "trials in a pack"),
        "trials": (int, 5, "configurations of each method"),
        "share": (shares, [None], "limits, as shares of the oracle's cost such as 0.05,0.1 (default: no limit)"),
        "reserve": (float, SearchSettings.finalist_share, "share of the limit for our finals (default: the program's)"),
        "most-seeds": (int, SearchSettings.most_seeds, "of the finals (default: the program's)"),
        "train": (Path, None, "train what TPE draws, and keep it in this folder (default: take the most similar recorded one)"),
        "precision": (("bf16", "fp32"), "bf16", "of the frozen weights in these trainings"),
        "include-sealed": (bool, False, "also the sealed sources: only when the rules are frozen"),
    })  # fmt: skip
    return made


def trained(task: str, asked: argparse.Namespace) -> "Trained":
    """What trains there what isn't recorded. Torch is imported for it alone."""
    from studies.trained import Trained

    return Trained(task, asked.k, asked.head_start, asked.model, asked.precision, asked.train)


def competing(asked: argparse.Namespace) -> dict[str, Policy | None]:
    """By name. Raises `SettingsError` for a commit whose policy can't be run."""
    policies: dict[str, Policy | None] = {name: CONTENDERS.get(name) for name in asked.contenders}
    if asked.frozen:
        then = frozen(asked.frozen)
        policies[FROZEN] = lambda setting, _: ours(setting, then, portfolio=False)
    return policies


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate every task, print, write."""
    made = options()
    asked = made.parse_args(arguments)
    if unknown := sorted(set(asked.contenders) - {*CONTENDERS, PROBE_ALONE}):
        made.error(f"there is no contender {', '.join(unknown)}; there are {', '.join([*CONTENDERS, PROBE_ALONE])}")
    if min(asked.simulations, asked.at_once, asked.trials) < 1 or asked.most_seeds < 0 or not 0 <= asked.reserve < 1:
        made.error("--simulations, --at-once and --trials are 1 or more, --most-seeds is 0 or more, --reserve from 0 to below 1")
    report = Report("simulate", asked)
    try:
        policies, table, costs = competing(asked), load_table(model=asked.model, include_sealed=asked.include_sealed), load_costs()
    except PeltError as error:
        made.error(str(error))
    table = table[(table["k"] == asked.k) & table["head_start"].isin([asked.head_start, "none"])]
    if unknown := sorted(set(asked.tasks) - set(table["task"])):
        made.error(f"nothing is recorded of {', '.join(unknown)} at K = {asked.k}; there are {', '.join(sorted(set(table['task'])))}")
    found = []
    for task, own in table.groupby("task"):
        if asked.tasks and task not in asked.tasks:
            continue
        try:
            others = table[~table["source"].isin([own["source"].iloc[0], *committed().sealed])]
            world = World(own, costs, others, trained(str(task), asked) if asked.train else None)
        except PeltError as error:
            report.leave_out(str(task), error)
            continue
        can = {name: policy for name, policy in policies.items() if name.removeprefix("always-") in (name, PROBE, *world.methods)}
        report.left_out += [f"{task}, {name}: its default isn't recorded" for name in policies.keys() - can.keys()]
        for share, (name, policy), number in product(asked.share, can.items(), range(asked.simulations)):
            limit = share * world.cost if share else None
            found.append({"source": own["source"].iloc[0], "task": task, "contender": name, "share": share, "number": number,
                          "methods": len(world.methods), "seeds": len(world.seeds), "oracle seconds": world.cost,
                          **world.select(name, policy, number, asked, limit)})  # fmt: skip
    if found:
        tabulate(report, pd.DataFrame(found), committed().sealed if asked.include_sealed else ())
    report.write()


def tabulate(report: Report, found: pd.DataFrame, sealed: Collection[str] = ()) -> None:
    """A line a task, contender and budget, and over the sources: all, and where there are any the `sealed` ones alone."""
    same = ["source", "task", "contender", "share", "methods", "seeds"]
    for at, own in found.groupby(same, sort=False, dropna=False):
        line = own[["regret", "recommended", "trials", "finals", "seconds", "oracle seconds", "ms"]].astype(float).mean()
        report.add("Simulated selections", **dict(zip(same, at, strict=True)), **{
            "regret, points": line["regret"], "largest": own["regret"].astype(float).max(), "of what is recommended": line["recommended"],
            "no answer": int(own["method"].isna().sum()), "most often": next(iter(own["method"].mode()), None), **line[2:],
        })  # fmt: skip
    over_sources(report, "Over sources (95 % t intervals)", found)
    where_it_goes(report, found[found["contender"].isin(WITH_FINALS)])
    if (alone := found[found["source"].isin(list(sealed))]).size:
        over_sources(report, "Over the sealed sources alone (95 % t intervals)", alone)


def over_sources(report: Report, title: str, found: pd.DataFrame) -> None:
    """Means over the tasks and simulations of each source, and over the sources."""
    for share, own in found.fillna({"share": math.inf}).groupby("share", sort=False):
        means = (
            own.astype({"regret": float, "recommended": float})
            .assign(near=own["regret"].astype(float) <= 1)
            .groupby(["source", "contender"])[["regret", "recommended", "near", "seconds"]]
            .mean()
            .unstack()
        )
        for name in own["contender"].unique():
            behind = {what: spoken(means[what][name] - means[what].get(OURS, math.nan)) for what in ("regret", "recommended")}
            limit = None if share == math.inf else share
            report.add(title, share=limit, contender=name, sources=int(means["regret"][name].count()), **{
                "regret, points": spoken(means["regret"][name]), "of what is recommended": spoken(means["recommended"][name]),
                "behind ours": behind["regret"], "behind ours, recommended": behind["recommended"],
                "within a point, %": 100 * float(means["near"][name].mean()), "seconds": means["seconds"][name].mean(),
            })  # fmt: skip


def where_it_goes(report: Report, found: pd.DataFrame) -> None:
    """Shares of a selection's seconds, in percent: means over the selections of each source, and over the sources."""
    shares = found.assign(**{part: 100 * found[part] / found["seconds"] for part in PARTS}).fillna({"share": math.inf})
    for (share, name), own in shares.groupby(["share", "contender"], sort=False):
        means = own.groupby("source")[[*PARTS, "seconds"]].mean().mean()
        limit = None if share == math.inf else share
        report.add("Where the seconds go, %", share=limit, contender=name, seconds=means["seconds"], **dict(means[list(PARTS)]))


if __name__ == "__main__":
    main()
