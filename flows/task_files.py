"""The folder of task files: which selections a machine keeps up to date, and which of them are due."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from flows.flow_parameters import as_sent, checked_settings, data_roots, inside
from pelt_automl.errors import PeltError, SettingsError, all_problems
from pelt_automl.home import home
from pelt_automl.log.events import SelectionStarted
from pelt_automl.log.folder import history_of
from pelt_automl.selection import Asked, asked_of

ENDINGS = (".yaml", ".yml")
"""What a task file's name ends with."""


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
    what: Literal["new", "changed", "up to date", "problem"]
    why: str
    file: TaskFile | None = None


def read_task_file(path: Path) -> TaskFile:
    """One task file, checked whole.

    Raises `SettingsError` that names the file and everything wrong with it, or the `TaskError` that its data give.
    """
    what = f"task file {path.name}"
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{what} can't be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise SettingsError(f"{what} must hold lines 'name: value' (task, model, k, seconds, ...); it holds {type(fields).__name__}")
    try:
        settings = checked_settings(**fields)
    except SettingsError as error:
        raise SettingsError(all_problems(what, error.problems), error.problems) from error
    return TaskFile(path.stem, as_sent(fields), asked_of(settings))


def due_files(folder: str) -> list[Due]:
    """Every ``*.yaml`` and ``*.yml`` of the folder with what is to be done about it; one bad file doesn't stop the others.

    Raises `SettingsError` when the folder isn't there or lies outside the working directory and the data folders.
    """
    path = inside(folder, [Path.cwd(), *data_roots()])
    if not path.is_dir():
        raise SettingsError(
            f"there is no folder {path} with task files; make it, with one YAML file per task "
            "(docs/servers.md, 'Selections that are kept up to date')"
        )
    verdicts = list(last_verdicts())
    return [_due(file, verdicts) for file in sorted(path.iterdir()) if file.suffix.lower() in ENDINGS and file.is_file()]


def _due(path: Path, verdicts: list[dict[str, Any]]) -> Due:
    what = f"task file {path.name}"
    try:
        file = read_task_file(path)
    except PeltError as error:
        return Due(path.stem, "problem", str(error) if what in str(error) else f"{what}: {error}")
    except Exception as error:  # noqa: BLE001  # whatever is wrong with one file, the others go on
        return Due(path.stem, "problem", f"{what} can't be checked: {type(error).__name__}: {error}")
    asked = file.asked
    for verdict in verdicts:
        if (verdict.get("question"), verdict.get("effort")) == (asked.question, asked.effort):
            return Due(file.name, "up to date", f"{verdict.get('method')}, in {verdict['folder']}", file)
    on_this_task = [verdict for verdict in verdicts if verdict.get("task") == asked.task]
    same_question = [verdict for verdict in on_this_task if verdict.get("question") == asked.question_on(str(verdict.get("data_hash")))]
    if any(verdict.get("data_hash") == asked.data_hash for verdict in same_question):
        return Due(
            file.name, "changed", f"it asks for another effort than its last verdict ({_differences(asked, same_question[-1])})", file
        )
    if same_question:
        return Due(file.name, "changed", "its data changed since its last verdict", file)
    if on_this_task:
        return Due(file.name, "new", f"its task has no verdict on this question yet ({_differences(asked, on_this_task[-1])})", file)
    return Due(file.name, "new", "it has no verdict yet", file)


def _differences(asked: Asked, verdict: dict[str, Any]) -> str:
    """How the verdict's selection was another one, in words."""
    try:
        started = history_of(Path(verdict["folder"])).of_kind(SelectionStarted)[0]
    except (OSError, ValueError, TypeError, PeltError, IndexError):  # its records are damaged or gone
        return "other settings, or another version of the program"
    return "; ".join(asked.differences(started.settings)) or "another version of the program, or other search spaces"


def last_verdicts() -> Iterator[dict[str, Any]]:
    """Every recommendation in the program's home, oldest first, with its ``folder``; those that can't be read are left out."""
    for path in sorted((home() / "selections").glob("*/recommendation.json"), key=_written):
        try:
            verdict = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            continue
        if isinstance(verdict, dict):
            yield verdict | {"folder": str(path.parent)}


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
