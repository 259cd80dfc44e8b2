"""The tables of selection_quality.py, and how its goals came out."""

import argparse
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.common import Report, Table
from benchmarks.quality_answers import OURS, Judged, Measured, OracleOf, defaults_of, judge
from benchmarks.quality_figures import Estimate, agreement, clustered, leads, mean_or_none
from pelt_automl.methods import FIXED_DEFAULTS

GOAL_BUDGET, GOAL_REGRET, GOAL_TIED, GOAL_BRIER = 0.1, 0.5, 95.0, 0.15

ORACLE = (
    "data set", "metric", "report examples", "best method", "score", "right methods", *(f"{method} default" for method in FIXED_DEFAULTS),
    "configurations", "cost s", "wall s",
)  # fmt: skip
QUALITY = (
    "budget",
    "contender",
    "selections",
    "data sets",
    "regret",
    "low",
    "high",
    "regret of best mean",
    "holds best %",
    "holds right %",
    "tied",
    "Brier",
    "ignorant",
    "truth's part",
    "same method %",
    "tie sets meet %",
    "seconds",
    "start s",
    "steps %",
    "trials",
)
LEADS = ("budget", "ours over", "points", "low", "high")
BY_DATA_SET = ("data set", "budget", "contender", "regret", "lowest", "highest", "recommended")


def tabulate(report: Report, oracles: Sequence[OracleOf], measured: Sequence[Measured], options: argparse.Namespace) -> None:
    """Fill the report."""
    by_name = {oracle.name: oracle for oracle in oracles}
    every = [one for oracle in oracles for one in defaults_of(oracle)]
    for one in measured:
        found = judge(by_name[one.data_set], one)
        if found is None:
            report.left_out.append(f"{one.data_set}, {one.contender}, repeat {one.repeat + 1}: its answer wasn't trained on fresh seeds")
        else:
            every.append(found)
    contenders = [*options.contenders, *dict.fromkeys(one.contender for one in every if one.budget is None)]
    report.tables += [
        Table("The oracle", ORACLE, [oracle.row() for oracle in oracles]),
        Table("Quality of the answers", QUALITY, _quality(every, contenders, options.budgets)),
        Table("Our lead", LEADS, _leads(every, contenders, options.budgets)),
        Table("By data set", BY_DATA_SET, _by_data_set(every)),
    ]
    report.notes += [f"{oracle.name}: 1 point is {oracle.point:.3g} of {oracle.metric}" for oracle in oracles if oracle.point != 0.01]
    if oracles:
        right = [len(oracle.truth.right) for oracle in oracles]
        report.notes.append(f"right methods: {statistics.fmean(right):.3g} of {len(options.methods)} a data set")
    report.notes += goals(every)
    report.data["answers"] = [asdict(one) | {"tied": sorted(one.tied)} for one in every]
    report.data["truth"] = {
        oracle.name: {
            "best": oracle.truth.best,
            "near": sorted(oracle.truth.near),
            "right": sorted(oracle.truth.right),
            "judged": oracle.judged,
            "configurations": [{"key": key, "scores": [run.score for run in own]} for key, own in oracle.runs.items()],
        }
        for oracle in oracles
    }


def _of(every: Sequence[Judged], contender: str, budget: float | None) -> list[Judged]:
    return [one for one in every if one.contender == contender and one.budget == budget]


def _by_name(every: Sequence[Judged]) -> dict[str, list[Judged]]:
    return {name: [one for one in every if one.data_set == name] for name in dict.fromkeys(one.data_set for one in every)}


def regrets(every: Sequence[Judged]) -> dict[str, list[float]]:
    """Those of each data set, in the order of the repeats."""
    return {name: [one.regret for one in sorted(own, key=lambda one: one.repeat)] for name, own in _by_name(every).items()}


def _quality(every: Sequence[Judged], contenders: Sequence[str], budgets: Sequence[float]) -> list[dict[str, Any]]:
    groups = [(contender, budget, _of(every, contender, budget)) for budget in (*budgets, None) for contender in contenders]
    return [{"budget": budget, "contender": contender, **quality(own)} for contender, budget, own in groups if own]


