"""How fast this machine trains and evaluates, with this backbone and these texts: a few throwaway steps."""

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch

from pelt_automl.design_space import Modification
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial, needs_own_pack
from pelt_automl.records import Seeds
from pelt_automl.search.budget import Speed
from pelt_automl.selection.context import Context
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.loop import Trainer
from pelt_automl.training.trials import TrialRun

STEPS = 5
"""The first one warms up thread pools, kernels and caches and doesn't count."""

BUSY = 0.5
"""Load (the last minute's mean of running processes) over cores from which on others are taken to use the processor."""

LARGEST_PACK = 4
EXAMPLES, EVALUATIONS = 64, 4

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
        seconds[threads] = _training(context, [_run(context, method)])
    fastest = min(seconds, key=lambda threads: seconds[threads])
    torch.set_num_threads(fastest)
    return fastest


def measure_speed(context: Context) -> Speed:
    """Train a mixed pack of the selection's methods for a few steps, and evaluate a few examples; methods that fail are left out."""
    sharing = [method for method in context.methods if context.shares_packs(method)]
    methods = sharing[-LARGEST_PACK:] or list(context.methods[-1:])
    while methods:
        runs = [_run(context, method) for method in methods]
        step = _training(context, runs)
        if all(run.progress.state != "failed" for run in runs):
            return Speed(step * _slowdown(context), _evaluation(context, [run.modifications for run in runs]))
        methods = [method for method, run in zip(methods, runs, strict=True) if run.progress.state != "failed"]
    return UNKNOWN


def _training(context: Context, runs: Sequence[TrialRun]) -> float:
    """Seconds of one step of one trial; without meaning when some run fails."""
    clock = time.perf_counter
    times = [clock()]
    plan = replace(context.plan, evaluate_at=())
    trainer = Trainer(context.backbone, plan, context.data.metric, context.data.outputs, on_step=lambda _: times.append(clock()))
    trainer.train(runs, until=min(STEPS, plan.steps))
    taken = _between(times)
    return statistics.median(taken[1:] or taken or [0.0]) / len(runs)


def _run(context: Context, method: str) -> TrialRun:
    return context.run(f"speed-{method}", method, METHODS[method].defaults, Seeds(context.settings.search.seed, 0, 0))


def _evaluation(context: Context, modifications: list[tuple[Modification, ...]]) -> float:
    select = context.splits(context.settings.search.seed)[1]
    sample = select.take(range(min(EXAMPLES, len(select))))
    sharing = [own for own in modifications if not needs_own_pack(own, context.backbone.architecture)]
    pack = Pack(context.backbone, [PackTrial(own, 0) for own in sharing or [()]], context.data.outputs)
    sets = [sample] * len(pack.trials)
    times = [time.perf_counter()]
    for _ in range(EVALUATIONS):
        evaluate(pack, sets)
        times.append(time.perf_counter())
    return statistics.median(_between(times)[1:]) / (len(pack.trials) * len(sample))


def _between(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


def _slowdown(context: Context) -> float:
    """Full fine-tuning also computes the gradients of the weights: about twice a packed trial's time, averaged over the methods."""
    alone = sum(not context.shares_packs(method) for method in context.methods)
    return 1 + alone / len(context.methods) if alone < len(context.methods) else 1.0
