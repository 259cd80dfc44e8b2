"""One training: what is fixed before it starts, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.design_space import Modification
from pelt_automl.log.events import CurvePoint, Prediction, Seeds
from pelt_automl.tasks.kinds import LabelScale, TaskKind
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training.tokens import BatchOrder, Tokens

TrialState = Literal["running", "completed", "stopped", "failed"]


@dataclass
class TrialProgress:
    """How far a training has come; replaced as a whole when a pack has to be tried again."""

    step: int = 0
    state: TrialState = "running"
    cause: str = ""
    traceback: str = ""
    """Of the exception that it failed with, as text."""
    curve: tuple[CurvePoint, ...] = ()
    seconds: float = 0.0
    """Its share of its packs' wall time."""
    loss_sum: float = 0.0
    """Of the steps since its last evaluation."""
    loss_steps: int = 0
    """How many those are."""
    best_score: float | None = None
    best_constant: bool = False
    best_predictions: tuple[Prediction, ...] = ()
    """Those that `best_score` is the score of."""
    best_threshold: float = LabelScale.threshold
    """With which they were made, where an example has several labels (see `LabelScale.threshold`)."""
    tokens_computed: int = 0
    """In training, padding included."""
    tokens_of_text: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """Kept weights at the best evaluation, on the CPU."""
    continuation: dict[str, Tensor] = field(default_factory=dict)
    """Trained weights and optimizer moments at `step`, on the CPU; empty before the first step and after the end.

    A weight that is the best one, too, is the same tensor as in `best_weights`. Neither is ever changed in place.
    """

    @property
    def evaluated(self) -> bool:
        """Whether it has been scored after its first step: the score of an untouched start says nothing of its method."""
        return any(point.step for point in self.curve)


@dataclass(eq=False)
class TrialRun:
    """A training in a pack; two are never the same."""

    name: str
    modifications: tuple[Modification, ...]
    learning_rate: float
    """Peak of the schedule."""
    seeds: Seeds
    train: Tokens
    select: Tokens
    scale: LabelScale
    order: BatchOrder
    class_weights: NDArray[np.float32] | None = None
    """``(C,)``, of each class in the loss; None: all count the same. 1 on average over train, so that the loss of a batch is their weighted
    sum by its size, and not by the sum of its weights, with which a batch of rare classes would count less."""
    head: Mapping[str, Tensor] | None = None
    """What the head starts from (see `PackTrial.head`). Its score before the first step is then a point of the curve, too."""
    progress: TrialProgress = field(default_factory=TrialProgress)

    @property
    def running(self) -> bool:
        """Whether it can train on."""
        return self.progress.state == "running"

    def watched(self, most: int | None) -> Tokens:
        """What an evaluation looks at: all of select, or the same `most` examples of it each time, drawn by the split's seed."""
        return self.select.at_most(most, self.seeds.split)

    def end(self, state: TrialState, cause: str = "", traceback: str = "") -> None:
        """Close it: nothing is needed for going on any more. `traceback`: of the exception that it failed with, as text."""
        self.progress.state, self.progress.cause, self.progress.continuation = state, cause, {}
        self.progress.traceback = traceback


def begin(
    name: str,
    modifications: tuple[Modification, ...],
    learning_rate: float,
    seeds: Seeds,
    splits: tuple[Tokens, Tokens],
    plan: TrainingPlan,
    *,
    kind: TaskKind,
    head: Mapping[str, Tensor] | None = None,
    class_weights: NDArray[np.float32] | None = None,
) -> TrialRun:
    """A training that hasn't started. `splits`: train and select; `head`: what its head starts from, None for a random one."""
    train, select = splits
    order = BatchOrder(train.lengths, plan.batch_size, seeds.order, plan.evaluate_at[0])
    return TrialRun(name, modifications, learning_rate, seeds, train, select, kind.scale(train.labels), order, class_weights, head)
