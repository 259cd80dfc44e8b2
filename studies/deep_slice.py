"""Are the verdict's statements true of recorded trainings? The table's deep slice: few finalists on many seeds.

Some of a task's seeds, on some of its report examples, are a finals. The truth is what the other seeds score on the other examples. It has
luck of its own, which is drawn as the finals' is and counts in the intervals and in P(best): each is about what the other half will say. No
seed is used twice in a finals, but finals of a task share seeds; the standard errors are those of as many finals as share none.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pelt_automl.home import home
from pelt_automl.methods import BASELINES
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.metrics import Floats
from pelt_automl.verdict.simultaneous import simultaneous_intervals
from pelt_automl.verdict.statistics import interval, paired_bootstrap, point, probability_best, share_best, shrunken
from studies.harness import Report, Row, add_options, numbers, parser, say
from studies.table import TableFolder
from studies.table_files import TABLE, load_table
from studies.table_grid import DEEP_METHODS, DEEP_TASKS, DEFAULT, ROUNDS, K, Training, committed_configurations

FEWEST = 3
"""Seeds that the truth rests on, at least."""


@dataclass(frozen=True)
class Slice:
    """Finalists of a task that have the same seeds."""

    task: str
    metric: str
    names: Sequence[str]
    fitted: Sequence[bool]
    parameters: Sequence[int]
    labels: Floats
    """(n,)"""
    predictions: Floats
    """(F, S, n)"""

    def scores(self) -> Floats:
        """(F,): mean over the seeds."""
        value = METRICS[self.metric].value
        return np.array([np.mean([value(run, self.labels) for run in runs]) for runs in self.predictions])

    def of(self, seeds: Any, examples: Any) -> "Slice":
        """Some seeds and examples alone, by their places (arrays of numbers)."""
        said = self.predictions[:, seeds][:, :, examples]
        return Slice(self.task, self.metric, self.names, self.fitted, self.parameters, self.labels[examples], said)


def recorded(table: Path = TABLE, folder: Path | None = None) -> list[Slice]:
    """The deep slice's tasks on the seeds that all of their finalists have, from the table's files and from a working folder."""
    frame = load_table(folder=table)
    rows: dict[str, Mapping[Any, Any]] = {row["key"]: row for row in frame[frame["task"].isin(DEEP_TASKS)].to_dict("records")}
    configurations = committed_configurations()
    finalists = [configurations[method]["known-1"] for method in DEEP_METHODS] + [configurations[name][DEFAULT] for name in BASELINES]
    found = []
    for task in DEEP_TASKS:
        own: dict[int, list[Mapping[Any, Any]]] = {}
        for seed in ROUNDS["deep slice"].seeds:
            starts = ["none" if each.method in BASELINES else "probe" for each in finalists]
            keys = [Training(task, K, each, start, seed, "").key("minilm") for each, start in zip(finalists, starts, strict=True)]  # type: ignore[arg-type]
            if folder is not None:
                more = {key: TableFolder(folder).file(key) for key in keys if key not in rows}
                rows |= {key: json.loads(path.read_text(encoding="utf-8")) for key, path in more.items() if path.is_file()}
            if all(key in rows and not rows[key]["failure"] for key in keys):
                own[seed] = [rows[key] for key in keys]
        if own:
            first = next(iter(own.values()))
            said = np.array([[runs[at]["report"] for runs in own.values()] for at in range(len(finalists))], np.float64)
            found.append(
                Slice(
                    task, first[0]["metric"], [each.method for each in finalists], [each.method in BASELINES for each in finalists],
                    [int(row["parameters"]) for row in first], np.asarray(first[0]["report_labels"], np.float64), said,
                )
            )  # fmt: skip
    return found


def judged(whole: Slice, seeds: int, examples: int, rng: np.random.Generator, resamples: int = 500) -> Row:
    """Which statements of a finals on so many seeds and examples, drawn at random, hold of the other ones.

    - ``mean``, ``leaders_mean``: the interval of the recommended one's mean, of the best mean
    - ``means``, ``differences``: share of the intervals of named means and of named differences, each by itself; ``together``: of all
      differences at once
    - ``said``: the leader's P(best); ``expected``: that it is the best by the other half as well; ``true``: whether it is
    - ``wider``: the recommended one's interval with the truth's own error, as a multiple of the one that a user is told
    """
    order, place = rng.permutation(whole.predictions.shape[1]), rng.permutation(len(whole.labels))
    finals, other = whole.of(order[:seeds], place[:examples]), whole.of(order[seeds:], place[examples:])
    sign, truth, means = METRICS[whole.metric].sign, other.scores(), finals.scores()
    draws, others = (
        paired_bootstrap(half.labels, half.predictions, half.metric, resamples, int(rng.integers(2**31)), half.fitted)
        for half in (finals, other)
    )
    error = others - truth
    about = draws + error  # of what the other half scores
    good = sign * means
    tied: list[int] = np.flatnonzero(good >= good.max() - point(whole.metric, finals.labels) - 1e-9).tolist()
    leader, recommended = int(good.argmax()), min(tied, key=lambda one: (whole.parameters[one], -good[one]))
    drawn = shrunken(draws) + error
    low, high = simultaneous_intervals(about)
    apart = truth[:, None] - truth
    named = [_holds(about[:, one], truth[one]) for one in range(len(truth))]
    singly = [_holds(about[:, one] - about[:, two], truth[one] - truth[two]) for one, two in combinations(range(len(truth)), 2)]
    p_best, seen = probability_best(draws, sign > 0), share_best(drawn, sign > 0)
    likely = int(p_best.argmax())
    (wide_low, wide_high), (told_low, told_high) = interval(about[:, recommended]), interval(draws[:, recommended])
    return {
        "recommended": whole.names[recommended],
        "mean": _holds(about[:, recommended], truth[recommended]),
        "leaders_mean": _holds(about[:, leader], truth[leader]),
        "mean_drawn": _holds(drawn[:, recommended], truth[recommended]),
        "leaders_mean_drawn": _holds(drawn[:, leader], truth[leader]),
        "means": float(np.mean(named)),
        "differences": float(np.mean(singly)),
        "together": bool(((low - 1e-9 <= apart) & (apart <= high + 1e-9)).all()),
        "said": float(p_best[likely]),
        "expected": float(seen[likely]),
        "true": int((sign * truth).argmax()) == likely,
        "wider": (wide_high - wide_low) / (told_high - told_low) if told_high > told_low else math.nan,
    }


def _holds(draws: Floats, truth: float) -> bool:
    low, high = interval(draws)
    return low - 1e-9 <= truth <= high + 1e-9


def study(report: Report, slices: Sequence[Slice], seeds: Sequence[int], examples: int, finals: int, seed: int, resamples: int) -> None:
    """By task and number of seeds, and over all."""
    every = []
    for at, (whole, S) in enumerate((whole, S) for S in seeds for whole in slices):
        all_seeds = whole.predictions.shape[1]
        if all_seeds < S + FEWEST:
            report.leave_out(f"{whole.task}, {S} seeds", f"{all_seeds} are recorded, and the truth takes {FEWEST} others at least")
            continue
        say(f"deep slice: {whole.task}, {S} of {all_seeds} seeds")
        rng = np.random.default_rng([seed, at])
        said = pd.DataFrame([judged(whole, S, min(examples, len(whole.labels) // 2), rng, resamples) for _ in range(finals)])
        every.append(said.assign(task=whole.task, seeds=S, apart=all_seeds // S))
        report.add(f"By task: {finals} finals each", task=whole.task, seeds=S, of=all_seeds, **_shares(said))
    if not every:
        return
    frame = pd.concat(every)
    for size, own in frame.groupby("seeds"):
        apart = int(own.groupby("task")["apart"].first().sum())
        error = {"finals that share no seed": apart, "standard error at 95 %": math.sqrt(0.95 * 0.05 / apart)}
        report.add("Over the tasks", seeds=size, **_shares(own), **error)
    report.add("Over the tasks", seeds="all", **_shares(frame))
    for _, own in frame.groupby(pd.cut(frame["said"], [0.0, 0.6, 0.8, 0.95, 1.01], right=False), observed=True):
        report.add("P(best), by what was said", **{name: float(own[name].mean()) for name in ("said", "expected", "true")}, finals=len(own))


def _shares(said: pd.DataFrame) -> Row:
    titles = {
        "mean": "recommended one's mean",
        "leaders_mean": "leader's mean",
        "mean_drawn": "recommended one's, drawn together",
        "leaders_mean_drawn": "leader's, drawn together",
        "means": "a mean",
        "differences": "a difference",
        "together": "all differences",
    }
    shares = {title: float(said[column].mean()) for column, title in titles.items()}
    return shares | {name: float(said[name].mean()) for name in ("said", "expected", "true")} | {"wider": float(said["wider"].median())}


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, print, write."""
    made = parser("deep_slice", __doc__)
    add_options(made, {
        "seeds": (numbers, [3, 4, 5, 6], "of a finals"),
        "examples": (int, 300, "report examples of a finals; at most half of those that are recorded"),
        "finals": (int, 100, "for each task and number of seeds"),
        "resamples": (int, 500, "draws of the bootstrap; the program takes 2,000"),
        "seed": (int, 0, "of the draws"),
        "table": (Path, TABLE, "folder with the Parquet files"),
        "folder": (Path, None, "working folder, whose trainings count as well (default: pelt-home/table)"),
    })  # fmt: skip
    asked = made.parse_args(arguments)
    report = Report("deep_slice", asked)
    study(
        report,
        recorded(asked.table, asked.folder or home() / "table"),
        asked.seeds,
        asked.examples,
        asked.finals,
        asked.seed,
        asked.resamples,
    )
    report.write()


if __name__ == "__main__":
    main()
