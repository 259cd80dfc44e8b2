"""How good a selection's answer is: its regret to an oracle that had ten times the time, and beside fixed defaults and plain searches.

For each data set an oracle tunes every method generously and trains the best of each on fresh seeds. Then each contender makes whole
selections, each in a fresh process with a seed of its own, in a share of the seconds that the oracle has cost; what they recommend is
trained on the same fresh seeds. Everything lies in --cache and is never measured twice: a second start goes on, --only-oracle stops after
the oracles. docs/benchmarks.md says how each figure is made.
"""

import argparse
import hashlib
import math
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import pelt_automl
from pelt_automl.errors import PeltError
from pelt_automl.log.events import sign_of
from pelt_automl.methods import FIXED_DEFAULTS, METHODS
from pelt_automl.tasks import load_task
from pelt_automl.verdict.statistics import point
from studies.data_sets import DataSet, find
from studies.harness import Kept, ProcessError, Report, Row, TimeLimit, fresh_process, names, parser, say
from studies.quality_figures import Estimate, agreement, clustered, forecast, judged, leads, mean_or_none, regret, truth
from studies.quality_runs import TRUTH, settings_of

REPEAT_SEEDS = 10_000
"""Seeds that a repeat has for itself; its finalists' are the search's and the next few thousand."""
GOAL_BUDGET, GOAL_REGRET, GOAL_RIGHT, GOAL_BRIER = 0.1, 0.5, 95.0, 0.15

PLAIN = {"rungs": "none", "race": False, "portfolio": False}
OURS = "ours"
CONTENDERS: Mapping[str, tuple[Mapping[str, Any], bool]] = {
    OURS: ({}, True),
    "random": (PLAIN | {"sampler": "random"}, False),
    "tpe": (PLAIN | {"sampler": "tpe"}, False),
    "asha": ({"race": False, "portfolio": False, "sampler": "random"}, False),
    "random+finalists": (PLAIN | {"sampler": "random"}, True),
    "tpe+finalists": (PLAIN | {"sampler": "tpe"}, True),
}
"""Options of `pelt_automl.select` beside those that all have, and whether finalists decide; else the search has all the time, and the best
select score decides. The fixed defaults compete beside them without a selection."""


def program() -> str:
    """A hash of the program's source and search spaces: a selection that another version made isn't this one's."""
    package, digest = Path(pelt_automl.__file__).parent, hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *(package.parent / "search_spaces").glob("*.yaml")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def key_of(own: Mapping[str, Any]) -> Row:
    """A configuration: a method with all of its hyper-parameters, trained for so many steps."""
    return {"method": own["method"], "hyper_parameters": dict(own["hyper_parameters"]), "steps": own["steps"]}


def best_of(searched: Row, finalists: int) -> list[Row]:
    """Of an oracle's search the default, and the best `finalists` trials by select score (of equals the earlier), each once."""
    completed = [trial | {"steps": searched["steps"]} for trial in searched["found"] if trial["state"] == "completed"]
    sign = sign_of(searched["greater_is_better"])
    scored = sorted((trial for trial in completed if trial["select_score"] is not None), key=lambda trial: -sign * trial["select_score"])
    chosen: list[Row] = []
    for trial in [*(trial for trial in completed if trial["is_default"]), *scored[:finalists]]:
        if key_of(trial) not in chosen:
            chosen.append(key_of(trial))
    return chosen


