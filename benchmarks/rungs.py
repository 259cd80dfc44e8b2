"""How well a select score early in a training foretells the final one, and what stopping trials there would have cost.

    python benchmarks/rungs.py --task qnli --data-dir DATA --k 1000 --trials 12 --seeds 3 --output results
    python benchmarks/rungs.py --k 60 --methods lora,bitfit --trials 3 --epochs 4 --seeds 1

Each trial is trained to its last step: no rung, no patience, no race (see our_search.py). At each evaluation of a training the table has
Spearman's correlation between the best select score so far and the final one, over a method's trials, and the regret: what the final
score of the method's best trial falls by if only the best third at that point go on (slow starters: twice that share, the published
default always, as in a selection). `trained %` is the training that would then be left. The row ``all methods`` has the mean correlation,
and the regret of the best trial of all. Finalists aren't trained: select scores are all that a rung can be wrong about.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Report, Table, add_selection_options, parser, selection_options
from benchmarks.measuring import ProcessError, run_process
from pelt_automl.evidence.savings import rank_correlation, score_by
from pelt_automl.methods import METHODS
from pelt_automl.records import State, TrialEnded, from_json
from pelt_automl.search.promotion import promoted

ALL = "all methods"
COLUMNS = (
    "method", "share of the training", "rank correlation", "lowest", "highest", "regret", "largest regret", "trained %", "trials", "seeds",
)  # fmt: skip
EVALUATIONS = 8


@dataclass(frozen=True)
class Searched:
    """One method's trials of one seed, all trained in full."""

    method: str
    trials: list[TrialEnded]
    """Those that failed are not among them."""
    points: tuple[int, ...]
    """Steps of the evaluations, the last left out."""
    steps: int
    greater_is_better: bool

    @staticmethod
    def of(method: str, found: Mapping[str, Any]) -> "Searched":
        """From what `our_search` hands over of a method."""
        ended = [from_json(line) for line in found["trials"]]
        trials = [trial for trial in ended if isinstance(trial, TrialEnded) and trial.state == State.COMPLETED]
        return Searched(method, trials, tuple(found["evaluate_at"])[:-1], found["steps"], found["greater_is_better"])

    def scores(self, step: int) -> dict[str, float]:
        """Each trial's best select score so far; at the last step the final one."""
        if step >= self.steps:
            return {trial.trial: trial.select_score for trial in self.trials if trial.select_score is not None}
        found = {trial.trial: score_by(trial.curve, step, self.greater_is_better) for trial in self.trials}
        return {name: score for name, score in found.items() if score is not None}

    def best(self, names: Sequence[str]) -> float | None:
        """The best final score of these trials, greater for better; None without any."""
        final, sign = self.scores(self.steps), 1 if self.greater_is_better else -1
        return max((sign * final[name] for name in names if name in final), default=None)


@dataclass(frozen=True)
class Foretold:
    """What an evaluation point tells of a method's final scores."""

    correlation: float | None
    regret: float
    """In the metric's own unit."""
    trained: float
    """Share of all training that is left when the point is the only rung."""
    trials: int


def promoted_at(searched: Searched, step: int, share: float) -> list[str]:
    """Trials that go on from a rung at `step`, by the program's rule applied to all of them at once."""
    share = min(1.0, 2 * share) if METHODS[searched.method].slow_starter else share
    scores = searched.scores(step)
    defaults = {trial.trial for trial in searched.trials if trial.is_default and trial.trial in scores}
    others = {name: score for name, score in scores.items() if name not in defaults}
    return sorted(defaults | promoted(others, (), share, greater_is_better=searched.greater_is_better))


def foretold(searched: Searched, step: int, share: float) -> Foretold | None:
    """None where the method has no trial with a score by then."""
    early, final = searched.scores(step), searched.scores(searched.steps)
    going_on = promoted_at(searched, step, share)
    best, kept = searched.best(list(final)), searched.best(going_on)
    if best is None or kept is None:
        return None
    pairs = [(early[name], final[name]) for name in early if name in final]
    left = len(going_on) / len(searched.trials)
    return Foretold(rank_correlation(pairs), best - kept, left + (1 - left) * step / searched.steps, len(pairs))


