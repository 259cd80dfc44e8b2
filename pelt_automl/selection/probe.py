"""How many trials train best in one pack: a few steps of real batches, alone and in a pack, timed, and their memory."""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from pelt_automl.log.events import Seeds
from pelt_automl.log.history import History
from pelt_automl.methods import METHODS
from pelt_automl.modifications import pack_kind
from pelt_automl.search.budget import Clock
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.selection.splits import Splits
from pelt_automl.training import packing
from pelt_automl.training.memory import peak_of, usable_bytes
from pelt_automl.training.schedule import TrainingPlan
from pelt_automl.training.tokens import BatchOrder, Tokens
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work

STEPS = 4
"""The first one builds the pack and warms up thread pools, kernels and caches, and doesn't count."""

ENOUGH = 0.5
"""Seconds timed after which no further step is: what disturbs a step is short against it, and the first trial waits."""

LONGEST_STEPS = 2
"""In the second one the heap has holes from the first."""

PROBED = {"cpu": 4, "cuda": 8}
"""Trials in the pack that is measured."""

LARGEST = {"cpu": 8, "cuda": 32}
"""Trials in a pack at most: what was measured isn't believed much further."""

SHARE = 0.05
"""Of the time that is left, after which nothing more is measured."""

WORTH = 1.05
"""A larger pack has to save more than a twentieth of a trial's step: in a smaller one less waits for its neighbors."""


@dataclass(frozen=True)
class PackProbe:
    """A step's seconds and memory by the number of trials in its pack: a line through what was measured at two of them."""

    methods: tuple[str, ...]
    """Those that could be trained; they share a pack, or it is one alone."""
    size: int
    """Trials in the larger pack; 1 where no pack was measured."""
    seconds: tuple[float, float]
    """Of a step of a pack of one trial, on average over the larger pack's, and of the larger pack."""
    bytes: tuple[float, float]
    """The same of memory, at the longest batch."""

    def seconds_of(self, trials: int) -> float:
        """A step of a pack of so many."""
        return _line(self.size, self.seconds, trials)

    def bytes_of(self, trials: int) -> float:
        """Memory of a pack of so many, beside what the backbone takes."""
        return _line(self.size, self.bytes, trials)

    def best(self, most: int, free: float) -> int:
        """The fewest trials whose step costs at most `WORTH` of the cheapest's, of packs of 1, 2, 4, ... up to `most` that fit into `free`.

        `free` in bytes. Sizes are coarse since a search depends on them: the same command is to find the same size, as far as it can.
        """
        sizes = [1 << power for power in range(most.bit_length())]
        fitting = [trials for trials in sizes if self.bytes_of(trials) <= free] or [1]
        cost = {trials: self.seconds_of(trials) / trials for trials in fitting}
        return next(trials for trials in fitting if cost[trials] <= WORTH * min(cost.values()))


def _line(size: int, measured: tuple[float, float], trials: int) -> float:
    """Through ``(1, measured[0])`` and ``(size, measured[1])``, never falling; proportional where there is one point."""
    slope = max(0.0, (measured[1] - measured[0]) / (size - 1)) if size > 1 else measured[0]
    return measured[0] + slope * (trials - 1)


@dataclass(frozen=True)
class Packs:
    """How many trials a selection trains in a pack at most, and why."""

    size: int
    probe: PackProbe | None
    free: float
    """Bytes that a pack may take."""

    @property
    def numbers(self) -> dict[str, float]:
        """For the record: ``pack_probed``, the larger pack that was measured; ``pack_seconds_1`` and ``pack_seconds_n``, a
        step of a pack of one and of that one; ``pack_bytes_1`` and ``pack_bytes_n``, their memory; ``pack_bytes``, what is predicted for
        `pack_size`; ``pack_bytes_free``, what it may take, where the system tells.
        """
        found: dict[str, float] = {}
        if self.probe:
            probe = self.probe
            found |= {"pack_probed": float(probe.size), "pack_bytes": probe.bytes_of(self.size)}
            found |= {"pack_seconds_1": probe.seconds[0], "pack_seconds_n": probe.seconds[1]}
            found |= {"pack_bytes_1": probe.bytes[0], "pack_bytes_n": probe.bytes[1]}
        return found | ({"pack_bytes_free": self.free} if math.isfinite(self.free) else {})

    @property
    def message(self) -> str:
        """A part of a sentence: the size with its time and memory."""
        if self.probe is None:
            return f"trials in a pack: {self.size}"
        step, alone = 1000 * self.probe.seconds_of(self.size) / self.size, 1000 * self.probe.seconds[0]
        compared = f" ({alone:.0f} alone)" if self.size > 1 else ""
        return f"trials in a pack: {self.size}, {step:.0f} ms a trial's step{compared}, {self.probe.bytes_of(self.size) / 1e9:.2g} GB"


def choose_packs(question: Question, machine: Machine, probe: PackProbe | None) -> Packs:
    """The user's size, else the probe's best."""
    wanted, free = question.settings.training.pack_size, usable_bytes(machine.backbone.device)
    return Packs(wanted or (probe.best(most_trials(question, machine), free) if probe else 1), probe, free)


@dataclass(frozen=True)
class _Measured:
    """A step of a pack."""

    seconds: float
    bytes: float
    trained: bool
    """Whether all trials trained, in one pack."""


