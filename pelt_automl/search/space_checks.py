"""Everything that can be wrong with a search space's file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pelt_automl.errors import SettingsError
from pelt_automl.methods import METHODS, PeltMethod
from pelt_automl.methods.bridged import BridgedMethod
from pelt_automl.search.parameters import Parameter, fits, in_order, is_pattern

NEEDED_KEYS = {"method", "version", "hyper_parameters"}
FILE_KEYS = NEEDED_KEYS | {"portfolio"}
PARAMETER_KEYS = {
    "float": {"type", "low", "high", "log", "step", "only_if"},
    "int": {"type", "low", "high", "log", "step", "only_if"},
    "categorical": {"type", "choices", "only_if"},
}


def file_problems(data: Mapping[str, Any]) -> list[str]:
    """All problems of a file's content; empty if a space can be made of it."""
    problems = [f"unknown key {key!r}; there are {', '.join(sorted(FILE_KEYS))}" for key in data if key not in FILE_KEYS]
    problems += [f"the key {key!r} is missing" for key in sorted(NEEDED_KEYS - set(data))]
    method = METHODS.get(str(data.get("method")))
    if "method" in data and method is None:
        problems.append(f"method is {data['method']!r}; there are {', '.join(METHODS)}")
    if "version" in data and not _is(data["version"], int):
        problems.append(f"version is {data['version']!r}; it must be a whole number")
    problems += _parameters_problems(data["hyper_parameters"], method) if "hyper_parameters" in data else []
    portfolio = data.get("portfolio", [])
    if not isinstance(portfolio, list) or not all(isinstance(entry, dict) and entry for entry in portfolio):
        problems.append(f"portfolio must be a list of mappings from hyper-parameters to values, found {portfolio!r}")
    return problems


def _parameters_problems(entries: Any, method: PeltMethod | None) -> list[str]:
    if not isinstance(entries, dict) or not entries:
        return ["hyper_parameters must be a mapping with at least one entry"]
    problems = {name: _entry_problems(entry) for name, entry in entries.items()}
    for name, entry in entries.items():
        if method and not problems[name]:
            problems[name] = method.unknown([name]) or _unknown_to_peft(method, name) or _value_problems(method, name, entry)
    found = [f"{name}: {problem}" for name, own in problems.items() for problem in own]
    return found or _condition_problems(entries, method)


def _unknown_to_peft(method: PeltMethod, name: str) -> list[str]:
    """A name beyond the published ones that no field of peft's configuration class has."""
    if not isinstance(method, BridgedMethod) or name in method.defaults:
        return []
    from pelt_automl.modifications.bridged import unknown_fields  # torch, and peft

    return unknown_fields(method.peft_type, [name])


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


def _value_problems(method: PeltMethod, name: str, entry: Mapping[str, Any]) -> list[str]:
    """Values that the method can't take, and a published default that isn't among them."""
    problems = []
    for value in entry["choices"] if entry["type"] == "categorical" else (entry["low"], entry["high"]):
        try:
            method.plain(name, value)
        except SettingsError as error:
            problems.append(str(error))
    if problems or name in method.unpublished or name not in method.defaults:
        return problems
    default = method.defaults[name]
    if parameter_from(name, {**entry, "only_if": {}}, method).holds(default):
        return []
    return [f"the published default {default!r} isn't in the space, so it couldn't be tried first"]


def _condition_problems(entries: Mapping[str, Mapping[str, Any]], method: PeltMethod | None) -> list[str]:
    """What is wrong with ``only_if``, in a file whose entries are right otherwise."""
    problems = [
        f"{name}: {problem}" for name, entry in entries.items() if "only_if" in entry for problem in _condition(name, entries, method)
    ]
    if problems:
        return problems
    _, circle = in_order([Parameter(name, entry["type"], only_if=entry.get("only_if", {})) for name, entry in entries.items()])
    names = ", ".join(parameter.name for parameter in circle)
    return [f"{names}: their only_if refer to each other in a circle, so none could be drawn first"] if circle else []


def _condition(name: str, entries: Mapping[str, Mapping[str, Any]], method: PeltMethod | None) -> list[str]:
    conditions = entries[name]["only_if"]
    if not isinstance(conditions, dict) or not conditions:
        return [f"only_if must be a mapping from another hyper-parameter to a list of its values, found {conditions!r}"]
    problems = []
    for other, values in conditions.items():
        if other not in entries or other == name:
            problems.append(f"only_if names {other!r}, which isn't another hyper-parameter of this file")
        elif not isinstance(values, list) or not values:
            problems.append(f"only_if wants a list of values of {other}, found {values!r}")
        else:
            parameter = parameter_from(other, {**entries[other], "only_if": {}}, method)
            wrong = [value for value in values if not _can_be(parameter, value, method)]
            problems += [f"only_if: {other} can't be {value!r}; it is {parameter.described()}" for value in wrong]
    return problems


def _can_be(parameter: Parameter, value: Any, method: PeltMethod | None) -> bool:
    try:
        wanted = _plain(parameter.name, value, method)
        return any(fits(choice, wanted) for choice in parameter.choices) or (parameter.kind != "categorical" and parameter.holds(wanted))
    except (SettingsError, TypeError):
        return False


def _plain(name: str, value: Any, method: PeltMethod | None) -> Any:
    return value if method is None or is_pattern(value) else method.plain(name, value)


def parameter_from(name: str, entry: Mapping[str, Any], method: PeltMethod | None) -> Parameter:
    """The parameter of a file's entry that has no problems; values as the method's records hold them."""
    return Parameter(
        name=name,
        kind=entry["type"],
        low=entry.get("low", 0),
        high=entry.get("high", 0),
        log=entry.get("log", False),
        step=entry.get("step"),
        choices=tuple(_plain(name, choice, method) for choice in entry.get("choices", ())),
        only_if={other: tuple(_plain(other, value, method) for value in values) for other, values in entry.get("only_if", {}).items()},
    )


def portfolio_from(data: Mapping[str, Any], method: PeltMethod) -> list[dict[str, Any]]:
    """The portfolio of a file without problems so far, values as the method's records hold them; wrong ones stay as they are."""

    def plain(name: str, value: Any) -> Any:
        try:
            return method.plain(name, value)
        except (SettingsError, KeyError):
            return value

    return [{name: plain(name, value) for name, value in entry.items()} for entry in data.get("portfolio", [])]


def portfolio_problems(portfolio: Sequence[Mapping[str, Any]], parameters: Sequence[Parameter]) -> list[str]:
    """Entries that name what isn't searched, or values that lie outside the space."""
    by_name = {parameter.name: parameter for parameter in parameters}
    return [
        f"portfolio, entry {number}: {name} {problem}"
        for number, entry in enumerate(portfolio, start=1)
        for name, value in entry.items()
        if (problem := _misplaced(value, by_name.get(name), by_name))
    ]


def _misplaced(value: Any, parameter: Parameter | None, searched: Iterable[str]) -> str:
    if parameter is None:
        return f"isn't searched; searched are {', '.join(searched)}"
    if isinstance(value, str) and parameter.kind != "categorical":
        return f"is the text {value!r} to YAML; write it with a point: {_with_point(value)}"
    right_kind = parameter.kind == "categorical" or _is(value, int if parameter.kind == "int" else float)
    return "" if right_kind and parameter.holds(value) else f"can't be {value!r}; it is {parameter.described()}"


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
