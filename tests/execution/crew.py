"""Worker processes that replay recorded trainings, a step every few milliseconds, and what drives them: no torch, no model."""

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pelt_automl.execution.cluster import Cluster
from pelt_automl.execution.recorded import Recorded, RecordedPool, RecordedTraining
from pelt_automl.execution.worker import beat
from pelt_automl.execution.workers import Workers
from pelt_automl.log.events import CurvePoint, Seeds, Segment, Stage, State
from pelt_automl.log.history import History

QUICK = {"distributed.scheduler.worker-ttl": "5s"}
"""The shortest that Dask takes: a silent worker is noticed after 5 to 10 seconds."""


SLOWER = "PELT_TEST_SLOWER"
"""Of the environment: how many times longer a worker takes for a step."""

STEPS = 8


def recorded(rate):
    """Evaluated after every second step."""
    scores = (0.5, 0.6, 0.7, 0.65)
    points = tuple(CurvePoint(2 * (place + 1), 0.1, score, rate, 0.0) for place, score in enumerate(scores))
    said = {4: (0.0, 1.0), STEPS: (1.0, 1.0)}
    return RecordedTraining("lora", {"learning_rate": rate}, 7, STEPS, STEPS, points, 8.0, 0.7, parameters={"kept": 3}, predictions=said)


def segment(number, start=0, end=STEPS):
    name, rate = f"lora-{number:04d}", 1e-3 * (number + 1)
    return Segment(name, name, "lora", {"learning_rate": rate}, Stage.SEARCH, number, False, Seeds(7, 7, 7), STEPS, start, end)


POOL = RecordedPool([recorded(1e-3 * number) for number in range(1, 9)])
SEGMENTS = [segment(number) for number in range(8)]


def pids_of(workers):
    return [int(own.extra["pelt-automl"]["pid"]) for own in list(workers.scheduler.workers.values())]


def one_kind(_segment):
    return ("one",)


class Replayed(Recorded):
    """Takes its time, raises where it is told to, and may kill its process as a system does that is short of memory."""

    pace = 0.0
    raises = frozenset()
    number = 5
    """Of the system's error that it raises."""
    kills = frozenset()

    def _step(self):
        time.sleep(self.pace)
        for name, own in self._pack.items():
            if name in self.raises and own.step:
                raise OSError(self.number, f"no data for {name}")
            if name in self.kills and own.step:
                os.kill(os.getpid(), 9)
        super()._step()


@dataclass
class RecordedBench:
    """A worker's, with a table in place of a model."""

    history: History
    executor: Recorded
    states: Path
    kept: Path
    facts: dict = field(default_factory=lambda: {"data": "d1"})
    device: str = "cpu, 1 thread"
    environment: dict = field(default_factory=lambda: {"cores": 1})
    batches: int = 1
    """Of an evaluation."""

    def score(self, job):
        """Twice as much; a job may kill the first worker that has it, or raise there; a negative number always raises."""
        number, once = job
        if number < 0 or (once and once.name == "raised" and not once.exists()):
            if once:
                once.touch()
            raise OSError(5, f"no data for {number}")
        if once and not once.exists():
            once.touch()
            os.kill(os.getpid(), 9)
        for _ in range(self.batches):
            time.sleep(0.05)
            beat()
        return 2 * number


@dataclass(frozen=True)
class Make:
    """Makes one in each worker."""

    pool: RecordedPool
    at_once: int = 2
    pace: float = 0.002
    raises: frozenset = frozenset()
    kills: frozenset = frozenset()
    data: str = "d1"
    batches: int = 1

    def __call__(self, folder):
        history = History()
        executor = Replayed(self.pool, history, self.at_once, kind=one_kind)
        slower = float(os.environ.get(SLOWER, "1"))
        executor.pace, executor.raises, executor.kills = self.pace * slower, self.raises, self.kills
        states, kept, device = (
            folder / "work" / "checkpoints",
            folder / "kept",
            "cpu, 1 thread" if slower == 1 else f"cpu, {slower:g} times slower",
        )
        return RecordedBench(history, executor, states, kept, {"data": self.data}, device, batches=self.batches)


@contextmanager
def crew(folder, make, count=2, **more):
    """So many processes on this machine."""
    settings, alone = QUICK | more.pop("settings", {}), more.pop("alone", False)
    environments = more.pop("environments", [{}] * count)
    with Workers(folder / "workers", make, {"data": "d1"}, environments, settings=settings, **more) as workers:
        workers.alone = alone
        yield workers


def cluster(workers, history, pool, folder, at_once=2, **more):
    """Their executor."""
    local = Recorded(pool, history)

    def failed(segment, cause):
        known = local._outside(segment)
        return local._ended(known, State.FAILED, cause)

    states = folder / "states"
    return Cluster(workers, history, local, more.pop("kind", one_kind), at_once, states, lambda *_: None, failed, **more)
