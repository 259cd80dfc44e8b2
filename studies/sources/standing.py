"""What is committed about the sources, in ``sources.json``: hashes, sizes, how learnable each task is, and which sources are sealed."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pelt_automl.errors import TaskError
from pelt_automl.tasks import TaskData
from studies.sources.registry import CANDIDATES, Candidate

COMMITTED = Path(__file__).with_name("sources.json")
KS = (100, 300)
"""Labeled examples that trainings of the table have."""
SEALED = 4
"""Sources that are sealed."""


@dataclass(frozen=True)
class Standing:
    """The content of ``sources.json``."""

    sealed: tuple[str, ...]
    """Names of sources."""
    tasks: Mapping[str, Mapping[str, Any]]
    """By task: ``classes``, ``sizes`` (of split seed 0 with the smaller K), ``sha256`` (by part: `parts_of`) and ``probe``.

    ``probe``: by K the figures of `learnability.Learnability`, for pairs also those of both texts encoded apart. These don't decide: the
    head of a tuned model reads the joint encoding."""

    def learnable(self, task: str) -> bool:
        """Whether the probe is above a constant by more than one standard error, with the fewest examples."""
        measured = self.tasks[task]["probe"][str(KS[0])]
        return bool(measured["score"] - measured["constant"] > measured["error"])


def committed(path: Path = COMMITTED) -> Standing:
    """What is in the file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Standing(tuple(content["sealed"]), content["tasks"])


def to_seal(sources: Iterable[str]) -> tuple[str, ...]:
    """The rule, which looks at no score: of these names, the four whose SHA-256 is the smallest.

    `sources`: those with a learnable task that the project had not trained on before there was this table; SST-2 or pydoc can't be sealed
    any more, since the rules that came before were made on them.
    """
    return tuple(sorted(sorted(set(sources), key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:SEALED]))


def sealable(standing: Standing, candidates: Mapping[str, Candidate] = CANDIDATES) -> set[str]:
    """The sources that `to_seal` chooses from."""
    return {item.source for item in candidates.values() if item.task in standing.tasks and standing.learnable(item.task) and not item.seen}


def parts_of(data: TaskData) -> dict[str, str]:
    """SHA-256 (hex) of all labeled data (``data``), of the report split in its order (``report``), and of the K examples (``k-100``)."""
    return {"data": data.data_hash, "report": data.report.hash(), f"k-{data.k}": data.pool.hash()}


def check(data: TaskData, entry: Mapping[str, Any]) -> None:
    """Raises `TaskError` when the task isn't the one that was committed. A K that isn't committed is checked by the data it comes from."""
    found = parts_of(data)
    if wrong := [part for part, value in found.items() if entry["sha256"].get(part, value) != value]:
        part = wrong[0]
        raise TaskError(
            f"{data.name}: its data isn't what the table was recorded on: SHA-256 of {part} is {found[part][:12]}..., committed is "
            f"{entry['sha256'][part][:12]}... (versions of packages may differ, or a file in the cache folder was made by older code: move "
            f"the folder {data.name} out of the cache folder and try again, or copy it from a machine that has recorded)"
        )
