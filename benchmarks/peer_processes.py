"""The peer with k processes on one device, each training one trial: they start their timed steps together, and all of them count.

On a GPU the processes share it by time slices, as they do for anyone who just starts them (no MPS); on a CPU its cores are divided among
them. Between turns they wait, so that nothing else is measured beside their work.
"""

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from types import TracebackType
from typing import Any, Self

import torch

from benchmarks.our_steps import Configuration, Work, bert_config, device_named, random_backbone
from benchmarks.peer import Peer, PeerPrecision
from pelt_automl.backbones.loading import Precision

STARTING = 180.0
"""Seconds for all processes to import their libraries, build their model and warm up."""


ABANDONED = 900.0
"""Seconds after which a process that nobody asks for a turn ends by itself."""


@dataclass(frozen=True)
class Setting:
    """What a process needs to know; plain values, so that it travels."""

    sizes: Mapping[str, int]
    work: Work
    device: str
    backbone_precision: Precision
    precision: PeerPrecision
    turns: int
    threads: int


class PeerProcesses:
    """k processes that train for a turn, all at once, each time they are asked to."""

    def __init__(self, trials: Sequence[Configuration], setting: Setting, patience: float) -> None:
        """Start them and wait until they are warm. Raises `TimeoutError` or `RuntimeError` when they don't get there."""
        spawn = multiprocessing.get_context("spawn")
        self.patience, self.work, self.count = patience, setting.work, len(trials)
        self._gate: Barrier = spawn.Barrier(len(trials) + 1)
        self._answers: Queue[tuple[float, float] | str] = spawn.Queue()
        self._processes = [spawn.Process(target=_train, args=(trial, setting, self._gate, self._answers), daemon=True) for trial in trials]
        for process in self._processes:
            process.start()
        try:
            self._wait(min(STARTING, patience))
        except BaseException:
            self.stop()
            raise

    def trial_steps_per_second(self) -> float:
        """Let all of them train a turn: their steps over the time from the first one's start to the last one's end."""
        self._wait(self.patience)  # go
        spans = [self._answers.get(timeout=self.patience) for _ in self._processes]
        if failed := [span for span in spans if isinstance(span, str)]:
            raise RuntimeError(failed[0])
        starts, ends = zip(*spans, strict=True)
        self._wait(self.patience)  # all are back at the gate
        return self.count * self.work.steps / (max(ends) - min(starts))

    def _wait(self, seconds: float) -> None:
        try:
            self._gate.wait(seconds)
        except threading.BrokenBarrierError:
            raise RuntimeError(self._complaint() or f"{self.count} processes weren't ready after {seconds:.0f} s") from None

    def _complaint(self) -> str:
        """Why a process has given up; empty if none says so."""
        try:
            while not isinstance(said := self._answers.get(timeout=1.0), str):
                pass
        except queue.Empty:
            return ""
        return said

    def stop(self) -> None:
        """End them."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()


def _train(trial: Configuration, setting: Setting, gate: Barrier, answers: "Queue[tuple[float, float] | str]") -> None:
    """In its own process: one training, with a stop at the gate before and after each turn."""
    torch.set_num_threads(setting.threads)
    device = device_named(setting.device)
    work, taken = setting.work, 0
    start = 0.0

    def after_step() -> None:
        nonlocal taken, start
        taken += 1
        since = taken - work.warmup
        if since >= 0 and since % work.steps == 0:
            _finish(device)
            if since:
                answers.put((start, time.monotonic()))
            gate.wait(ABANDONED)  # warm, or back from a turn
            gate.wait(ABANDONED)  # go
            start = time.monotonic()

    try:
        backbone = random_backbone(setting.sizes, work.tokens, device, setting.backbone_precision)
        peer = Peer(bert_config(setting.sizes, work.tokens), backbone, setting.precision)
        whole = Work(work.batch, work.tokens, work.steps * setting.turns, work.warmup)
        peer.train(trial, whole, after_step)
    except Exception as error:  # noqa: BLE001 whatever it is, the others must not wait for this one
        answers.put(f"{type(error).__name__}: {error}")
        gate.abort()


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def threads_each(processes: int) -> int:
    """The machine's cores divided among the processes."""
    return max(1, (os.cpu_count() or 1) // processes)


def setting_for(sizes: Mapping[str, int], work: Work, device: torch.device, processes: int, turns: int, **precisions: Any) -> Setting:
    """The setting of one of `processes` processes."""
    return Setting(sizes, work, str(device), turns=turns, threads=threads_each(processes), **precisions)
