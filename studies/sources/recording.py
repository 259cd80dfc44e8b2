"""Writes ``sources.json`` (see `standing`): what a task's data is, and how well a linear probe does on it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pelt_automl.backbones.loading import Backbone
from pelt_automl.durable import write_text
from pelt_automl.errors import TaskError
from studies.sources.learnability import Learnability, learnability
from studies.sources.places import Places
from studies.sources.registry import CANDIDATES
from studies.sources.standing import KS, Standing, parts_of, sealable, to_seal


def entry_of(task: str, places: Places, backbone: Backbone) -> dict[str, Any]:
    """All that is committed of one task. Raises `TaskError` when it can't be made."""
    item = CANDIDATES[task]
    loaded = [item.read(places, k) for k in KS]
    probe = {str(data.k): _figures(learnability(data, backbone)) for data in loaded}
    apart = {f"{data.k} apart": _figures(learnability(data, backbone, apart=True)) for data in loaded if data.pair}
    return {
        "source": item.source,
        "kind": item.kind,
        "metric": item.metric,
        "classes": list(loaded[0].labels),
        "sizes": loaded[0].sizes(0),
        "sha256": {part: value for data in loaded for part, value in parts_of(data).items()},
        "probe": probe | apart,
    }


def _figures(found: Learnability) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(found).items()}


def record(tasks: Sequence[str], standing: Standing, places: Places, backbone: Backbone, path: Path) -> Standing:
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
