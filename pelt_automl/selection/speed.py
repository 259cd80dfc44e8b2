"""How fast this machine trains and evaluates, with this backbone and these texts: a few throwaway steps."""

import statistics
import time
from dataclasses import replace
from itertools import pairwise

from pelt_automl.design_space import Modification
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.records import Seeds
from pelt_automl.search.budget import Speed
from pelt_automl.selection.context import Context
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.loop import Trainer
from pelt_automl.training.trials import TrialRun

STEPS = 5
"""The first one warms up thread pools, kernels and caches and doesn't count."""

LARGEST_PACK = 4
EXAMPLES = 64


def measure_speed(context: Context) -> Speed:
    """Train a mixed pack of the selection's methods for a few steps, and evaluate a few examples."""
    packable = [method for method in context.methods if METHODS[method].packable] or list(context.methods)
    runs = [_run(context, method) for method in packable[-LARGEST_PACK:]]
    clock = time.perf_counter
    times = [clock()]
    plan = replace(context.plan, evaluate_at=())
    trainer = Trainer(context.backbone, plan, context.data.metric, context.data.outputs, on_step=lambda _: times.append(clock()))
    trainer.train(runs, until=min(STEPS, plan.steps))
    taken = [after - before for before, after in pairwise(times)]
    step = statistics.median(taken[1:] or taken) / len(runs)
    return Speed(step * _slowdown(context), _evaluation(context, [run.modifications for run in runs]))


def _run(context: Context, method: str) -> TrialRun:
    return context.run(f"speed-{method}", method, METHODS[method].defaults, Seeds(context.settings.search.seed, 0, 0))


def _evaluation(context: Context, modifications: list[tuple[Modification, ...]]) -> float:
    select = context.splits(context.settings.search.seed)[1]
    sample = select.take(range(min(EXAMPLES, len(select))))
    pack = Pack(
        context.backbone, [PackTrial(own, 0) for own in modifications if not any(m.form == "full" for m in own)], context.data.outputs
    )
    if not pack.trials:
        pack = Pack(context.backbone, [PackTrial((), 0)], context.data.outputs)
    sets = [sample] * len(pack.trials)
    evaluate(pack, sets)  # warm up
    start = time.perf_counter()
    evaluate(pack, sets)
    return (time.perf_counter() - start) / (len(pack.trials) * len(sample))


def _slowdown(context: Context) -> float:
    """Full fine-tuning also computes the gradients of the weights: about twice a packed trial's time, averaged over the methods."""
    alone = sum(not METHODS[method].packable for method in context.methods)
    return 1 + alone / len(context.methods) if alone < len(context.methods) else 1.0
