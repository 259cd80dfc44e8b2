"""Search spaces from YAML, in Optuna's own words, checked whole before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

import pelt_automl
from pelt_automl.errors import SearchSpaceError, all_problems
from pelt_automl.methods import METHODS

FILE_KEYS = {"method", "version", "hyper_parameters"}
PARAMETER_KEYS = {
    "float": {"type", "low", "high", "log", "step"},
    "int": {"type", "low", "high", "log", "step"},
    "categorical": {"type", "choices"},
}
Number = int | float


class Suggests(Protocol):
    """The part of ``optuna.Trial`` that a space uses."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        """A number with a fraction."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices."""


@dataclass(frozen=True)
class Parameter:
    """One searched hyper-parameter."""

    name: str
    kind: Literal["float", "int", "categorical"]
    low: Number = 0
    high: Number = 0
    log: bool = False
    step: Number | None = None
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Suggests) -> Any:
        """Draw a value."""
        if self.kind == "categorical":
            return trial.suggest_categorical(self.name, list(self.choices))
        if self.kind == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def described(self) -> str:
        """For people: ``1e-04 to 1e-02 (log)``."""
        if self.kind == "categorical":
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        notes = [*(["log"] if self.log else []), *([f"step {self.step}"] if self.step else [])]
        return f"{self.low:g} to {self.high:g}" + (f" ({', '.join(notes)})" if notes else "")

    def holds(self, value: Any) -> bool:
        """Whether the space contains `value`."""
        return value in self.choices if self.kind == "categorical" else self.low <= value <= self.high


@dataclass(frozen=True)
class SearchSpace:
    """What is searched for one method; its other hyper-parameters keep the published default."""

    method: str
    version: int
    """Part of the study's name: a space that changes gets a new study."""
    parameters: tuple[Parameter, ...]

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """A configuration of the searched hyper-parameters."""
        return {parameter.name: parameter.suggest(trial) for parameter in self.parameters}

    def default(self) -> dict[str, Any]:
        """The published configuration, as far as it is searched."""
        defaults = METHODS[self.method].defaults
        return {parameter.name: defaults[parameter.name] for parameter in self.parameters}


def shipped_spaces() -> Path:
    """The folder of the search spaces that come with the program: inside an installed wheel, beside the package in a clone."""
    package = Path(pelt_automl.__file__).parent
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


def load_spaces(folder: Path | None, methods: tuple[str, ...]) -> dict[str, SearchSpace]:
    """The space of each method, from `folder` where it has one, else the shipped one.

    Raises `SearchSpaceError` with everything that is wrong in any of the files.
    """
    if folder is not None and not folder.is_dir():
        raise SearchSpaceError(f"the folder with search spaces {folder} isn't there")
    spaces, problems = dict[str, SearchSpace](), list[str]()
    for method in methods:
        own = folder / f"{method}.yaml" if folder else None
        path = own if own and own.is_file() else shipped_spaces() / f"{method}.yaml"
        try:
            spaces[method] = load_space(path)
        except SearchSpaceError as error:
            problems.append(str(error))
            continue
        if spaces[method].method != method:
            problems.append(f"{path}: method is {spaces[method].method!r}; by the file's name it must be {method!r}")
    if problems:
        raise SearchSpaceError("\n".join(problems))
    return spaces


