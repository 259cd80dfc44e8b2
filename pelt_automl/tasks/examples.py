"""Labeled texts, and what every source of them hands over."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pelt_automl.settings import TaskSettings

Kind = Literal["classification", "regression"]
"""Of tasks in the user's own files, by what their labels look like; `pelt_automl.tasks.kinds` has all there are."""


def digest(parts: Iterable[object]) -> str:
    """SHA-256 (hex) of JSON-like values; their order and boundaries count."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(json.dumps(part, ensure_ascii=True).encode())
        sha.update(b"\n")
    return sha.hexdigest()


@dataclass(frozen=True)
class Examples:
    """Labeled texts in a fixed order."""

    texts: tuple[tuple[str, ...], ...]
    """One or two strings an example, without white space at their ends."""
    labels: tuple[Any, ...]
    """Of each example: the index of its class, its number, or what else a label of the task's kind is."""

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels):
            raise ValueError(f"{len(self.texts)} texts but {len(self.labels)} labels")

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> "Examples":
        """The examples at `indices`, in that order."""
        chosen = list(indices)
        return Examples(tuple(self.texts[i] for i in chosen), tuple(self.labels[i] for i in chosen))

    def exchanged(self) -> "Examples":
        """The same examples, with the numbers of the two classes exchanged."""
        return Examples(self.texts, tuple(1 - int(label) for label in self.labels))

    def hash(self) -> str:
        """SHA-256 (hex) over texts and labels, their order included."""
        return digest([list(texts), label] for texts, label in zip(self.texts, self.labels, strict=True))


@dataclass(frozen=True)
class RawTask:
    """What a source hands over: checked examples, not yet split."""

    name: str
    kind: str
    """A name in `pelt_automl.tasks.kinds.KINDS`."""
    labels: tuple[str, ...]
    """Class names in the order of their indices; empty where there are none."""
    metric: str | None
    """The task's own metric; None: by kind and balance of the classes."""
    text_columns: tuple[str, ...]
    """Names of the one or two columns that the texts stand in."""
    train: Examples
    report: Examples | None
    """The labeled test set, else the official validation set; None: to be put aside from `train`."""
    report_source: str = ""
    """Which of the two `report` is."""
    validation: Examples | None = None
    """The user's own validation file."""
    notes: tuple[str, ...] = ()

    def hash(self) -> str:
        """SHA-256 (hex) of all labeled data, before any sampling."""
        parts = (self.train, self.validation, self.report)
        return digest([self.kind, list(self.labels), *(part.hash() if part else None for part in parts)])


@dataclass(frozen=True)
class TaskInfo:
    """One line of the list of tasks."""

    name: str
    description: str
    kind: str
    metric: str
    source: str
    """Where the examples come from: ``embedded``, or the Hub's name of the data set."""


class TextTask(Protocol):
    """What an entry of the registry `TASKS` must offer."""

    @property
    def info(self) -> TaskInfo:
        """Its line in the list of tasks."""

    def read(self, settings: TaskSettings) -> RawTask:
        """All labeled examples there are, checked.

        Raises `TaskError` when they can't be reached or used.
        """