class Study:
    """What is to be measured of one data set, where it is kept, and how long it may take."""

    def __init__(self, data_set: DataSet, asked: argparse.Namespace, limit: TimeLimit, report: Report, longest: dict[str, float]) -> None:
        """`longest`: seconds of the longest process of each kind so far. Raises `PeltError` where no such selection can be made."""
        self.data_set, self.asked, self.limit, self.report, self.longest = data_set, asked, limit, report, longest
        given = {name: getattr(asked, name) for name in ("k", "protocol", "model", "epochs", "seed", "head_start")}
        self.options = dict(data_set.options) | {name: value for name, value in given.items() if value is not None}
        # another program may draw other examples
        hashes = load_task(settings_of(self.options, TRUTH).task).hashes(TRUTH)
        self.key, self.kept = {"options": self.options, "hashes": hashes}, Kept(asked.cache / data_set.name)
        self.searches: dict[str, Row] = {}

    def process(self, kind: str, what: str, expected: float, place: str, **arguments: Any) -> Any:
        """A process; None, with the reason in the report, when it can't be afforded or fails. `expected`: seconds at least."""
        if not self.limit.allows(max(expected, self.longest.get(kind, 0.0))):
            return self.report.leave_out(what, f"the limit of {self.limit.seconds:.0f} s")
        say(what)
        with tempfile.TemporaryDirectory() as home:
            try:
                ended = fresh_process(f"studies.quality_runs:{place}", Path(home), **arguments)
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
        unique = [own for index, own in enumerate(wanted) if own not in wanted[:index]]
        missing = [(own, seed) for own in unique for seed in range(seeds) if self.kept.get(**self.key, run=own, seed=seed) is None]
        if missing:
            own = {"kept": str(self.kept.folder), "key": self.key, "options": self.options, "wanted": missing}
            self.process("retraining", f"{self.data_set.name}: {len(missing)} trainings of {what}", 0.0, "train_on_truth", **own)

    def ask_oracle(self) -> bool:
        """Search each method and train its best, as far as that isn't done; whether all is there."""
        asked, name = self.asked, self.data_set.name
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
        self.truth = truth(methods, predictions, self.labels, self.metric, self.sign, self.point)
        self.judged = judged({name: [run["score"] for run in own] for name, own in every.items()}, self.asked.check_seeds, self.sign)
        flat = [run for own in every.values() for run in own]
        self.cost = sum(own["cost"] for own in [*self.searches.values(), *flat])
        defaults = {method: self.default(method) for method in FIXED_DEFAULTS}
        means = {
            f"{method} default": statistics.fmean(run["score"] for run in own) / self.point if own else None
            for method, own in defaults.items()
        }
        self.report.add("The oracle", **{
            "data set": self.data_set.name, "metric": self.metric, "report examples": len(self.labels), "best method": self.truth.best,
            "score": statistics.fmean(self.judged) / self.point, "right methods": ", ".join(sorted(self.truth.right)), **means,
            "configurations": len(chosen), "cost s": self.cost, "wall s": sum(own["wall"] for own in [*self.searches.values(), *flat]),
        })  # fmt: skip

    def default(self, method: str) -> list[Row] | None:
        """Trainings of a method's published default."""
        found = self.searches[method]["found"] if method in self.searches else []
        own = next((trial for trial in found if trial["is_default"] and trial["state"] == "completed"), None)
        return self.runs(own | {"steps": self.searches[method]["steps"]}, self.asked.check_seeds) if own else None

    def regret(self, runs: Sequence[Row]) -> float:
        """Points."""
        return regret(self.judged, [run["score"] for run in runs][: self.asked.check_seeds], self.sign) / self.point

    def choose(self, contender: str, budget: float, repeat: int) -> Row | None:
        """A contender's selection in this share of the oracle's cost, made now or found."""
        asked, (own, finalists) = self.asked, CONTENDERS[contender]
        options = self.options | {
            "methods": ",".join(asked.methods), "trials": asked.trials, "seconds": max(1, round(budget * self.cost)),
            "finalist_seeds": asked.finalist_seeds, "most_seeds": asked.most_seeds, **own,
        }  # fmt: skip
        request = {"options": {name: value for name, value in options.items() if value is not None}, "finalists": finalists,
                   "seed": (1 + repeat) * REPEAT_SEEDS}  # fmt: skip
        key = {"program": program(), **self.key, **request}
        if (found := self.kept.get(**key)) is None:
            what = f"{self.data_set.name}, {contender}, {budget:g} of the oracle's cost, repeat {repeat + 1}"
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
            "data set": self.data_set.name, "contender": choice["contender"], "budget": choice["budget"], "repeat": choice["repeat"],
            "method": choice["method"], "regret": self.regret(recommended), "regret_of_best": self.regret(of_best) if of_best else None,
            "tied": sorted(tied), "holds_best": self.truth.best in tied, "holds_right": bool(tied & self.truth.right), **said,
            "seconds": choice["seconds"], "start": choice["process_seconds"] - choice["seconds"],
            "steps_share": choice["steps"] / choice["full_steps"], "trials": choice["trials"],
        }  # fmt: skip

    def defaults(self) -> list[Row]:
        """What the fixed defaults are worth, as answers without a budget."""
        found = {method: self.default(method) for method in FIXED_DEFAULTS}
        same: Row = {"data set": self.data_set.name, "budget": None, "repeat": 0, "tied": []}
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
    estimate, best = clustered(list(regrets(own).values())), clustered(list(regrets(own, "regret_of_best").values()))
    assert estimate is not None  # there is an answer
    claimed, sets = own[own["tied"].map(len) > 0], own.groupby("data set", sort=False)
    ties = [[frozenset(tied) for tied in group["tied"] if tied] for _, group in sets]
    methods = [[frozenset({method}) for method in group["method"]] for _, group in sets]

    def mean(frame: pd.DataFrame, column: str, times: float = 1.0) -> float | None:
        value = float(frame[column].explode().astype(float).mean()) if column in frame else math.nan
        return None if math.isnan(value) else times * value

    percent = {"same method %": agreement(methods), "tie sets meet %": agreement(ties)}
    return {
        "selections": len(own), "data sets": len(sets), "regret": estimate.mean, "low": estimate.low, "high": estimate.high,
        "regret of best mean": best.mean if best else None, "holds best %": mean(claimed, "holds_best", 100),
        "holds right %": mean(claimed, "holds_right", 100), "tied": mean_or_none(claimed["tied"].map(len).tolist()),
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
                report.add("Our lead", budget=budget, **{"ours over": contender}, points=lead.mean, low=lead.low, high=lead.high)
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
    behind = [name for name, lead in found.items() if lead.mean <= 0]
    shown = ", ".join(f"{name} {lead.mean:+.2f} [{lead.low:+.2f}, {lead.high:+.2f}]" for name, lead in found.items())
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
    found = find(asked.data_dir, asked.tasks)
    report.left_out += found.left_out
    for data_set in found.data_sets:
        try:
            study = Study(data_set, asked, limit, report, longest)
        except PeltError as error:
            report.leave_out(data_set.name, error)
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
                    what = f"{study.data_set.name}, {choice['contender']}, repeat {repeat + 1}"
                    report.leave_out(what, "its answer wasn't trained on fresh seeds")
    if answers:
        tabulate(report, pd.DataFrame(answers), asked.budgets)
        right = statistics.fmean(len(study.truth.right) for study in studies)
        report.notes.append(f"right methods: {right:.3g} of {len(asked.methods)} a data set")
        report.notes += [f"{own.data_set.name}: 1 point is {own.point:.3g} of {own.metric}" for own in studies if own.point != 0.01]
    report.data["answers"] = answers
    report.write()


def _shares(text: str) -> list[float]:
    found = [float(part) for part in names(text)]
    if not found or min(found) <= 0:
        raise argparse.ArgumentTypeError(f"expected shares of the oracle's cost such as 0.05,0.1, not {text!r}")
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser("quality", __doc__)
    made.add_argument("--data-dir", type=Path, nargs="+", default=[], help="folders with data sets: benchmarks, or tables of your own")
    made.add_argument("--tasks", type=names, default=[], help="their names (default: all that are there)")
    made.add_argument("--cache", type=Path, required=True, help="folder in which everything that was measured is kept")
    made.add_argument("--k", default="100", help="labeled examples (default: 100)")
    made.add_argument("--protocol", default="strict", help="strict (default) or paper")
    made.add_argument("--model", default="minilm", help="as in pelt-automl select (default: minilm)")
    made.add_argument("--methods", type=names, default=names("lora,adapter,prefix,bitfit,unipelt-apl"), help="to choose from")
    made.add_argument("--epochs", type=float, help="of a full training (default: the program's)")
    made.add_argument("--seed", type=int, default=0, help="of the K examples, the same for all (default: 0)")
    made.add_argument("--head-start", choices=("probe", "random"), default="probe", help="of every training (default: probe)")
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
