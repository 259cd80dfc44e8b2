"""The folder of task files: which selections a machine keeps up to date, and which of them are due."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from prefect.exceptions import ParameterTypeError

from flows.flow_parameters import checked_settings, data_roots, inside
from flows.select_pelt import select_pelt
from pelt_automl.config import SelectionSettings, home
from pelt_automl.errors import PeltError, SettingsError, all_problems
from pelt_automl.tasks import data_hash

ALLOWED = sorted(select_pelt.parameters.properties)
"""A task file's fields are the parameters of the flow that it starts."""
ENDINGS = (".yaml", ".yml")
"""What a task file's name ends with."""


@dataclass(frozen=True)
class TaskFile:
    """One checked file of the folder."""

    name: str
    """The file's name without its ending."""
    parameters: dict[str, Any]
    """What `select_pelt` is called with."""
    settings: SelectionSettings
    data_hash: str


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
    problems = [f"unknown field {name!r}; there are {', '.join(ALLOWED)}" for name in fields if name not in ALLOWED]
    known = {name: value for name, value in fields.items() if name in ALLOWED}
    try:
        settings = checked_settings(**select_pelt.validate_parameters(known))
    except (SettingsError, ParameterTypeError) as error:
        raise SettingsError(all_problems(what, [*problems, str(error)])) from error
    if problems:
        raise SettingsError(all_problems(what, problems))
    return TaskFile(path.stem, known, settings, data_hash(settings.task))


def due_files(folder: str) -> list[Due]:
    """Every ``*.yaml`` and ``*.yml`` of the folder with what is to be done about it; one bad file doesn't stop the others.

    Raises `SettingsError` when the folder isn't there or lies outside the working directory and the data folders.
    """
    path = inside(folder, [Path.cwd(), *data_roots()])
    if not path.is_dir():
        raise SettingsError(
            f"there is no folder {path} with task files; make it, one YAML file a task (README, 'Keeping selections up to date')"
        )
    verdicts = list(last_verdicts())
    return [_due(file, verdicts) for file in sorted(path.iterdir()) if file.suffix.lower() in ENDINGS and file.is_file()]


def _due(path: Path, verdicts: list[dict[str, Any]]) -> Due:
    try:
        file = read_task_file(path)
    except PeltError as error:
        return Due(path.stem, "problem", str(error))
    model, k = file.settings.model, file.settings.task.k
    same_question = [verdict for verdict in verdicts if verdict.get("model") == model and verdict.get("k") == k]
    for verdict in same_question:
        if verdict.get("data_hash") == file.data_hash:
            return Due(file.name, "up to date", f"{verdict.get('method')}, in {verdict['folder']}", file)
    if any(verdict.get("task") == file.settings.task.task for verdict in same_question):
        return Due(file.name, "changed", "its data changed since its last verdict", file)
    return Due(file.name, "new", "it has no verdict yet", file)


def last_verdicts() -> Iterator[dict[str, Any]]:
    """Every recommendation in the program's home, with its ``folder``; those that can't be read are left out."""
    for path in sorted((home() / "selections").glob("*/recommendation.json")):
        try:
            verdict = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            continue
        if isinstance(verdict, dict):
            yield verdict | {"folder": str(path.parent)}
