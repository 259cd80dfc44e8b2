"""Measuring time: steps on a device, repeats in turn with their spread, a limit on it all, and whole processes from outside."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT

RESULT = "RESULT "
"""Before the line of a measured process that holds its result."""
PEAK = "PEAK "
"""Before the line that holds its largest resident memory in bytes."""


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one quantity."""

    median: float
    low: float
    high: float
    repeats: int

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """Median, smallest and largest."""
        return Spread(statistics.median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The ratio of what was measured in the same turn, turn by turn, so that a machine's mood cancels."""
    return Spread.of([a / b for a, b in zip(numerators, denominators, strict=True)])


@dataclass(frozen=True)
class TimeLimit:
    """A limit on the whole benchmark, in seconds."""

    seconds: float
    started: float = field(default_factory=time.monotonic)
    now: Callable[[], float] = time.monotonic

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - (self.now() - self.started)

    def allows(self, expected: float) -> bool:
        """Whether something that is expected to take so many seconds still fits."""
        return expected <= self.left


def in_turn(measures: Mapping[str, Callable[[], float]], repeats: int, limit: TimeLimit) -> dict[str, list[float]]:
    """Each measurement once, then each again: `repeats` rounds, fewer (at least one) when a round more wouldn't fit into the limit."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    longest = 0.0
    for turn in range(repeats):
        if turn and not limit.allows(longest):
            break
        start = limit.now()
        for name, measure in measures.items():
            found[name].append(measure())
        longest = max(longest, limit.now() - start)
    return found


class StepClock:
    """Wall time between steps. On a GPU by events in its stream, so that no step has to wait for the device to be timed."""

    def __init__(self, device: Any) -> None:
        """`device`: torch's."""
        import torch

        self._torch, self._gpu = torch, device.type == "cuda"
        self._marks: list[Any] = []

    def tick(self) -> None:
        """A step has ended (on a GPU: its work has been queued)."""
        if self._gpu:
            event = self._torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Between each tick and the next."""
        if self._gpu:
            self._torch.cuda.synchronize()
            return [before.elapsed_time(after) / 1000 for before, after in pairwise(self._marks)]
        return [after - before for before, after in pairwise(self._marks)]


@dataclass(frozen=True)
class Ended:
    """A process that has ended well."""

    seconds: float
    """From its start to its end, imports included."""
    peak_bytes: int
    """The largest resident memory of the process itself; where it hasn't told, at least that of the process that started it."""
    output: str

    @property
    def result(self) -> Any:
        """What it said through `hand_over`. Raises `ProcessError` when it didn't."""
        said = [line for line in self.output.splitlines() if line.startswith(RESULT)]
        if not said:
            raise ProcessError(f"the process handed nothing over; it said:\n{self.output[-2000:]}")
        return json.loads(said[-1].removeprefix(RESULT))


def own_peak() -> int:
    """The largest resident memory of this process since its program started, in bytes.

    The system's account for a finished child (`wait4`) also counts the process that it was forked from.
    """
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def hand_over(result: Any) -> None:
    """In a measured process: give plain values to the one that started it, beside whatever libraries print."""
    print(f"\n{RESULT}{json.dumps(result, default=str)}", flush=True)
    print(PEAK + str(own_peak()), flush=True)


class ProcessError(RuntimeError):
    """A measured process failed."""


def run_process(arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> Ended:
    """Run Python with `arguments` from the repository's root, and measure it. Raises `ProcessError` with the end of what it said."""
    command = [sys.executable, *arguments]
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])} | dict(variables or {})
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # unlike wait(), tells this one child's memory
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        code = process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise ProcessError(f"{' '.join(arguments)[:120]} ended with {how}:\n{output[-2000:]}")
    told = [int(line.removeprefix(PEAK)) for line in output.splitlines() if line.startswith(PEAK)]
    return Ended(seconds, told[-1] if told else usage.ru_maxrss * 1024, output)
