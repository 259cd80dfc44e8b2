"""How good a selection's answer is: its regret to an oracle that had ten times the time, and beside fixed defaults and plain searches.

    python benchmarks/selection_quality.py --data-dir DATA --tasks sst2,cola,mrpc,rte,snips --k 100 --cache CACHE --output results
    python benchmarks/selection_quality.py --tasks pydoc-match --k 60 --methods lora,bitfit --epochs 1 --oracle-trials 2 --oracle-seeds 2 \\
        --check-seeds 2 --repeats 1 --budgets 1 --cache CACHE

For each data set an oracle tunes every method generously and trains the best of each on fresh seeds. Then each contender makes whole
selections, each in a fresh process with a seed of its own, in a share of the seconds that the oracle has cost; what they recommend is
trained on the same fresh seeds. Everything lies in --cache and is never measured twice: a second start goes on, --only-oracle stops after
the oracles. docs/benchmarks.md says how each figure is made.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Report, names, parser, say
from benchmarks.data_sets import DataSet, Found, find
from benchmarks.measuring import ProcessError, TimeLimit, run_process
from benchmarks.our_oracle import configurations
from benchmarks.quality_answers import CONTENDERS, Measured, OracleOf
from benchmarks.quality_cache import Cache, Configuration, append, program, rows
from benchmarks.quality_tables import tabulate
from benchmarks.retraining import TRUTH, settings_of
from pelt_automl.errors import PeltError
from pelt_automl.tasks import load_task

REPEAT_SEEDS = 10_000
"""Seeds that a repeat has for itself; its finalists' are the search's and the next few thousand."""


@dataclass
class Benchmark:
    """What is to be measured, where it is kept, and how long it may take."""

    options: argparse.Namespace
    limit: TimeLimit
    program: str = field(default_factory=program)
    left_out: list[str] = field(default_factory=list)
    longest: dict[str, float] = field(default_factory=dict)
    """Seconds of the longest process of each kind so far."""
    caches: dict[str, Cache] = field(default_factory=dict)
    """By data set."""

    def training_options(self, data_set: DataSet) -> dict[str, Any]:
        """All that changes a training."""
        own = self.options
        given = {"k": own.k, "protocol": own.protocol, "model": own.model, "epochs": own.epochs, "seed": own.seed}
        return dict(data_set.options) | {name: value for name, value in given.items() if value is not None}

    def usable(self, found: Found) -> list[DataSet]:
        """Those that such a selection can be made on, each with its folder from now on; the others are left out with the reason."""
        self.left_out += found.left_out
        for data_set in found.data_sets:
            options = self.training_options(data_set)
            try:
                hashes = load_task(settings_of(options, TRUTH).task).hashes(TRUTH)  # another program may draw other examples
            except PeltError as error:
                self.left_out.append(f"{data_set.name}: {error}")
                continue
            self.caches[data_set.name] = Cache.at(self.options.cache, data_set.name, options | hashes)
        return [data_set for data_set in found.data_sets if data_set.name in self.caches]

    def cache(self, data_set: DataSet) -> Cache:
        """The data set's folder."""
        return self.caches[data_set.name]

    def process(self, kind: str, what: str, expected: float, arguments: Sequence[str]) -> tuple[float, Any] | None:
        """A process's seconds and result; None, with the reason in `left_out`, when it can't be afforded or fails.

        `expected`: seconds, unless others of its kind have taken longer.
        """
        if not self.limit.allows(max(expected, self.longest.get(kind, 0.0))):
            self.left_out.append(f"{what}: the limit of {self.limit.seconds:.0f} s")
            return None
        say(what)
        with tempfile.TemporaryDirectory() as home:
            try:
                ended = run_process(arguments, {"PELT_AUTOML_HOME": home})
            except ProcessError as error:
                self.left_out.append(f"{what}: {error}")
                return None
        self.longest[kind] = max(ended.seconds, self.longest.get(kind, 0.0))
        return ended.seconds, ended.result

    # ------------------------------------------------------------ the oracle

    def ask_oracle(self, data_set: DataSet) -> None:
        """Search each method and train its best, as far as that isn't done."""
        cache, own = self.cache(data_set), self.options
        for method in own.methods:
            if cache.searched(method, own.oracle_trials):
                continue
            request = {
                "cache": str(cache.folder), "options": self.training_options(data_set), "method": method, "trials": own.oracle_trials,
            }  # fmt: skip
            self.process("oracle", f"oracle of {data_set.name}: {method}", 0.0, ["-m", "benchmarks.our_oracle", json.dumps(request)])
        self.train(data_set, [one for found in self.best_of(data_set).values() for one in found], own.oracle_seeds, "the oracle's best")

    def best_of(self, data_set: DataSet) -> dict[str, list[Configuration]]:
        """The oracle's configurations of each method that has been searched."""
        cache, own = self.cache(data_set), self.options
        searched = {method: cache.searched(method, own.oracle_trials) for method in own.methods}
        return {method: configurations(row, own.oracle_finalists) for method, row in searched.items() if row}

    def oracle(self, data_set: DataSet) -> OracleOf | None:
        """What it has found; None, with the reason in `left_out`, when it isn't complete."""
        found, own = self.best_of(data_set), self.options
        if len(found) < len(own.methods) or self.missing(data_set, [one for best in found.values() for one in best], own.oracle_seeds):
            self.left_out.append(f"{data_set.name}: its oracle isn't complete; start again to go on")
            return None
        return OracleOf.of(data_set.name, self.cache(data_set), found, own)

    # ------------------------------------------------------------ trainings on the truth's seeds

    def missing(self, data_set: DataSet, wanted: Sequence[Configuration], seeds: int) -> list[tuple[Configuration, int]]:
        """Which of these configurations haven't been trained on which of the first `seeds` seeds."""
        done, unique = self.cache(data_set).runs(), {one.key: one for one in wanted}
        return [(one, seed) for one in unique.values() for seed in range(seeds) if seed not in done.get(one.key, {})]

    def train(self, data_set: DataSet, wanted: Sequence[Configuration], seeds: int, what: str) -> None:
        """Train configurations on the truth's seeds, as far as that isn't done."""
        if missing := self.missing(data_set, wanted, seeds):
            request = {
                "cache": str(self.cache(data_set).folder), "options": self.training_options(data_set),
                "wanted": [(one.plain(), seed) for one, seed in missing],
            }  # fmt: skip
            said = f"{data_set.name}: {len(missing)} trainings of {what}"
            self.process("retraining", said, 0.0, ["-m", "benchmarks.retraining", json.dumps(request)])

    # ------------------------------------------------------------ selections

    def choose(self, oracle: OracleOf, data_set: DataSet, contender: str, budget: float, repeat: int) -> dict[str, Any] | None:
        """A contender's selection in this share of the oracle's cost, made now or found."""
        cache = self.cache(data_set)
        options = self.training_options(data_set) | {
            "methods": ",".join(self.options.methods), "trials": self.options.trials, "seconds": max(1, round(budget * oracle.cost)),
            "finalist_seeds": self.options.finalist_seeds, "most_seeds": self.options.most_seeds, **CONTENDERS[contender].options,
        }  # fmt: skip
        options = {name: value for name, value in options.items() if value is not None}
        request = {"options": options, "finalists": CONTENDERS[contender].finalists, "seed": (1 + repeat) * REPEAT_SEEDS}
        key = {"program": self.program, **request}
        for row in rows(cache.choices):
            if row["key"] == key:
                return row
        what = f"{data_set.name}, {contender}, {budget:g} of the oracle's cost, repeat {repeat + 1}"
        with tempfile.TemporaryDirectory() as folder:
            command = ["-m", "benchmarks.our_choice", f"{folder}/selection", json.dumps(request)]
            ended = self.process(f"selection {contender} {budget:g}", what, options["seconds"], command)
        if ended is None:
            return None
        row = {"what": "selection", "key": key, "process_seconds": ended[0], **ended[1]}
        append(cache.choices, row)
        return row


