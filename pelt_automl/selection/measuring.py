"""How fast this machine trains this selection's packs: as it has shown before, else a few throwaway steps, else by sizes alone."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import cycle, islice

import numpy as np
import torch

from pelt_automl.backbones.layer_speed import Workload
from pelt_automl.backbones.layer_speed import machine as machine_name
from pelt_automl.log.events import Seeds
from pelt_automl.log.history import History
from pelt_automl.methods import METHODS
from pelt_automl.remembered import recall, remember
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question
from pelt_automl.selection.splits import Splits
from pelt_automl.timing.clock import Clock
from pelt_automl.timing.pack_speed import Figures, PackSpeed, estimated, from_step
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training import packing
from pelt_automl.training.checkpoints import precision_name
from pelt_automl.training.memory import peak_of, usable_bytes
from pelt_automl.training.tokens import BatchOrder, Tokens
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work

LONGEST_STEPS = 2
"""By which memory is measured: in the second one the heap has holes from the first."""

IN_WORDS: dict[Figures, str] = {
    "measured": "measured on a pack of {}",
    "remembered": "as this machine has shown before",
    "estimated": "estimated from sizes alone: its first trainings will show",
}


def workload(question: Question, splits: Splits) -> Workload:
    """A step of this selection: its batch, and the median of its texts, rounded up."""
    training, median = question.settings.training, float(np.median(splits.search[0].lengths))
    return Workload(training.batch_size, min(question.length.most, _bucket(median)), training.threads)


def _bucket(tokens: float) -> int:
    return POLICY.bucket * int(np.ceil(tokens / POLICY.bucket))


def batch_tokens(question: Question, splits: Splits) -> int:
    """Tokens of the longest batch that some split may train on, with padding."""
    return question.settings.training.batch_size * int(splits.known.lengths[-1])


def pack_speed(question: Question, machine: Machine, history: History, clock: Clock, plan: TrainingPlan) -> tuple[PackSpeed, Figures]:
    """Of packs of the kind that most methods train in, and where the figures come from.

    Nothing is measured where this machine has trained such packs before, or where there is no time limit that a plan has to fit into. Else
    it is one small pack of published defaults on a typical batch, as short as will do. One that fails for memory is tried with half as many
    trials, and no larger ones are planned.
    """
    methods = _alike(machine, question.left(history))
    kind, backbone, batch = machine.kind(METHODS[methods[-1]].build(), methods[-1]), machine.backbone, plan.batch_size
    if known := recall("packs", _about(question, machine, kind, machine.threads.number), PackSpeed):
        return known, "remembered"
    guess, device = _estimated(question, machine), POLICY.device(backbone.device.type)
    if clock.limit is None:
        return guess, "estimated"
    most = question.settings.training.pack_size or device.measured_pack
    size = min(device.measured_pack, most) if machine.shares_packs(methods[-1]) else 1
    typical = _typical_batch(_default(machine, plan, methods[-1]))
    runs = [_on(typical, _default(machine, plan, method)) for method in islice(cycle(reversed(methods)), size)]
    begin = time.perf_counter()
    ends = _steps(machine, plan, runs, POLICY.measured_steps, begin + POLICY.measured * clock.left)
    if not ends:
        return guess, "estimated"
    (trials, end), before = ends[-1], ends[-2][1] if len(ends) > 1 else begin
    token_bytes, free = guess.token_bytes, usable_bytes(backbone.device)
    of_memory = trials < size and all(run.progress.state != "failed" for run in runs)  # else one is at fault, and its neighbors aren't
    if of_memory and math.isfinite(free):  # between what fits and twice as many, so that neither is a matter of a byte
        token_bytes = max(token_bytes, free / (1.5 * trials * batch_tokens(question, machine.splits)))
    return from_step(trials, end - before, batch, token_bytes), "measured"


def _estimated(question: Question, machine: Machine) -> PackSpeed:
    backbone, work = machine.backbone, workload(question, machine.splits)
    return estimated(backbone.shape, POLICY.device(backbone.device.type), work.batch, work.tokens, backbone.dtype.itemsize)


def _alike(machine: Machine, methods: Sequence[str]) -> list[str]:
    """The methods that train in one pack, of the kind of pack that most of them train in; the last one where none shares any."""
    kinds = dict[str, list[str]]()
    for method in methods:
        if machine.shares_packs(method):
            kinds.setdefault(machine.kind(METHODS[method].build(), method), []).append(method)
    return max(kinds.values(), key=len, default=list(methods[-1:]))


def remember_speed(question: Question, machine: Machine) -> None:
    """Keep what the trainings of this process have shown, for later selections on this machine."""
    longest, guess = int(machine.splits.known.lengths[-1]), _estimated(question, machine)
    for (kind, threads), speed in machine.watch.shown(question.settings.training.batch_size, longest, guess.token_bytes).items():
        remember("packs", _about(question, machine, kind, threads), speed)


def _about(question: Question, machine: Machine, kind: str, threads: int) -> dict[str, object]:
    """All that the speed of packs depends on."""
    backbone, work = machine.backbone, workload(question, machine.splits)
    return {
        "version": 1,
        "kind of pack": kind,
        "model": asdict(backbone.shape),
        "precision": precision_name(backbone.dtype),
        "dropout": question.settings.training.dropout,
        "batch": work.batch,
        "tokens": work.tokens,
        "device": machine_name(backbone.device),
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
    }


def training_bytes(machine: Machine, plan: TrainingPlan, run: TrialRun) -> float | None:
    """Memory of this training alone at the longest batch, beside what the backbone takes; None if it can't be trained."""
    run = _on(longest_batch(machine.splits, plan.batch_size), run)
    with peak_of(machine.backbone.device) as peak:
        ends = _steps(machine, plan, [run], LONGEST_STEPS)
    return peak.bytes if ends and run.progress.state != "failed" else None


