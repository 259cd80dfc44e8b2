"""Labeled texts, and what every source of them hands over."""

import hashlib
import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pelt_automl.settings import TaskSettings

Kind = Literal["classification", "regression", "multi-label", "question-answering"]
"""Of tasks in the user's own files, by what their labels look like; `pelt_automl.tasks.kinds` has all there are."""


def digest(parts: Iterable[object]) -> str:
    """SHA-256 (hex) of JSON-like values; their order and boundaries count."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(json.dumps(part, ensure_ascii=True).encode())
        sha.update(b"\n")
    return sha.hexdigest()


def joined_up(keys: Sequence[Hashable], groups: Sequence[Hashable | None] = ()) -> list[int]:
    """A number for each example, the same for all that a chain of equal keys and equal groups connects; None is nobody's group.

    Numbered in order of appearance. `groups`: empty, or one for each key.
    """
    first, parent = dict[Hashable, int](), list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i, key in enumerate(keys):
        parent[root(i)] = root(first.setdefault(("key", key), i))
        if groups and groups[i] is not None:
            parent[root(i)] = root(first.setdefault(("group", groups[i]), i))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(len(keys))]


@dataclass(frozen=True)
class Examples:
    """Labeled texts in a fixed order."""

    texts: tuple[tuple[str, ...], ...]
    """One or two strings an example, without white space at their ends."""
    labels: tuple[Any, ...]
    """Of each example: the index of its class, its number, or what else a label of the task's kind is."""
    groups: tuple[str | None, ...] = ()
    """Of each example: what it shares with others that stay on its side of every split (an author, a document); None: nothing. Empty where
    the task has no groups."""

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels):
            raise ValueError(f"{len(self.texts)} texts but {len(self.labels)} labels")
        if self.groups and len(self.groups) != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts but {len(self.groups)} groups")

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> "Examples":
        """The examples at `indices`, in that order."""
        chosen = list(indices)
        groups = tuple(self.groups[i] for i in chosen) if self.groups else ()
        return Examples(tuple(self.texts[i] for i in chosen), tuple(self.labels[i] for i in chosen), groups)

    def exchanged(self) -> "Examples":
        """The same examples, with the numbers of the two classes exchanged."""
        return Examples(self.texts, tuple(1 - int(label) for label in self.labels), self.groups)

    def units(self) -> list[int]:
        """``(n,)``, the number of each example's unit: what stays on one side of every split, since it shares texts or a group."""
        return joined_up(self.texts, self.groups)

    def hash(self) -> str:
        """SHA-256 (hex) over texts, labels and groups, their order included."""
        rows = zip(self.texts, self.labels, *([self.groups] if self.groups else []), strict=True)
        return digest([list(texts), *others] for texts, *others in rows)


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
    group_column: str | None = None
    """Where the examples' groups stand, if they have any."""

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
