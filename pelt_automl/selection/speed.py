"""How fast this machine trains and evaluates, with this backbone and these texts: a few throwaway steps."""

import os
import statistics
import time
from collections.abc import Sequence
from itertools import pairwise

import torch

from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial, needs_own_pack
from pelt_automl.search.budget import Speed
from pelt_automl.selection.context import Context
from pelt_automl.selection.probe import ENOUGH, Packs, seconds_a_step
from pelt_automl.training.evaluation import evaluate

BUSY = 0.5
"""Load (the last minute's mean of running processes) over cores from which on others are taken to use the processor."""

EVALUATED_PACK = 4
EXAMPLES = 32
EVALUATIONS = 2
"""That are timed, at most."""

UNKNOWN = Speed(step=1.0, example=0.01)
"""When no method can be trained: the search is going to record why, trial by trial."""


def choose_threads(context: Context) -> int:
    """Torch's threads for this selection: the user's, else all cores, or one where that is faster.

    On a processor that other programs keep busy, threads that wait for each other can be far slower than one alone.
    """
    cores = torch.get_num_threads()
    wanted = context.settings.training.threads
    if wanted or context.backbone.device.type != "cpu" or cores == 1 or os.getloadavg()[0] < BUSY * cores:
        torch.set_num_threads(wanted or cores)
        return wanted or cores
    method = next((method for method in reversed(context.methods) if context.shares_packs(method)), context.methods[0])
    seconds: dict[int, float] = {}
    for threads in (cores, 1):
        torch.set_num_threads(threads)
        seconds[threads] = seconds_a_step(context, method)
    fastest = min(seconds, key=lambda threads: seconds[threads])
    torch.set_num_threads(fastest)
    return fastest


def measure_speed(context: Context, packs: Packs) -> Speed:
    """What a trial's step takes in these packs, by their probe, and evaluating an example."""
    if packs.probe is None:
        return UNKNOWN
    step = packs.probe.seconds_of(packs.size) / packs.size
    return Speed(step * _slowdown(context), _evaluation(context, packs.probe.methods))


def _evaluation(context: Context, methods: Sequence[str]) -> float:
    select = context.splits(context.settings.search.seed)[1]
    sample = select.take(range(min(EXAMPLES, len(select))))
    modifications = [context.modifications(method, METHODS[method].defaults) for method in methods[-EVALUATED_PACK:]]
    sharing = [own for own in modifications if not needs_own_pack(own, context.backbone.architecture)]
    pack = Pack(context.backbone, [PackTrial(own, 0) for own in sharing or [()]], context.data.outputs)
    sets = [sample] * len(pack.trials)
    evaluate(pack, sets)  # the first one warms up
    times = [time.perf_counter()]
    while len(times) <= EVALUATIONS and times[-1] - times[0] < ENOUGH:
        evaluate(pack, sets)
        times.append(time.perf_counter())
    return statistics.median(after - before for before, after in pairwise(times)) / (len(pack.trials) * len(sample))


def _slowdown(context: Context) -> float:
    """Full fine-tuning also computes the gradients of the weights: about twice a packed trial's time, averaged over the methods."""
    alone = sum(not context.shares_packs(method) for method in context.methods)
    return 1 + alone / len(context.methods) if alone < len(context.methods) else 1.0
