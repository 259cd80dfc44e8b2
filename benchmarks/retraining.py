"""Trainings of given configurations on the truth's seeds, scored on the whole report split.

``python -m benchmarks.retraining REQUEST`` (a JSON object: ``cache``, ``options``, ``wanted``: pairs of configuration and seed).
"""

import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import hand_over
from benchmarks.quality_cache import Cache, Configuration, append

if TYPE_CHECKING:
    from pelt_automl.selection.context import Context
    from pelt_automl.settings import SelectionSettings
    from pelt_automl.training.evaluation import Predictions
    from pelt_automl.training.tokens import Tokens
    from pelt_automl.training.trials import TrialRun

TRUTH = 1_000_000
"""The first of the truth's seeds; no selection comes near them."""


@dataclass(frozen=True)
class Wanted:
    """A configuration on one of the truth's seeds, from 0."""

    configuration: Configuration
    seed: int


@dataclass
class Busy:
    """How much of the machine this process has had since it was made."""

    threads: int
    """Those that it would use with the machine to itself."""
    gpu: bool = False
    """Its seconds are wall time: what else runs on the processor doesn't matter."""
    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)

    @property
    def share(self) -> float:
        """Processor time over what all threads could have had, 1 at most: wall time times this is about that of a quiet machine.

        It errs on the low side: threads that wait for each other on a quiet machine, too, are taken to work.
        """
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return 1.0 if self.gpu or wall <= 0 else min(1.0, cpu / (self.threads * wall))


def settings_of(options: Mapping[str, Any], search_seed: int) -> "SelectionSettings":
    """Options as settings; the K examples stay those of the options' ``seed``, whatever the search's seed.

    Without baselines, unless they are asked for: what is measured is the choice among configurations that are trained.
    """
    from pelt_automl.selection import settings_from

    settings = settings_from(**{"baselines": "none"} | dict(options))
    return replace(settings, search=replace(settings.search, seed=search_seed))


def retrain(context: "Context", wanted: Sequence[Wanted], take: Callable[[dict[str, Any]], None]) -> None:
    """Train in packs and hand over a row for each when it has ended. All have the steps of the context's plan."""
    from pelt_automl.modifications import needs_own_pack  # torch is imported late

    def alone(one: Wanted) -> bool:
        own = context.modifications(one.configuration.method, one.configuration.hyper_parameters)
        return needs_own_pack(own, context.backbone.architecture)

    source = _Source(context, deque(sorted(wanted, key=alone)), take)
    context.trainer("truth", len(wanted) * context.plan.steps, reserve=0.0).stream(source, context.pack_size)


@dataclass
class _Source:
    """Gives the training what is wanted, and scores each when it has ended."""

    context: "Context"
    todo: deque[Wanted]
    take: Callable[[dict[str, Any]], None]
    begun: dict[str, Wanted] = field(default_factory=dict)
    busy: Busy = field(init=False)
    tokens: "Tokens" = field(init=False)

    def __post_init__(self) -> None:
        from pelt_automl.selection.environment import usable_cores

        self.busy = Busy(usable_cores(), self.context.backbone.device.type != "cpu")
        self.tokens = self.context.report(range(len(self.context.data.report)))

    def next(self, waiting: Sequence["TrialRun"]) -> "TrialRun | None":  # noqa: ARG002 the protocol's
        from pelt_automl.records import Seeds

        if not self.todo:
            return None
        wanted = self.todo.popleft()
        name, seed = f"truth-{len(self.begun)}", TRUTH + wanted.seed
        self.begun[name] = wanted
        own = wanted.configuration
        return self.context.run(name, own.method, dict(own.hyper_parameters), Seeds(seed, seed, seed))

    def judge(self, run: "TrialRun") -> None:
        """They are trained in full."""

    def ended(self, run: "TrialRun") -> None:
        wanted, start = self.begun[run.name], time.perf_counter()
        predictions = self._predictions(run)
        run.progress.best_weights = {}
        wall = run.progress.seconds + time.perf_counter() - start
        self.take({
            "what": "run", **wanted.configuration.plain(), "seed": wanted.seed, "state": run.progress.state, "cause": run.progress.cause,
            "score": self.context.data.metric.value(predictions, self.tokens.labels),
            "wall": wall, "cost": wall * self.busy.share, "predictions": predictions.tolist(),
        })  # fmt: skip

    def _predictions(self, run: "TrialRun") -> "Predictions":
        """Of the report examples; a training that failed predicts the most frequent class, or the mean."""
        import numpy as np

        from pelt_automl.modifications import Pack, PackTrial, without_reparameterization
        from pelt_automl.training.evaluation import evaluate, predictions_of

        context = self.context
        if run.progress.state == "failed" or not run.progress.best_weights:
            labels, regression = run.train.labels.tolist(), context.data.kind == "regression"
            constant = sum(labels) / len(labels) if regression else Counter(labels).most_common(1)[0][0]
            return np.full(len(self.tokens), constant, dtype=np.float64)
        trial = PackTrial(without_reparameterization(run.modifications), run.seeds.initialization)
        pack = Pack(context.backbone, [trial], context.data.outputs)
        pack.load_weights(0, run.progress.best_weights)
        return predictions_of(evaluate(pack, [self.tokens])[0], run.scale)


def bare_context(options: Mapping[str, Any], methods: Sequence[str], folder: Path) -> "Context":
    """A selection's context with its model and data alone: nothing is searched, recorded or limited in it."""
    from pelt_automl.backbones.loading import load_backbone
    from pelt_automl.search.budget import Clock
    from pelt_automl.selection.context import Context, Record
    from pelt_automl.selection.speed import choose_threads
    from pelt_automl.selection.text_length import text_length
    from pelt_automl.tasks import load_task
    from pelt_automl.training.schedule import wanted_steps

    settings = settings_of(options, TRUTH)
    training, data = settings.training, load_task(settings.task)
    backbone = load_backbone(settings.model, precision=training.precision, dropout=training.dropout)
    tokenizer, rows = backbone.tokenizer, backbone.shape.vocabulary
    length = text_length(settings, data, tokenizer, backbone.shape, methods)
    context = Context(settings, folder, tuple(methods), {}, data, tokenizer, rows, length, Record([], []), Clock(None))
    context.ready(backbone, wanted_steps(len(context.data.split(TRUTH)[0]), training))
    choose_threads(context)
    return context


def main(arguments: Sequence[str]) -> None:
    """Train all that is wanted; each row goes into its method's file."""
    request = json.loads(arguments[0])
    cache = Cache(Path(request["cache"]))
    wanted = [Wanted(Configuration.of(configuration), seed) for configuration, seed in request["wanted"]]
    methods = list(dict.fromkeys(one.configuration.method for one in wanted))
    context = bare_context(request["options"], methods, cache.folder)
    for steps in sorted({one.configuration.steps for one in wanted}):
        context.ready(context.backbone, steps)
        retrain(
            context, [one for one in wanted if one.configuration.steps == steps], lambda row: append(cache.of_method(row["method"]), row)
        )
    hand_over(len(wanted))


if __name__ == "__main__":
    main(sys.argv[1:])
