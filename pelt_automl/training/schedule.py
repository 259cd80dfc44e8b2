"""How long a training is, when it is evaluated, and the learning rate at each step."""

import math
from dataclasses import dataclass

from pelt_automl.config import TrainingSettings

EVALUATION_COST = 0.5
"""Seconds to evaluate an example over seconds to train on one: forward against forward and backward through a frozen backbone."""

LARGEST_SHARE = 0.25
"""Evaluation's cost as a share of the training's, at most."""

MOST_EVALUATIONS = 8


@dataclass(frozen=True)
class TrainingPlan:
    """The fixed part of every training in a selection."""

    steps: int
    """Optimizer steps of a full training."""
    rung_steps: int
    """Optimizer steps to the rung."""
    evaluate_at: tuple[int, ...]
    """Steps after which select is evaluated, the rung and the last among them."""
    batch_size: int
    warmup: float
    clip: float
    weight_decay: float
    patience: int


def wanted_steps(train_size: int, settings: TrainingSettings) -> int:
    """Optimizer steps of `epochs` passes, within the settings' bounds."""
    steps = math.ceil(settings.epochs * math.ceil(train_size / settings.batch_size))
    return max(settings.min_steps, min(settings.max_steps, steps))


def make_plan(steps: int, rung: float, select_size: int, settings: TrainingSettings) -> TrainingPlan:
    """A plan for full trainings of `steps` steps, evaluated as often as costs at most a quarter of the training, at least twice."""
    trained = steps * settings.batch_size
    affordable = math.floor(LARGEST_SHARE * trained / (EVALUATION_COST * max(select_size, 1)))
    count = max(2, min(MOST_EVALUATIONS, affordable, steps))
    evenly = [max(1, round(steps * (i + 1) / count)) for i in range(count)]
    rung_steps = min(evenly[:-1] or evenly, key=lambda step: abs(step - rung * steps)) if count > 2 else max(1, round(rung * steps))
    return TrainingPlan(
        steps=steps,
        rung_steps=rung_steps,
        evaluate_at=tuple(sorted({rung_steps, steps, *(evenly if count > 2 else ())})),
        batch_size=settings.batch_size,
        warmup=settings.warmup,
        clip=settings.clip,
        weight_decay=settings.weight_decay,
        patience=settings.patience,
    )


def learning_rate_share(step: int, plan: TrainingPlan) -> float:
    """Share of the peak learning rate at a step counted from 0: linear warm-up, then linear to 0 after the last step."""
    warm = max(1, round(plan.warmup * plan.steps))
    if step < warm:
        return (step + 1) / warm
    return (plan.steps - step) / max(1, plan.steps - warm)
