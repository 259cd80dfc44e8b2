"""What the table says of where a training starts: from the probe, or at random. Read from the open sources alone, at K = 100.

``python -m studies.start`` prints it; ``--write PAGE`` puts it between the marks of a page. The unit of inference is the source: seeds,
methods and tasks are averaged inside each, and an interval is a t-interval over sources, of three at least.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pelt_automl.durable import write_text
from pelt_automl.errors import PeltError, SettingsError
from pelt_automl.methods import BASELINES
from studies.harness import t_interval
from studies.table_files import TABLE, load_table
from studies.table_grid import DEFAULT, PROBE, K

BEGIN, END = "<!-- figures: python -m studies.start --write docs/table.md -->", "<!-- end of the figures -->"
FEWEST_SOURCES, FEWEST_RANKED = 3, 5
"""That an interval may rest on; trainings that a rank correlation may rest on."""
CLOSE = 1.0
"""Points of the metric (1 point = 0.01): within so many a score is as good as another."""
MOMENTS = {"25": "25 % of the steps", "50": "50 %", "100": "100 %", "report": "report, best checkpoint"}
"""The first three on select."""
RANKED = (("25", "100"), ("50", "100"), ("25", "report"), ("50", "report"), ("100", "report"))
GROUPS: Mapping[str, Callable[[pd.DataFrame], pd.Series]] = {
    "probe start, defaults": lambda own: (own["head_start"] == "probe") & (own["configuration"] == DEFAULT),
    "random start, defaults": lambda own: (own["head_start"] == "random") & (own["configuration"] == DEFAULT),
    "probe start, all configurations": lambda own: own["head_start"] == "probe",
}
"""Whose ranks are compared, inside a task and seed."""


def by_source(frame: pd.DataFrame, value: str, inside: Sequence[str] = ("method", "task")) -> list[float]:
    """The mean of `value` in each source, averaged inside it over what `inside` names, one after the other."""
    levels = ["source", *reversed(inside)]
    means = frame.dropna(subset=[value]).groupby(levels)[value].mean()
    while levels := levels[:-1]:
        means = means.groupby(level=levels).mean()
    return [float(own) for own in means]


def shown(means: Sequence[float], form: str, low: float = -np.inf, high: float = np.inf) -> str:
    """Their mean, with its 95 % interval from `low` to `high`, left out of fewer than `FEWEST_SOURCES`: ``+1.2 [+0.9, +1.5]``."""
    if not means:
        return "-"
    interval = t_interval(means, FEWEST_SOURCES)
    bounds = f" [{max(low, interval[0]):{form}}, {min(high, interval[1]):{form}}]" if interval else ""
    return f"{np.mean(means):{form}}" + bounds


# -------------------------------------------------------------------- what is compared


def in_points(table: pd.DataFrame) -> pd.DataFrame:
    """Trainings at `K`, with their scores at each of `MOMENTS` in points; NaN where they failed before. Greater is better throughout."""
    frame = table[table["k"] == K].copy()
    sign = np.where(frame["metric"].isin(["rmse", "mae"]), -100.0, 100.0)
    columns = zip(frame["curve_step"], frame["curve_score"], frame["rungs"], frame["steps"], strict=True)
    curves = [
        (dict(zip(steps, scores, strict=True)), [*rungs, end] if len(rungs) == 2 else [None] * 3) for steps, scores, rungs, end in columns
    ]
    for place, name in enumerate(("25", "50", "100")):
        frame[name] = sign * np.array([float(scores.get(at[place], np.nan)) for scores, at in curves])
    frame["report"] = sign * frame["report_score"].astype(float)
    return frame


def starts_compared(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each default that was trained from both starts with the same seeds: scores ``25_probe``, ``25_random``, and ``25`` between.

    Failed trainings leave their pair out. ``above_chance``: whether the split's probe was, so that the program would start from it.
    """
    own, keys = frame[(frame["configuration"] == DEFAULT) & (frame["failure"] == "")], ["source", "task", "method", "seed"]
    probe, random = (own[own["head_start"] == start] for start in ("probe", "random"))
    pairs = probe[[*keys, "above_chance", *MOMENTS]].merge(random[[*keys, *MOMENTS]], on=keys, suffixes=("_probe", "_random"))
    return pairs.assign(**{name: pairs[f"{name}_probe"] - pairs[f"{name}_random"] for name in MOMENTS})


