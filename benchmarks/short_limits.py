"""What short time limits recommend, next to the best that the same search saw on select.

``python -m benchmarks.short_limits --data-dir DIR --seconds 40,60,90 sst2:300 qnli:100 snips:300:lora+bitfit+prompt+ia3+full``

Each task is ``NAME:K`` with the methods to compare, if not the standard ones. A recommendation is sound when the best of its search is what
was recommended, or when the finals have shown something better; and when it has learned nothing, it has to say so.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.data_sets import find

COLUMNS = ("task", "limit", "took", "outcome", "answer", "select", "report", "best seen on select", "lost", "finalists", "never compared")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every task with every limit, one after the other, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", help="NAME:K or NAME:K:METHOD+METHOD")
    parser.add_argument("--data-dir", type=Path, action="append", required=True, help="folders with data sets")
    parser.add_argument("--seconds", default="30,40,50,60,75,90,105,120,150,180", help="limits")
    parser.add_argument("--model", default="minilm")
    given = parser.parse_args(arguments)
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    for task in given.tasks:
        name, k, *methods = task.split(":")
        [data] = find(given.data_dir, [name]).data_sets
        for seconds in map(int, given.seconds.split(",")):
            own = {"k": k, "seconds": seconds, "model": given.model, **({"methods": methods[0].replace("+", ",")} if methods else {})}
            print("| " + " | ".join([name, f"{seconds}", *_row({**data.options, **own})]) + " |", flush=True)


def _row(options: dict[str, object]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "selection"
        flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", _text(value))]
        start = time.monotonic()
        command = [sys.executable, "-m", "pelt_automl.cli", "select", *flags, "--output", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        took = f"{time.monotonic() - start:.0f}"
        if done.returncode:
            yield from (took, f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1][:160]}", *[""] * (len(COLUMNS) - 4))
            return
        yield took
        yield from _found(folder)


def _found(folder: Path) -> Iterator[str]:
    from pelt_automl.recommendation import load_recommendation
    from pelt_automl.recommendation.outcome import never_compared
    from pelt_automl.recommendation.wording import Unit
    from pelt_automl.records import Stage, State, TrialEnded, of_kind, read

    found, events = load_recommendation(folder), list(read(folder / "records.jsonl"))
    unit, sign = Unit(found.report_metric), 1 if found.greater_is_better else -1
    searched = [
        t for t in of_kind(events, TrialEnded) if t.stage == Stage.SEARCH and t.select_score is not None and t.state != State.FAILED
    ]
    best = max(searched, key=lambda trial: sign * (trial.select_score or 0.0))
    own = next((trial for trial in searched if trial.candidate == found.candidate), best)  # a smaller union has no trial of the search
    yield from (found.outcome, found.candidate, unit.number(own.select_score), unit.number(found.report_score))
    yield f"{best.candidate} {unit.number(best.select_score)} ({best.state}, {best.steps} steps)"
    yield unit.number(sign * ((best.select_score or 0.0) - (own.select_score or 0.0)))
    yield f"{len(found.leaderboard)}, {max((len(row.seed_scores) for row in found.leaderboard), default=0)} seeds"
    yield ", ".join(never_compared(events)) or "none"


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


if __name__ == "__main__":
    main()
