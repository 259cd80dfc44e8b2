"""The arithmetic of the quality of answers: regret, right methods, tie sets, Brier score, agreement, and intervals clustered by data set.

Scores are in the metric's own unit; `sign` is 1 where greater is better, else -1. Shapes: ``C`` configurations, ``S`` seeds, ``n`` report
examples.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from pelt_automl.tasks import METRICS
from pelt_automl.verdict.statistics import interval, paired_bootstrap, probability_best

DRAWS = 4000
"""Of a bootstrap over data sets and repeats."""
ROUNDING = 1e-9


def judged(scores: Mapping[str, Sequence[float]], seeds: int, sign: int) -> list[float]:
    """The oracle's score on each of the first `seeds` seeds: that of the configuration which is best on all *other* seeds.

    The best of C noisy means is too good on average. So nobody is judged on a seed that the choice has seen, as no selection is. Of
    equals the first is chosen; with a single seed there are no others, and the best on it is taken.
    """
    own = {name: list(values) for name, values in scores.items()}
    found = []
    for seed in range(seeds):
        others = {name: values[:seed] + values[seed + 1 :] or values for name, values in own.items()}
        chosen = max(others, key=lambda name: sign * statistics.fmean(others[name]))
        found.append(own[chosen][seed])
    return found


def regret(oracle: Sequence[float], own: Sequence[float], sign: int) -> float:
    """By how much a configuration is worse than the oracle, on average over the seeds that both were trained on; may be negative."""
    return statistics.fmean(sign * (best - score) for best, score in zip(oracle, own, strict=True))


@dataclass(frozen=True)
class Truth:
    """What the oracle knows about the methods of a data set."""

    best: str
    """The method of the configuration with the best mean over all seeds."""
    near: frozenset[str]
    """Methods whose best configuration is within the region of practical equivalence of it, itself included."""
    right: frozenset[str]
    """Methods that can't be told from those: the 95 % interval of the difference reaches into the region. Holds `near`."""


def truth(
    methods: Mapping[str, str],
    predictions: Mapping[str, Sequence[Sequence[float]]],
    labels: Sequence[float],
    metric: str,
    sign: int,
    region: float,
) -> Truth:
    """From `methods`, the method of each configuration, and `predictions`, (S, n) for each.

    The interval is the program's own paired bootstrap over seeds and examples; `region` is in the metric's unit.
    """
    names, array = list(predictions), np.array(list(predictions.values()), dtype=np.float64)
    truths = np.asarray(labels, dtype=np.float64)
    draws, means = paired_bootstrap(truths, array, metric), mean_scores(array, truths, metric)
    best = int(np.argmax(sign * means))
    of_method = {method: [i for i, name in enumerate(names) if methods[name] == method] for method in dict.fromkeys(methods.values())}
    top = {method: max(own, key=lambda i: sign * means[i]) for method, own in of_method.items()}
    near = {method for method, i in top.items() if sign * (means[best] - means[i]) <= region + ROUNDING}
    reach = {method for method, i in top.items() if interval(sign * (draws[:, best] - draws[:, i]))[0] <= region}
    return Truth(methods[names[best]], frozenset(near), frozenset(near | reach))


def mean_scores(predictions: Any, labels: Any, metric: str) -> Any:
    """(C,): the mean over seeds of the scores on all examples, from (C, S, n)."""
    return np.array([[METRICS[metric].value(row, labels) for row in rows] for rows in predictions]).mean(axis=1)


def forecast(stated: Sequence[float], predictions: Any, labels: Sequence[float], metric: str, sign: int) -> dict[str, list[float]]:
    """One selection's P(best), a value a finalist, against `predictions`, (C, S, n), of the finalists on the truth's seeds.

    ``errors``: squared, where the outcome is 1 for the finalist with the best mean over these seeds (equals share it) and else 0;
    ``ignorant``: those of someone who gives every finalist the same probability; ``unsure``: the variance of the outcome given the seeds
    and examples seen, the part of the errors that the truth's few seeds may account for.
    """
    array, truths = np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    means = sign * mean_scores(array, truths, metric)
    first = means >= means.max() - ROUNDING
    outcome, chance = first / first.sum(), probability_best(sign * paired_bootstrap(truths, array, metric))
    found = {"errors": (np.asarray(stated) - outcome) ** 2, "ignorant": (1 / len(stated) - outcome) ** 2, "unsure": chance * (1 - chance)}
    return {name: values.tolist() for name, values in found.items()}


def mean_or_none(values: Sequence[float]) -> float | None:
    """None for no values."""
    return statistics.fmean(values) if values else None


def agreement(groups: Sequence[Sequence[frozenset[str]]]) -> float | None:
    """Share of the pairs of repeats whose sets meet, over all groups (a data set's repeats each); None without a pair."""
    return mean_or_none([bool(a & b) for sets in groups for a, b in combinations(sets, 2)])


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def clustered(clusters: Sequence[Sequence[float]], seed: int = 0) -> Estimate | None:
    """The mean over data sets of the mean over each one's repeats, every data set with the same weight; None without values.

    The interval is a bootstrap's that draws data sets, and then repeats of each that was drawn: repeats of one data set aren't
    independent of each other. With one data set it says nothing about others.
    """
    filled = [np.asarray(values, dtype=np.float64) for values in clusters if len(values)]
    if not filled:
        return None
    rng = np.random.default_rng(seed)
    most, sizes = max(map(len, filled)), np.array([len(values) for values in filled])
    padded = np.stack([np.pad(values, (0, most - len(values))) for values in filled])
    chosen = rng.integers(len(filled), size=(DRAWS, len(filled)))
    own = sizes[chosen][:, :, None]
    repeats = (rng.random((DRAWS, len(filled), most)) * own).astype(np.int64)
    values = padded[chosen[:, :, None], repeats] * (np.arange(most) < own)
    low, high = interval((values.sum(axis=2) / sizes[chosen]).mean(axis=1))
    return Estimate(statistics.fmean(float(values.mean()) for values in filled), low, high)


def leads(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> Estimate | None:
    """By how much our regret is smaller than theirs, over the data sets that both have; paired by data set.

    A data set's repeats are paired in their order where both have as many, else theirs stand as their mean.
    """
    clusters = []
    for name in ours.keys() & theirs.keys():
        own, other = ours[name], theirs[name]
        if own and other:
            paired = other if len(other) == len(own) else [statistics.fmean(other)] * len(own)
            clusters.append([b - a for a, b in zip(own, paired, strict=True)])
    return clustered(clusters)
