"""What short time limits recommend, next to the best that the same search saw on select.

``python -m studies.short_limits --data-dir DIR --limits 40,60,90 sst2:300 qnli:100 snips:300:lora+bitfit+prompt+ia3+full``

Each task is ``NAME:K`` with the methods to compare, if not the standard ones. A recommendation is sound when the best of its search is what
was recommended, or when the finals have shown something better; and when it has learned nothing, it has to say so.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pelt_automl.errors import PeltError
from studies.answers import history_of
from studies.data_sets import find
from studies.harness import ProcessError, Report, Row, add_options, fresh_process, numbers, parser, say


def limited(folder: str, options: Mapping[str, Any]) -> Row:
    """One selection, and what its search saw."""
    import pelt_automl
    from pelt_automl.log.events import Stage, State, sign_of
    from pelt_automl.verdict.outcome import never_compared
    from pelt_automl.verdict.wording import Unit

    found, history = pelt_automl.select(output=Path(folder), **options), history_of(folder)
    unit, sign = Unit(found.report_metric), sign_of(found.greater_is_better)
    trials = [trial for trial in history.ended(Stage.SEARCH) if trial.state != State.FAILED and trial.select_score is not None]
    best = max(trials, key=lambda trial: sign * (trial.select_score or 0.0))
    own = next((trial for trial in trials if trial.candidate == found.candidate), best)  # a smaller union has no trial of the search
    seeds = max((len(row.seed_scores) for row in found.leaderboard), default=0)
    return {
        "outcome": found.outcome, "answer": found.candidate, "select": unit.number(own.select_score),
        "report": unit.number(found.report_score),
        "best seen on select": f"{best.candidate} {unit.number(best.select_score)} ({best.state}, {best.steps} steps)",
        "lost": unit.number(sign * ((best.select_score or 0.0) - (own.select_score or 0.0))),
        "finalists": f"{len(found.leaderboard)}, {seeds} seeds", "never compared": ", ".join(never_compared(history)) or "none",
    }  # fmt: skip


def a_task(text: str) -> tuple[str, str, str]:
    """``NAME:K`` or ``NAME:K:METHOD+METHOD``: the name, K (or ``full``), and the methods separated by commas."""
    name, _, rest = text.partition(":")
    k, _, methods = rest.partition(":")
    if not name or not (k.isdigit() or k == "full"):
        raise argparse.ArgumentTypeError(f"expected NAME:K or NAME:K:METHOD+METHOD such as sst2:100, not {text!r}")
    return name, k, methods.replace("+", ",")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every task with every limit, one after the other."""
    made = parser("short_limits", __doc__)
    made.add_argument("tasks", nargs="+", type=a_task, help="NAME:K or NAME:K:METHOD+METHOD")
    made.add_argument("--data-dir", type=Path, action="append", required=True, help="folders with data sets")
    add_options(made, {
        "limits": (numbers, [30, 40, 50, 60, 75, 90, 105, 120, 150, 180], "seconds"),
        "model": (str, "minilm", ""),
    })  # fmt: skip
    asked = made.parse_args(arguments)
    report = Report("short_limits", asked)
    try:
        data_sets, _ = find(asked.data_dir, [name for name, _, _ in asked.tasks])
    except PeltError as error:
        made.error(str(error))
    for name, k, methods in asked.tasks:
        task, options = ":".join(filter(None, (name, k, methods.replace(",", "+")))), data_sets[name]
        for seconds in asked.limits:
            own = {"k": k, "seconds": seconds, "model": asked.model} | ({"methods": methods} if methods else {})
            say(f"{task}, {seconds} s")
            with tempfile.TemporaryDirectory() as home:
                given = {"folder": f"{home}/selection", "options": {**options, **own}}
                try:
                    ended = fresh_process("studies.short_limits:limited", Path(home), **given)
                except ProcessError as error:
                    report.leave_out(f"{task}, {seconds} s", error)
                    continue
            report.add("Answers", task=task, limit=seconds, took=ended.seconds, **ended.result)
    report.write()


if __name__ == "__main__":
    main()
