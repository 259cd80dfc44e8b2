"""The flat options that the command line, Python and the flows share, as settings."""

import difflib
import numbers
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from pelt_automl.config import SearchSettings, SelectionSettings, TaskSettings, TrainingSettings, expanded
from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.selection.field import ALL

_PARTS: dict[str, type] = {"task": TaskSettings, "training": TrainingSettings, "search": SearchSettings}
_PATHS = {"data_dir", "train", "validation", "test", "spaces"}
_NUMBERS = {field.name for kind in _PARTS.values() for field in fields(kind) if field.type in (float, float | None)}
_LISTS = {"text_columns", "methods"}
_SHARES = {"rungs"}
_LISTS_OR_NONE = {"baselines"}


def settings_from(**options: Any) -> SelectionSettings:
    """Settings from flat options: the fields of the settings' dataclasses by name; None means not given.

    ``k`` takes ``"full"``, lists take comma-separated text, and ``seed`` seeds search and splits alike.
    Raises `SettingsError` for unknown options, unknown methods, and whatever the settings themselves refuse.
    """
    given = {name: value for name, value in options.items() if value is not None}
    parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    model = given.pop("model", None)
    problems: list[str] = []
    for name, value in given.items():
        places = [(part, name) for part, kind in _PARTS.items() if name in {field.name for field in fields(kind)}]
        if not places:
            problems.append(f"there is no option {name!r}")
        for part, field_name in places:
            try:
                parts[part][field_name] = _converted(field_name, value)
            except (TypeError, ValueError) as error:
                problems.append(f"{name} is {value!r}: {error}")
    problems += _unknown_methods(parts["search"].get("methods", ()))
    problems += _unknown_baselines(parts["search"].get("baselines", ()))
    least = parts["search"].get("finalist_seeds")
    if isinstance(least, int) and "most_seeds" not in given:
        parts["search"]["most_seeds"] = max(least, SearchSettings.most_seeds)
    built: dict[str, Any] = {}
    for part, kind in _PARTS.items():
        try:
            built[part] = kind(**parts[part])
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError(problems[0] if len(problems) == 1 else all_problems("the command", problems))
    if model is not None:
        built["model"] = str(model)
    return SelectionSettings(**built)


def _converted(name: str, value: Any) -> Any:
    if name in _PATHS:
        return expanded(value).absolute()
    if name in _LISTS:
        return _names(value)
    if name in _LISTS_OR_NONE:
        found = _names(value)
        return () if tuple(map(str.lower, found)) == ("none",) else found
    if name in _SHARES:
        return _shares(value)
    if name == "k":
        return _k(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):  # NumPy's, too: 60 and 60.0 are the same limit, and the same selection
        return float(value) if name in _NUMBERS else int(value)
    return float(value) if isinstance(value, numbers.Real) and name in _NUMBERS else value


def _names(value: Any) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else tuple(map(str, value))


def _k(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().lower() == "full":
        return None
    if isinstance(value, (list, tuple)):
        raise ValueError("a selection has one K; for a curve over several call pelt_automl.k_curve, or type --k 50,100,200")  # noqa: TRY004
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or (not isinstance(value, str) and number != value):
        raise ValueError("expected a whole number or 'full'")
    return number


def _shares(value: Any) -> tuple[float, ...]:
    """Numbers, or comma-separated text; ``none`` for an empty tuple."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()] if value.strip().lower() != "none" else []
    try:
        return tuple(float(part) for part in value)
    except (TypeError, ValueError):
        raise ValueError("expected shares of a training such as 0.25,0.5, or 'none'") from None


def _unknown_methods(names: Iterable[str]) -> list[str]:
    if tuple(names) == (ALL,):
        return []
    problems = []
    for name in names:
        if name in BASELINES:
            problems.append(f"{name!r} isn't a method that is tuned but a baseline: name it with --baselines {name} (in Python: baselines)")
        elif name not in METHODS:
            problems.append(f"unknown method {name!r}{_meant(name, METHODS)}; there are {', '.join(METHODS)}, or {ALL}")
    return problems


def _unknown_baselines(names: Iterable[str]) -> list[str]:
    problems = []
    for name in names:
        if name in METHODS:
            problems.append(f"{name!r} isn't a baseline but a method that is tuned: name it with --methods {name} (in Python: methods)")
        elif name not in BASELINES:
            problems.append(f"unknown baseline {name!r}{_meant(name, BASELINES)}; there are {', '.join(BASELINES)}, or none")
    return problems


def _meant(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
