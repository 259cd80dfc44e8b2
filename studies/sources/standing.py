"""What is committed about the sources, in ``sources.json``: hashes, sizes, how learnable each task is, which are sealed."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pelt_automl.durable import write_text
from pelt_automl.errors import TaskError
from pelt_automl.tasks import TaskData
from studies.sources.registry import CANDIDATES, Candidate
from studies.sources.rows import Places

if TYPE_CHECKING:
    from pelt_automl.backbones.loading import Backbone

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


# -------------------------------------------------------------------- the tasks that stand


@dataclass(frozen=True)
class SourceTask(Candidate):
    """A task that a probe learns, by its committed figures."""

    sealed: bool = False
    """Whether its results are not looked at before the rules that are made on the others are frozen."""
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What is committed of it."""

    def load(self, places: Places, k: int = 100) -> TaskData:
        """Pool of `k` labeled examples and report split, always the same; report in the order of the hashes of its texts.

        Raises `TaskError` when the data can't be had, or isn't what is committed.
        """
        data = self.read(places, k)
        check(data, self.entry)
        return data


def standing_tasks(standing: Standing) -> dict[str, SourceTask]:
    """The learnable tasks, by name."""
    return {
        name: SourceTask(**vars(item), sealed=item.source in standing.sealed, entry=standing.tasks[name])
        for name, item in CANDIDATES.items()
        if name in standing.tasks and standing.learnable(name)
    }


SOURCES: dict[str, SourceTask] = standing_tasks(committed())
"""By task. Sealed ones are among them, since they are recorded like the rest; whoever reads results takes `open_sources`."""


def open_sources(*, include_sealed: bool = False) -> dict[str, SourceTask]:
    """The tasks whose results may be looked at; sealed ones only on demand."""
    return {name: task for name, task in SOURCES.items() if include_sealed or not task.sealed}


# -------------------------------------------------------------------- writing sources.json


def entry_of(task: str, places: Places, backbone: "Backbone") -> dict[str, Any]:
    """All that is committed of one task. Raises `TaskError` when it can't be made."""
    from studies.sources.learnability import learnability

    item, loaded = CANDIDATES[task], [CANDIDATES[task].read(places, k) for k in KS]
    measured = {str(data.k): learnability(data, backbone) for data in loaded}
    measured |= {f"{data.k} apart": learnability(data, backbone, apart=True) for data in loaded if data.pair}
    return {
        "source": item.source, "kind": item.kind, "metric": item.metric, "classes": list(loaded[0].labels), "sizes": loaded[0].sizes(0),
        "sha256": {part: value for data in loaded for part, value in parts_of(data).items()},
        "probe": {name: {figure: round(value, 4) for figure, value in asdict(found).items()} for name, found in measured.items()},
    }  # fmt: skip


def record(tasks: Sequence[str], standing: Standing, places: Places, backbone: "Backbone", path: Path) -> Standing:
    """The file with these tasks made and measured again. Sources are sealed once, when none is; later ones don't change that.

    Raises `TaskError` where a task can't be made, or its data isn't what is committed.
    """
    made = {task: entry_of(task, places, backbone) for task in tasks}
    if changed := [task for task in made if task in standing.tasks and made[task]["sha256"] != standing.tasks[task]["sha256"]]:
        raise TaskError(
            f"the data of {', '.join(changed)} isn't what is committed, and trainings may have been recorded on that; nothing was written. "
            f"To replace it, take the entry out of {path.name} first, and record its trainings again"
        )
    entries = dict(standing.tasks) | made
    found = replace(standing, tasks={name: entries[name] for name in CANDIDATES if name in entries})
    found = replace(found, sealed=found.sealed or to_seal(sealable(found)))
    write_text(path, json.dumps({"sealed": list(found.sealed), "tasks": found.tasks}, indent=1) + "\n")
    return found
