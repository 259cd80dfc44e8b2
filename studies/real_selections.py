"""Whole selections on tasks of the table of trainings, in real time: their regret to the table's oracle, as in `studies.simulate`.

Each is a fresh process with a seed of its own, as a user starts it: all methods, baselines, finals, report, MLflow. What the program has
learned of the task itself it leaves out by the hash of its data. ``regret`` is by the selection's own report score, over its own seeds;
``by the table`` is by the recorded report scores of what it recommends, where that configuration is recorded. Work is what lies between the
plan and the last score on report. A limit counts from the start of the process.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pelt_automl.errors import PeltError
from studies.answers import history_of, parts_of
from studies.harness import ProcessError, Report, Row, add_options, fresh_process, names, parser, say, spoken
from studies.simulate import World, key_of
from studies.sources import SOURCES, Places, usual_places
from studies.table_costs import load_costs
from studies.table_files import load_table
from studies.table_grid import PROBE, K


def selected(folder: str, options: Mapping[str, Any]) -> Row:
    """One selection, meant for a process of its own."""
    import pelt_automl
    from pelt_automl.log.events import FinalistScored, Planned, ReportOpened

    found, history = pelt_automl.select(output=Path(folder), **options), history_of(folder)
    begun = [event.time for event in history.of_kind(Planned)]
    scored = [event.time for event in history.of_kind(FinalistScored)]
    return {
        "answer": found.candidate, "method": found.method, "hyper_parameters": found.hyper_parameters, "outcome": found.outcome,
        "score": found.report_score, "interval": found.report_interval, "finalists": len(found.leaderboard),
        "work": scored[-1] - begun[0] if begun and scored else None, "parts": parts_of(history),
        "report examples": list(dict.fromkeys(opened.examples for opened in history.of_kind(ReportOpened))),
    }  # fmt: skip


def options_of(task: str, places: Places) -> dict[str, str]:
    """Where `pelt_automl.select` finds the task: the files that the table was recorded on, else by its name."""
    train, test = (places.cache / task / f"{part}.jsonl" for part in ("train", "test"))
    if train.is_file() and test.is_file():
        same = {"kind": SOURCES[task].kind, "metric": SOURCES[task].metric}
        return {"train": str(train), "test": str(test), "text_columns": "text", "label_column": "label"} | same
    shared = places.data / "glue"
    return {"task": task, "metric": SOURCES[task].metric} | ({"data_dir": str(shared)} if (shared / task).is_dir() else {})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all selections, one after the other."""
    made = parser("real_selections", __doc__)
    add_options(made, {
        "tasks": (names, ["snips", "sst2", "icd10-chapters"], "of the table"),
        "repeats": (int, 5, "selections of each task"),
        "seconds": (int, 60, "limit of a selection"),
        "k": (int, K, "labeled examples"),
        "model": (str, "minilm", "of the recorded trainings"),
        "include-sealed": (bool, False, "also the sealed sources: only when the rules are frozen"),
    })  # fmt: skip
    asked = made.parse_args(arguments)
    report = Report("real_selections", asked)
    table = load_table(model=asked.model, include_sealed=asked.include_sealed)
    table = table[(table["k"] == asked.k) & table["head_start"].isin([PROBE, "none"])]
    if unknown := sorted(set(asked.tasks) - set(table["task"])):
        made.error(f"nothing is recorded of {', '.join(unknown)} at K = {asked.k}; there are {', '.join(sorted(set(table['task'])))}")
    try:
        worlds, options = {}, {}
        for task in asked.tasks:
            worlds[task] = World(table[table["task"] == task], load_costs())
            options[task] = options_of(task, usual_places())
    except PeltError as error:
        made.error(str(error))
    regrets = dict[str, list[float]]()
    with tempfile.TemporaryDirectory() as home:
        for number in range(asked.repeats):
            for task, world in worlds.items():
                own = {"k": str(asked.k), "seconds": asked.seconds, "model": asked.model, "seed": number, "experience": False}
                say(f"{task}, seed {number}")
                try:
                    given = {"folder": f"{home}/{task}-{number}", "options": options[task] | own}
                    ended = fresh_process("studies.real_selections:selected", Path(home), **given)
                except ProcessError as error:
                    report.leave_out(f"{task}, seed {number}", error)
                    continue
                row = regrets_of(world, ended.result)
                if row["regret, points"] is not None:
                    regrets.setdefault(task, []).append(row["regret, points"])
                report.add("Selections", task=task, seed=number, **row, **{"process, seconds": ended.seconds})
                report.add("Where the seconds go", task=task, seed=number, **ended.result["parts"])
    for task, found in regrets.items():
        report.add("By task (95 % t intervals)", task=task, selections=len(found), **{
            "regret, points": spoken(pd.Series(found)), "oracle": float(np.mean(worlds[task].oracle)), "oracle seconds": worlds[task].cost,
        })  # fmt: skip
    report.write()


def regrets_of(world: World, found: Row) -> Row:
    """The row of a selection, with its regret in points: by its own score, and by the table's."""
    key, oracle = key_of(found["method"], found["hyper_parameters"]), float(np.mean(world.oracle))

    def behind(score: float | None) -> float | None:
        return None if score is None else world.metric.sign * (oracle - score) / world.point

    return {
        "answer": found["answer"], "outcome": found["outcome"], "score": found["score"], "regret, points": behind(found["score"]),
        "by the table": behind(float(np.mean(world.scores[key]))) if key in world.scores else None,
        "finalists": found["finalists"], "report examples": found["report examples"], "work, seconds": found["work"],
    }  # fmt: skip


if __name__ == "__main__":
    main()
