"""Trainings outside of a selection: configurations of the studies' own choice, by the program's training core alone."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from pelt_automl.backbones.loading import Backbone
from pelt_automl.baselines import HeadStarts
from pelt_automl.modifications import Pack, PackTrial, without_reparameterization
from pelt_automl.settings import PAPER_LENGTH, SearchSettings, TrainingSettings
from pelt_automl.tasks import Examples, TaskData
from pelt_automl.timing.schedule import TrainingPlan, make_plan, wanted_steps
from pelt_automl.training import packing
from pelt_automl.training.evaluation import Evaluation, evaluate
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.tokens import Tokens, tokenize, whole_texts
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work

NEARLY_ALL, STEP = 0.99, 32
"""The share of the pool's texts that are read whole, and the multiple that their length in tokens is rounded up to: the program's rule."""


class TaskTrainings:
    """A task at one K on a backbone, and what all its trainings share."""

    def __init__(self, data: TaskData, backbone: Backbone, settings: TrainingSettings, max_length: int | None = None) -> None:
        """`data`: its report split is looked at whole. `max_length`: tokens of an example at most; None: by the program's rule."""
        self.data, self.backbone, self.settings, self._given = data, backbone, settings, max_length
        self.starts = HeadStarts(FrozenFeatures(backbone), data.outputs)

    @cached_property
    def max_length(self) -> int:
        """Tokens of an example at most."""
        if self._given:
            return self._given
        lengths = [len(ids) for ids in whole_texts(self.data.pool, self.backbone.tokenizer)]
        needed = int(np.quantile(lengths, NEARLY_ALL, method="inverted_cdf"))
        return min(STEP * -(-needed // STEP), self.settings.max_length or PAPER_LENGTH, self.backbone.shape.positions or PAPER_LENGTH)

    @cached_property
    def pool(self) -> Tokens:
        return self.tokenized(self.data.pool)

    @cached_property
    def report(self) -> Tokens:
        return self.tokenized(self.data.report)

    def tokenized(self, examples: Examples) -> Tokens:
        """Cut at `max_length`."""
        return tokenize(examples, self.backbone.tokenizer, self.max_length)

    def split(self, seed: int) -> tuple[Tokens, Tokens]:
        """Train and select."""
        train, select = self.data.indices(seed)
        return self.pool.take(train.tolist()), self.pool.take(select.tolist())

    def plan(self, seed: int, steps: int | None = None) -> TrainingPlan:
        """As the program would plan it without a time limit, or for so many steps."""
        fit, select = self.split(seed)
        return make_plan(steps or wanted_steps(len(fit), self.settings), SearchSettings.rungs, len(select), self.settings)

    def best_pack(self, runs: Sequence[TrialRun]) -> Pack:
        """Trained runs with the best weights of each."""
        pack = Pack(
            self.backbone,
            [PackTrial(without_reparameterization(run.modifications), run.seeds.initialization) for run in runs],
            self.data.outputs,
        )
        for slot, run in enumerate(runs):
            pack.load_weights(slot, run.progress.best_weights)
        return pack


def train(task: TaskTrainings, plan: TrainingPlan, runs: Sequence[TrialRun]) -> None:
    """Train all of them to the plan's end, as far as they can share packs together; what fails says so in its progress."""
    packing.train(Work(task.backbone, plan, task.data.metric, task.data.outputs), runs, plan.steps)


def of_best_weights(task: TaskTrainings, runs: Mapping[str, TrialRun], tokens: Tokens) -> dict[str, Evaluation]:
    """What the best weights of each say of `tokens`."""
    if not runs:
        return {}
    return dict(zip(runs, evaluate(task.best_pack(list(runs.values())), [tokens] * len(runs)), strict=True))
