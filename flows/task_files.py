"""The folder of task files: which selections a machine keeps up to date, and which of them are due."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml

from flows.flow_parameters import as_sent, checked_settings, data_roots, inside
from pelt_automl import BEHAVIOUR
from pelt_automl.announcing import NAME
from pelt_automl.errors import PeltError, SettingsError, all_problems
from pelt_automl.home import home
from pelt_automl.log.events import SelectionStarted
from pelt_automl.log.folder import RECORDS, history_of
from pelt_automl.selection import Asked, asked_of

ENDINGS = (".yaml", ".yml")
"""What a task file's name ends with."""
TAIL = 65_536
"""Bytes at the end of a selection's records that have its end."""


@dataclass(frozen=True)
class TaskFile:
    """One checked file of the folder."""

    name: str
    """The file's name without its ending."""
    parameters: dict[str, Any]
    """What the deployment of `select_pelt` is started with."""
    asked: Asked
    """The question and the effort."""


@dataclass(frozen=True)
class Due:
    """What is to be done about one file."""

    name: str
    what: Literal["new", "changed", "old", "up to date", "problem"]
    why: str
    file: TaskFile | None = None
    last: "Verdict | None" = None
    """The verdict that it has, where that is of the same question and effort."""


@dataclass(frozen=True)
class Verdict:
    """A recommendation in the program's home."""

    folder: Path
    answer: dict[str, Any]
    """``recommendation.json``."""
    reached: float
    """Seconds since the epoch."""

    @property
    def days(self) -> float:
        """Its age."""
        return (time.time() - self.reached) / 86_400


def read_task_file(path: Path) -> TaskFile:
    """One task file, checked whole.

    Raises `SettingsError` that names the file and everything wrong with it, or the `TaskError` that its data give.
    """
    what = f"task file {path.name}"
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{what} can't be read as YAML: {' '.join(str(error).split())}") from error
    return checked_fields(what, path.stem, fields)


def checked_fields(what: str, name: str, fields: Any) -> TaskFile:
    """A task file's content, checked whole; `what`: it, for people. Raises what `read_task_file` raises."""
    if not isinstance(fields, dict) or not all(isinstance(field, str) for field in fields):
        raise SettingsError(f"{what} must hold lines 'name: value' (task, model, k, seconds, ...); it holds {type(fields).__name__}")
    try:
        settings = checked_settings(**fields)
    except SettingsError as error:
        raise SettingsError(all_problems(what, error.problems), error.problems) from error
    return TaskFile(name, as_sent(fields), asked_of(settings))


def due_files(folder: str, max_age: float | None = None) -> list[Due]:
    """Every ``*.yaml`` and ``*.yml`` of the folder with what is to be done about it; one bad file doesn't stop the others.

    `max_age`: days after which a verdict is old; None: never. Raises `SettingsError` when the folder isn't there or lies outside the
    working directory and the data folders.
    """
    path = inside(folder, [Path.cwd(), *data_roots()])
    if not path.is_dir():
        raise SettingsError(
            f"there is no folder {path} with task files; make it, with one YAML file per task "
            "(docs/servers.md, 'Selections that are kept up to date')"
        )
    verdicts = list(last_verdicts())
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in ENDINGS and file.is_file()]
    return [_due(f"task file {file.name}", file.stem, partial(read_task_file, file), verdicts, max_age) for file in files]


def due_announced(announced: Mapping[str, Any], max_age: float | None = None) -> Due:
    """What is to be done about a task that an event has announced: its ``name``, and its ``fields`` as they would stand in a file."""
    name, fields = announced.get("name"), announced.get("fields")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return Due(repr(name)[:60], "problem", f"the announced task's name is {name!r}; letters, digits, ., - and _ are expected")
    what = f"announced task {name}"
    return _due(what, name, partial(checked_fields, what, name, fields), list(last_verdicts()), max_age)


def _due(what: str, name: str, read: Callable[[], TaskFile], verdicts: list[Verdict], max_age: float | None) -> Due:
    try:
        file = read()
    except PeltError as error:
        return Due(name, "problem", str(error) if what in str(error) else f"{what}: {error}")
    except Exception as error:  # noqa: BLE001  # whatever is wrong with one file, the others go on
        return Due(name, "problem", f"{what} can't be checked: {type(error).__name__}: {error}")
    asked = file.asked
    same = [one for one in verdicts if (one.answer.get("question"), one.answer.get("effort")) == (asked.question, asked.effort)]
    if same:
        last = same[-1]
        if max_age is not None and last.days > max_age:
            return Due(name, "old", f"its last verdict is {last.days:.1f} days old, and may be {max_age:g}", file, last)
        return Due(name, "up to date", f"{last.answer.get('method')}, in {last.folder}", file, last)
    on_this_task = [verdict for verdict in verdicts if verdict.answer.get("task") == asked.task]
    same_question = [one for one in on_this_task if one.answer.get("question") == asked.question_on(str(one.answer.get("data_hash")))]
    if any(verdict.answer.get("data_hash") == asked.data_hash for verdict in same_question):
        return Due(
            file.name, "changed", f"it asks for another effort than its last verdict ({_differences(asked, same_question[-1])})", file
        )
    if same_question:
        return Due(file.name, "changed", "its data changed since its last verdict", file)
    if on_this_task:
        return Due(file.name, "new", f"its task has no verdict on this question yet ({_differences(asked, on_this_task[-1])})", file)
    return Due(file.name, "new", "it has no verdict yet", file)


def _differences(asked: Asked, verdict: Verdict) -> str:
    """How the verdict's selection was another one, in words."""
    try:
        started = history_of(verdict.folder).of_kind(SelectionStarted)[0]
    except (OSError, ValueError, TypeError, PeltError, IndexError):  # its records are damaged or gone
        return "other settings, or another version of the program"
    if settings := asked.differences(started.settings):
        return "; ".join(settings)
    if started.behaviour != BEHAVIOUR:
        return f"another version of the program: behavior {BEHAVIOUR}, was {started.behaviour}"
    return "other search spaces"


def last_verdicts() -> Iterator[Verdict]:
    """Every recommendation in the program's home, oldest first; those that can't be read are left out."""
    found = []
    for path in (home() / "selections").glob("*/recommendation.json"):
        try:
            answer = json.loads(path.read_text(encoding="utf-8"))
            reached = _reached(path.parent) or path.stat().st_mtime
        except (ValueError, OSError, KeyError, TypeError):
            continue
        if isinstance(answer, dict):
            found.append(Verdict(path.parent, answer, reached))
    yield from sorted(found, key=lambda verdict: verdict.reached)


def _reached(folder: Path) -> float | None:
    """When the records say that the selection has ended; its report may have been written again since."""
    try:
        with (folder / RECORDS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        if line.startswith(b'{"event": "SelectionEnded"'):
            return float(json.loads(line)["time"])
    return None
