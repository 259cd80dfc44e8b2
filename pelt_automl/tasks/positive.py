"""Which of two classes f1 or average precision is about, and why.

The rest of the program knows one rule: the class with index 1 is the positive one. So the classes change places here where they have to,
after everything that draws examples: which of them are drawn doesn't depend on it.
"""

from collections import Counter
from dataclasses import replace

from pelt_automl.errors import SettingsError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks.data import TaskData
from pelt_automl.tasks.examples import RawTask
from pelt_automl.tasks.label_columns import by_value
from pelt_automl.tasks.labels import is_number, normalize, same_class
from pelt_automl.tasks.metrics import METRICS, Metric


def positive_class(settings: TaskSettings, raw: RawTask, metric: Metric) -> tuple[int, str]:
    """The index of the class that a binary metric is about, and a note on it; 1 without a note for any other metric.

    A class that the user names; else the one that the task's benchmark means; for data of one's own the rarer one in train.

    Raises `SettingsError` when there is no class of that name, or the metric treats classes alike.
    """
    if not metric.binary:
        if settings.positive_class is None:
            return 1, ""
        binary = ", ".join(name for name, other in METRICS.items() if other.binary)
        raise SettingsError(
            f"a positive class ({settings.positive_class!r}) is for the metrics {binary} on two classes; here the metric is {metric.name}, "
            "which treats all classes alike: set the metric (--metric f1), or leave the positive class out"
        )
    name = metric.name.replace("_", " ")
    if settings.positive_class is not None:
        label = normalize(settings.positive_class) or ""
        alike = [own for own in raw.labels if own == label] or [own for own in raw.labels if same_class(own) == same_class(label)]
        alike = alike or [own for value, own in by_value(raw.labels).items() if is_number(label) and value == float(label)]
        if len(alike) != 1:
            classes = " and ".join(map(repr, raw.labels))
            raise SettingsError(f"positive_class is {settings.positive_class!r}, but the classes are {classes}; name one of them")
        index = raw.labels.index(alike[0])
        return index, f"{name} is about the class {raw.labels[index]!r}, as asked for"
    if raw.metric is not None:
        return 1, f"{name} is about the class {raw.labels[1]!r}, as in the benchmark; --positive-class chooses another"
    counts = Counter(int(label) for label in raw.train.labels)
    index = 0 if counts[0] < counts[1] else 1
    why = "the rarer one" if counts[0] != counts[1] else "the second of two that are equally frequent"
    figures = f"{counts[index]} of {len(raw.train)} training examples"
    return index, f"{name} is about the class {raw.labels[index]!r}, {why} ({figures}); --positive-class chooses another"


def with_positive(data: TaskData, index: int) -> TaskData:
    """The task with this class at index 1."""
    if index == 1:
        return data
    validation = data.validation.exchanged() if data.validation else None
    return replace(
        data,
        labels=data.labels[::-1],
        pool=data.pool.exchanged(),
        report=data.report.exchanged(),
        validation=validation,
        exchanged=True,
        _splits={},
    )
