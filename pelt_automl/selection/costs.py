"""What configurations cost on this device: the latency of texts, as trained and merged, and the memory of a training, each alone."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pelt_automl.baselines import Encoder, load_fitted, read_facts
from pelt_automl.design_space import OWN_COPY, Modification
from pelt_automl.log.events import CostMeasured, Decision, HyperParameters, Latency, Phase, Seeds, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.modifications import Pack, PackTrial, without_reparameterization
from pelt_automl.modifications.merging import plain_when_folded, why_no_head
from pelt_automl.search.budget import WRITING, Clock
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.probe import training_bytes
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.selection.working_folders import fitted_at
from pelt_automl.tasks import Examples
from pelt_automl.training.evaluation import pad_id_of
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.schedule import TrainingPlan
from pelt_automl.training.tokens import collate

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


def time_passes(machine: Machine, shapes: Sequence[Shape], batch: int, most: int = MOST, end: float = float("inf")) -> Timed:
    """Forward passes of `batch` texts, each shape's in turn, so that whatever else the machine does falls on all of them alike.

    Shapes with a copy of the backbone are measured one by one, so that there is one copy at a time. Nothing begins after `end` on the
    performance counter: a shape may then have fewer passes than others, or none.
    """
    copies = [[shape] for shape in shapes if any(m.form in OWN_COPY for m in shape)]
    together = [shape for shape in shapes if not any(m.form in OWN_COPY for m in shape)]
    timed: Timed = {}
    for group in ([together] if together else []) + copies:
        timed |= _in_turn(machine, group, batch, most, end)
    return timed


@torch.no_grad()
def _in_turn(machine: Machine, shapes: Sequence[Shape], batch: int, most: int, end: float) -> Timed:
    model = machine.backbone.model
    was_training = model.training
    model.eval()
    packs = {shape: Pack(machine.backbone, [PackTrial(shape, seed=0)], machine.data.outputs).eval() for shape in shapes}
    inputs = _inputs(machine, next(iter(packs.values())), batch)
    timed: Timed = {shape: [] for shape in shapes}
    enough = time.perf_counter() + SECONDS_A_SERIES * len(shapes)
    for turn in range(-WARM_UP, most):
        if turn >= FEWEST and time.perf_counter() > enough:
            break
        for shape, pack in packs.items():
            if time.perf_counter() > end:
                break
            seconds = _one_pass(machine, pack, inputs)
            timed[shape] += [seconds] if turn >= 0 else []
    model.train(was_training)
    return timed


def _one_pass(machine: Machine, pack: Pack, inputs: dict[str, Any]) -> float:
    on_gpu = machine.backbone.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    pack(**inputs)
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _inputs(machine: Machine, pack: Pack, batch: int) -> dict[str, Any]:
    return collate([_typical_texts(machine, batch)], pad_id_of(pack), machine.backbone.device).inputs


def _typical_texts(machine: Machine, count: int) -> Any:
    """The `count` texts around the median length of train and select; some of them several times where there are fewer."""
    texts = machine.splits.known
    start = max(0, (len(texts) - count) // 2)
    return texts.take(np.resize(np.arange(start, min(start + count, len(texts))), count))


def latency_of(machine: Machine, seconds: Sequence[float], batch: int, *, merged: bool) -> Latency:
    """The figure that some timed passes make."""
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    tokens = float(_typical_texts(machine, batch).lengths.mean())
    return Latency(batch, merged, 1000 * middle, 1000 * (high - low), len(seconds), tokens)


def merges(machine: Machine, modifications: Sequence[Modification]) -> bool:
    """Whether folding a configuration leaves the plain backbone, whose latency is then the merged one."""
    return plain_when_folded(modifications, machine.backbone)


def is_exportable(machine: Machine, modifications: Sequence[Modification]) -> bool:
    """Whether `pelt-automl export --merged` can write a configuration that `merges`: transformers' classifier has to take the head, too."""
    labels = machine.splits.search[0].labels
    mean = machine.data.task_kind.scale(labels).mean
    return merges(machine, modifications) and not why_no_head(machine.backbone, mean)


def served_shape(machine: Machine, modifications: Sequence[Modification]) -> Shape:
    """What runs when the winner is handed over: the plain backbone where it is exported merged, else what was trained, as it is kept."""
    return PLAIN if is_exportable(machine, modifications) else cost_shape(without_reparameterization(modifications))


def is_head(machine: Machine, run: TrialEnded) -> bool:
    """Whether a baseline's run is the plain backbone with a head: saved, served and exported as one."""
    return read_facts(fitted_at(machine.folder, run)).form == "head"


def baseline_passes(machine: Machine, run: TrialEnded, most: int) -> list[float]:
    """Seconds of each answer to one text, by what a baseline's run has fitted."""
    if is_head(machine, run):
        return time_passes(machine, [PLAIN], ONE, most)[PLAIN]
    return answer_passes(machine, fitted_at(machine.folder, run), ONE, most)


def answer_passes(machine: Machine, fitted: Path, batch: int, most: int = MOST, end: float = float("inf")) -> list[float]:
    """Seconds of each answer that what was `fitted` (its folder) gives to `batch` texts, as `time_passes` has them.

    Where it reads the backbone: a pass over tokenized texts (of a pair read apart, over each text) and its own map or search behind it,
    nothing kept from before. A bag of words is timed from the text on: counting words is most of what it does.
    """
    examples = _typical_examples(machine, batch)
    tokenized = functools.cache(machine.tokenized)
    answers = load_fitted(fitted, Encoder(FrozenFeatures(machine.backbone, keep=False), tokenized))
    seconds, enough = list[float](), time.perf_counter() + SECONDS_A_SERIES
    for turn in range(-WARM_UP, most):
        now = time.perf_counter()
        if now > end or (turn >= FEWEST and now > enough):
            break
        answers.outputs(examples)
        seconds += [time.perf_counter() - now] if turn >= 0 else []
    return seconds


