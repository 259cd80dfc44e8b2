"""From rows that a parser has found to those that are trained on and those that are reported on, and the folders that texts are kept in."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pelt_automl.home import expanded, home
from pelt_automl.tasks.benchmarks import DATA_DIR
from pelt_automl.tasks.examples import digest
from studies.harness import ROOT

TRAIN_MOST = 2000
"""Rows to take K examples of; K = "full" is never used."""
REPORT_MOST = 1000
"""Rows to report on."""
REPORT_IN = 3
"""Every third group is reported on."""


@dataclass(frozen=True)
class Row:
    """A labeled text, as a parser has found it."""

    text: str
    label: str | float
    """The name of the class, or the number."""
    group: str = ""
    """Rows of a group are all trained on or all reported on: those of one word, one thread, one source package. Empty: the text itself."""


def by_hash(texts: Sequence[str]) -> str:
    """What examples are ordered by: SHA-256 (hex) of their texts, so that the first n of any order are a random sample."""
    return digest([list(texts)])


def sides(rows: Iterable[Row], most_of_class: int | None = None) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows to report on, each in the order of `by_hash`; of a class at most `most_of_class` together.

    White space is made one blank. A text with several labels is left out, a repeated one is kept once. No group is on both sides.
    """
    labels: dict[str, set[str | float]] = defaultdict(set)
    first: dict[str, Row] = {}
    for row in rows:
        text = " ".join(row.text.split())
        if text:
            labels[text.lower()].add(row.label)
            first.setdefault(text.lower(), Row(text, row.label, row.group or text.lower()))
    taken = Counter[str | float]()
    train, report = list[Row](), list[Row]()
    for row in sorted((row for key, row in first.items() if len(labels[key]) == 1), key=lambda row: by_hash([row.text])):
        taken[row.label] += 1
        if most_of_class is None or taken[row.label] <= most_of_class:
            (report if int(digest([row.group])[:8], 16) % REPORT_IN == 0 else train).append(row)
    return train[:TRAIN_MOST], report[:REPORT_MOST]


@dataclass(frozen=True)
class Places:
    """Where texts lie; none of them ever enters the repository."""

    data: Path
    """Folder with shared task data: ``glue/sst2/train.jsonl``, ``custom/snips/train.jsonl``."""
    cache: Path
    """Folder for what is fetched (``fetched``) and for what is made from it (a folder a task). It can be copied to another machine."""


def usual_places() -> Places:
    """``$PELT_AUTOML_DATA_DIR``, else ``../shared/data`` of the repository; and ``sources`` in the program's home folder."""
    data = os.environ.get(DATA_DIR)
    return Places(expanded(data) if data else ROOT.parent / "shared" / "data", home() / "sources")
