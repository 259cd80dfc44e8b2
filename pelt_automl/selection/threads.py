"""Torch's threads on a processor: as many as are fastest now, measured again when the machine's load has changed for long."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from pelt_automl.backbones.layer_speed import LAYERS, Workload, fastest, in_ms, layer_seconds, thread_choices
from pelt_automl.backbones.loading import Backbone
from pelt_automl.timing.policy import POLICY

log = logging.getLogger(__name__)


def load_average() -> float:
    """Running processes, the mean of the last minute."""
    return os.getloadavg()[0]


@dataclass
class Threads:
    """The choice in force. On a busy processor, threads that wait for each other can be far slower than one alone."""

    measure: Callable[[], Mapping[int, float]]
    """Seconds of the same work with each number of threads that may be; the first is that of a machine with nothing else to do."""
    load: Callable[[], float] = load_average
    now: Callable[[], float] = time.monotonic
    seconds: Mapping[int, float] = field(default_factory=dict)
    """As measured last."""
    number: int = 1
    _cores: int = 1
    _others: float = 0.0
    """Processes of others at that time."""
    _looked: float = 0.0

    def choose(self, *, at_work: bool = False) -> int:
        """Measure, and set what is fastest. `at_work`: whether this process has been computing for the last minute."""
        others = self._load_of_others() if at_work else self.load()
        self.seconds = self.measure()
        self._cores = max(self.seconds)
        self.number = fastest(self.seconds)
        self._others, self._looked = others, self.now()
        torch.set_num_threads(self.number)
        return self.number

    def look(self) -> bool:
        """Between two steps: choose again if the load has changed for long; whether the number is another one now."""
        if self.now() - self._looked < POLICY.pause or len(self.seconds) < 2:
            return False
        self._looked = self.now()
        if abs(self._load_of_others() - self._others) < POLICY.busy * self._cores:
            return False
        before = self.number
        return self.choose(at_work=True) != before

    def _load_of_others(self) -> float:
        return max(0.0, self.load() - self.number)

    def __str__(self) -> str:
        """``2 (20 ms for 2 layers, with 1 35 ms)``."""
        if len(self.seconds) < 2:
            return str(self.number)
        others = ", ".join(f"with {number} {in_ms(taken)}" for number, taken in self.seconds.items() if number != self.number)
        return f"{self.number} ({in_ms(self.seconds[self.number])} for {LAYERS} layers, {others})"


def choose_threads(backbone: Backbone, work: Workload) -> Threads:
    """Torch's threads for this work, which are set: the user's (`Workload.threads`), else all cores, or one where that is faster."""
    choices = (work.threads,) if work.threads else thread_choices(backbone.device)

    def measure() -> Mapping[int, float]:
        try:
            return layer_seconds(backbone.measurable(), work, choices)
        except Exception as error:  # noqa: BLE001 an architecture may have its own ideas
            log.info("threads can't be measured: %s: %s", type(error).__name__, error)
            return {choices[0]: 0.0}

    threads = Threads(measure)
    threads.choose()
    return threads
