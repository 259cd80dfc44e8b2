"""Recording: processes that take one training after the other from the grid, in its order, until all is done or the time is up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pelt_automl import BEHAVIOUR
from pelt_automl.errors import PeltError, SettingsError
from studies.table_folder import TableFolder
from studies.table_grid import Training, committed_configurations, trainings
from studies.table_machine import commit, machine, versions

if TYPE_CHECKING:
    from studies.sources import SourceTask
    from studies.table_training import TableTrainings

NICE = 10
WORKER = "worker"
"""The command that `start` runs in each process."""

Tasks = Mapping[str, "SourceTask"]


def name_of(model: str) -> str:
    """As it stands in keys and in the table: a folder by its name."""
    return Path(model).name


def chosen_tasks(tasks: Tasks, sources: Sequence[str] = ()) -> dict[str, "SourceTask"]:
    """Those of these sources (or tasks); nothing: all. Raises `SettingsError`, which lists the sources."""
    known = {name for task in tasks.values() for name in (task.source, task.task)}
    if unknown := [name for name in sources if name not in known]:
        names = ", ".join(dict.fromkeys(task.source for task in tasks.values()))
        raise SettingsError(f"there is no source {', '.join(unknown)}; the sources are {names}")
    return {name: task for name, task in tasks.items() if not sources or task.source in sources or name in sources}


# -------------------------------------------------------------------- one process


@dataclass
class Worker:
    """Records what nobody else has, alone and on one thread."""

    tasks: Tasks
    folder: TableFolder
    load: Callable[["SourceTask", int], "TableTrainings"]
    """A task at a K, ready for its trainings; raises `PeltError` where its data can't be had."""
    model: str
    done: set[str]
    """Keys that are in the table already."""
    expired: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = print
    about: dict[str, Any] = field(default_factory=dict)
    """What stands in every record."""
    loaded: dict[tuple[str, int], "TableTrainings"] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Tasks that can't be loaded, with the reason."""

    def work(self, wanted: Sequence[Training]) -> int:
        """Record what is missing of `wanted`, in its order; how many were recorded."""
        recorded = 0
        for training in wanted:
            if self.expired():
                break
            key = training.key(self.model)
            if key in self.done or training.task in self.refused or self.folder.has(key):
                continue
            with self.folder.claimed(key) as mine:
                task = self._task(training) if mine else None
                if task is not None:
                    self._record(task, training, key)
                    recorded += 1
        return recorded

    def _task(self, training: Training) -> "TableTrainings | None":
        at = (training.task, training.k)
        try:
            if at not in self.loaded:
                self.loaded[at] = self.load(self.tasks[training.task], training.k)
            return self.loaded[at]
        except PeltError as error:
            self.refused[training.task] = str(error)
            self.say(f"{training.task} is left out: {error}")
            return None

    def _record(self, task: "TableTrainings", training: Training, key: str) -> None:
        """Scores aren't told: some sources are sealed."""
        begun = time.monotonic()
        found = task.record(training)
        own = self.tasks[training.task]
        about = {"key": key, "model": self.model, "source": own.source, "recorded": time.strftime("%Y-%m-%d", time.gmtime())}
        self.folder.add(key, about | self.about | found)
        failed = f": failed ({found['failure']})" if found["failure"] else ""
        self.say(f"{training}{failed}, {time.monotonic() - begun:.1f} s")


def work(tasks: Tasks, folder: TableFolder, model: str, done: set[str], hours: float | None, say: Callable[[str], None]) -> int:
    """A process's part. The exit code: 2 where the data of a task can't be had."""
    os.nice(max(0, NICE - os.nice(0)))
    import torch

    from pelt_automl.backbones.loading import load_backbone
    from studies.sources import usual_places
    from studies.table_training import TableTrainings

    torch.set_num_threads(1)
    places, backbone = usual_places(), load_backbone(model, precision="fp32")
    about = {"machine": machine(), "device": backbone.device.type, "versions": versions(), "commit": commit(), "behaviour": BEHAVIOUR}
    deadline = time.monotonic() + 3600 * (float("inf") if hours is None else hours)
    parent = os.getppid()
    worker = Worker(
        tasks,
        folder,
        lambda task, k: TableTrainings(task.load(places, k), backbone),
        name_of(model),
        done,
        lambda: time.monotonic() >= deadline or os.getppid() != parent,  # nobody is left to tell
        say,
        about,
    )
    worker.work(list(trainings(list(tasks), committed_configurations())))
    return 2 if worker.refused else 0


# -------------------------------------------------------------------- several


def start(processes: int, arguments: Sequence[str]) -> int:
    """Run so many workers, wait for them, end them with this process; the worst exit code."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-u", "-m", "studies.table", WORKER, *arguments]
    running = [subprocess.Popen(command, env=environment) for _ in range(processes)]
    before = signal.signal(signal.SIGTERM, partial(_end, running))
    try:
        return max(abs(process.wait()) for process in running)
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in running:
            with suppress(ProcessLookupError):
                process.terminate()
            process.wait()


def _end(running: Sequence["subprocess.Popen[bytes]"], *_: object) -> None:
    for process in running:
        process.terminate()
