"""Thousands of selections without a training: the program's search over the table of trainings, in milliseconds each.

For each task of the table's open sources a search is simulated so many times, each on one of the recorded seeds and with the recorded
configurations in another order (the published default first, then those known to be good). The scheduler is the program's own
(`pelt_automl.scheduling.search`); trainings are replayed (`pelt_automl.execution.recorded`) with the seconds that they took. Its answer is
the completed trial with the best select score. ``regret``: by how many points the answer's mean report score over the recorded seeds is
below the best one of all recorded configurations; ``seconds``: what was used of those that all trainings of a seed take.
"""

import argparse
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from pelt_automl.errors import PeltError, SettingsError
from pelt_automl.execution.recorded import Recorded, RecordedPool, RecordedTraining
from pelt_automl.log.events import CurvePoint, Event, Segment, State, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES, LEARNING_RATE, METHODS
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.search import SearchScheduler
from pelt_automl.search.proposer import Asked
from pelt_automl.settings import SearchSettings
from pelt_automl.tasks import METRICS
from pelt_automl.training.schedule import TrainingPlan
from pelt_automl.verdict.decision import region_of_equivalence
from studies.harness import Report, Row, names, parser
from studies.table_files import load_table

KNOWN = ("default", "known")
"""How configurations were chosen that are tried before any drawn one."""


def recorded_training(row: Mapping[Any, Any]) -> RecordedTraining:
    """A row of the table (see `studies.table_files.load_table`)."""
    rungs, planned = list(row["rungs"]), int(row["curve_step"][-1]) if not row["failure"] else 0
    by_step = dict(zip([*rungs[:2], planned], ("select_rung_1", "select_rung_2", "select_best"), strict=False))
    losses = row["curve_train_loss"] if row["curve_train_loss"] is not None else []
    rate = row["hyper_parameters"][LEARNING_RATE]
    points = [
        CurvePoint(int(step), None if loss is None or np.isnan(loss) else float(loss), float(score), rate, 0.0)
        for step, loss, score in zip(row["curve_step"], losses, row["curve_score"] if row["curve_score"] is not None else [], strict=False)
    ]
    return RecordedTraining(
        row["method"], row["hyper_parameters"], int(row["seed"]), planned, int(row["steps"]), tuple(points),
        float(row["processor_seconds"]), None if pd.isna(row["select_score"]) else float(row["select_score"]),
        None if pd.isna(row["report_score"]) else float(row["report_score"]), row["failure"],
        {"kept": 0 if pd.isna(row["parameters"]) else int(row["parameters"])},
        {step: tuple(map(float, row[name])) for step, name in by_step.items() if row[name] is not None},
    )  # fmt: skip


@dataclass
class Log:
    """Events in memory."""

    history: History = field(default_factory=History)

    def append(self, event: Event) -> None:
        """Fold an event."""
        self.history.apply(event)


@dataclass(frozen=True)
class PoolProposer:
    """Proposes recorded configurations: a method's default, those known to be good, then the others in an order of their own."""

    configurations: Mapping[str, Sequence[Mapping[str, Any]]]
    """By method, in the order in which they are proposed."""
    first: Mapping[str, int]
    """How many of them are the default or known to be good."""

    def known(self, method: str) -> Sequence[Mapping[str, Any]]:
        """See `pelt_automl.scheduling.search.Proposes`."""
        return self.configurations[method][: self.first[method]]

    def next(self, history: History, method: str) -> Asked | None:
        """The method's next configuration that isn't tried yet."""
        number = sum(trial.segment.method == method for trial in history.trials.values())
        own = self.configurations[method]
        return Asked(number, dict(own[number]), number == 0) if number < len(own) else None


@dataclass(frozen=True)
class RecordedCosts:
    """What trainings take: as they did when they were recorded."""

    seconds: Mapping[str, float]
    """Of a full training, by method."""
    share: float
    """Of the limit, left to what comes after the search."""

    def training(self, history: History, method: str) -> float:  # noqa: ARG002 the protocol's
        """Seconds."""
        return self.seconds[method]

    def reserve(self, history: History, limit: float) -> float:  # noqa: ARG002 the protocol's
        """Seconds."""
        return self.share * limit


