"""A small search in processes that are killed: `python -m tests.execution.lives FOLDER 8` prints what came of it.

One line says what there is without kills, each further one what there is after some: 8 times at each kind of point, spread over its times.

What is heavy is loaded once; each life is forked, and kills itself by `SIGKILL` at the point that it is told.
"""

import json
import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pydantic  # noqa: F401 so that no life has to load it
import torch

from pelt_automl.execution import packs as packs_module
from pelt_automl.log.codec import read, to_json
from pelt_automl.log.events import Because, Event
from pelt_automl.log.history import History, Trial
from pelt_automl.scheduling.actions import Action, Budget, Finish, Room, Stop, Train
from pelt_automl.scheduling.drive import drive
from tests.execution.laboratory import Laboratory, segment
from tests.forking import killed
from tests.tiny import tiny_backbone

METHODS = {"adapter": ("adapter-0", "adapter-1", "adapter-2"), "prompt": ("prompt-0", "prompt-1"), "bitfit": ("bitfit-5",)}
EVERY = [name for names in METHODS.values() for name in names]


class Halving:
    """Of each method's trials that are all at the rung the best goes on to the end; pure, as every scheduler."""

    def actions(self, history: History, room: Room, budget: Budget) -> list[Action]:
        """Release what has a place, and judge whole methods."""
        actions: list[Action] = []
        for names in METHODS.values():
            trials = [history.trials[name] for name in names if name in history.trials]
            if len(trials) == len(names) and all(not trial.open and not (trial.undecided and trial.reached < 3) for trial in trials):
                best = min(trials, key=lambda trial: (-_score(trial), trial.name))
                undecided = [trial for trial in trials if trial.undecided]
                actions += [
                    Train(segment(trial.name, trial.reached, {3: 6, 6: 12}[trial.reached]), Because.QUOTA)
                    if trial is best
                    else Stop(trial.name, Because.NOT_PROMOTED)
                    for trial in undecided
                ]
        released = sum(isinstance(action, Train) for action in actions)
        new = [name for name in EVERY if name not in history.trials][: max(0, 2 - len(room.waiting) - released)]
        actions += [Train(segment(name), Because.FIRST) for name in new]
        return [Finish()] if len(history.trials) == len(EVERY) and all(trial.ended for trial in history.trials.values()) else actions

    def deadline(self, history: History, room: Room, budget: Budget) -> float:
        """There is none."""
        return float("-inf")


def _score(trial: Trial) -> float:
    curve = trial.ended.curve if trial.ended else trial.curve
    return next(point.select_score for point in curve if point.step == 3)


@dataclass
class Log:
    """Lines of a file, each on disk before it counts."""

    path: Path
    history: History
    at: Any

    def append(self, event: Event) -> None:
        """Keep it, and fold it."""
        self.at("before a line")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(to_json(event) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.history.apply(event)
        self.at("after a line")


def live(folder: Path, kill: tuple[str, int] | None) -> Counter[str]:
    """One life: to the end, or to the `kill`-th time at a kind of point."""
    seen: Counter[str] = Counter()

    def at(point: str) -> None:
        seen[point] += 1
        if kill == (point, seen[point]):
            os.kill(os.getpid(), signal.SIGKILL)

    path = folder / "records.jsonl"
    log = Log(path, History.of(read(path)) if path.is_file() else History(), at)
    own = Laboratory(folder, 2, log.history, {"on_step": lambda _: at("in a step")})
    keep, put = own.packs.keep, packs_module.put

    def put_slowly(where: Path, write: Any, suffix: str) -> str:
        reference = put(where, lambda draft: (write(draft), at("in a state's writing")), suffix)
        at("between state and log")
        return reference

    packs_module.put = put_slowly
    own.packs.keep = lambda event, weights: (keep(event, weights), at("between weights and log"))
    drive(Halving(), own.packs, log, Budget)
    return seen


def life(folder: Path, kill: tuple[str, int] | None) -> bool:
    """Whether it was killed."""
    return killed(lambda: live(folder, kill), folder / "seen.json")


def outcome(folder: Path) -> dict[str, Any]:
    """What doesn't depend on kills, and what must not be there twice."""
    history = History.of(read(folder / "records.jsonl"))
    ended, segments = Counter(), Counter()
    for event in history.events:
        row = json.loads(to_json(event))
        if row["event"] == "TrialEnded":
            ended[row["trial"]] += 1
        elif row["event"] == "SegmentEnded":
            segments[f"{row['trial']} {row['reached']}"] += 1
        elif row["event"] == "Released":
            one = row["segment"]
            segments[f"released {one['trial']} {one['start']} {one['end']} {one['attempt']}"] += 1
        elif row["event"] == "Stopped":
            segments[f"stopped {row['trial']}"] += 1
    table = {
        name: [trial.ended.state, trial.ended.steps, trial.ended.cause, [(point.step, point.select_score) for point in trial.ended.curve]]
        for name, trial in sorted(history.trials.items())
        if trial.ended
    }
    return {"table": table, "ended": dict(ended), "segments": dict(sorted(segments.items()))}


def main(folder: Path, times: int) -> None:
    """Without kills, then with each; prints a JSON line each."""
    torch.set_num_threads(1)  # threads don't survive a fork
    tiny_backbone()
    life(folder, None)
    whole = outcome(folder)
    points = json.loads((folder / "seen.json").read_text())
    print(json.dumps({"kills": points} | whole), flush=True)
    rows = [[(point, count)] for point, most in points.items() for count in sorted({1 + most * part // times for part in range(times)})]
    rows += [[("in a step", 5), ("after a line", 3), ("in a state's writing", 1), ("before a line", 2), ("between weights and log", 1)]]
    for kills in rows:
        with TemporaryDirectory(dir=folder) as name:
            died = [life(Path(name), kill) for kill in kills]
            again = life(Path(name), None)
            assert not again
            print(json.dumps({"kills": [[*kill, dead] for kill, dead in zip(kills, died, strict=True)]} | outcome(Path(name))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
