"""Who competes, what the oracle knows of a data set, and how good each answer was."""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.our_oracle import default_of
from benchmarks.quality_cache import Cache, Configuration, Run
from benchmarks.quality_figures import Forecast, Truth, forecast, judged, regret, truth
from pelt_automl.methods import FIXED_DEFAULTS
from pelt_automl.recommendation.decision import region_of_equivalence

PLAIN = {"rungs": "none", "race": False, "portfolio": False}
"""Options of a search without rungs, race and portfolio."""


@dataclass(frozen=True)
class Contender:
    """How someone selects."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `pelt_automl.select`, beside those that all have."""
    finalists: bool = True
    """Whether finalists decide; else the search has all the time, and the best select score decides."""
    ours: bool = False


OURS = "ours"

CONTENDERS = {
    OURS: Contender(ours=True),
    "random": Contender(PLAIN | {"sampler": "random"}, finalists=False),
    "tpe": Contender(PLAIN | {"sampler": "tpe"}, finalists=False),
    "random+finalists": Contender(PLAIN | {"sampler": "random"}),
    "tpe+finalists": Contender(PLAIN | {"sampler": "tpe"}),
}
"""By name. The fixed defaults compete beside them without a selection."""


@dataclass(frozen=True)
class OracleOf:
    """What is known about a data set after its oracle."""

    name: str
    metric: str
    sign: int
    labels: list[float]
    cache: Cache
    methods: dict[str, str]
    """The method of each of the oracle's configurations, by its key."""
    runs: dict[str, list[Run]]
    """Of each of these on each of the truth's seeds."""
    defaults: dict[str, str]
    """The key of each method's published default, where that could be trained."""
    truth: Truth
    cost: float
    """Seconds of all that it did, on a quiet machine."""
    wall: float
    """Seconds that it took."""
    seeds: int
    """On which contenders are judged."""

    @staticmethod
    def of(name: str, cache: Cache, found: Mapping[str, Sequence[Configuration]], options: argparse.Namespace) -> "OracleOf":
        """`found`: the configurations of each method, each of which has been trained on all of the truth's seeds."""
        described, every = cache.report(), cache.runs()
        methods = {one.key: method for method, own in found.items() for one in own}
        runs = {key: [every[key][seed] for seed in range(options.oracle_seeds)] for key in methods}
        sign, labels, metric = 1 if described["greater_is_better"] else -1, described["labels"], described["metric"]
        predictions = {key: [run.predictions for run in own] for key, own in runs.items()}
        searched = {method: row for method in found if (row := cache.searched(method, options.oracle_trials))}
        defaults = {method: default.key for method, row in searched.items() if (default := default_of(row))}
        known = truth(methods, predictions, labels, metric, sign, region_of_equivalence(1.0, metric, labels))
        every_run = [run for own in runs.values() for run in own]
        cost = sum(row["cost"] for row in searched.values()) + sum(run.cost for run in every_run)
        wall = sum(row["wall"] for row in searched.values()) + sum(run.wall for run in every_run)
        return OracleOf(name, metric, sign, labels, cache, methods, runs, defaults, known, cost, wall, options.check_seeds)

    @property
    def point(self) -> float:
        """One point in the metric's unit."""
        return region_of_equivalence(1.0, self.metric, self.labels)

    @property
    def judged(self) -> list[float]:
        """Its own score on each seed that contenders are judged on."""
        return judged({key: [run.score for run in own] for key, own in self.runs.items()}, self.seeds, self.sign)

    def regret(self, scores: Sequence[float]) -> float:
        """Points, of a configuration with these scores on the truth's seeds."""
        return regret(self.judged, list(scores)[: self.seeds], self.sign) / self.point

    def row(self) -> dict[str, Any]:
        """For the table."""
        unit = self.point
        defaults = {method: statistics.fmean(run.score for run in self.runs[key]) / unit for method, key in self.defaults.items()}
        return {
            "data set": self.name, "metric": self.metric, "report examples": len(self.labels), "best method": self.truth.best,
            "score": statistics.fmean(self.judged) / unit, "right methods": ", ".join(sorted(self.truth.right)),
            **{f"{method} default": defaults.get(method) for method in FIXED_DEFAULTS},
            "configurations": len(self.runs), "cost s": self.cost, "wall s": self.wall,
        }  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A selection that was made."""

    data_set: str
    contender: str
    budget: float
    repeat: int
    choice: Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """An answer, and how good it was."""

    data_set: str
    contender: str
    budget: float | None
    """Share of the oracle's cost; None for a default, which needs no selection."""
    repeat: int
    method: str
    regret: float
    """Points."""
    regret_of_best: float | None = None
    """If the finalist with the best mean had been recommended, not the cheapest of the tied."""
    tied: frozenset[str] = frozenset()
    """Methods in the tie set; empty where none was claimed."""
    holds_best: bool = False
    holds_right: bool = False
    forecast: Forecast | None = None
    seconds: float | None = None
    start_seconds: float | None = None
    """Of the process outside of the selection's own time."""
    steps_share: float | None = None
    """Length of its trainings as a share of the full one."""
    trials: int | None = None


def judge(oracle: OracleOf, one: Measured) -> Judged | None:
    """None when what it recommends hasn't been trained on the truth's seeds."""
    choice, runs = one.choice, oracle.cache.runs()
    recommended = _runs(choice, choice, runs, oracle.seeds)
    if recommended is None:
        return None
    finalists = choice["finalists"]
    trained = [_runs(choice, row, runs, oracle.seeds) for row in finalists]
    best = min(range(len(finalists)), key=lambda i: finalists[i]["difference"], default=None)
    of_best = trained[best] if best is not None else None
    tied = frozenset(row["method"] for row in finalists if row["tied"])
    return Judged(
        one.data_set, one.contender, one.budget, one.repeat, choice["method"],
        oracle.regret([run.score for run in recommended]),
        regret_of_best=oracle.regret([run.score for run in of_best]) if of_best else None,
        tied=tied, holds_best=oracle.truth.best in tied, holds_right=bool(tied & oracle.truth.right),
        forecast=_forecast(oracle, finalists, trained),
        seconds=choice["seconds"], start_seconds=choice["process_seconds"] - choice["seconds"],
        steps_share=choice["steps"] / choice["wanted_steps"], trials=choice["trials"],
    )  # fmt: skip


def _runs(choice: Mapping[str, Any], row: Mapping[str, Any], runs: Mapping[str, Mapping[int, Run]], seeds: int) -> list[Run] | None:
    found = runs.get(Configuration(row["method"], row["hyper_parameters"], choice["steps"]).key, {})
    return [found[seed] for seed in range(seeds)] if all(seed in found for seed in range(seeds)) else None


def _forecast(oracle: OracleOf, finalists: Sequence[Mapping[str, Any]], trained: Sequence[list[Run] | None]) -> Forecast | None:
    """None for fewer than two finalists, and when not all have been trained on the truth's seeds."""
    complete = [own for own in trained if own is not None]
    if len(finalists) < 2 or len(complete) < len(finalists):
        return None
    predictions = [[run.predictions for run in own] for own in complete]
    return forecast([row["p_best"] for row in finalists], predictions, oracle.labels, oracle.metric, oracle.sign)


def defaults_of(oracle: OracleOf) -> list[Judged]:
    """What the fixed defaults are worth."""
    return [
        Judged(
            oracle.name, f"{method} default", None, 0, method, oracle.regret([run.score for run in oracle.runs[oracle.defaults[method]]])
        )
        for method in FIXED_DEFAULTS
        if method in oracle.defaults
    ]
