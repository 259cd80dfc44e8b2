"""A text task that is ready to be trained on: its labelled examples and how a split seed divides them."""

from dataclasses import dataclass, field
from typing import Literal

from pelt_automl.tasks.examples import Examples, Kind
from pelt_automl.tasks.metrics import Metric
from pelt_automl.tasks.splits import SELECT_MOST, SELECT_SHARE, carve, stream


@dataclass(frozen=True)
class TaskData:
    """Three disjoint splits: ``train`` and ``select`` by split seed, ``report`` the same for all."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    """Class names in the order of their indices; empty for regression."""
    metric: Metric
    text_columns: tuple[str, ...]
    """Names of the one or two columns that the texts stand in."""
    k: int | None
    """Labelled examples that may be used; None for all."""
    protocol: Literal["strict", "paper"]
    report: Examples
    notes: tuple[str, ...]
    """What a reader of the verdict has to know about the data."""
    data_hash: str
    """SHA-256 (hex) of all labelled data, before sampling."""
    pool: Examples
    """``strict``: the K examples. ``paper``: all training examples, of which a seed takes K."""
    validation: Examples | None = None
    """The user's own validation file (``strict``): select for every seed."""
    _splits: dict[int, tuple[Examples, Examples]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def pair(self) -> bool:
        """Whether an example is two texts."""
        return len(self.text_columns) == 2

    @property
    def outputs(self) -> int:
        """Outputs of the head: the number of classes, 1 for regression."""
        return len(self.labels) if self.kind == "classification" else 1

    def split(self, seed: int) -> tuple[Examples, Examples]:
        """The splits (train, select) of this split seed: the same for the same seed, always."""
        if seed not in self._splits:
            self._splits[seed] = self._split(seed)
        return self._splits[seed]

    def _split(self, seed: int) -> tuple[Examples, Examples]:
        if self.validation is not None:
            return self.pool, self.validation
        if self.protocol == "paper" and self.k is not None:
            return self._as_unipelt(self.k, seed)
        size = min(SELECT_MOST, max(1, round(SELECT_SHARE * len(self.pool))))
        train, select = carve(self.pool, self.kind, size, seed, "select")
        return self.pool.take(train), self.pool.take(select)

    def _as_unipelt(self, k: int, seed: int) -> tuple[Examples, Examples]:
        """The first K of the shuffled pool, and the next 1,000 that repeat none of them."""
        order = list(range(len(self.pool)))
        stream("paper", seed).shuffle(order)
        train = self.pool.take(order[:k])
        seen = set(train.texts)
        rest = [i for i in order[k:] if self.pool.texts[i] not in seen]
        return train, self.pool.take(rest[:SELECT_MOST])

    def sizes(self, seed: int) -> dict[str, int]:
        """Examples in ``train``, ``select`` and ``report``."""
        train, select = self.split(seed)
        return {"train": len(train), "select": len(select), "report": len(self.report)}

    def hashes(self, seed: int) -> dict[str, str]:
        """SHA-256 (hex) of the data (``data``) and of ``train``, ``select`` and ``report``."""
        train, select = self.split(seed)
        return {"data": self.data_hash, "train": train.hash(), "select": select.hash(), "report": self.report.hash()}