def probe_alone(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a task: the probe against the best configuration, on the seeds of both.

    The best is that with the greatest mean difference to the probe; it is found on the scores that it is then compared by, which flatters
    it. ``close``: the share of seeds on which the probe is no more than `CLOSE` points worse.
    """
    done, keys = frame[frame["failure"] == ""], ["source", "task", "method", "configuration", "head_start"]
    probe = done[done["method"] == PROBE][["task", "seed", "report"]].rename(columns={"report": "probe"})
    tuned = done[~done["method"].isin(list(BASELINES))].merge(probe, on=["task", "seed"]).dropna(subset=["report", "probe"])
    if tuned.empty:
        return tuned
    tuned = tuned.assign(behind=tuned["report"] - tuned["probe"])
    tuned["close"] = (tuned["behind"] <= CLOSE).astype(float)
    means = tuned.groupby(keys, as_index=False)[["report", "probe", "behind", "close"]].mean()
    means["seeds"] = tuned.groupby(keys).size().to_numpy()
    best = means.loc[means.groupby("task")["behind"].idxmax()].rename(columns={"report": "best_score"})
    best["best"] = best["configuration"] + ", " + best["head_start"] + " start"
    counts = pd.DataFrame({"configurations": means.groupby("task").size(), "trainings": tuned.groupby("task").size()})
    return best.merge(counts, left_on="task", right_index=True).sort_values(["source", "task"])


def rank_correlations(frame: pd.DataFrame, group: str) -> pd.DataFrame:
    """A row for each task and seed: Spearman's correlation over trainings of the score at a rung and of the final one.

    Columns ``25 with 100``, ``25 with report``, and so on; NaN where all have one score, or one has none.
    """
    done = frame[(frame["failure"] == "") & ~frame["method"].isin(list(BASELINES))]
    rows = []
    for (source, task, seed), own in done[GROUPS[group](done)].groupby(["source", "task", "seed"]):
        if len(own) >= FEWEST_RANKED:
            ranks = own[list(MOMENTS)].dropna(axis=1).rank().reindex(columns=list(MOMENTS))  # Spearman's correlation is Pearson's of ranks
            found = {f"{at} with {end}": ranks[at].corr(ranks[end]) for at, end in RANKED}
            rows.append({"source": source, "task": task, "seed": seed, "trainings": len(own)} | found)
    return pd.DataFrame(rows, columns=["source", "task", "seed", "trainings", *(f"{at} with {end}" for at, end in RANKED)])


# -------------------------------------------------------------------- the page


def page(table: pd.DataFrame) -> str:
    """All three answers as Markdown. Raises `SettingsError` where nothing is recorded yet."""
    frame = in_points(table)
    if frame.empty:
        raise SettingsError("the table has no trainings of open sources yet; record some, then: python -m studies.table write")
    machines, days = ", ".join(sorted(set(frame["machine"].dropna()))), sorted(set(frame["recorded"].dropna()))
    failed, when = int((frame["failure"] != "").sum()), " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))
    about = (
        f"{len(frame):,} trainings and fits at K = {K} of {frame['source'].nunique()} open sources ({frame['task'].nunique()} tasks), "
        f"{failed} of them failed; {machines}, {when}. Points of each task's metric (1 point = 0.01); in brackets 95 % intervals over "
        f"sources, left out where there are fewer than {FEWEST_SOURCES}."
    )
    return "\n\n".join([about, *_of_starts(starts_compared(frame)), *_of_probe(probe_alone(frame)), *_of_ranks(frame)]) + "\n"


def _of_starts(pairs: pd.DataFrame) -> list[str]:
    title = "**Probe start less random start**, published defaults, the same seeds"
    if pairs.empty:
        return [f"{title}: no default is recorded from both starts yet."]

    def levels(own: pd.DataFrame, moment: str) -> str:
        return " against ".join(f"{np.mean(by_source(own, f'{moment}_{start}')):.1f}" for start in ("probe", "random"))

    groups = [("all methods", pairs), ("all methods, probe above chance", pairs[pairs["above_chance"].astype(bool)])]
    groups += [(f"`{method}`", own) for method, own in pairs.groupby("method", sort=False)]
    rows = [
        [name, own["source"].nunique(), f"{2 * len(own):,}", *(shown(by_source(own, at), "+.1f") for at in MOMENTS)] for name, own in groups
    ]
    sources = [[source, 2 * len(own), *(levels(own, at) for at in MOMENTS)] for source, own in pairs.groupby("source", sort=False)]
    worse = []
    for moment, place in (("100", "after all steps (select)"), ("report", "on report")):
        means = pairs.groupby(["task", "method"], sort=False)[moment].mean()
        losses = means[means < -CLOSE].sort_values().reset_index()
        named = [f"`{method}` on {task} ({value:+.1f})" for task, method, value in losses.itertuples(index=False)]
        listed = f": {', '.join(named)}" if named else ""
        worse.append(f"Worse by more than a point {place}: {len(named)} of {len(means)} methods on tasks{listed}.")
    return [
        (
            f"{title}: {2 * len(pairs):,} trainings. All columns but the last are scores on select, of 30 examples each.\n"
            "The second line has the splits whose probe is above chance in cross-validation: there the program starts from it."
        ),
        _markdown(["", "sources", "trainings", *MOMENTS.values()], rows),
        "By source, probe start against random start, mean over methods (those that it has from both starts) and seeds:",
        _markdown(["", "trainings", *MOMENTS.values()], sources),
        *worse,
    ]


def _of_probe(alone: pd.DataFrame) -> list[str]:
    title = "**`probe` alone against the best configuration**, on report"
    if alone.empty:
        return [f"{title}: no task has both yet."]
    near = alone[alone["behind"] <= CLOSE]
    often = shown(by_source(alone.assign(percent=100 * alone["close"]), "percent", ["task"]), ".0f", 0.0, 100.0).partition(" ")
    head = [
        "source",
        "task",
        "configurations",
        "trainings",
        "seeds of the best",
        "best",
        "its score",
        "`probe`",
        "behind",
        "within a point",
    ]
    rows = [
        [*(row[name] for name in ("source", "task", "configurations", "trainings", "seeds")), f"`{row['method']}` {row['best']}",
         f"{row['best_score']:.1f}", f"{row['probe']:.1f}", f"{row['behind']:+.1f}", f"{100 * row['close']:.0f} %"]
        for row in alone.to_dict("records")
    ]  # fmt: skip
    summary = (
        f"{title}: within a point of it in {len(near)} of {len(alone)} tasks ({near['source'].nunique()} of {alone['source'].nunique()} "
        f"sources) by the mean over seeds, and on {' '.join([often[0], '%', often[2]]).strip()} of the seeds. "
        f"It rests on {alone['trainings'].sum():,} trainings; the best is found on the scores that it is compared by, which flatters it."
    )
    return [summary, _markdown(head, rows)]


def _of_ranks(frame: pd.DataFrame) -> list[str]:
    title = "**Rank correlation** (Spearman) of the score at a rung with the final one, over the trainings of a task and seed"
    groups = {group: own for group in GROUPS if not (own := rank_correlations(frame, group)).empty}
    if not groups:
        return [f"{title}: no task and seed has {FEWEST_RANKED} trainings yet."]
    head = ["", "sources", "trainings", *(" with ".join(own if own == "report" else f"{own} %" for own in pair) for pair in RANKED)]
    rows = [
        [
            group,
            own["source"].nunique(),
            f"{own['trainings'].sum():,}",
            *(shown(by_source(own, f"{a} with {b}", ["task"]), ".2f", -1.0, 1.0) for a, b in RANKED),
        ]
        for group, own in groups.items()
    ]
    return [f"{title}, {FEWEST_RANKED} at least; mean over seeds, tasks and sources:", _markdown(head, rows)]


def _markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]])


def put_into(target: Path, text: str) -> None:
    """Replace what stands between the marks of a page. Raises `SettingsError` for a page without them."""
    content = target.read_text(encoding="utf-8") if target.is_file() else ""
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SettingsError(f"{target} has no lines {BEGIN} and {END}; the figures are put between them")
    write_text(target, f"{before}{begin}\n\n{text}\n{end}{after}")


def parser() -> argparse.ArgumentParser:
    """Of its options."""
    found = argparse.ArgumentParser(prog="python -m studies.start", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    found.add_argument("--table", type=Path, default=TABLE, help="folder with the Parquet files (default: studies/table)")
    found.add_argument("--write", type=Path, default=None, metavar="PAGE", help="put it between the marks of this page")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 where there is nothing to say."""
    asked = parser().parse_args(arguments)
    try:
        text = page(load_table(folder=asked.table))
        if asked.write is None:
            print(text, end="")
        else:
            put_into(asked.write, text)
    except PeltError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
