"""How well a select score early in a training foretells the final one, and what stopping trials there would have cost.

Each trial is trained to its last step: no rung, no patience, no race. At each evaluation of a training the table has Spearman's correlation
between the best select score so far and the final one, over a method's trials, and the regret: what the final score of the method's best
trial falls by if only the best third at that point go on (slow starters: twice that share, the published default always, as in a
selection). `trained %` is the training that would then be left. The row ``all methods`` has the mean correlation, and the regret of the
best trial of all. Finalists aren't trained: select scores are all that a rung can be wrong about.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pelt_automl.log.events import sign_of
from pelt_automl.methods import METHODS
from pelt_automl.tasks.metrics import METRICS
from pelt_automl.verdict.savings import rank_correlation
from studies.harness import ProcessError, Report, Row, add_options, add_selection_options, fresh_process, parser, say, selection_options

ALL = "all methods"
EVALUATIONS = 8
IN_FULL = {"promoted": 1.0, "patience": 1_000_000, "baselines": "none", "rungs": "none", "race": False}
"""Options with which every trial is trained to its last step, and nothing else takes part."""


def searched(folder: str, options: Mapping[str, Any]) -> Row:
    """The program's search of each method alone: its completed trials with their curves; of one that can't be searched, the reason."""
    from pelt_automl.errors import PeltError
    from pelt_automl.log.events import State
    from pelt_automl.options import settings_from
    from pelt_automl.selection import Selection

    found: Row = {"trials": [], "failed": {}}
    for method in settings_from(**options).search.methods:
        say(f"seed {options.get('seed', 0)}: {method}")
        settings = settings_from(**dict(options) | IN_FULL | {"methods": method})
        try:
            with Selection.open(settings, Path(folder) / method) as selection:
                selection.prepare()
                selection.search()
                history = selection.log.history
        except PeltError as error:
            found["failed"][method] = str(error)
            continue
        found["metric"] = history.data.metric
        found["trials"] += [
            {"method": method, "trial": trial.trial, "is_default": trial.is_default, "final": trial.select_score, "steps": trial.steps,
             "curve": [[point.step, point.select_score] for point in trial.curve if point.step]}
            for trial in history.ended() if trial.state == State.COMPLETED
        ]  # fmt: skip
    return found


def foretold(trials: Sequence[Row], share: float, *, greater: bool) -> pd.DataFrame:
    """What each evaluation of one method's trials of one seed tells of their final scores: a row a point, but the last.

    ``best``, ``kept``: the best final score of all, and of those that would go on, greater for better.
    """
    sign, steps = sign_of(greater), max(trial["steps"] for trial in trials)
    share = min(1.0, 2 * share) if METHODS[trials[0]["method"]].slow_starter else share
    final = {trial["trial"]: sign * trial["final"] for trial in trials}
    rows = []
    for point in sorted({step for trial in trials for step, _ in trial["curve"] if step < steps}):
        early = {
            trial["trial"]: max((sign * score for step, score in trial["curve"] if step <= point and math.isfinite(score)), default=None)
            for trial in trials
        }
        scored = {name: score for name, score in early.items() if score is not None}
        always = {trial["trial"] for trial in trials if trial["is_default"] and trial["trial"] in scored}
        others = sorted(scored.keys() - always, key=lambda name: -scored[name])
        places = max(1, math.floor(share * len(others) + 0.5)) if others else 0
        going_on = sorted(always | set(others[:places]))
        if not going_on:
            continue
        left = len(going_on) / len(trials)
        rows.append({
            "method": trials[0]["method"], "share of the training": point / steps, "going on": going_on,
            "correlation": rank_correlation([(scored[name], final[name]) for name in scored]), "best": max(final.values()),
            "kept": max(final[name] for name in going_on), "trained": left + (1 - left) * point / steps, "trials": len(scored),
        })  # fmt: skip
    return pd.DataFrame(rows)


def rows_of(seeds: Sequence[Sequence[pd.DataFrame]], unit: float) -> list[Row]:
    """For each method, and for all, a line an evaluation point; `seeds` has the frames of each seed's methods, `unit` is 100 for points."""
    every = pd.concat([frame.assign(seed=seed) for seed, frames in enumerate(seeds) for frame in frames])
    at = ["seed", "share of the training"]
    together = every.groupby(at).agg({"correlation": "mean", "best": "max", "kept": "max", "trained": "mean", "trials": "sum"})
    table = pd.concat([every, together.reset_index().assign(method=ALL)]).assign(
        regret=lambda frame: unit * (frame["best"] - frame["kept"])
    )
    rows = []
    for (method, point), own in table.groupby(["method", "share of the training"], sort=False):
        known = own["correlation"].dropna().astype(float)
        correlations = {"rank correlation": known.mean(), "lowest": known.min(), "highest": known.max()} if len(known) else {}
        rows.append({
            "method": method, "share of the training": point, **correlations, "regret": float(own["regret"].mean()),
            "largest regret": float(own["regret"].max()), "trained %": 100 * float(own["trained"].mean()),
            "trials": int(own["trials"].sum()), "seeds": len(own),
        })  # fmt: skip
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, print, write."""
    made = parser("rungs", __doc__)
    add_selection_options(made, task="pydoc-match", model="minilm", methods="lora,bitfit,adapter,prefix,prompt,ia3", k="1000", trials=9)
    add_options(made, {
        "seeds": (int, 3, "searches, each with a seed of its own from --seed on"),
        "promoted": (float, 1 / 3, "share of the trials that go on (default: a third)"),
    })  # fmt: skip
    asked = made.parse_args(arguments)
    report, seeds, metric = Report("rungs", asked), [], None
    for seed in range(asked.seed or 0, (asked.seed or 0) + asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            own = {"folder": f"{folder}/searches", "options": selection_options(asked) | {"seed": seed}}
            try:
                found = fresh_process("studies.rungs:searched", Path(folder) / "home", **own).result
            except ProcessError as error:
                report.leave_out(f"seed {seed}", error)
                continue
        for method, why in found["failed"].items():
            report.leave_out(f"seed {seed}, {method}", why)
        if found["trials"]:
            metric, trials = METRICS[found["metric"]], pd.DataFrame(found["trials"])
            groups: list[list[Any]] = [group.to_dict("records") for _, group in trials.groupby("method", sort=False)]
            seeds.append([frame for group in groups
                          if not (frame := foretold(group, asked.promoted, greater=metric.greater_is_better)).empty])  # fmt: skip
        report.data.setdefault("searches", {})[seed] = found
    if metric and any(seeds):
        from pelt_automl.verdict.wording import Unit

        unit = Unit(metric.name)
        report.notes.append(f"regret is in {'points of ' if unit.in_points else ''}{unit.name} on select")
        report.tables["Final scores foretold"] = rows_of(seeds, 100 if unit.in_points else 1)
        points = min(len(frame) for frames in seeds for frame in frames) + 1
        if points < EVALUATIONS:
            report.notes.append(f"only {points} evaluations a training: more would cost too much in so short a one; give more --epochs")
    report.write()


if __name__ == "__main__":
    main()