def foretold_of_all(every: Sequence[Searched], step: int, share: float) -> Foretold | None:
    """Over methods of one seed: the mean correlation, and the regret of the best trial of all. None without a trial."""
    found = {one.method: told for one in every if (told := foretold(one, step, share)) is not None}
    if not found:
        return None
    correlations = [told.correlation for told in found.values() if told.correlation is not None]
    bests = [best for one in every if (best := one.best(list(one.scores(one.steps)))) is not None]
    kept = [best for one in every if (best := one.best(promoted_at(one, step, share))) is not None]
    return Foretold(
        statistics.fmean(correlations) if correlations else None,
        max(bests) - max(kept),
        statistics.fmean(told.trained for told in found.values()),
        sum(told.trials for told in found.values()),
    )


def row(method: str, share: float, seeds: Sequence[Foretold], unit: float) -> dict[str, Any]:
    """A line of the table over seeds; `unit`: 100 for points."""
    correlations = [told.correlation for told in seeds if told.correlation is not None]
    return {
        "method": method,
        "share of the training": share,
        "rank correlation": statistics.fmean(correlations) if correlations else None,
        "lowest": min(correlations, default=None),
        "highest": max(correlations, default=None),
        "regret": unit * statistics.fmean(told.regret for told in seeds),
        "largest regret": unit * max(told.regret for told in seeds),
        "trained %": 100 * statistics.fmean(told.trained for told in seeds),
        "trials": sum(told.trials for told in seeds),
        "seeds": len(seeds),
    }


def tabulate(seeds: Sequence[Sequence[Searched]], share: float, unit: float) -> Table:
    """For each method, and for all, a line an evaluation point; `seeds` has the searches of each seed."""
    table = Table("Final scores foretold", COLUMNS)
    every = [one for searches in seeds for one in searches]
    points = sorted({(one.steps, step) for one in every for step in one.points})
    for method in dict.fromkeys(one.method for one in every):
        for steps, step in points:
            told = [foretold(one, step, share) for one in every if one.method == method and one.steps == steps]
            _add(table, method, step / steps, told, unit)
    for steps, step in points:
        told = [foretold_of_all([one for one in searches if one.steps == steps], step, share) for searches in seeds]
        _add(table, ALL, step / steps, told, unit)
    return table


def _add(table: Table, method: str, at: float, told: Sequence[Foretold | None], unit: float) -> None:
    if known := [one for one in told if one is not None]:
        table.add(**row(method, at, known, unit))


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, print, write."""
    options = _options(arguments)
    report = Report("rungs", {name: str(value) for name, value in vars(options).items()})
    selection, first = selection_options(options), options.seed or 0
    found: dict[int, dict[str, Any]] = {}
    for seed in range(first, first + options.seeds):
        try:
            found[seed] = _searched(selection | {"seed": seed})
        except ProcessError as error:
            report.left_out.append(f"seed {seed}: {error}")
            continue
        report.left_out += [f"seed {seed}, {method}: {why}" for method, why in found[seed]["failed"].items()]
    in_points = _describe(report, found)
    seeds = [[Searched.of(method, one) for method, one in searched["methods"].items()] for searched in found.values()]
    report.tables.append(tabulate(seeds, options.promoted, 100 if in_points else 1))
    report.data["searches"] = found
    report.write(options.output)


def _searched(options: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "benchmarks.our_search", f"{folder}/searches", json.dumps(dict(options))]
        result: dict[str, Any] = run_process(command, {"PELT_AUTOML_HOME": f"{folder}/home"}).result
        return result


def _describe(report: Report, found: Mapping[int, Mapping[str, Any]]) -> bool:
    """Say what was searched; whether the metric is shown in points."""
    from pelt_automl.recommendation.wording import Unit

    every = [one for searched in found.values() for one in searched["methods"].values()]
    units = {Unit(one["metric"]) for one in every}
    for unit in units:
        report.notes.append(f"regret is in {'points of ' if unit.in_points else ''}{unit.name} on select")
    evaluations = min((len(one["evaluate_at"]) for one in every), default=EVALUATIONS)
    if evaluations < EVALUATIONS:
        report.notes.append(f"only {evaluations} evaluations a training: more would cost too much in so short a one; give more --epochs")
    return all(unit.in_points for unit in units)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    add_selection_options(made, task="pydoc-match", model="minilm", methods="lora,bitfit,adapter,prefix,prompt,ia3", k="1000", trials=9)
    made.add_argument("--seeds", type=int, default=3, help="searches, each with a seed of its own from --seed on (default: 3)")
    made.add_argument("--promoted", type=float, default=1 / 3, help="share of the trials that go on (default: a third)")
    return made.parse_args(arguments)


if __name__ == "__main__":
    main()