class World:
    """All recorded trainings of one task at one K from one start of the heads."""

    def __init__(self, table: pd.DataFrame) -> None:
        """`table`: their rows. Raises `SettingsError` where too little is recorded."""
        own = table[~table["method"].isin(list(BASELINES))]
        defaults = own[(own["configuration"] == "default") & (own["failure"] == "")].groupby("method")["seed"].agg(set)
        self.methods = [method for method in METHODS if method in defaults.index]
        if len(self.methods) < 2:
            raise SettingsError("fewer than two methods have a recorded default")
        self.rows = own[own["method"].isin(self.methods)]
        self.seeds = sorted(set.intersection(*defaults[self.methods]))
        trainings = [recorded_training(row) for row in self.rows.to_dict("records")]
        completed = [training for training in trainings if not training.failure]
        self.metric, planned = METRICS[str(own["metric"].iloc[0])], max(training.planned for training in completed)
        # a failed training doesn't say how long its schedule was: all of a task have the same
        self.trainings = [training if not training.failure else replace(training, planned=planned) for training in trainings]
        full = self.rows[self.rows["failure"] == ""].iloc[0]
        evaluate_at = tuple(int(step) for step in full["curve_step"] if step)
        self.plan = TrainingPlan(planned, tuple(map(int, full["rungs"])), evaluate_at, 16, warmup=0.1, clip=1.0, weight_decay=0.0,
                                 patience=1_000_000)  # fmt: skip
        self.pool = RecordedPool(self.trainings, self.metric.greater_is_better)
        self.point = region_of_equivalence(1.0, self.metric.name, list(map(float, full["report_labels"])))
        frame = pd.DataFrame([(own.method, str(dict(own.hyper_parameters)), own.report_score, own.seconds, own.seed) for own in completed],
                             columns=["method", "values", "report", "seconds", "seed"])  # fmt: skip
        self.report = frame.groupby(["method", "values"])["report"].mean()
        self.seconds = {str(method): float(seconds) for method, seconds in frame.groupby("method")["seconds"].mean().items()}
        self.all_seconds = float(frame.groupby("seed")["seconds"].sum().mean())

    def simulate(self, number: int, *, at_once: int, trials: int, limit: float | None, reserve: float) -> Row:
        """The simulation of this number: what was answered, its regret and its seconds. `limit`: in seconds."""
        seed, draw = self.seeds[number % len(self.seeds)], random.Random(number)
        recorded = self.rows[self.rows["seed"] == seed]
        configurations, first = {}, {}
        for method, own in recorded.groupby("method"):
            ordered = own.sort_values("configuration")
            known = ordered[ordered["chosen"].isin(KNOWN)]["hyper_parameters"].tolist()
            drawn = ordered[~ordered["chosen"].isin(KNOWN)]["hyper_parameters"].tolist()
            draw.shuffle(drawn)
            configurations[str(method)], first[str(method)] = [*known, *drawn], len(known)
        labels = recorded.dropna(subset=["select_labels"])["select_labels"].iloc[0].astype(np.float64)
        log = Log()
        executor = Recorded(self.pool, log.history, at_once, kind=_one_kind)
        scheduler = SearchScheduler(
            self.methods, self.methods, trials, SearchSettings(seed=seed), self.plan, self.metric, labels,
            PoolProposer(configurations, first), RecordedCosts(self.seconds, reserve), _one_kind,
        )  # fmt: skip
        start = time.perf_counter()
        drive(scheduler, executor, log, lambda: Budget(limit, executor.seconds))
        took = time.perf_counter() - start
        sign = self.metric.sign
        ended = [event for event in log.history.of_kind(TrialEnded) if event.state == State.COMPLETED and event.select_score is not None]
        best = max(ended, key=lambda event: sign * (event.select_score or 0.0), default=None)
        regret = None
        if best is not None:
            reached = sign * float(self.report[best.method, str(dict(best.hyper_parameters))])
            regret = (float((sign * self.report).max()) - reached) / self.point
        return {"regret": regret, "method": best.method if best else None, "seconds": executor.seconds, "ms": 1000 * took,
                "trials": len(log.history.trials)}  # fmt: skip


def _one_kind(_: Segment) -> tuple[()]:
    return ()


def options() -> argparse.ArgumentParser:
    """Of the command line."""
    made = parser("simulate", __doc__)
    made.add_argument("--simulations", type=int, default=50, help="of each task (default: 50)")
    made.add_argument("--tasks", type=names, default=[], help="of the table (default: all of its open sources)")
    made.add_argument("--k", type=int, default=100, help="labeled examples (default: 100)")
    made.add_argument("--head-start", choices=("probe", "random"), default="probe", help="of the recorded trainings (default: probe)")
    made.add_argument("--model", default="minilm", help="of the recorded trainings (default: minilm)")
    made.add_argument("--at-once", type=int, default=1, help="trials in a pack (default: 1)")
    made.add_argument("--trials", type=int, default=5, help="configurations of each method (default: 5)")
    made.add_argument("--share", type=float, help="time limit, as a share of the seconds of all trainings of a seed (default: no limit)")
    made.add_argument("--reserve", type=float, default=0.4, help="share of the limit that is left to the finals (default: 0.4)")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate every task, print, write."""
    made = options()
    asked = made.parse_args(arguments)
    report, table = Report("simulate", asked), load_table(model=asked.model)
    table = table[(table["k"] == asked.k) & table["head_start"].isin([asked.head_start])]
    if unknown := sorted(set(asked.tasks) - set(table["task"])):
        made.error(f"nothing is recorded of {', '.join(unknown)} at K = {asked.k}; there are {', '.join(sorted(set(table['task'])))}")
    for task, own in table.groupby("task"):
        if asked.tasks and task not in asked.tasks:
            continue
        try:
            world = World(own)
        except PeltError as error:
            report.leave_out(str(task), error)
            continue
        limit = asked.share * world.all_seconds if asked.share else None
        found = pd.DataFrame([
            world.simulate(number, at_once=asked.at_once, trials=asked.trials, limit=limit, reserve=asked.reserve)
            for number in range(asked.simulations)
        ])  # fmt: skip
        answered = found["method"].dropna()
        report.add("Simulated searches", source=own["source"].iloc[0], task=task, methods=len(world.methods), seeds=len(world.seeds), **{
            "regret, points": _mean(found["regret"]), "largest": None if answered.empty else float(found["regret"].max()),
            "no answer": len(found) - len(answered), "most often": answered.mode().iloc[0] if len(answered) else None,
            "trials": _mean(found["trials"]), "seconds": _mean(found["seconds"]), "of all seconds": world.all_seconds,
            "ms a simulation": _mean(found["ms"]),
        })  # fmt: skip
    report.write()


def _mean(values: "pd.Series[Any]") -> float | None:
    known = values.dropna().astype(float)
    return float(known.mean()) if len(known) else None


if __name__ == "__main__":
    main()
