"""The program's search alone, a selection a method: ``python -m benchmarks.our_search FOLDER OPTIONS`` (JSON), for rungs.py.

No trial is stopped early: `promoted` is 1, patience never ends, and a method that is alone in its selection has no race to leave. Each
method's trials are what they are in a selection of several methods: they share the seed of splits, initialization and order.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import say
from benchmarks.measuring import hand_over

IN_FULL = {"promoted": 1.0, "patience": 1_000_000, "baselines": "none"}
"""Options with which every trial is trained to its last step, and nothing else takes part."""


def main(arguments: Sequence[str]) -> None:
    """Search each method and hand over its trials and the plan; of a method that can't be searched, the reason."""
    folder, options = Path(arguments[0]), json.loads(arguments[1])
    from pelt_automl.errors import PeltError
    from pelt_automl.selection import settings_from

    found: dict[str, Any] = {"methods": {}, "failed": {}}
    for method in settings_from(**options).search.methods:
        say(f"seed {options.get('seed', 0)}: {method}")
        try:
            found["methods"][method] = search_alone(folder / method, method, options)
        except PeltError as error:
            found["failed"][method] = str(error)
    hand_over(found)


def search_alone(folder: Path, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Trials of one method, as lines of records, with the metric and the plan they had. Raises what a selection raises."""
    from pelt_automl.records import DataDescribed, TrialEnded, to_json
    from pelt_automl.selection import Selection, settings_from

    with Selection.open(settings_from(**dict(options) | IN_FULL | {"methods": method}), folder) as selection:
        selection.prepare()
        selection.search()
        record, plan = selection.context.record, selection.context.plan
        (data,) = record.of(DataDescribed)
        return {
            "metric": data.metric,
            "greater_is_better": data.greater_is_better,
            "steps": plan.steps,
            "evaluate_at": plan.evaluate_at,
            "trials": [to_json(trial) for trial in record.of(TrialEnded)],
        }


if __name__ == "__main__":
    main(sys.argv[1:])
