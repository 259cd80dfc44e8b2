"""Pieces of work with nothing to train: what real workers, real messages and real states cost a selection."""

import os
import resource
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from pelt_automl.execution.cluster import KEPT, STATES, Cluster
from pelt_automl.execution.recorded import Recorded, RecordedPool
from pelt_automl.execution.worker import Offer
from pelt_automl.execution.workers import Workers
from pelt_automl.log.events import Because, Event, Seeds, Segment, SegmentEnded, Stage, State, TrialEnded
from pelt_automl.log.files import put
from pelt_automl.log.folder import RECORDS, JsonlRecorder
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.log.outputs import Outputs
from pelt_automl.scheduling.actions import Action, Budget, Finish, Room, Task, Train
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.grid import places
from studies.harness import ROOT, Row

SEGMENTS = 20
"""Of each made-up trial."""
LOOKS = 100
"""Pieces between two looks at the memory."""


@dataclass
class Empty:
    """An executor whose segments end after `pace` seconds, each with a state of `size` bytes that is like no other."""

    states: Path
    size: int
    pace: float
    history: History = field(default_factory=History)
    _todo: dict[str, Segment] = field(default_factory=dict)
    _at: dict[str, int] = field(default_factory=dict)

    def room(self) -> Room:
        """One at a time."""
        return Room(1 - len(self._at), at=dict(self._at))

    def running(self) -> Collection[Segment]:
        """What waits."""
        return list(self._todo.values())

    def start(self, actions: Sequence[Task]) -> None:
        """Trainings alone."""
        self._todo |= {action.segment.trial: action.segment for action in actions if isinstance(action, Train)}

    def wait(self, expired: Callable[[], bool]) -> Sequence[Event]:
        """End the next one."""
        expired()
        if not self._todo:
            return []
        name, segment = self._todo.popitem()
        time.sleep(self.pace)
        if segment.end == segment.steps:
            self._at.clear()
            return [_ended(segment)]
        self._at = {name: segment.end}
        content = f"{name} {segment.end}".encode().ljust(self.size)
        state = put(self.states, lambda path: path.write_bytes(content), ".safetensors")
        return [SegmentEnded(name, segment.attempt, segment.end, [], 0.0, state)]

    def stop(self) -> None:
        """Nothing is held."""


def _ended(segment: Segment) -> TrialEnded:
    return TrialEnded(segment.trial, segment.candidate, segment.method, segment.stage, segment.number, State.COMPLETED, False,
                      segment.hyper_parameters, segment.seeds, {}, [], 0.5, segment.end, 0.0)  # fmt: skip


@dataclass
class EmptyBench:
    """See `pelt_automl.execution.worker.Bench`."""

    history: History
    executor: Any
    states: Path
    kept: Path
    facts: Mapping[str, str] = field(default_factory=dict)
    device: str = "nothing"
    environment: Mapping[str, Any] = field(default_factory=dict)

    def score(self, job: Any) -> Any:
        """Nothing is scored."""
        return job


@dataclass(frozen=True)
class Make:
    """Makes a worker's bench."""

    size: int
    pace: float

    def __call__(self, folder: Path) -> EmptyBench:
        """In the worker's folder."""
        executor = Empty(folder / STATES, self.size, self.pace)
        return EmptyBench(executor.history, executor, executor.states, folder / KEPT)


@dataclass(frozen=True)
class Rows:
    """A scheduler: so many trials of `SEGMENTS` segments each."""

    trials: int

    def actions(self, history: History, room: Room, budget: Budget) -> Sequence[Action]:  # noqa: ARG002 the protocol's
        """Each goes on until its end."""
        found: list[Action] = [Train(replace(own.segment, start=own.reached, end=own.reached + 1), Because.QUOTA)
                               for own in history.trials.values() if own.undecided]  # fmt: skip
        begun = len(history.trials)
        if not found:
            found += [Train(_first(number), Because.FIRST) for number in range(begun, min(self.trials, begun + places(history, room)))]
        return found or ([Finish()] if all(own.ended for own in history.trials.values()) else [])

    def deadline(self, history: History, room: Room, budget: Budget) -> float:  # noqa: ARG002 the protocol's
        """Never."""
        return float("-inf")


def _first(number: int) -> Segment:
    name = f"lora-{number:04d}"
    return Segment(name, name, "lora", {}, Stage.SEARCH, number, False, Seeds(0, 0, 0), SEGMENTS, 0, 1)


class Apart(Workers):
    """Workers that don't see the selection's folder."""

    def _submit(self, seat: Any, function: Callable[..., Any], given: Any) -> None:
        super()._submit(seat, function, replace(given, proof="") if isinstance(given, Offer) else given)


def resident(pid: int) -> int:
    """Bytes of memory that a process has now."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


def measured(folder: Path, workers: int, pieces: int, size: int, pace: float, shares: bool = True) -> Row:
    """What so many pieces by real workers of this machine cost; the memory of this process, in bytes, at each of the `LOOKS`."""
    made = Make(size, pace)
    (folder / "log").mkdir(parents=True)
    log = Log(recorders=[JsonlRecorder(folder / "log" / RECORDS)], outputs=Outputs(folder / "log" / "outputs"))
    seen: list[tuple[int, int]] = []
    ended: list[float] = []
    append = log.append

    def watched(event: Event) -> None:
        append(event)
        if isinstance(event, SegmentEnded | TrialEnded):
            ended.append(time.perf_counter())
            if len(ended) % LOOKS == 0:
                seen.append((len(ended), resident(os.getpid())))

    log.append = watched  # type: ignore[method-assign]
    kind: type[Workers] = Workers if shares else Apart
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with kind(folder / "workers", made, {}, [environment] * workers) as crew:
        while len(crew.ready()) < workers:
            crew.happened(1.0)
        crew.events()
        local = Recorded(RecordedPool([]), log.history)
        executor = Cluster(crew, log.history, local, lambda _: (), 1, folder / "states", lambda *_: None, lambda own, _: _ended(own))
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        drive(Rows(-(-pieces // SEGMENTS)), executor, log, Budget)
        took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        theirs = [resident(int(own.extra["pelt-automl"]["pid"])) for own in crew.scheduler.workers.values()]
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "pieces": len(ended), "seconds": took, "overhead": took * workers / len(ended) - pace, "processor": processor / len(ended),
        "memory": seen, "worker memory": median(theirs),
    }  # fmt: skip