def load_space(path: Path) -> SearchSpace:
    """Read and check one file. Raises `SearchSpaceError` with all of its problems."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SearchSpaceError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise SearchSpaceError(f"{path}: expected the keys {', '.join(sorted(FILE_KEYS))}, found {type(data).__name__}")
    if problems := [*_file_problems(data), *_parameters_problems(data)]:
        raise SearchSpaceError(all_problems(str(path), problems))
    parameters = [_parameter(name, entry) for name, entry in data["hyper_parameters"].items()]
    return SearchSpace(data["method"], data["version"], tuple(parameters))


def _parameter(name: str, entry: Mapping[str, Any]) -> Parameter:
    return Parameter(
        name=name,
        kind=entry["type"],
        low=entry.get("low", 0),
        high=entry.get("high", 0),
        log=entry.get("log", False),
        step=entry.get("step"),
        choices=tuple(entry.get("choices", ())),
    )


def _file_problems(data: Mapping[str, Any]) -> list[str]:
    problems = [f"unknown key {key!r}; there are {', '.join(sorted(FILE_KEYS))}" for key in data if key not in FILE_KEYS]
    problems += [f"the key {key!r} is missing" for key in sorted(FILE_KEYS - set(data))]
    if "method" in data and data["method"] not in METHODS:
        problems.append(f"method is {data['method']!r}; there are {', '.join(METHODS)}")
    if "version" in data and not _is(data["version"], int):
        problems.append(f"version is {data['version']!r}; it must be a whole number")
    return problems


def _parameters_problems(data: Mapping[str, Any]) -> list[str]:
    parameters = data.get("hyper_parameters")
    if parameters is None:
        return []
    if not isinstance(parameters, dict) or not parameters:
        return ["hyper_parameters must be a mapping with at least one entry"]
    method = METHODS.get(data.get("method", ""))
    problems: list[str] = []
    for name, entry in parameters.items():
        if method and name not in method.defaults:
            problems.append(f"{method.name} has no hyper-parameter {name!r}; it has {', '.join(method.defaults)}")
            continue
        own = _entry_problems(entry)
        problems += [f"{name}: {problem}" for problem in own]
        if method and not own and not _parameter(name, entry).holds(method.defaults[name]):
            problems.append(f"{name}: the published default {method.defaults[name]!r} isn't in the space, so it couldn't be tried first")
    return problems


def _entry_problems(entry: Any) -> list[str]:
    if not isinstance(entry, dict) or entry.get("type") not in PARAMETER_KEYS:
        return [f"expected a mapping whose type is one of {', '.join(PARAMETER_KEYS)}, found {entry!r}"]
    known = PARAMETER_KEYS[entry["type"]]
    problems = [f"unknown key {key!r}; there are {', '.join(sorted(known))}" for key in entry if key not in known]
    if entry["type"] == "categorical":
        return problems + _choices_problems(entry.get("choices"))
    return problems + _range_problems(entry)


def _choices_problems(choices: Any) -> list[str]:
    if not isinstance(choices, list) or not choices:
        return [f"choices must be a list with at least one entry, found {choices!r}"]
    numbers = [choice for choice in choices if isinstance(choice, str) and _looks_like_a_number(choice)]
    return [f"the choice {choice!r} is text to YAML; write it with a point: {_with_point(choice)}" for choice in numbers]


def _range_problems(entry: Mapping[str, Any]) -> list[str]:
    wanted = int if entry["type"] == "int" else float
    problems: list[str] = []
    for key in ("low", "high", "step"):
        value = entry.get(key)
        if value is None:
            problems += [f"{key} is missing"] if key != "step" else []
        elif isinstance(value, str) and _looks_like_a_number(value):
            problems.append(f"{key} is the text {value!r} to YAML; write it with a point: {_with_point(value)}")
        elif not _is(value, wanted):
            problems.append(f"{key} is {value!r}; it must be {'a whole number' if wanted is int else 'a number'}")
    if not isinstance(entry.get("log", False), bool):
        problems.append(f"log is {entry['log']!r}; it must be true or false")
    if problems:
        return problems
    if entry["low"] >= entry["high"]:
        problems.append(f"low {entry['low']} must be below high {entry['high']}")
    if entry.get("log") and entry["low"] <= 0:
        problems.append(f"low is {entry['low']}; on a log scale it must be above 0")
    if entry.get("log") and entry.get("step") is not None:
        problems.append("log and step can't be combined")
    return problems


def _is(value: Any, kind: type) -> bool:
    """Whether a YAML value is a number of this kind; true and false are not, a whole number is a float too."""
    return isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)


def _looks_like_a_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_point(text: str) -> str:
    head, _, exponent = text.lower().partition("e")
    return text if "." in head else f"{head}.0e{exponent}" if exponent else f"{head}.0"