def _steps(
    machine: Machine, plan: TrainingPlan, runs: Sequence[TrialRun], steps: int, until: float = float("inf")
) -> list[tuple[int, float]]:
    """Train these for so many steps, or until then on the performance counter: of each step that was taken, trials and end."""
    ends: list[tuple[int, float]] = []

    def on_step(trials: int) -> None:
        if machine.backbone.device.type == "cuda":
            torch.cuda.synchronize()
        ends.append((trials, time.perf_counter()))

    plan = replace(plan, evaluate_at=(), select_most=None)
    work = Work(
        machine.backbone,
        plan,
        machine.data.metric,
        machine.data.outputs,
        expired=lambda: bool(ends) and time.perf_counter() > until,
        on_step=on_step,
    )
    packing.train(work, runs, steps)
    return ends


def _default(machine: Machine, plan: TrainingPlan, method: str) -> TrialRun:
    return machine.run(f"speed-{method}", method, METHODS[method].defaults, Seeds(machine.splits.seed, 0, 0), plan)


def _on(texts: Tokens, run: TrialRun) -> TrialRun:
    """The same training with these texts as its only batch."""
    return replace(run, train=texts, order=BatchOrder(texts.lengths, len(texts), seed=0))


def _typical_batch(run: TrialRun) -> Tokens:
    """The training batch with the median number of tokens: the same in each timed step, so that no kernel is compiled while it is timed."""
    batches = [run.train.take(run.order.batch(step)) for step in range(run.order.batches_an_epoch)]
    return sorted(batches, key=lambda batch: int(batch.lengths.sum()))[len(batches) // 2]


def longest_batch(splits: Splits, size: int) -> Tokens:
    """The longest of the texts that some split may train on."""
    pool = splits.known
    return pool[max(0, len(pool) - size) :]


def machine_numbers(machine: Machine) -> dict[str, float]:
    """For the record: ``layers_bf16`` and ``layers_fp32``, seconds by which the precision was chosen; ``threads``; ``layers_threads_N``,
    seconds by which their number was.
    """
    backbone, threads = machine.backbone, machine.threads
    found: dict[str, float] = {}
    if backbone.speeds:
        found |= {"layers_bf16": backbone.speeds.bf16, "layers_fp32": backbone.speeds.fp32}
    found["threads"] = float(threads.number)
    return found | {f"layers_threads_{number}": seconds for number, seconds in threads.seconds.items() if len(threads.seconds) > 1}


def machine_words(machine: Machine) -> str:
    """The same as a part of a sentence."""
    backbone = machine.backbone
    figures = f" ({backbone.speeds})" if backbone.speeds else ""
    return f"computing in {precision_name(backbone.dtype)}{figures}, threads: {machine.threads}"
