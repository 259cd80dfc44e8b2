"""How fast this machine trains and evaluates, with this backbone and these texts: a few throwaway steps."""

import logging
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from pelt_automl.backbones.layer_speed import Workload, layer_seconds, thread_choices
from pelt_automl.backbones.loading import Backbone
from pelt_automl.log.history import History
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial, needs_own_pack
from pelt_automl.search.budget import Speed
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.probe import ENOUGH, Packs
from pelt_automl.selection.question import Question
from pelt_automl.selection.splits import Splits
from pelt_automl.selection.threads import Threads
from pelt_automl.training.checkpoints import precision_name
from pelt_automl.training.evaluation import evaluate

log = logging.getLogger(__name__)

ROUNDED = 32
"""Tokens: the length of the texts that layers are measured on is a multiple of it, so that the same task finds what is remembered."""

EVALUATED_PACK = 4
EXAMPLES = 32
EVALUATIONS = 2
"""That are timed, at most."""

UNKNOWN = Speed(step=1.0, example=0.01)
"""When no method can be trained: the search is going to record why, trial by trial."""


def workload(question: Question, splits: Splits) -> Workload:
    """A step of this selection: its batch, and the median of its texts, rounded up."""
    lengths, training = splits.search[0].lengths, question.settings.training
    tokens = min(question.length.most, ROUNDED * math.ceil(float(np.median(lengths)) / ROUNDED))
    return Workload(training.batch_size, tokens, training.threads)


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


def measure_speed(question: Question, machine: Machine, history: History, packs: Packs) -> Speed:
    """What a trial's step takes in these packs, by their probe, and evaluating an example."""
    if packs.probe is None:
        return UNKNOWN
    step = packs.probe.seconds_of(packs.size) / packs.size
    return Speed(step * _slowdown(machine, question.left(history)), _evaluation(machine, packs.probe.methods))


def _evaluation(machine: Machine, methods: Sequence[str]) -> float:
    select = machine.splits.search[1]
    sample = select.take(range(min(EXAMPLES, len(select))))
    modifications = [METHODS[method].build() for method in methods[-EVALUATED_PACK:]]
    sharing = [own for own in modifications if not needs_own_pack(own, machine.backbone.architecture)]
    pack = Pack(machine.backbone, [PackTrial(own, 0) for own in sharing or [()]], machine.data.outputs)
    sets = [sample] * len(pack.trials)
    evaluate(pack, sets)  # the first one warms up
    times = [time.perf_counter()]
    while len(times) <= EVALUATIONS and times[-1] - times[0] < ENOUGH:
        evaluate(pack, sets)
        times.append(time.perf_counter())
    return statistics.median(after - before for before, after in pairwise(times)) / (len(pack.trials) * len(sample))


def _slowdown(machine: Machine, methods: Sequence[str]) -> float:
    """Full fine-tuning also computes the gradients of the weights: about twice a packed trial's time, averaged over the methods."""
    alone = sum(not machine.shares_packs(method) for method in methods)
    return 1 + alone / len(methods) if alone < len(methods) else 1.0
