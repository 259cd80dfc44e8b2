"""Are the verdict's statements true as often as they say? Made-up finals with a known truth, judged by the program's own statistics.

Intervals: how often they hold the truth, for one difference named beforehand, one mean, and all differences at once; the first two also
where some finalists are fitted without a random start. "Different": how often it is said of equal finalists. P(best): how often the leader
is the truly best, by what was said. The same with seeds added until the program's rule (`pelt_automl.recommendation.another_seed`) wants
no more.

    .venv/bin/python benchmarks/verdict_calibration.py --output results
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Report, Table, numbers, parser, say
from benchmarks.verdict_simulation import Said, brier, held, reliability, share, simulated, stopped
from benchmarks.verdict_worlds import World

EDGES = (0.0, 0.4, 0.6, 0.8, 0.95, 1.01)
LUCK = {
    "no luck of seeds": World(2, 3, own=0, common=0),
    "usual": World(2, 3, own=2, common=2),
    "shaky": World(2, 3, own=5, common=2),
    "one shakier (x2)": World(2, 3, own=2, common=2, unstable=2),
    "one shakier (x4)": World(2, 3, own=2, common=2, unstable=4),
    "usual, macro_f1": World(2, 3, metric="macro_f1", own=2, common=2),
    "usual, mae": World(2, 3, metric="mae", own=2, common=2),
}
"""Kinds of luck; points of standard deviation over seeds."""
FITTED_LUCK = {
    "usual": World(2, 3, own=2, common=2),
    "of the start": World(2, 3, own=2, common=0.5),
    "shaky starts": World(2, 3, own=5, common=0.5),
}
"""The same where some finalists are fitted without a random start and have 0.3 points for `own`."""


def intervals(finalists: Sequence[int], seeds: Sequence[int], repeats: int, resamples: int) -> Table:
    """Coverage, and what is said of equal finalists."""
    columns = ["luck", "finalists", "seeds", "difference", "mean", "all differences", "false different", "singly", "signed rank > 95 %"]
    table = Table(f"Equal finalists: shares of {repeats} finals (standard error at 95 %: {standard_error(repeats):.1%})", columns)
    for name, luck in LUCK.items():
        say(f"intervals: {name}")
        for F in finalists:
            for S in seeds:
                said = simulated(replace(luck, finalists=F, seeds=S), repeats, resamples)
                table.add(luck=name, finalists=F, seeds=S, **_shares(said))
    return table


def _shares(said: list[Said]) -> dict[str, float]:
    return {
        "difference": share(said, "pair"),
        "mean": share(said, "mean"),
        "all differences": share(said, "together"),
        "false different": share(said, "different"),
        "singly": share(said, "different_singly"),
        "signed rank > 95 %": sum(one.signed_rank > 0.95 for one in said) / len(said),
    }


def fitted_ones(finalists: Sequence[int], fitted: Sequence[int], seeds: Sequence[int], repeats: int, resamples: int) -> Table:
    """Coverage and widths where the first finalists are fitted without a random start, with and without treating them so."""
    what = ("fitted", "trained", "trained - fitted", "trained - trained")
    columns = ["luck", "finalists", "of them fitted", "seeds", "treated", *what, *(f"width: {one}" for one in what)]
    table = Table(f"Fitted finalists: coverage in {repeats} finals, and median widths of the intervals in points", columns)
    for name, luck in FITTED_LUCK.items():
        say(f"fitted finalists: {name}")
        for F, k, S in product(finalists, fitted, seeds):
            if k >= F:
                continue
            for treated in ("alike", "by itself"):
                found = held(replace(luck, finalists=F, fitted=k, seeds=S), repeats, resamples, alike=treated == "alike")
                row = {one: h.coverage for one, h in found.items()} | {f"width: {one}": h.width for one, h in found.items()}
                table.add(luck=name, finalists=F, seeds=S, treated=treated, **{"of them fitted": k}, **row)
    return table


def standard_error(repeats: int, truth: float = 0.95) -> float:
    """Of a share of so many finals."""
    return math.sqrt(truth * (1 - truth) / repeats)


def probabilities(finalists: Sequence[int], seeds: int, repeats: int, resamples: int) -> tuple[Table, Table]:
    """P(best) against how often it is true, for true spreads from nothing much to a lot; and in bins over all of them."""
    columns = ["spread", "finalists", "said", "true", "Brier", "plain share said", "plain Brier", "difference", "all differences"]
    table = Table(f"P(best) of the leader, {seeds} seeds, finalists that truly differ by `spread` points", columns)
    everything: list[Said] = []
    for spread in (0.5, 1.0, 2.0, 4.0, 8.0):
        say(f"P(best): spread {spread}")
        for F in finalists:
            said = simulated(World(F, seeds, own=2, common=2, spread=spread), repeats, resamples)
            everything += said
            table.add(
                spread=spread,
                finalists=F,
                said=sum(max(one.p_best) for one in said) / repeats,
                true=share(said, "leader_is_best"),
                Brier=brier(said),
                **{"plain share said": sum(max(one.share_best) for one in said) / repeats, "plain Brier": brier(said, "share_best")},
                difference=share(said, "pair"),
                **{"all differences": share(said, "together")},
            )
    bins = Table("All of the above, by what was said", ["what", "said", "true", "finals"])
    for what in ("p_best", "share_best"):
        for said_, true, count in reliability(everything, EDGES, what):
            bins.add(what={"p_best": "P(best)", "share_best": "plain share of draws"}[what], said=said_, true=true, finals=count)
    return table, bins


def stopping(finalists: Sequence[int], most: int, repeats: int, resamples: int) -> tuple[Table, Table]:
    """With seeds added until the rule wants no more."""
    columns = ["spread", "finalists", "mean seeds", "difference", "mean", "all differences", "different", "said", "true", "Brier"]
    table = Table(
        f"3 to {most} seeds, as many as the rule wants ({repeats} finals; with a spread of 0 all that is `different` is false)", columns
    )
    everything: list[Said] = []
    for spread in (0.0, 2.0, 4.0):
        for F in finalists:
            say(f"stopping: spread {spread}, {F} finalists")
            said = stopped(World(F, most, own=2, common=2, spread=spread), repeats, resamples=resamples)
            shares = {what: value for what, value in _shares(said).items() if what in columns}
            row = {"mean seeds": sum(one.seeds for one in said) / repeats, "different": share(said, "different"), **shares}
            if spread:
                everything += said
                greatest = [max(one.p_best) for one in said]
                row |= {"said": sum(greatest) / repeats, "true": share(said, "leader_is_best"), "Brier": brier(said)}
            table.add(spread=spread, finalists=F, **row)
    bins = Table("P(best) when the rule has stopped, by what was said", ["said", "true", "finals"])
    for said_, true, count in reliability(everything, EDGES):
        bins.add(said=said_, true=true, finals=count)
    return table, bins


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--repeats", type=int, default=1000, help="made-up finals a row")
    made.add_argument("--stopping-repeats", type=int, default=300, help="the same where seeds are added one by one, which takes longer")
    made.add_argument("--resamples", type=int, default=500, help="draws of the bootstrap (the program takes 2,000)")
    made.add_argument("--finalists", type=numbers, default=[2, 4, 8])
    made.add_argument("--seeds", type=numbers, default=[3, 5, 10])
    made.add_argument("--fitted", type=numbers, default=[1, 3], help="how many of the finalists are fitted without a random start")
    made.add_argument("--only", choices=("all", "fitted"), default="all", help="fitted: the table about fitted finalists alone")
    options = made.parse_args()
    report = Report("verdict_calibration", vars(options))
    report.tables.append(fitted_ones(options.finalists, options.fitted, options.seeds, options.repeats, options.resamples))
    if options.only == "fitted":
        report.write(options.output)
        return
    report.tables.append(intervals(options.finalists, options.seeds, options.repeats, options.resamples))
    report.tables += probabilities(options.finalists, min(options.seeds), options.repeats, options.resamples)
    report.tables += stopping(options.finalists, max(options.seeds), options.stopping_repeats, options.resamples)
    report.write(options.output)


if __name__ == "__main__":
    main()
