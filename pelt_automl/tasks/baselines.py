"""What a task gives away to programs that understand nothing: a constant, and a bag of words."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from pelt_automl.tasks.data import TaskData
from pelt_automl.tasks.examples import Examples
from pelt_automl.tasks.words import joined, word_weights


def baselines(data: TaskData, seed: int = 0) -> dict[str, float]:
    """Scores on report, in the metric's unit, of simple models trained on train and select of this split seed.

    ``majority`` predicts the most frequent class (regression: the mean, for mae the median). ``bag of words`` is a logistic
    regression, for numbers a ridge regression, on TF-IDF weights of words and pairs of words; of two texts it sees one after the other.
    """
    train, select = data.split(seed)
    fitted = Examples(train.texts + select.texts, train.labels + select.labels)
    constant = _constant(data, fitted)
    predictions = {"majority": [constant] * len(data.report), "bag of words": _bag_of_words(data, fitted)}
    return {name: data.metric.value(predicted, data.report.labels) for name, predicted in predictions.items()}


def constant_on_select(data: TaskData, seed: int) -> float:
    """What always predicting the most frequent class (regression: the mean, for mae the median) of train scores on select.

    Where the metric is about one class, always predicting that class counts, too: never to find it scores 0.
    """
    train, select = data.split(seed)
    constants = {_constant(data, train), 1} if data.metric.binary else {_constant(data, train)}
    return max(data.metric.value([constant] * len(select), select.labels) for constant in constants)


def _constant(data: TaskData, fitted: Examples) -> float:
    if data.kind == "classification":
        counts = Counter(fitted.labels)
        return max(sorted(counts), key=counts.__getitem__)
    return median(fitted.labels) if data.metric.name == "mae" else fmean(fitted.labels)


def _bag_of_words(data: TaskData, fitted: Examples) -> Sequence[float]:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    model: Any = LogisticRegression(C=10.0, max_iter=1000) if data.kind == "classification" else Ridge()
    pipeline = make_pipeline(word_weights(), model)
    try:
        pipeline.fit(joined(fitted), fitted.labels)
    except ValueError:
        # Texts of punctuation only, or one class only: there is nothing to learn.
        return [_constant(data, fitted)] * len(data.report)
    return [float(x) for x in pipeline.predict(joined(data.report))]