def _typical_examples(machine: Machine, count: int) -> Examples:
    """`_typical_texts`, as texts."""
    splits = machine.data.split(machine.splits.seed)
    examples = Examples(splits[0].texts + splits[1].texts, (0,) * sum(map(len, splits)))
    lengths = np.concatenate([tokens.lengths for tokens in machine.splits.search])
    start = max(0, (len(examples) - count) // 2)
    middle = np.argsort(lengths, kind="stable")[start : start + count]
    return examples.take(np.resize(middle, count).tolist())


# -------------------------------------------------------------------- memory


def memory_bytes(machine: Machine, plan: TrainingPlan, method: str, hyper_parameters: HyperParameters) -> float | None:
    """Of training a configuration alone, at most, the backbone included; None where it can't be trained."""
    run = machine.run(f"memory-{method}", method, hyper_parameters, Seeds(machine.splits.seed, 0, 0), plan)
    taken = training_bytes(machine, plan, [run])
    return None if taken is None else taken + backbone_bytes(machine)


def backbone_bytes(machine: Machine) -> float:
    """Weights and buffers of the frozen model."""
    model = machine.backbone.model
    return float(sum(tensor.numel() * tensor.element_size() for tensor in chain(model.parameters(), model.buffers())))


# -------------------------------------------------------------------- finalists


def measure_costs(question: Question, machine: Machine, log: Log, clock: Clock) -> None:
    """Write what each finalist costs, as far as there is time: for one text, for 32, then memory."""
    finalists = _not_measured(log.history)
    if not finalists:
        return
    end, plans = time.perf_counter() + clock.left - WRITING, plans_of(question, log.history)
    log.progress(Phase.COSTS, 0, 1, "measuring latency and memory")
    baselines = {name: runs for name, runs in finalists.items() if runs[0].method in BASELINES}
    finalists = {name: runs for name, runs in finalists.items() if name not in baselines}
    kept = {name: cost_shape(without_reparameterization(_modifications(runs))) for name, runs in finalists.items()}
    merged = {name for name, shape in kept.items() if merges(machine, shape)}
    heads = {name for name, runs in baselines.items() if is_head(machine, runs[0])}
    shapes = list(dict.fromkeys([*kept.values(), *([PLAIN] if merged or heads else [])]))
    timed: dict[int, Timed] = {}
    for batch in (ONE, MANY):  # a warm-up and one pass of each shape can be expected to end in time
        if time.perf_counter() + (WARM_UP + 1) * len(shapes) * batch * plans.example_seconds < end:
            timed[batch] = time_passes(machine, shapes, batch, end=end)
    for name, runs in finalists.items():
        latencies = [
            latency_of(machine, seconds, batch, merged=is_merged)
            for batch, of_shapes in timed.items()
            for is_merged, shape in ((False, kept[name]), *([(True, PLAIN)] if name in merged else []))
            if (seconds := of_shapes[shape])
        ]
        method, hyper_parameters = runs[0].method, runs[0].hyper_parameters
        memory = memory_bytes(machine, plans.search, method, hyper_parameters) if time.perf_counter() < end else None
        exportable, trials = is_exportable(machine, kept[name]), [run.trial for run in runs]
        log.append(CostMeasured(method, hyper_parameters, latencies, memory, device_name(machine), name, trials, exportable))
    for name, runs in baselines.items():
        of_head = {batch: of_shapes[PLAIN] for batch, of_shapes in timed.items()} if name in heads else None
        log.append(_measured_baseline(machine, name, runs, of_head, end))
    if clock.limit is not None:
        _say_what_is_missing(log, [*finalists, *baselines])


def _measured_baseline(
    machine: Machine, name: str, runs: Sequence[TrialEnded], of_head: Mapping[int, list[float]] | None, end: float
) -> CostMeasured:
    """Latencies, `of_head` where it is one; no memory, since nothing is trained on the device."""
    fitted = fitted_at(machine.folder, runs[0])
    timed = {batch: answer_passes(machine, fitted, batch, end=end) for batch in (ONE, MANY)} if of_head is None else of_head
    latencies = [latency_of(machine, seconds, batch, merged=False) for batch, seconds in timed.items() if seconds]
    exportable = of_head is not None and is_exportable(machine, PLAIN)
    trials = [run.trial for run in runs]
    return CostMeasured(runs[0].method, {}, latencies, None, device_name(machine), name, trials, exportable)


def _not_measured(history: History) -> dict[str, list[TrialEnded]]:
    """The runs of each finalist that no earlier start has measured."""
    known = {event.candidate for event in history.costs}
    found: dict[str, list[TrialEnded]] = {}
    for trial in history.finals():
        if trial.candidate not in known:
            found.setdefault(trial.candidate, []).append(trial)
    return found


def _modifications(runs: Sequence[TrialEnded]) -> tuple[Modification, ...]:
    return METHODS[runs[0].method].modifications(runs[0].hyper_parameters)


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


def device_name(machine: Machine) -> str:
    """``cpu, 2 threads``, or the GPU's name."""
    device, threads = machine.backbone.device, torch.get_num_threads()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {threads} thread{'s' if threads > 1 else ''}"
