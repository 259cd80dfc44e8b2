"""Whole selections by the program, each meant for a fresh process, as what their records say of them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pelt_automl.log.events import Stage
from pelt_automl.log.folder import RECORDS
from studies.harness import Row

PARTS = {"search": Stage.SEARCH, "finalists": Stage.FINALIST}
"""Phases on the bill that train, and the stage of their trainings."""


def ours(folder: str, options: Mapping[str, Any]) -> Row:
    """`pelt_automl.select` without baselines (the peer has none): its recommendation, what it tried, and its own bill."""
    import pelt_automl
    from pelt_automl.log.codec import read
    from pelt_automl.log.events import Planned, SelectionEnded, SelectionStarted, TrialEnded, of_kind

    found = pelt_automl.select(output=Path(folder), **{"baselines": "none"} | dict(options))
    events = list(read(Path(folder) / RECORDS))
    trials, planned = of_kind(events, TrialEnded), of_kind(events, Planned)
    (ended,) = of_kind(events, SelectionEnded)
    batch = of_kind(events, SelectionStarted)[-1].settings["training"]["batch_size"]
    described = planned[-1].message.split("; ") if planned else []
    return {
        "method": found.method, "hyper_parameters": found.hyper_parameters, "report_score": found.report_score,
        "report_interval": found.report_interval, "metric": found.report_metric, "statement": found.statement,
        "trials": dict(Counter(f"{trial.stage}, {trial.state}" for trial in trials)),
        "parts": {
            part: {"seconds": ended.bill[part], "examples": sum(trial.steps for trial in trials if trial.stage == stage) * batch}
            for part, stage in PARTS.items()
        },
        "precision": next((part for part in described if part.startswith("computing in")), ""),
        "selection_seconds": ended.seconds, "bill": ended.bill, "not_counted_seconds": 0.0,
    }  # fmt: skip