def _configurations(choice: Mapping[str, Any], *, finalists: bool) -> list[Configuration]:
    steps = {"steps": choice["steps"]}
    rows_of = [choice, *(choice["finalists"] if finalists else [])]
    return [Configuration.of({**row, **steps}) for row in rows_of]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = _options(arguments)
    report = Report("selection_quality", {name: str(value) for name, value in vars(options).items()})
    benchmark = Benchmark(options, TimeLimit(options.seconds))
    data_sets = benchmark.usable(find(options.data_dir, options.tasks))
    for data_set in data_sets:
        benchmark.ask_oracle(data_set)
    oracles = [(data_set, oracle) for data_set in data_sets if (oracle := benchmark.oracle(data_set))]
    measured = [] if options.only_oracle else _measured(benchmark, oracles)
    report.left_out = benchmark.left_out
    tabulate(report, [oracle for _, oracle in oracles], measured, options)
    report.write(options.output)


def _measured(benchmark: Benchmark, oracles: Sequence[tuple[DataSet, OracleOf]]) -> list[Measured]:
    """All selections, repeat by repeat over all data sets, so that a benchmark that is cut short has some of each."""
    options, measured = benchmark.options, list[Measured]()
    for repeat in range(options.repeats):
        for data_set, oracle in oracles:
            made = [
                Measured(data_set.name, contender, budget, repeat, choice)
                for budget in options.budgets
                for contender in options.contenders
                if (budget in options.baseline_budgets or CONTENDERS[contender].ours)
                and (choice := benchmark.choose(oracle, data_set, contender, budget, repeat))
            ]
            answers = [one for own in made for one in _configurations(own.choice, finalists=options.check == "finalists")]
            benchmark.train(data_set, answers, options.check_seeds, "what was recommended")
            measured += made
    return measured


