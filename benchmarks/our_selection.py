"""One selection by `pelt_automl.select` in a process of its own: ``python -m benchmarks.our_selection FOLDER OPTIONS`` (JSON)."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import hand_over


def main(arguments: Sequence[str]) -> None:
    """Run it and hand over its recommendation, what it tried, and its own bill."""
    folder, options = Path(arguments[0]), json.loads(arguments[1])
    import pelt_automl

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
        "examples_trained": sum(trial.steps for trial in trials) * batch,
        "steps_a_training": planned[-1].steps if planned else None,
        "precision": planned[-1].message.rpartition("; ")[2] if planned else "",
        "selection_seconds": ended.seconds,
        "bill": ended.bill,
        "not_counted_seconds": 0.0,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
