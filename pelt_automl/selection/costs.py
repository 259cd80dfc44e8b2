"""What configurations cost on this device: the latency of texts, as trained and merged, and the memory of a training, each alone."""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pelt_automl.baselines import Encoder, load_fitted, read_facts
from pelt_automl.design_space import OWN_COPY, Modification
from pelt_automl.log.events import CostMeasured, Decision, HyperParameters, Latency, Phase, Seeds, TrialEnded, What
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.modifications import Pack, PackTrial, without_reparameterization
from pelt_automl.modifications.merging import plain_when_folded, why_no_head
from pelt_automl.selection.machine import Machine, costs_of
from pelt_automl.selection.measuring import training_bytes
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.selection.working_folders import kept_at
from pelt_automl.tasks import Examples
from pelt_automl.timing.clock import Clock
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training.evaluation import pad_id_of
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.tokens import Tokens, collate

Shape = tuple[Modification, ...]
"""What latency and memory depend on: Modifications without their scale, which is only multiplied with, and without a learning rate."""

PLAIN: Shape = ()
"""The backbone with a head: also what is left of a method that is folded into its weights. Folding a low-rank change, factors, shifts of
biases or trained weights changes numbers only, so that its latency is the plain backbone's; it is measured once, without folding."""

ONE, MANY = 1, 32
"""Texts in a pass that latency is measured with."""

WARM_UP = 2
"""Passes that don't count: they build kernels and warm caches up."""

FEWEST, MOST = 5, 25
"""Passes that are timed, at least (if there is time) and at most."""

LIMIT_PASSES = 11
"""Passes that a limit on latency is judged by: a search waits for them."""

SECONDS_A_SERIES = 0.25
"""For each configuration and number of texts, after which `FEWEST` passes have to do."""

Timed = dict[Shape, list[float]]
"""Seconds of each pass, by what was measured."""


def cost_shape(modifications: Sequence[Modification]) -> Shape:
    """What costs depend on."""
    return tuple(replace(modification, scale=1.0) for modification in modifications)


# -------------------------------------------------------------------- latency


def in_turn(calls: Mapping[Shape, Callable[[], object]], device: torch.device, most: int = MOST, end: float = math.inf) -> Timed:
    """Seconds of each call, all in their turn, so that whatever else the machine does falls on all of them alike.

    Nothing begins after `end` on the performance counter: something may then have been called less often than others, or never.
    """
    wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else nullcontext
    timed: Timed = {shape: [] for shape in calls}
    enough = time.perf_counter() + SECONDS_A_SERIES * len(calls)
    for turn in range(-WARM_UP, most):
        if turn >= FEWEST and time.perf_counter() > enough:
            break
        for shape, call in calls.items():
            if time.perf_counter() > end:
                break
            wait()
            start = time.perf_counter()
            call()
            wait()
            timed[shape] += [time.perf_counter() - start] if turn >= 0 else []
    return timed


@torch.no_grad()
def time_passes(machine: Machine, shapes: Sequence[Shape], batch: int, most: int = MOST, end: float = math.inf) -> Timed:
    """Forward passes of `batch` texts, as `in_turn`; shapes with a copy of the backbone one by one, so that there is one copy at a time."""
    copies = [[shape] for shape in shapes if any(m.form in OWN_COPY for m in shape)]
    together = [shape for shape in shapes if [shape] not in copies]
    model, timed = machine.backbone.model, Timed()
    was_training = model.training
    model.eval()
    for group in ([together] if together else []) + copies:
        packs = {shape: Pack(machine.backbone, [PackTrial(shape, seed=0)], machine.data.outputs).eval() for shape in group}
        pad_id = pad_id_of(next(iter(packs.values())))
        inputs = collate([_typical_texts(machine, batch)], pad_id, machine.backbone.device).inputs
        timed |= in_turn({shape: partial(_forward, pack, inputs) for shape, pack in packs.items()}, machine.backbone.device, most, end)
    model.train(was_training)
    return timed


def _forward(pack: Pack, inputs: dict[str, Any]) -> None:
    pack(**inputs)


