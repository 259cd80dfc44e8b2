"""Whole selections by the program, each meant for a fresh process, as what their records say of them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pelt_automl.log.codec import read
from pelt_automl.log.events import Stage
from pelt_automl.log.folder import RECORDS
from pelt_automl.log.history import History
from studies.harness import Row

PARTS = {"search": Stage.SEARCH, "finalists": Stage.FINALIST}
"""Phases on the bill that train, and the stage of their trainings."""


def history_of(folder: str) -> History:
    """Of the selection in this folder, or below it: what lies deeper is a copy."""
    return History.of(read(min(Path(folder).rglob(RECORDS), key=lambda path: len(path.parts))))


def parts_of(history: History) -> Row:
    """Seconds of a selection without workers that has come to its end: search, the finals' trainings and fits, scoring on report, and all
    else (imports, data, model, the baselines before the search, evidence, latency and memory).
    """
    end = history.end
    assert end is not None
    searched = {(trial.method, trial.seeds) for trial in history.ended(Stage.SEARCH)}  # what is taken over costs nothing again
    finals = sum(trial.seconds for trial in history.ended(Stage.FINALIST) if (trial.method, trial.seeds) not in searched)
    search, confirming = (end.bill.get(part, 0.0) for part in PARTS)
    return {"search": search, "finals' trainings": finals, "scoring": confirming - finals, "fixed": end.seconds - search - confirming}


def ours(folder: str, options: Mapping[str, Any]) -> Row:
    """`pelt_automl.select` without baselines (the peer has none): its recommendation, what it tried, and its own bill."""
    import pelt_automl

    found, history = pelt_automl.select(output=Path(folder), **{"baselines": "none"} | dict(options)), history_of(folder)
    trials, end, plan, started = history.ended(), history.end, history.plan, history.started
    assert end is not None  # it has come to its end
    assert started is not None
    batch = started.settings["training"]["batch_size"]
    return {
        "method": found.method, "hyper_parameters": found.hyper_parameters, "report_score": found.report_score,
        "report_interval": found.report_interval, "metric": found.report_metric, "statement": found.statement,
        "trials": dict(Counter(f"{trial.stage}, {trial.state}" for trial in trials)),
        "parts": {
            part: {"seconds": end.bill[part], "examples": sum(trial.steps for trial in trials if trial.stage == stage) * batch}
            for part, stage in PARTS.items()
        },
        "precision": next((part for part in (plan.message if plan else "").split("; ") if part.startswith("computing in")), ""),
        "selection_seconds": end.seconds, "bill": end.bill, "not_counted_seconds": 0.0,
    }  # fmt: skip
