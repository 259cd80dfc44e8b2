"""What a task gives away to programs that understand nothing: a constant, and a bag of words."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from pelt_automl.tasks.data import TaskData
from pelt_automl.tasks.examples import Examples
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.tasks.metrics import Metric
from pelt_automl.tasks.words import joined, word_weights


def best_constant(metric: Metric, names: Sequence[str], fitted: Sequence[Any], labels: Sequence[Any]) -> tuple[float, Any, str]:
    """What the best prediction that is the same for all examples scores, what it is, and what it is called.

    Where the metric reads probabilities, it is each class's share. Where it is about one class, each class is one to try: never to find it
    scores 0.

    Args:
        metric: of the task.
        names: of the classes.
        fitted: the labels that the constant is known from.
        labels: the labels that it is scored on.
    """
    if metric.reads == "probabilities":
        shares = shares_of(fitted, len(names))
        return metric.value([shares] * len(labels), labels), shares, "each class's share"
    one_class = [(label, repr(names[int(label)])) for label in sorted({*fitted, 1})] if metric.binary else []
    constants = one_class or [KINDS[metric.kind].constant(fitted, metric)]
    scored = [(metric.value([constant] * len(labels), labels), constant, name) for constant, name in constants]
    return max(scored, key=lambda found: found[0])


def shares_of(labels: Sequence[Any], classes: int) -> list[float]:
    """Of each class among labels, the probabilities that suit all examples alike best."""
    counts = np.bincount(np.asarray(labels, np.int64), minlength=classes)
    return [float(share) for share in counts / counts.sum()]


def constant_on_select(data: TaskData, seed: int) -> float:
    """What the best constant that train knows scores on select, in the metric's unit; of equally frequent classes the first one."""
    train, select = data.split(seed)
    return best_constant(data.metric, data.labels, sorted(train.labels), select.labels)[0]


def baselines(data: TaskData, seed: int = 0) -> dict[str, float]:
    """Scores on report, in the metric's unit, of simple models trained on train and select of this split seed.

    ``majority`` predicts the most frequent class (where the metric reads probabilities each class's share; regression: the mean, for mae
    the median; several labels: the same ones throughout). ``bag of words`` is a logistic
    regression, of several labels one for each, for numbers a ridge regression, on TF-IDF weights of words and pairs of words; of two texts
    it sees one after the other.
    """
    train, select = data.split(seed)
    fitted = Examples(train.texts + select.texts, train.labels + select.labels)
    by_chance = data.metric.reads == "probabilities"
    constant = shares_of(fitted.labels, len(data.labels)) if by_chance else data.task_kind.constant(sorted(fitted.labels), data.metric)[0]
    predictions: dict[str, Any] = {"majority": [constant] * len(data.report)}
    if data.task_kind.fitted_as:
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline

        logistic: Any = LogisticRegression(C=10.0, max_iter=1000)
        model: Any = {"classes": logistic, "labels": OneVsRestClassifier(logistic), "numbers": Ridge()}[data.task_kind.fitted_as]
        pipeline, predictions["bag of words"] = make_pipeline(word_weights(), model), predictions["majority"]
        # texts of punctuation only, or one class only; a label that all examples have
        with suppress(ValueError), warnings.catch_warnings(action="ignore", category=UserWarning):
            pipeline.fit(joined(fitted), np.asarray(fitted.labels))
            if by_chance:
                predictions["bag of words"] = np.zeros((len(data.report), len(data.labels)))
                predictions["bag of words"][:, np.asarray(pipeline.classes_, np.int64)] = pipeline.predict_proba(joined(data.report))
            else:
                predictions["bag of words"] = pipeline.predict(joined(data.report)).tolist()
    return {name: data.metric.value(predicted, data.report.labels) for name, predicted in predictions.items()}
