"""One selection by `pelt_automl.select` in a process of its own: ``python -m benchmarks.our_selection FOLDER OPTIONS`` (JSON)."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import hand_over

PARTS = {"search": "search", "finalists": "finalist"}
"""Phases on the bill that train, and the stage of their trainings."""


def main(arguments: Sequence[str]) -> None:
    """Run it and hand over its recommendation, what it tried, and its own bill."""
    folder, options = Path(arguments[0]), json.loads(arguments[1])
    import pelt_automl

    options = {"baselines": "none"} | options  # the peer has none
    found = pelt_automl.select(output=folder, **options)
    hand_over(
        {
            "method": found.method,
            "hyper_parameters": found.hyper_parameters,
            "report_score": found.report_score,
            "report_interval": found.report_interval,
            "metric": found.report_metric,
            "statement": found.statement,
            **_from_records(folder, options),
        }
    )


def _from_records(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    from pelt_automl.records import Planned, SelectionEnded, TrialEnded, of_kind, read
    from pelt_automl.selection import settings_from

    events = list(read(folder / "records.jsonl"))
    trials = of_kind(events, TrialEnded)
    batch = settings_from(**options).training.batch_size
    planned, (ended,) = of_kind(events, Planned), of_kind(events, SelectionEnded)
    return {
        "select_score": max((trial.select_score for trial in trials if trial.select_score is not None), default=None),
        "trials": dict(Counter(f"{trial.stage}, {trial.state}" for trial in trials)),
        "parts": {
            part: {"seconds": ended.bill[part], "examples": sum(trial.steps for trial in trials if trial.stage == stage) * batch}
            for part, stage in PARTS.items()
        },
        "steps_a_training": planned[-1].steps if planned else None,
        "precision": next((part for part in planned[-1].message.split("; ") if part.startswith("computing in")), "") if planned else "",
        "selection_seconds": ended.seconds,
        "bill": ended.bill,
        "not_counted_seconds": 0.0,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
