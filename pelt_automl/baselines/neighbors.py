"""The nearest neighbors among the train examples, by the frozen backbone's features."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.baselines.contender import Facts, Fitted, read_numbers
from pelt_automl.baselines.cross_validation import (
    MOST_VALIDATED,
    Floats,
    Indices,
    choose,
    folds_of,
    mixed,
    mixed_each,
    out_of_fold,
    too_few,
)
from pelt_automl.baselines.encoder import Encoder
from pelt_automl.errors import SelectionError
from pelt_automl.tasks import Examples
from pelt_automl.training.features import Features
from pelt_automl.training.tokens import drawn

NEIGHBORS = (45, 25, 15, 9, 5, 3, 1)
"""Numbers of neighbors that are tried, the smoothest first."""

FIXED_NEIGHBORS = 5
"""Where a class has too few examples for a cross-validation."""

LEAST_VOTE = 1e-6
"""Weight of a neighbor whose features point elsewhere."""


class Neighbors(Fitted):
    """The k train examples whose features, less their mean, are nearest by cosine; each votes with its similarity."""

    def __init__(self, facts: Facts, encoder: Encoder, features: Features, labels: NDArray[np.float64]) -> None:
        """`features`: ``(n, H)``, as the encoder gives them; `labels`: ``(n,)``, class indices or numbers as they are, or ``(n, C)``."""
        super().__init__(facts)
        self.encoder, self.features, self.labels = encoder, features, labels

    @property
    def parameters(self) -> int:
        """Numbers among the stored features."""
        return self.features.size

    def tensors(self) -> dict[str, Tensor]:
        """``features`` and ``labels``."""
        arrays = {"features": self.features, "labels": self.labels}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def outputs(self, examples: Examples) -> NDArray[np.float64]:
        """See `Fitted`."""
        k, classes = int(self.settings["neighbors"]), self.facts.outputs
        similarity, found = nearest(self.features, self.encoder.joint(examples), k)
        voted = votes(similarity, self.labels[found], classes)
        if self.labels.ndim == 2:
            return np.log(voted) - np.log1p(-voted)
        return voted if classes == 1 else np.log(voted)


def nearest(among: Features, of: Features, k: int) -> tuple[Floats, Indices]:
    """Cosines ``(m, k)`` and positions ``(m, k)`` of the k nearest of features ``(n, H)``, the nearest first; all are centered on them."""
    from sklearn.neighbors import NearestNeighbors

    center = among.mean(axis=0, dtype=np.float64)
    model = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(among - center)
    distances, found = model.kneighbors(of - center)
    return np.asarray(1 - distances, np.float64), np.asarray(found, np.int64)


def votes(similarity: Floats, labels: NDArray[np.float64], classes: int) -> Floats:
    """Probabilities ``(m, C)``, none of them 0, or numbers ``(m, 1)``, from neighbors' cosines ``(m, k)`` and labels ``(m, k, ...)``."""
    weights = np.maximum(similarity, LEAST_VOTE)
    weights /= weights.sum(axis=1, keepdims=True)
    if labels.ndim == 3:
        return mixed_each(np.einsum("mk,mkc->mc", weights, labels), labels.shape[1])
    if classes == 1:
        return np.asarray((weights * labels).sum(axis=1, keepdims=True), np.float64)
    shares = np.stack([(weights * (labels == number)).sum(axis=1) for number in range(classes)], axis=1)
    return mixed(shares, labels.shape[1])


def fit_neighbors(train: Examples, outputs: int, encoder: Encoder) -> Neighbors:
    """How many neighbors is chosen by cross-validation, by the one-standard-error rule toward more."""
    features, labels = encoder.joint(train), np.asarray(train.labels, np.float64)
    few = drawn(len(labels), MOST_VALIDATED, 0)
    x, y = features[few], labels[few]
    folds, k, chosen = folds_of(y, outputs, np.asarray(encoder.groups(train))[few]), min(FIXED_NEIGHBORS, len(y)), None
    if len(folds) >= 2:
        least = min(len(rest) for rest, _ in folds)
        tried = [min(FIXED_NEIGHBORS, least)] if too_few(labels, outputs) else [k for k in NEIGHBORS if k <= least]

        def of(rest: Indices, out: Indices) -> list[Floats]:
            similarity, found = nearest(x[rest], x[out], tried[0])
            return [votes(similarity[:, :k], y[rest][found[:, :k]], outputs) for k in tried]

        chosen = choose(out_of_fold(len(y), outputs, len(tried), folds, of), y, outputs, folds)
        k = tried[chosen.index]
    validation = chosen.validation if chosen else None
    facts = Facts("neighbors", "neighbors", outputs, {"neighbors": float(k)}, validation=validation, several=labels.ndim == 2)
    return Neighbors(facts, encoder, features, labels)


def load_neighbors(folder: Path, facts: Facts, encoder: Encoder) -> Neighbors:
    """Raises `SelectionError` for files that are damaged or don't fit."""
    shape = encoder.features.backbone.shape
    of_labels = (None, facts.outputs) if facts.several else (None,)
    found = read_numbers(folder, features=(None, shape.head_input or shape.hidden), labels=of_labels)
    features, labels, k = found["features"], found["labels"], facts.settings.get("neighbors", 0)
    classes = facts.outputs == 1 or bool(np.isin(labels, np.arange(2 if facts.several else facts.outputs)).all())
    if len(features) != len(labels) or not classes or k not in range(1, len(labels) + 1):
        raise SelectionError(f"the examples in {folder} don't fit their configuration: put back a copy of the folder")
    return Neighbors(facts, encoder, features.astype(np.float32), labels.astype(np.float64))