def probe_packs(question: Question, machine: Machine, history: History, clock: Clock) -> PackProbe | None:
    """Measure the selection's methods alone and in a pack, as far as they share one; None when no method can be trained.

    Methods that can't be trained are left out. A pack that fails, mostly for memory, is tried again with half as many trials. When
    `SHARE` of the time is used, what there is has to do, without a pack at the worst.
    """
    width = PROBED.get(machine.backbone.device.type, PROBED["cuda"])
    end, plan, given = time.perf_counter() + SHARE * clock.left, plans_of(question, history).search, question.left(history)
    alone = _measure_alone(machine, plan, _sharing(machine, given)[-width:], end)
    if not alone:
        return _probe_unshared(machine, plan, given)
    size = min(width, most_trials(question, machine))
    while size > 1 and time.perf_counter() < end:
        methods = [list(alone)[i % len(alone)] for i in range(size)]
        pack = _measure(machine, plan, methods)
        if pack.trained:
            seconds = statistics.fmean(alone[method].seconds for method in methods)
            taken = statistics.fmean(alone[method].bytes for method in methods)
            return PackProbe(tuple(alone), size, (seconds, pack.seconds), (taken, pack.bytes))
        size //= 2
    return _unpacked(alone)


def _measure_alone(machine: Machine, plan: TrainingPlan, methods: Sequence[str], end: float) -> dict[str, _Measured]:
    """Those of the methods that can be trained; one at least is measured, the others as long as there is time."""
    found: dict[str, _Measured] = {}
    for method in methods:
        if not found or time.perf_counter() < end:
            found[method] = _measure(machine, plan, [method])
            if not found[method].trained:
                del found[method]
    return found


def most_trials(question: Question, machine: Machine) -> int:
    """Trials in a pack at most: the user's wish, else what the device is good for."""
    return question.settings.training.pack_size or LARGEST.get(machine.backbone.device.type, LARGEST["cuda"])


def _sharing(machine: Machine, methods: Sequence[str]) -> list[str]:
    """The methods that train in one pack, of the kind of pack that most of them train in."""
    backbone, kinds = machine.backbone, dict[object, list[str]]()
    for method in methods:
        modifications = METHODS[method].build()
        kind = pack_kind(modifications, backbone.architecture, backbone.shape)
        if kind is not None:
            kinds.setdefault(kind, []).append(method)
    return max(kinds.values(), key=len, default=[])


def _probe_unshared(machine: Machine, plan: TrainingPlan, methods: Sequence[str]) -> PackProbe | None:
    """The last of the other methods that can be trained."""
    for method in reversed(methods):
        if not machine.shares_packs(method) and (found := _measure(machine, plan, [method])).trained:
            return _unpacked({method: found})
    return None


def _unpacked(alone: Mapping[str, _Measured]) -> PackProbe:
    seconds = statistics.fmean(found.seconds for found in alone.values())
    taken = statistics.fmean(found.bytes for found in alone.values())
    return PackProbe(tuple(alone), 1, (seconds, seconds), (taken, taken))


def _measure(machine: Machine, plan: TrainingPlan, methods: Sequence[str]) -> _Measured:
    """These methods' published defaults: a few steps of a typical batch for their time, then of the longest for their memory."""
    typical = typical_batch(_run(machine, plan, methods[0]))
    runs = [_on(typical, _run(machine, plan, method)) for method in methods]
    seconds, together = _train(machine, plan, runs, STEPS)
    if not together or any(run.progress.state == "failed" for run in runs):
        return _Measured(math.nan, math.nan, trained=False)
    taken = training_bytes(machine, plan, [_run(machine, plan, method) for method in methods])
    return _Measured(statistics.median(seconds), math.nan if taken is None else taken, trained=taken is not None)


def training_bytes(machine: Machine, plan: TrainingPlan, runs: Sequence[TrialRun]) -> float | None:
    """Memory of these trainings in one pack at the longest batch, beside what the backbone takes; None if they can't be trained so."""
    longest = longest_batch(machine.splits, plan.batch_size)
    runs = [_on(longest, run) for run in runs]
    with peak_of(machine.backbone.device) as peak:
        _, together = _train(machine, plan, runs, LONGEST_STEPS)
    return peak.bytes if together and all(run.progress.state != "failed" for run in runs) else None


def _train(machine: Machine, plan: TrainingPlan, runs: Sequence[TrialRun], steps: int) -> tuple[list[float], bool]:
    """Seconds of each step but the first (0 where none was taken), and whether all trials took all of them together.

    At most `steps`, and fewer when `ENOUGH` has been timed.
    """
    times, together = [time.perf_counter()], True

    def on_step(trials: int) -> None:
        nonlocal together
        if machine.backbone.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter())
        together = together and trials == len(runs)

    plan = replace(plan, evaluate_at=(), select_most=None)

    def enough() -> bool:
        return len(times) > 1 and times[-1] - times[1] >= ENOUGH

    work = Work(machine.backbone, plan, machine.data.metric, machine.data.outputs, expired=enough, on_step=on_step)
    packing.train(work, runs, steps)
    seconds = [after - before for before, after in pairwise(times)]
    return seconds[1:] or seconds or [0.0], together


def _run(machine: Machine, plan: TrainingPlan, method: str) -> TrialRun:
    return machine.run(f"speed-{method}", method, METHODS[method].defaults, Seeds(machine.splits.seed, 0, 0), plan)


def _on(texts: Tokens, run: TrialRun) -> TrialRun:
    """The same training with these texts as its only batch."""
    return replace(run, train=texts, order=BatchOrder(texts.lengths, len(texts), seed=0))


def typical_batch(run: TrialRun) -> Tokens:
    """The training batch with the median number of tokens: the same in each timed step, so that no kernel is compiled while it is timed."""
    batches = [run.train.take(run.order.batch(step)) for step in range(run.order.batches_an_epoch)]
    return sorted(batches, key=lambda batch: int(batch.lengths.sum()))[len(batches) // 2]


def longest_batch(splits: Splits, size: int) -> Tokens:
    """The longest of the texts that some split may train on."""
    pool = splits.known
    return pool[max(0, len(pool) - size) :]
