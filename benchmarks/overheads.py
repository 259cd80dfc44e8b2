"""Where a selection's wall time goes: training, evaluation, tokens, loading, Optuna, MLflow, Prefect, waiting.

    python benchmarks/overheads.py --task pydoc-match --ks 100,1000 --output results
    python benchmarks/overheads.py --ks 100 --paths cli,prefect

Each selection runs in a fresh process with a home of its own; the program's functions are wrapped from outside (watched_selection.py), so
that each second of the main thread belongs to exactly one line. MLflow is written by a process after the end, and its line is the wait for
that. What other threads do at the same time has lines of its own and is not a part of the sum. The flow runs against the server at
$PREFECT_API_URL; without one Prefect starts its own, and that start counts as Prefect's. Waiting is wall time in which the main thread had
no processor: locks, disks, servers, a busy machine, and a GPU that is waited for.
"""

import argparse
import inspect
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Report, Table, add_selection_options, names, parser, say, selection_options
from benchmarks.measuring import ProcessError, run_process
from benchmarks.watched_selection import SCORING, Request

TRAINING, EVALUATION = ("train", "collate, training"), ("evaluate", "collate, evaluation")
OVERHEADS = ("optuna", "mlflow", "prefect", "command line", "tokenize", "load model", "load data", "records", "checkpoints")
"""What the issue wants below 5 % of a selection's time: orchestration, tracking, tokenizing, loading."""

SHARES = ("path", "k", "part", "seconds", "share %", "waiting s", "calls")
TOTALS = (
    "path", "k", "seconds", "first trial s", "overheads %", "evaluation / training %", "scoring on report / training %",
    "padding %, training", "padding %, evaluation", "peak GB",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = _options(arguments)
    report = Report("overheads", {name: str(value) for name, value in vars(options).items()})
    totals, shares = Table("Selections", TOTALS), Table("Where the time goes", SHARES)
    report.tables += [totals, shares]
    report.data["selections"] = {}
    for path in options.paths:
        for k in options.ks:
            selection = selection_options(options) | {"k": k}
            if path == "prefect" and (unknown := _not_in_the_flow(selection)):
                report.notes.append(f"the flow has no parameter {', '.join(unknown)}: left at the default there")
                selection = {name: value for name, value in selection.items() if name not in unknown}
            say(f"{path}, k={k}")
            try:
                seen = _run(path, selection)
            except ProcessError as error:
                report.left_out.append(f"{path}, k={k}: {error}")
                continue
            report.data["selections"][f"{path}, k={k}"] = seen
            totals.add(path=path, k=k, **summary(seen))
            for row in lines(seen):
                shares.add(path=path, k=k, **row)
            if seen["not_found"]:
                report.left_out.append(f"not there to be timed: {', '.join(seen['not_found'])}")
    report.write(options.output)


def _run(path: str, selection: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        given = dict(selection)
        request = Request(path, given, str(Path(folder) / "selection"), time.monotonic())
        ended = run_process(["-m", "benchmarks.watched_selection", json.dumps(asdict(request))], _variables(folder, given))
    seen: dict[str, Any] = ended.result
    return seen


def _variables(folder: str, selection: Mapping[str, Any]) -> dict[str, str]:
    """A home of its own; a flow reads only from folders that it is told."""
    paths = [Path(str(selection[name])) for name in ("data_dir", "train", "validation", "test", "model") if name in selection]
    roots = [str(path if path.is_dir() else path.parent) for path in paths if path.is_absolute()]
    own_server = {
        "PREFECT_HOME": f"{folder}/prefect",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    return {
        "PELT_AUTOML_HOME": f"{folder}/home",
        "PELT_AUTOML_DATA_ROOTS": os.pathsep.join(roots),
        "PREFECT_LOGGING_LEVEL": "WARNING",
    } | ({} if "PREFECT_API_URL" in os.environ else own_server)


def _not_in_the_flow(selection: Mapping[str, Any]) -> list[str]:
    from flows.select_pelt import select_pelt

    return sorted(set(selection) - set(inspect.signature(select_pelt.fn).parameters))


def summary(seen: Mapping[str, Any]) -> dict[str, Any]:
    """A selection in a line. ``overheads``: share of `OVERHEADS` and of starting up in all seconds."""
    entries, seconds = seen["entries"], seen["seconds"]

    def wall(*parts: str) -> float:
        return math.fsum(entries[part]["wall"] for part in parts if part in entries)

    train, evaluation = wall(*TRAINING), wall(*EVALUATION)
    return {
        "seconds": seconds,
        "first trial s": seen["first_trial_seconds"],
        "overheads %": 100 * (wall(*OVERHEADS) + seen["start_seconds"]) / seconds,
        "evaluation / training %": 100 * evaluation / train if train else None,
        "scoring on report / training %": 100 * wall(SCORING) / train if train else None,
        "padding %, training": padding(seen["tokens"]["train"]),
        "padding %, evaluation": padding(seen["tokens"]["evaluate"]),
        "peak GB": seen["peak_bytes"] / 1e9,
    }


def padding(tokens: Mapping[str, int]) -> float | None:
    """Share of the tokens computed that are no text, in percent."""
    return 100 * (1 - tokens["real"] / tokens["computed"]) if tokens["computed"] else None


def lines(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every part with its share of all seconds, the largest first; then the waiting in all, and what ran beside."""
    total = seen["seconds"]
    rows = [{"part": "start (imports)", "seconds": seen["start_seconds"], "share %": 100 * seen["start_seconds"] / total}]
    rows += [_row(part, entry) | {"share %": 100 * entry["wall"] / total} for part, entry in seen["entries"].items()]
    rows.sort(key=lambda row: -row["seconds"])
    idle = sum(row.get("waiting s", 0.0) for row in rows if row["part"] not in (*TRAINING, *EVALUATION, SCORING))
    rows.append({"part": "of these: waiting outside of training and evaluation", "seconds": idle, "share %": 100 * idle / total})
    return rows + [_row(f"{part}, in a thread beside", entry) for part, entry in seen["beside"].items()]


def _row(part: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"part": part, "seconds": entry["wall"], "waiting s": max(0.0, entry["wall"] - entry["cpu"]), "calls": entry["calls"]}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    add_selection_options(made, task="pydoc-match", model="minilm", trials=4)
    made.add_argument("--ks", type=names, default=["100", "1000"], help="labeled examples, several (default: 100,1000)")
    made.add_argument("--paths", type=names, default=["cli"], help="cli, prefect (default: cli)")
    return made.parse_args(arguments)


if __name__ == "__main__":
    main()
