"""How long a training is, when it is evaluated, and the learning rate at each step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pelt_automl.settings import TrainingSettings
from pelt_automl.timing.policy import POLICY


@dataclass(frozen=True)
class TrainingPlan:
    """The fixed part of every training in a selection."""

    steps: int
    """Optimizer steps of a full training."""
    rungs: tuple[int, ...]
    """Optimizer steps after which the better trials are chosen to go on; none in a training too short for any."""
    evaluate_at: tuple[int, ...]
    """Steps after which select is evaluated, the rungs and the last among them; all equally far apart, so that the trials of a pack are
    evaluated together whenever each of them began."""
    batch_size: int
    warmup: float
    clip: float
    weight_decay: float
    patience: int
    select_most: int | None = None
    """Examples of select that these evaluations look at, where all would cost too much; a training that has come to its end is then
    scored on all of them. None: all, each time."""

    def looked_at(self, select_size: int) -> int:
        """Examples that a full training is evaluated on, of select's number."""
        return len(self.evaluate_at) * (self.select_most or select_size) + (select_size if self.select_most else 0)

    def expected_share(self, promoted: float) -> float:
        """The part of a full training that trials get on average when this share of them goes on from each rung."""
        marks = (0, *self.rungs, self.steps)
        return sum(promoted**passed * (end - start) for passed, (start, end) in enumerate(pairwise(marks))) / self.steps


def wanted_steps(train_size: int, settings: TrainingSettings) -> int:
    """Optimizer steps of `epochs` passes, within the settings' bounds."""
    steps = math.ceil(settings.epochs * math.ceil(train_size / settings.batch_size))
    return max(settings.min_steps, min(settings.max_steps, steps))


def parts_of(steps: int) -> int:
    """Into how many equally long parts a training is divided by its evaluations, at most."""
    most = POLICY.most_evaluations
    return most if steps >= 4 * most else 4 if steps >= 12 else min(steps, 2)


def even_steps(steps: int) -> int:
    """The number of steps next to `steps` that `parts_of` divides."""
    parts = parts_of(steps)
    return parts * round(steps / parts)


def make_plan(steps: int, rungs: Sequence[float], select_size: int, settings: TrainingSettings) -> TrainingPlan:
    """A plan for full trainings of about `steps` steps (see `even_steps`), with `rungs` after these shares of them.

    Evaluations cost at most a quarter of the training, at `Policy.evaluation_cost` (not at what was measured: the same command is to train
    the same way). Where all of select costs more, they look at a part of it, `Policy.fewest_select` examples at least; then they become
    fewer, down to two.
    """
    steps = even_steps(steps)
    parts = parts_of(steps)
    affordable = POLICY.evaluation_share * steps * settings.batch_size / POLICY.evaluation_cost
    most = None
    if parts * select_size > affordable:
        at_least = min(select_size, POLICY.fewest_select)
        counts = [count for count in range(parts, 0, -1) if parts % count == 0]
        enough = [count for count in counts if count * at_least + select_size <= affordable]
        parts = enough[0] if enough else min((count for count in counts if count > 1), default=1)
        most = max(at_least, math.floor((affordable - select_size) / parts))
    evaluate_at = tuple(steps // parts * (i + 1) for i in range(parts))
    return TrainingPlan(
        steps=steps,
        rungs=tuple(sorted({min(evaluate_at[:-1], key=lambda step: abs(step - share * steps)) for share in rungs if parts > 1})),
        evaluate_at=evaluate_at,
        batch_size=settings.batch_size,
        warmup=settings.warmup,
        clip=settings.clip,
        weight_decay=settings.weight_decay,
        patience=settings.patience,
        select_most=most if most is not None and most < select_size else None,
    )


def learning_rate_share(step: int, plan: TrainingPlan) -> float:
    """Share of the peak learning rate at a step counted from 0: linear warm-up, then linear to 0 after the last step."""
    warm = max(1, round(plan.warmup * plan.steps))
    if step < warm:
        return (step + 1) / warm
    return (plan.steps - step) / max(1, plan.steps - warm)
