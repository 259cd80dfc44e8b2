"""What is the same for all trainings on one backbone that go by one plan."""

from collections.abc import Callable
from dataclasses import dataclass

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications import LowerLayers
from pelt_automl.tasks import Metric
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training.evaluation import Evaluation
from pelt_automl.training.trials import TrialRun


@dataclass(frozen=True)
class Work:
    """Everything that a pack needs beside its trials."""

    backbone: Backbone
    plan: TrainingPlan
    metric: Metric
    outputs: int
    """Number of classes, 1 for regression."""
    expired: Callable[[], bool] = lambda: False
    """Asked before every step: True when the time is up. Trials then stay as they are, still running."""
    on_step: Callable[[int], None] = lambda _: None
    """Told after every step how many trials took it."""
    on_evaluation: Callable[[TrialRun, int, Evaluation], None] = lambda _run, _step, _evaluation: None
    """Told of every evaluation of a trial's own examples (`TrialRun.watched`), with the step that it is after."""
    lower: LowerLayers | None = None
    """Keeps what the layers below all changes of a pack put out, for all trainings of the backbone; None: they are computed every time."""
