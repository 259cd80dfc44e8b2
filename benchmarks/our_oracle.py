"""The oracle's search of one method, in a process of its own: ``python -m benchmarks.our_oracle REQUEST`` (a JSON object).

It is the program's own without anything that saves time: every trial is trained to its end (no rung, no race, no portfolio). It goes on
where a killed one stood. What it found best is trained on fresh seeds by `retraining`, with the published default.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import hand_over
from benchmarks.quality_cache import Cache, Configuration, Row, append
from benchmarks.retraining import Busy, settings_of

if TYPE_CHECKING:
    from pelt_automl.selection.context import Context

GENEROUS = {"baselines": "none", "promoted": 1.0, "rungs": "none", "race": False, "portfolio": False}
"""Options of a search in which every trial is trained in full."""

SEARCH_SEED = 0
"""Of the oracle's search."""


def configurations(searched: Mapping[str, Any], finalists: int) -> list[Configuration]:
    """The default, and the best `finalists` trials by select score (of equals the earlier), from a search's row."""
    trials = [trial for trial in searched["found"] if trial["select_score"] is not None and trial["state"] == "completed"]
    sign = 1 if searched["greater_is_better"] else -1
    ranked = sorted(trials, key=lambda trial: (-sign * trial["select_score"], trial["number"]))
    default = default_of(searched)
    found = ([default] if default else []) + [_configuration(searched, trial) for trial in ranked[:finalists]]
    return list({configuration.key: configuration for configuration in found}.values())


def default_of(searched: Mapping[str, Any]) -> Configuration | None:
    """The published default; None if its training failed."""
    return next(
        (_configuration(searched, trial) for trial in searched["found"] if trial["is_default"] and trial["state"] == "completed"), None
    )


def _configuration(searched: Mapping[str, Any], trial: Mapping[str, Any]) -> Configuration:
    return Configuration(searched["method"], trial["hyper_parameters"], searched["steps"])


def main(arguments: Sequence[str]) -> None:
    """Search the method, and write what was found into its file."""
    request = json.loads(arguments[0])
    from pelt_automl.selection import Selection
    from pelt_automl.selection.environment import usable_cores

    cache, method, trials = Cache(Path(request["cache"])), request["method"], request["trials"]
    options = request["options"] | GENEROUS | {"methods": method, "trials": trials}
    with Selection.open(settings_of(options, SEARCH_SEED), cache.search_folder(method, trials)) as selection:
        selection.prepare()
        busy = Busy(usable_cores(), selection.context.backbone.device.type != "cpu")
        selection.search()
        for row in _rows(selection.context, method, trials, busy.share):
            append(cache.of_method(method), row)
    hand_over(trials)


def _rows(context: "Context", method: str, trials: int, share: float) -> list[Row]:
    """The report split's labels, and the search; `share`: of the machine that it has had."""
    from pelt_automl.records import TrialEnded

    ended, metric = context.record.of(TrialEnded), context.data.metric
    described = {"metric": metric.name, "greater_is_better": metric.greater_is_better}
    labels = context.report(range(len(context.data.report))).labels.tolist()
    wall = sum(trial.seconds for trial in ended)
    found = [
        {
            "number": trial.number, "state": trial.state, "is_default": trial.is_default, "select_score": trial.select_score,
            "hyper_parameters": trial.hyper_parameters, "cause": trial.cause,
        }
        for trial in ended
    ]  # fmt: skip
    searched = {"method": method, "trials": trials, "steps": context.plan.steps, "wall": wall, "cost": wall * share, "found": found}
    return [{"what": "report", "labels": labels} | described, {"what": "searched"} | searched | described]


if __name__ == "__main__":
    main(sys.argv[1:])
