"""Whether a linear probe learns anything of a task, judged before any fine-tuning and without a look at select or report.

A regularized linear map on the frozen encoder's pooled features predicts each example of the train part from the other four fifths of it.
Against it stands the most frequent class of the train part. The map's strength is fixed: chosen by the one-standard-error rule inside 56
examples it often ends at a constant, however much there is to learn. Pairs are judged twice: on their joint encoding, which the head of a
tuned model reads, and on both texts apart (u, v, abs(u - v), u * v), since MiniLM was made to encode texts one by one.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelt_automl.backbones.loading import Backbone
from pelt_automl.baselines.linear import fit_linear
from pelt_automl.tasks import METRICS, TaskData
from pelt_automl.tasks.examples import Examples
from pelt_automl.training.features import FrozenFeatures, text_groups
from pelt_automl.training.tokens import tokenize

SEEDS = 5
"""Split seeds, from 0."""
FOLDS = 5
LONGEST = 128
"""Tokens of an example."""
STRENGTH = 0.1
"""L2 penalty on the weights of features whose mean squared length is 1: C = 10, as in the program's bag of words."""


@dataclass(frozen=True)
class Learnability:
    """Means over the split seeds, out of fold, inside the train parts."""

    score: float
    """Accuracy; for numbers Spearman's correlation."""
    constant: float
    """The same of the most frequent class; 0 for numbers."""
    error: float
    """Mean standard error of the difference: paired over examples, for a correlation that of none among as many examples."""

    @property
    def learnable(self) -> bool:
        """Whether the map is above the constant by more than one standard error."""
        return self.score - self.constant > self.error


def learnability(data: TaskData, backbone: Backbone, *, apart: bool = False) -> Learnability:
    """Of a task as it was loaded, for this frozen encoder; `apart`: of pairs, whose two texts are encoded one by one."""
    frozen = FrozenFeatures(backbone)
    tokens = tokenize(data.pool, backbone.tokenizer, LONGEST)
    features, groups = frozen.of(tokens), np.asarray(text_groups(tokens))
    if apart:
        singles = (Examples(tuple((texts[side],) for texts in data.pool.texts), data.pool.labels) for side in (0, 1))
        u, v = (frozen.of(tokenize(examples, backbone.tokenizer, LONGEST)) for examples in singles)
        features = np.concatenate([u, v, np.abs(u - v), u * v], axis=1)
    found = []
    for seed in range(SEEDS):
        train, _ = data.indices(seed)
        found.append(gain(features[train], tokens.labels[train], data.outputs, groups[train], seed))
    score, constant, error = np.mean(found, axis=0)
    return Learnability(float(score), float(constant), float(error))


def gain(
    features: NDArray[np.floating], labels: NDArray[np.float64], classes: int, groups: NDArray[np.int64], seed: int
) -> tuple[float, float, float]:
    """Score of the map, score of the constant, and the standard error of their difference, for features `(n, H)` and labels `(n,)`."""
    folds, outputs = _folds(labels, classes, groups, seed), np.zeros((len(labels), classes))
    for fold in range(FOLDS):
        out, rest = folds == fold, folds != fold
        own = fit_linear(features[rest], labels[rest], classes, groups[rest].tolist(), strength=STRENGTH).outputs(features[out])
        # Each fold's predictions sit around the mean of the others, which is high where this fold's labels are low.
        outputs[out] = own - own.mean() if classes == 1 else own
    if classes == 1:
        return METRICS["spearman"].value(outputs[:, 0], labels), 0.0, 1 / float(np.sqrt(len(labels) - 1))
    most = Counter(labels.tolist()).most_common(1)[0][0]
    right, constant = outputs.argmax(axis=1) == labels, labels == most
    difference = right.astype(float) - constant
    return float(right.mean()), float(constant.mean()), float(difference.std(ddof=1) / np.sqrt(len(labels)))


def _folds(labels: NDArray[np.float64], classes: int, groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The fold of each example: in turn along a shuffled order, class by class; equal texts in one fold."""
    order = np.random.default_rng(seed).permutation(len(labels))
    if classes > 1:
        order = order[np.argsort(labels[order], kind="stable")]
    by_group: dict[int, int] = {}
    for i in order:
        by_group.setdefault(int(groups[i]), len(by_group) % FOLDS)
    return np.array([by_group[int(group)] for group in groups])
