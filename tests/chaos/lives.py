"""Whole selections whose processes are killed by `SIGKILL`, at points that the log and the work have come to.

``python -m tests.chaos.lives FOLDER ROWS`` runs a small selection without kills, then `ROWS` times the same one with a kill of each kind, a
life after the other, and prints a JSON line each: the kills, what the selection came to, and what is there twice.
"""

import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_svg  # noqa: F401 so that no life has to load it, as the next ones
import pandas as pd  # noqa: F401
import scipy.optimize  # noqa: F401
import sklearn.feature_extraction.text  # noqa: F401
import torch

import pelt_automl
from pelt_automl.execution import packs
from pelt_automl.log.codec import read
from pelt_automl.log.events import (
    FinalistScored,
    GateMeasured,
    KnockedOut,
    Released,
    SegmentEnded,
    SelectionStarted,
    Stopped,
    TrialEnded,
    VerdictReached,
)
from pelt_automl.log.folder import RECORDS, JsonlRecorder
from pelt_automl.recorders import RECORDERS
from pelt_automl.selection import result_phase, selection
from pelt_automl.training.pack_training import PackTraining
from tests.forking import killed
from tests.tiny_world import World, make_world, sketched

KINDS = ("in a step", "in a rung's writing", "between log and action", "in the finals", "in scoring", "in publishing")
"""In the order in which a selection comes to them."""

LIVES_WITHOUT_PROGRESS = 3


def live(world: World, folder: Path, kill: tuple[str, int] | None) -> Counter[str]:
    """One life: to the end, or to the `kill`-th time at a kind of point. How often each kind was come to."""
    seen: Counter[str] = Counter()

    def at(kind: str) -> None:
        seen[kind] += 1
        if kill == (kind, seen[kind]):
            os.kill(os.getpid(), signal.SIGKILL)

    step, record, put = PackTraining._one_step, JsonlRecorder.record, packs.put

    def watched_step(self: Any) -> None:
        at("in the finals" if any(run.name.startswith("final-") for run in self.runs) else "in a step")
        step(self)

    def watched_record(self: Any, event: Any) -> None:
        if isinstance(event, FinalistScored):
            at("in scoring")
        record(self, event)
        if isinstance(event, Released | Stopped):
            at("between log and action")
        if isinstance(event, VerdictReached):
            at("in publishing")

    def watched_put(where: Path, write: Any, suffix: str) -> str:
        return put(where, lambda draft: (write(draft), at("in a rung's writing")), suffix)

    PackTraining._one_step, JsonlRecorder.record, packs.put = watched_step, watched_record, watched_put
    for module, name in ((result_phase, "save_winner"), (selection, "write_report"), (result_phase, "clear_work_folder")):
        setattr(module, name, _around(getattr(module, name), at))
    options = {"methods": ["lora", "unipelt-apl"], "baselines": ["probe"], "trials": 4, "finalist_seeds": 2, "pack_size": 1, "epochs": 4}
    pelt_automl.select(output=folder, **world.options(**options, patience=100))
    return seen


def _around(real: Any, at: Any) -> Any:
    def watched(*arguments: Any, **named: Any) -> Any:
        at("in publishing")
        found = real(*arguments, **named)
        at("in publishing")
        return found

    return watched


def life(world: World, folder: Path, kill: tuple[str, int] | None) -> bool:
    """Whether it was killed."""
    return killed(lambda: live(world, folder, kill), folder.parent / "seen.json")


def outcome(folder: Path) -> dict[str, Any]:
    """What doesn't depend on kills, and what is there twice."""
    events = list(read(folder / RECORDS))
    trials = {event.trial: event for event in events if isinstance(event, TrialEnded)}
    scored = {event.trial: event for event in events if isinstance(event, FinalistScored)}
    (verdict,) = [event for event in events if isinstance(event, VerdictReached)]
    done = Counter(_name(event) for event in events)
    return {
        "trials": {name: [t.state, t.steps, t.cause, [p.select_score for p in t.curve]] for name, t in sorted(trials.items())},
        "scored": {name: [one.report_score, one.outputs] for name, one in sorted(scored.items())},
        "verdict": [verdict.candidate, verdict.outcome, verdict.report_score, [row.candidate for row in verdict.standings]],
        "twice": sorted(name for name, count in done.items() if name and count > 1),
        "left": sorted(path.name for path in folder.iterdir() if path.name == "work"),
    }


def _name(event: Any) -> str:
    match event:
        case TrialEnded() | FinalistScored() | Stopped():
            return f"{type(event).__name__} {event.trial}"
        case SegmentEnded():
            return f"SegmentEnded {event.trial} {event.reached}"
        case Released(segment=one):
            return f"Released {one.trial} {one.start} {one.attempt}"
        case GateMeasured():
            return f"GateMeasured {event.trial} {event.submodule} {event.site} {event.layer}"
        case KnockedOut():
            return f"KnockedOut {event.trial} {event.submodule}"
        case _:
            return ""


def progress(folder: Path) -> int:
    """Events but starts."""
    return sum(not isinstance(event, SelectionStarted) for event in read(folder / RECORDS)) if (folder / RECORDS).is_file() else 0


def main(folder: Path, rows: int) -> None:
    """Without kills, then with a kill of each kind in each row."""
    torch.set_num_threads(1)  # threads don't survive a fork
    RECORDERS.pop("mlflow", None)
    os.environ["PELT_AUTOML_HOME"] = str(folder / "home")
    world = make_world(folder / "world")
    life(world, folder / "whole", None)
    points = json.loads((folder / "seen.json").read_text())
    print(json.dumps({"kills": points} | outcome(folder / "whole")), flush=True)
    luck = random.Random(0)
    for row in range(rows):
        own, kills, standing = folder / f"row{row}", [], [0]
        for kind in KINDS:
            kills.append([kind, count := luck.randint(1, most(kind, points)), life(world, own, (kind, count))])
            standing.append(progress(own))
            if len(standing) > LIVES_WITHOUT_PROGRESS and standing[-1] == standing[-1 - LIVES_WITHOUT_PROGRESS] and kills[-1][2]:
                raise RuntimeError(f"no progress in {LIVES_WITHOUT_PROGRESS} lives: {kills}")
        life(world, own, None)
        print(json.dumps({"kills": kills} | outcome(own)), flush=True)


def most(kind: str, points: Mapping[str, int]) -> int:
    """What a life comes to for certain: what an earlier one has done isn't done again."""
    return {"in scoring": 2, "in publishing": points[kind]}.get(kind, points[kind] // 3)


if __name__ == "__main__":
    with sketched():
        main(Path(sys.argv[1]), int(sys.argv[2]))
