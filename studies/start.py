"""What the table says of where a training starts: from the probe, or at random. Read from the open sources alone, at K = 100.

``python -m studies.start`` prints it; ``--write PAGE`` puts it between the marks of a page. The unit of inference is the source: seeds,
methods and tasks are averaged inside each, and an interval is a t-interval over sources, of three at least.
"""

import argparse
import sys
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pelt_automl.durable import write_text
from pelt_automl.errors import PeltError, SettingsError
from studies.start_figures import (
    CLOSE,
    CONFIDENCE,
    FEWEST_RANKED,
    FEWEST_SOURCES,
    GROUPS,
    MOMENTS,
    RANKED,
    Estimate,
    in_points,
    over_sources,
    probe_alone,
    rank_correlations,
    starts_compared,
)
from studies.table_files import TABLE, load_table
from studies.table_grid import K

BEGIN, END = "<!-- figures: python -m studies.start --write docs/table.md -->", "<!-- end of the figures -->"


def page(table: pd.DataFrame) -> str:
    """All three answers as Markdown. Raises `SettingsError` where nothing is recorded yet."""
    frame = in_points(table)
    if frame.empty:
        raise SettingsError("the table has no trainings of open sources yet; record some, then: python -m studies.table write")
    parts = [_about(frame), _of_starts(starts_compared(frame)), _of_probe(probe_alone(frame)), _of_ranks(frame)]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _about(frame: pd.DataFrame) -> list[str]:
    failed = int((frame["failure"] != "").sum())
    machines, days = ", ".join(sorted(set(frame["machine"].dropna()))), sorted(set(frame["recorded"].dropna()))
    when = " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))
    return [
        (
            f"{len(frame):,} trainings and fits at K = {K} of {frame['source'].nunique()} open sources ({frame['task'].nunique()} tasks), "
            f"{failed} of them failed; {machines}, {when}. Points of each task's metric (1 point = 0.01); in brackets "
            f"{100 * CONFIDENCE:.0f} % intervals over sources, left out where there are fewer than {FEWEST_SOURCES}."
        )
    ]


# -------------------------------------------------------------------- the start


def _of_starts(pairs: pd.DataFrame) -> list[str]:
    title = "**Probe start less random start**, published defaults, the same seeds"
    if pairs.empty:
        return [f"{title}: no default is recorded from both starts yet."]
    above = pairs[pairs["above_chance"].astype(bool)]
    rows = [_differences("all methods", pairs), _differences("all methods, probe above chance", above)]
    rows += [_differences(f"`{method}`", own) for method, own in pairs.groupby("method", sort=False)]
    by_source = [_levels(str(source), own) for source, own in pairs.groupby("source", sort=False)]
    return [
        f"{title}: {2 * len(pairs):,} trainings. All columns but the last are scores on select, of 30 examples each.",
        "The second line has the splits whose probe is above chance in cross-validation: there the program starts from it.",
        "",
        *_markdown(["", "sources", "trainings", *MOMENTS.values()], rows),
        "",
        "By source, probe start against random start, mean over methods (those that it has from both starts) and seeds:",
        "",
        *_markdown(["", "trainings", *MOMENTS.values()], by_source),
        "",
        *_worse(pairs),
    ]


def _differences(name: str, own: pd.DataFrame) -> list[str]:
    found = [over_sources(own, moment) for moment in MOMENTS]
    return [name, str(own["source"].nunique()), f"{2 * len(own):,}", *("-" if one is None else _points(one) for one in found)]


def _points(own: Estimate) -> str:
    return f"{own.mean:+.1f}" + ("" if own.interval is None else f" [{own.interval[0]:+.1f}, {own.interval[1]:+.1f}]")


def _levels(name: str, own: pd.DataFrame) -> list[str]:
    def level(column: str) -> str:
        found = over_sources(own, column)
        return "-" if found is None else f"{found.mean:.1f}"

    return [name, str(2 * len(own)), *(f"{level(f'{moment}_probe')} against {level(f'{moment}_random')}" for moment in MOMENTS)]


def _worse(pairs: pd.DataFrame) -> list[str]:
    """Where the probe's start loses by the mean over seeds, after all of the steps and on report."""
    cells = pairs.groupby(["task", "method"], sort=False)
    found = []
    for moment in ("100", "report"):
        means = cells[moment].mean()
        worse = means[means < -CLOSE].sort_values()
        named = [f"`{method}` on {task} ({worse[task, method]:+.1f})" for task, method in worse.index]
        place = "after all steps (select)" if moment == "100" else "on report"
        found.append(
            f"Worse by more than a point {place}: {len(worse)} of {len(means)} methods on tasks{': ' * bool(named)}{', '.join(named)}."
        )
    return [found[0], "", found[1]]


# -------------------------------------------------------------------- the probe alone


def _of_probe(alone: pd.DataFrame) -> list[str]:
    title = "**`probe` alone against the best configuration**, on report"
    if alone.empty:
        return [f"{title}: no task has both yet."]
    near = alone[alone["behind"] <= CLOSE]
    share = over_sources(alone.assign(percent=100 * alone["close"]), "percent", ["task"])
    often = "-" if share is None else f"{share.mean:.0f} %"
    if share is not None and share.interval is not None:
        often += f" [{max(0.0, share.interval[0]):.0f}, {min(100.0, share.interval[1]):.0f}]"
    summary = (
        f"{title}: within a point of it in {len(near)} of {len(alone)} tasks ({near['source'].nunique()} of {alone['source'].nunique()} "
        f"sources) by the mean over seeds, and on {often} of the seeds. "
        f"It rests on {alone['trainings'].sum():,} trainings; the best is found on the scores that it is compared by, which flatters it."
    )
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
    return [summary, "", *_markdown(head, [_against_best(row) for row in alone.to_dict("records")])]


def _against_best(row: dict[Hashable, Any]) -> list[str]:
    counts = [str(row[name]) for name in ("source", "task", "configurations", "trainings", "seeds")]
    scores = ["{best_score:.1f}", "{probe:.1f}", "{behind:+.1f}"]
    return [
        *counts,
        "`{method}` {best}".format_map(row),
        *(one.format_map(row) for one in scores),
        f"{row['close']:.0%}".replace("%", " %"),
    ]


# -------------------------------------------------------------------- ranks


def _of_ranks(frame: pd.DataFrame) -> list[str]:
    title = "**Rank correlation** (Spearman) of the score at a rung with the final one, over the trainings of a task and seed"
    rows = [_correlations(group, own) for group in GROUPS if not (own := rank_correlations(frame, group)).empty]
    if not rows:
        return [f"{title}: no task and seed has {FEWEST_RANKED} trainings yet."]
    names = {"25": "25 %", "50": "50 %", "100": "100 %", "report": "report"}
    head = ["", "sources", "trainings", *(f"{names[a]} with {names[b]}" for a, b in RANKED)]
    return [f"{title}, {FEWEST_RANKED} at least; mean over seeds, tasks and sources:", "", *_markdown(head, rows)]


def _correlations(group: str, own: pd.DataFrame) -> list[str]:
    found = [over_sources(own, f"{a} with {b}", ["task"]) for a, b in RANKED]
    return [
        group,
        str(own["source"].nunique()),
        f"{own['trainings'].sum():,}",
        *("-" if one is None else _correlation(one) for one in found),
    ]


def _correlation(own: Estimate) -> str:
    return f"{own.mean:.2f}" + ("" if own.interval is None else f" [{own.interval[0]:.2f}, {own.interval[1]:.2f}]")


# -------------------------------------------------------------------- the page


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return [lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]]


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
