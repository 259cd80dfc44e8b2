"""The oracle's part on one method, in a process of its own: ``python -m benchmarks.our_oracle REQUEST`` (a JSON object).

Its search is the program's own without anything that saves time: every trial is trained to its end (no rung, no race, no portfolio).
Then the best few configurations and the published default are trained on the truth's seeds. It goes on where a killed one stood.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import hand_over
from benchmarks.quality_cache import Cache, Configuration, append
from benchmarks.retraining import Busy, Wanted, retrain, settings_of

if TYPE_CHECKING:
    from pelt_automl.selection import Selection

GENEROUS = {"promoted": 1.0, "rungs": "none", "race": False, "portfolio": False}
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


def wanted_of(searched: Mapping[str, Any], finalists: int, seeds: int, cache: Cache) -> list[Wanted]:
    """What has to be trained for the oracle, without what has been."""
    done = cache.runs()
    every = [Wanted(one, seed) for one in configurations(searched, finalists) for seed in range(seeds)]
    return [one for one in every if one.seed not in done.get(one.configuration.key, {})]


def main(arguments: Sequence[str]) -> None:
    """Search the method, write what was found, then train its best."""
    request = json.loads(arguments[0])
    from pelt_automl.selection import Selection

    cache, method, trials = Cache(Path(request["cache"])), request["method"], request["trials"]
    options = request["options"] | GENEROUS | {"methods": method, "trials": trials}
    with Selection.open(settings_of(options, SEARCH_SEED), cache.search_folder(method, trials)) as selection:
        selection.prepare()
        _search(selection, cache, method, trials)
        searched = cache.searched(method, trials)
        assert searched is not None
        wanted = wanted_of(searched, request["finalists"], request["seeds"], cache)
        retrain(selection.context, wanted, lambda row: append(cache.of_method(method), row))
    hand_over(len(wanted))


def _search(selection: "Selection", cache: Cache, method: str, trials: int) -> None:
    """The search, unless an earlier process has finished it."""
    from pelt_automl.records import TrialEnded

    context = selection.context
    busy = Busy(os.cpu_count() or 1, context.backbone.device.type != "cpu")
    selection.search()
    if cache.searched(method, trials):
        return
    ended = context.record.of(TrialEnded)
    wall = sum(trial.seconds for trial in ended)
    labels = context.report(range(len(context.data.report))).labels.tolist()
    metric = context.data.metric
    append(
        cache.of_method(method), {"what": "report", "metric": metric.name, "greater_is_better": metric.greater_is_better, "labels": labels}
    )
    append(cache.of_method(method), {
        "what": "searched", "method": method, "trials": trials, "steps": context.plan.steps, "metric": metric.name,
        "greater_is_better": metric.greater_is_better, "wall": wall, "cost": wall * busy.share,
        "found": [
            {
                "number": trial.number, "state": trial.state, "is_default": trial.is_default, "select_score": trial.select_score,
                "hyper_parameters": trial.hyper_parameters, "cause": trial.cause,
            }
            for trial in ended
        ],
    })  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