def _typical_texts(machine: Machine, count: int) -> Tokens:
    """The `count` texts around the median length of train and select; some of them several times where there are fewer."""
    texts = machine.splits.known
    start = max(0, (len(texts) - count) // 2)
    return texts.take(np.resize(np.arange(start, min(start + count, len(texts))), count))


def latency_of(machine: Machine, seconds: Sequence[float], batch: int, *, merged: bool) -> Latency:
    """The figure that some timed passes make."""
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    tokens = float(_typical_texts(machine, batch).lengths.mean())
    return Latency(batch, merged, 1000 * middle, 1000 * (high - low), len(seconds), tokens)


def is_exportable(machine: Machine, modifications: Sequence[Modification]) -> bool:
    """Whether `pelt-automl export --merged` can write a configuration: transformers' classifier has to take the head, too."""
    mean = machine.data.task_kind.scale(machine.splits.search[0].labels).mean
    return plain_when_folded(modifications, machine.backbone) and not why_no_head(machine.backbone, mean)


def served_shape(machine: Machine, modifications: Sequence[Modification]) -> Shape:
    """What runs when the winner is handed over: the plain backbone where it is exported merged, else what was trained, as it is kept."""
    return PLAIN if is_exportable(machine, modifications) else cost_shape(without_reparameterization(modifications))


def is_head(machine: Machine, run: TrialEnded) -> bool:
    """Whether a baseline's run is the plain backbone with a head: saved, served and exported as one."""
    return read_facts(kept_at(machine.folder, run)).form == "head"


def baseline_passes(machine: Machine, run: TrialEnded, most: int) -> list[float]:
    """Seconds of each answer to one text, by what a baseline's run has fitted."""
    if is_head(machine, run):
        return time_passes(machine, [PLAIN], ONE, most)[PLAIN]
    return answer_passes(machine, kept_at(machine.folder, run), ONE, most)


def answer_passes(machine: Machine, fitted: Path, batch: int, most: int = MOST, end: float = math.inf) -> list[float]:
    """Seconds of each answer that what was `fitted` (its folder) gives to `batch` texts, as `time_passes` has them.

    Where it reads the backbone: a pass over tokenized texts (of a pair read apart, over each text) and its own map or search behind it,
    nothing kept from before. A bag of words is timed from the text on: counting words is most of what it does.
    """
    (train, select), tokens = machine.data.split(machine.splits.seed), machine.splits.search
    lengths = np.concatenate([part.lengths for part in tokens])
    start = max(0, (len(lengths) - batch) // 2)  # as `_typical_texts`
    middle = np.resize(np.argsort(lengths, kind="stable")[start : start + batch], batch)
    examples = Examples(train.texts + select.texts, (0,) * len(lengths)).take(middle.tolist())
    encoder = Encoder(FrozenFeatures(machine.backbone, keep=False), functools.cache(machine.tokenized))
    answers = load_fitted(fitted, encoder)
    return in_turn({PLAIN: lambda: answers.outputs(examples)}, machine.backbone.device, most, end)[PLAIN]


# -------------------------------------------------------------------- memory


def memory_bytes(machine: Machine, plan: TrainingPlan, method: str, hyper_parameters: HyperParameters) -> float | None:
    """Of training a configuration alone, at most, the backbone included; None where it can't be trained."""
    run = machine.run(f"memory-{method}", method, hyper_parameters, Seeds(machine.splits.seed, 0, 0), plan)
    taken, model = training_bytes(machine, plan, run), machine.backbone.model
    frozen = sum(tensor.numel() * tensor.element_size() for tensor in chain(model.parameters(), model.buffers()))
    return None if taken is None else taken + float(frozen)


# -------------------------------------------------------------------- finalists


def measure_costs(question: Question, machine: Machine, log: Log, clock: Clock) -> None:
    """Write what each finalist costs that no earlier start has measured, as far as there is time: for one text, for 32, then memory."""
    known, finalists = {event.candidate for event in log.history.costs}, dict[str, list[TrialEnded]]()
    for run in sorted(log.history.finals(), key=lambda run: run.method in BASELINES):  # of which nothing is trained on the device
        if run.candidate not in known:
            finalists.setdefault(run.candidate, []).append(run)
    if not finalists:
        return
    costs, plans = costs_of(question, machine, log.history), plans_of(question, log.history)
    end, example = time.perf_counter() + clock.left - costs.writing, costs.example(log.history)
    log.progress(Phase.COSTS, 0, 1, "measuring latency and memory")
    shapes = {name: _shapes(machine, runs[0]) for name, runs in finalists.items()}
    different = list(dict.fromkeys(shape for own in shapes.values() for shape in own))
    timed: dict[int, Timed] = {}
    for batch in (ONE, MANY):  # a warm-up and one pass of each shape can be expected to end in time
        if time.perf_counter() + (WARM_UP + 1) * len(different) * batch * example < end:
            timed[batch] = time_passes(machine, different, batch, end=end)
    for name, runs in finalists.items():
        own, run = shapes[name], runs[0]
        taken = {(batch, place > 0): passes[shape] for batch, passes in timed.items() for place, shape in enumerate(own)}
        if not own:
            taken = {(batch, False): answer_passes(machine, kept_at(machine.folder, run), batch, end=end) for batch in (ONE, MANY)}
        latencies = [latency_of(machine, seconds, batch, merged=merged) for (batch, merged), seconds in taken.items() if seconds]
        memory = None
        if run.method not in BASELINES and time.perf_counter() < end:
            memory = memory_bytes(machine, plans.search, run.method, run.hyper_parameters)
        exportable, trials = bool(own) and is_exportable(machine, own[0]), [run.trial for run in runs]
        log.append(
            CostMeasured(
                run.method, run.hyper_parameters, latencies, memory, device_name(machine.backbone.device), name, trials, exportable
            )
        )
    if clock.limit is not None:
        _say_what_is_missing(log, list(finalists))


def _shapes(machine: Machine, run: TrialEnded) -> tuple[Shape, ...]:
    """What a finalist's latency depends on, as it was trained and merged; nothing for a baseline with answers of its own."""
    if run.method in BASELINES:
        return (PLAIN,) if is_head(machine, run) else ()
    kept = cost_shape(without_reparameterization(METHODS[run.method].modifications(run.hyper_parameters)))
    return (kept, PLAIN) if plain_when_folded(kept, machine.backbone) else (kept,)


def _say_what_is_missing(log: Log, finalists: Sequence[str]) -> None:
    measured = [event for event in log.history.costs if event.candidate in finalists]
    trained = [event for event in measured if event.method not in BASELINES]
    whats: dict[str, Callable[[CostMeasured], Any]] = {
        "latency of one text": lambda event: event.latency(ONE),
        f"latency of {MANY} texts": lambda event: event.latency(MANY),
        "memory": lambda event: event.memory_bytes,
    }
    for what, figure in whats.items():
        asked = trained if what == "memory" else measured
        missing = [event.candidate for event in asked if figure(event) is None]
        if missing:
            why = f"the time left was too short to measure it for {len(missing)} of {len(asked)} finalists"
            log.append(Decision(What.NO_TIME_FOR_COSTS, what, why))


def device_name(device: torch.device) -> str:
    """``cpu, 2 threads``, or the GPU's name."""
    threads = torch.get_num_threads()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {threads} thread{'s' if threads > 1 else ''}"