def quality(own: Sequence[Judged]) -> dict[str, Any]:
    """A contender's line at one budget."""
    estimate = clustered(list(regrets(own).values()))
    assert estimate is not None
    claimed, forecasts = [one for one in own if one.tied], [one.forecast for one in own if one.forecast]
    sets = [[one.tied for one in group if one.tied] for group in _by_name(own).values()]
    methods = [[frozenset({one.method}) for one in group] for group in _by_name(own).values()]
    best = clustered([[r for one in group if (r := one.regret_of_best) is not None] for group in _by_name(own).values()])
    return {
        "selections": len(own), "data sets": len(sets), "regret": estimate.mean, "low": estimate.low, "high": estimate.high,
        "regret of best mean": best.mean if best else None,
        "holds best %": _percent([one.holds_best for one in claimed]), "holds right %": _percent([one.holds_right for one in claimed]),
        "tied": mean_or_none([len(one.tied) for one in claimed]),
        "Brier": mean_or_none([error for one in forecasts for error in one.errors]),
        "ignorant": mean_or_none([error for one in forecasts for error in one.ignorant]),
        "truth's part": mean_or_none([error for one in forecasts for error in one.unsure]),
        "same method %": _times_100(agreement(methods)), "tie sets meet %": _times_100(agreement(sets)),
        "seconds": _mean(own, lambda one: one.seconds), "start s": _mean(own, lambda one: one.start_seconds),
        "steps %": _times_100(_mean(own, lambda one: one.steps_share)), "trials": _mean(own, lambda one: one.trials),
    }  # fmt: skip


def _mean(own: Sequence[Judged], value: Callable[[Judged], float | None]) -> float | None:
    return mean_or_none([found for one in own if (found := value(one)) is not None])


def _times_100(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _percent(values: Sequence[bool]) -> float | None:
    return _times_100(mean_or_none([float(value) for value in values]))


def _leads(every: Sequence[Judged], contenders: Sequence[str], budgets: Sequence[float]) -> list[dict[str, Any]]:
    found = [
        (budget, contender, lead_over(every, contender, budget)) for budget in budgets for contender in contenders if contender != OURS
    ]
    return [{"budget": b, "ours over": name, "points": lead.mean, "low": lead.low, "high": lead.high} for b, name, lead in found if lead]


def lead_over(every: Sequence[Judged], contender: str, budget: float) -> Estimate | None:
    """By how much our regret is smaller at this budget; a default's is the same at each."""
    theirs = _of(every, contender, budget) or _of(every, contender, None)
    return leads(regrets(_of(every, OURS, budget)), regrets(theirs))


def _by_data_set(every: Sequence[Judged]) -> list[dict[str, Any]]:
    lines = []
    for name, budget, contender in dict.fromkeys((one.data_set, one.budget, one.contender) for one in every):
        own = [one for one in _of(every, contender, budget) if one.data_set == name]
        values = [one.regret for one in own]
        counts = Counter(one.method for one in own).most_common()
        lines.append({
            "data set": name, "budget": budget, "contender": contender, "regret": statistics.fmean(values), "lowest": min(values),
            "highest": max(values), "recommended": ", ".join(f"{count} {method}" for method, count in counts),
        })  # fmt: skip
    return lines


def goals(every: Sequence[Judged]) -> list[str]:
    """The goals of our selections at a tenth of the oracle's cost, each with what came out; none without such selections."""
    own = _of(every, OURS, GOAL_BUDGET)
    if not own:
        return []
    line = quality(own)
    rivals = dict.fromkeys(one.contender for one in every if one.contender != OURS and one.budget in (None, GOAL_BUDGET))
    found = {name: lead for name in rivals if (lead := lead_over(every, name, GOAL_BUDGET))}
    behind = [name for name, lead in found.items() if lead.mean <= 0]
    shown = ", ".join(f"{name} {lead.mean:+.2f} [{lead.low:+.2f}, {lead.high:+.2f}]" for name, lead in found.items())
    return [
        _goal(f"mean regret at most {GOAL_REGRET} points", line["regret"], met=line["regret"] <= GOAL_REGRET),
        _goal(f"tie set right at least {GOAL_TIED:.0f} %", line["holds right %"], met=(line["holds right %"] or 0) >= GOAL_TIED),
        _goal(f"Brier score at most {GOAL_BRIER}", line["Brier"], met=line["Brier"] is not None and line["Brier"] <= GOAL_BRIER),
        f"goal: smaller regret than every other contender: {'missed against ' + ', '.join(behind) if behind else 'met'} ({shown})",
    ]


def _goal(what: str, value: float | None, *, met: bool) -> str:
    shown = "not measured" if value is None else f"{value:.3g}"
    return f"goal: {what}: {shown}, {'met' if met else 'missed'}"