def _shares(text: str) -> list[float]:
    found = [float(part) for part in text.split(",") if part.strip()]
    if not found or min(found) <= 0:
        raise argparse.ArgumentTypeError(f"expected shares of the oracle's cost such as 0.05,0.1, not {text!r}")
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--data-dir", type=Path, nargs="+", default=[], help="folders with data sets: benchmarks, or tables of your own")
    made.add_argument("--tasks", type=names, default=[], help="their names (default: all that are there)")
    made.add_argument("--cache", type=Path, required=True, help="folder in which everything that was measured is kept")
    made.add_argument("--k", default="100", help="labeled examples (default: 100)")
    made.add_argument("--protocol", default="strict", help="strict (default) or paper")
    made.add_argument("--model", default="minilm", help="as in pelt-automl select (default: minilm)")
    made.add_argument("--methods", type=names, default=names("lora,adapter,prefix,bitfit,unipelt-apl"), help="to choose from")
    made.add_argument("--epochs", type=float, help="of a full training (default: the program's)")
    made.add_argument("--seed", type=int, default=0, help="of the K examples, the same for all (default: 0)")
    oracle = made.add_argument_group("the oracle")
    oracle.add_argument("--oracle-trials", type=int, default=16, help="trials a method, all trained in full (default: 16)")
    oracle.add_argument("--oracle-finalists", type=int, default=2, help="best trials of a method, beside its default (default: 2)")
    oracle.add_argument("--oracle-seeds", type=int, default=5, help="fresh seeds on which each of these is trained (default: 5)")
    oracle.add_argument("--only-oracle", action="store_true", help="stop after the oracles")
    choice = made.add_argument_group("the selections")
    choice.add_argument("--contenders", type=names, default=list(CONTENDERS), help=f"of {', '.join(CONTENDERS)} (default: all)")
    choice.add_argument("--budgets", type=_shares, default=[0.05, 0.1, 0.2], help="shares of the oracle's cost (default: 0.05,0.1,0.2)")
    choice.add_argument("--baseline-budgets", type=_shares, help="those at which the other contenders run, too (default: all)")
    choice.add_argument("--repeats", type=int, default=3, help="selections of each, with seeds of their own (default: 3)")
    choice.add_argument("--trials", type=int, default=16, help="a method at most, so that the seconds decide (default: 16)")
    choice.add_argument("--finalist-seeds", type=int, help="as in pelt-automl select (default: the program's)")
    choice.add_argument("--most-seeds", type=int, help="as in pelt-automl select (default: the program's)")
    choice.add_argument("--check", choices=("finalists", "recommended"), default="finalists", help="what is trained on the truth's seeds")
    choice.add_argument("--check-seeds", type=int, default=5, help="of the oracle's seeds, for what was recommended (default: 5)")
    made.add_argument("--seconds", type=float, default=24 * 3600.0, help="no process is begun that wouldn't end within so many")
    options = made.parse_args(arguments)
    _check(made, options)
    return options


def _check(made: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    from pelt_automl.methods import METHODS

    options.baseline_budgets = options.baseline_budgets or options.budgets
    problems = [f"unknown contender {name}; there are {', '.join(CONTENDERS)}" for name in options.contenders if name not in CONTENDERS]
    problems += [f"unknown method {name}" for name in options.methods if name not in METHODS]
    if not options.data_dir and not options.tasks:
        problems.append("give --data-dir, --tasks, or both")
    if options.check_seeds > options.oracle_seeds:
        problems.append("--check-seeds can't be more than --oracle-seeds: they are the same seeds")
    if problems:
        made.error("; ".join(problems))


if __name__ == "__main__":
    main()
