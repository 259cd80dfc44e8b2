"""A text task that is ready to be trained on: its labeled examples and how a split seed divides them."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pelt_automl.tasks.examples import Examples
from pelt_automl.tasks.kinds import KINDS, TaskKind
from pelt_automl.tasks.metrics import Metric
from pelt_automl.tasks.splits import SELECT_MOST, SELECT_SHARE, carve, stream

Indices = NDArray[np.int32]
"""Positions of examples."""


@dataclass(frozen=True)
class TaskData:
    """Three disjoint splits: ``train`` and ``select`` by split seed, ``report`` the same for all."""

    name: str
    kind: str
    """A name in `pelt_automl.tasks.kinds.KINDS`."""
    labels: tuple[str, ...]
    """Class names in the order of their indices; empty where there are none."""
    metric: Metric
    text_columns: tuple[str, ...]
    """Names of the one or two columns that the texts stand in."""
    k: int | None
    """Labeled examples that may be used; None for all."""
    protocol: Literal["strict", "paper"]
    report: Examples
    notes: tuple[str, ...]
    """What a reader of the verdict has to know about the data."""
    data_hash: str
    """SHA-256 (hex) of all labeled data, before sampling."""
    pool: Examples
    """``strict``: the K examples. ``paper``: all training examples, of which a seed takes K."""
    validation: Examples | None = None
    """The user's own validation file (``strict``): select for every seed."""
    balanced: bool = False
    """Whether each class counts the same in the loss of trainings."""
    exchanged: bool = False
    """Whether the two classes have changed places, so that the positive one has the index 1. Splits don't depend on it."""
    _splits: dict[int, tuple[Indices | None, Indices]] = field(default_factory=dict, repr=False, compare=False)
    """By seed: train, None where it is all of the pool but select, and select."""

    @property
    def pair(self) -> bool:
        """Whether an example is two texts."""
        return len(self.text_columns) == 2

    @property
    def positive_class(self) -> str | None:
        """The class that the metric is about: the one with index 1; None for a metric that isn't about one."""
        return self.labels[1] if self.metric.binary else None

    @property
    def task_kind(self) -> TaskKind:
        """What is particular to its kind."""
        return KINDS[self.kind]

    @property
    def outputs(self) -> int:
        """Outputs of the head."""
        return self.task_kind.outputs(self.labels)

    @property
    def select_from(self) -> Examples:
        """What select's indices count in: the user's own validation file, else the pool."""
        return self.pool if self.validation is None else self.validation

    def indices(self, seed: int) -> tuple[Indices, Indices]:
        """The splits (train, select) of this split seed, train in `pool`, select in `select_from`: the same for the same seed, always.

        Only what no rule gives back is kept of a seed: 4 bytes for each example of select, and for the K of the paper's protocol.
        """
        train, select = self._kept(seed)
        if train is None:
            train = np.arange(len(self.pool), dtype=np.int32)
            train = train if self.validation is not None else np.delete(train, select)
        return train, select

    def split(self, seed: int) -> tuple[Examples, Examples]:
        """The examples of `indices`, gathered at each call."""
        train, select = self.indices(seed)
        return self.pool.take(train.tolist()), self.select_from.take(select.tolist())

    def _kept(self, seed: int) -> tuple[Indices | None, Indices]:
        if self.validation is not None:
            return None, np.arange(len(self.validation), dtype=np.int32)
        if seed not in self._splits and self.protocol == "paper" and self.k is not None:
            # The first K of the shuffled pool, and the next 1,000 that share no text and no group with them.
            order, units = list(range(len(self.pool))), self.pool.units()
            stream("paper", seed).shuffle(order)
            if self.pool.groups:  # one whole group after the other: K examples of all groups would leave none to select on
                first = {unit: place for place, unit in reversed(list(enumerate(units[i] for i in order)))}
                order.sort(key=lambda i: first[units[i]])
            seen = {units[i] for i in order[: self.k]}
            rest = [i for i in order[self.k :] if units[i] not in seen]
            self._splits[seed] = np.array(order[: self.k], dtype=np.int32), np.array(rest[:SELECT_MOST], dtype=np.int32)
        elif seed not in self._splits:
            size = min(SELECT_MOST, max(1, round(SELECT_SHARE * len(self.pool))))
            pool = self.pool.exchanged() if self.exchanged else self.pool
            self._splits[seed] = None, np.array(carve(pool, self.kind, size, seed, "select")[1], dtype=np.int32)
        return self._splits[seed]

    def sizes(self, seed: int) -> dict[str, int]:
        """Examples in ``train``, ``select`` and ``report``."""
        train, select = self.indices(seed)
        return {"train": len(train), "select": len(select), "report": len(self.report)}

    def hashes(self, seed: int) -> dict[str, str]:
        """SHA-256 (hex) of the data (``data``) and of ``train``, ``select`` and ``report``."""
        train, select = self.split(seed)
        return {"data": self.data_hash, "train": train.hash(), "select": select.hash(), "report": self.report.hash()}
