"""Text tasks: where examples come from, their columns and splits, the metric and its direction."""

from pelt_automl.tasks.baselines import baselines
from pelt_automl.tasks.benchmarks import BENCHMARKS
from pelt_automl.tasks.data import TaskData
from pelt_automl.tasks.examples import Examples, TaskInfo, TextTask
from pelt_automl.tasks.loading import load_nested, load_task, name_and_hash
from pelt_automl.tasks.metrics import METRICS, Metric
from pelt_automl.tasks.pydoc_tasks import PYDOC_ARGUMENTS, PYDOC_MATCH, PYDOC_TOPIC

TASKS: dict[str, TextTask] = {
    "pydoc-match": PYDOC_MATCH,
    "pydoc-topic": PYDOC_TOPIC,
    "pydoc-arguments": PYDOC_ARGUMENTS,
    **BENCHMARKS,
}
"""Every task that has a name. A new one is an object with `info` and `read` (see `TextTask`)."""

__all__ = [
    "METRICS",
    "TASKS",
    "Examples",
    "Metric",
    "TaskData",
    "TaskInfo",
    "TextTask",
    "baselines",
    "load_nested",
    "load_task",
    "name_and_hash",
]
