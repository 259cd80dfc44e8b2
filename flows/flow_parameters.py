"""From a flow's parameters, which come from outside, to a selection's settings: names are checked and paths kept inside the roots."""

import os
import re
from pathlib import Path
from typing import Any

from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.home import expanded
from pelt_automl.settings import SelectionSettings

TASK = re.compile(r"[A-Za-z0-9][\w-]*|hf:[\w-][\w.-]*/[\w-][\w.-]*(:[\w-][\w.-]*)?", re.ASCII)
MODEL = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
METHOD = re.compile(r"[a-z0-9][a-z0-9-]*")
FOLDER = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
ALIAS = "minilm"
"""Comes before any folder of this name."""
PATHS = ("data_dir", "train", "validation", "test")
"""The parameters that are paths; `model` may be one too."""


def data_roots() -> list[Path]:
    """The folders that a flow may read from: ``$PELT_AUTOML_DATA_DIR``, and those in ``$PELT_AUTOML_DATA_ROOTS`` (as in ``$PATH``)."""
    names = [os.environ.get("PELT_AUTOML_DATA_DIR", ""), *os.environ.get("PELT_AUTOML_DATA_ROOTS", "").split(os.pathsep)]
    return [expanded(name).resolve() for name in names if name]


def inside(path: str, roots: list[Path]) -> Path:
    """The path, resolved; a relative one is looked for in each root in turn.

    Raises `SettingsError` when it leaves the roots, by ``..`` or by a link too, or when there are none.
    """
    if not roots:
        raise SettingsError(
            f"{path!r}: no data folder is configured for flows; set PELT_AUTOML_DATA_DIR or PELT_AUTOML_DATA_ROOTS and restart the worker"
        )
    outside = SettingsError(f"{path!r} lies outside the folders that flows may read: {', '.join(map(str, roots))}")
    try:
        candidates = [(root / expanded(path)).resolve() for root in roots]
    except SettingsError:  # who asks isn't told which users there are
        raise outside from None
    allowed = [candidate for candidate in candidates if any(candidate.is_relative_to(root) for root in roots)]
    if not allowed:
        raise outside
    return next((candidate for candidate in allowed if candidate.exists()), allowed[0])


def checked_settings(**parameters: Any) -> SelectionSettings:
    """The settings of one selection. Raises what `checked_options` raises, then `SettingsError` for what is wrong with the settings."""
    options = checked_options(**parameters)

    from pelt_automl.selection import settings_from

    return settings_from(**options)


def checked_options(**parameters: Any) -> dict[str, Any]:
    """The parameters that were given, their names looked at and their paths resolved; one that is None or empty is left out.

    Raises `SettingsError` with everything that is wrong with names and paths at once.
    """
    given = {name: value for name, value in parameters.items() if value is not None and value != []}
    problems = _name_problems(given)
    roots = data_roots()
    for name in [*PATHS, *(["model"] if _is_path(given.get("model", "")) else [])]:
        if name in given:
            try:
                path = inside(str(given[name]), roots)
                given[name] = str(path) if name == "model" else path
            except SettingsError as error:
                problems.append(f"{name} {error}")
    if problems:
        raise SettingsError(all_problems("the request", problems))
    return given


def _is_path(model: str) -> bool:
    """Whether a model's name can only be a folder. What lies where the worker happens to work has no say in it."""
    return model.startswith((".", "/", "~")) or model.count("/") > 1


def _model_problems(model: str) -> list[str]:
    if _is_path(model):
        return []
    if not MODEL.fullmatch(model):
        return [f"model {model!r} isn't a model's name: an alias, owner/name, or a folder"]
    if model != ALIAS and Path(model).is_dir():
        # The libraries would load it: the same request would mean two things in two places.
        what = f"model {model!r} is a Hub name, but the worker's working directory has a folder of this name ({Path(model).resolve()})"
        return [f"{what}; rename it, or say ./{model} for a folder of this name inside the data folders"]
    return []


def _name_problems(given: dict[str, Any]) -> list[str]:
    names = [given["task"]] if "task" in given else given.get("tasks", [])
    problems = [
        f"task {name!r} isn't a task's name: letters, digits, - and _, or hf:owner/name[:config]"
        for name in names
        if not TASK.fullmatch(name)
    ]
    problems += _model_problems(given.get("model", ALIAS))
    if "output" in given and not FOLDER.fullmatch(given["output"]):
        problems.append(f"output {given['output']!r} isn't a folder's name: letters, digits, ., - and _; it lies in the program's home")
    return problems + _method_problems("method", given.get("methods", [])) + _method_problems("baseline", given.get("baselines", []))


def _method_problems(kind: str, names: list[str]) -> list[str]:
    wrong = [name for name in names if not METHOD.fullmatch(name)]
    return [f"{kind} {name!r} isn't a {kind}'s name: small letters, digits and -" for name in wrong]
