"""One searched hyper-parameter: its values, and the values of others that it depends on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
    only_if: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """By another parameter's name: its values that give this one a meaning, ``*`` in a text standing for any part of it. Where one of
    them has another value, or has no meaning itself, this parameter isn't drawn and takes no part in the configuration."""

    def applies(self, drawn: Mapping[str, Any]) -> bool:
        """Whether it has a meaning beside the parameters that were drawn before it."""
        return all(other in drawn and any(fits(drawn[other], wanted) for wanted in values) for other, values in self.only_if.items())

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

    def condition(self) -> str:
        """For people: ``only if network is mlp or gru``; empty for a parameter that always has a meaning."""
        parts = [f"{other} is {' or '.join(map(str, values))}" for other, values in self.only_if.items()]
        return f"only if {' and '.join(parts)}" if parts else ""

    def holds(self, value: Any) -> bool:
        """Whether `value` is one of its values."""
        return value in self.choices if self.kind == "categorical" else self.low <= value <= self.high


def is_pattern(wanted: Any) -> bool:
    """Whether a value of ``only_if`` stands for several: a text with ``*`` in it."""
    return isinstance(wanted, str) and "*" in wanted


def fits(value: Any, wanted: Any) -> bool:
    """Whether a parameter's value is one that ``only_if`` wants; true and false are no numbers."""
    if is_pattern(wanted) and isinstance(value, str):
        return re.fullmatch(".*".join(map(re.escape, wanted.split("*"))), value) is not None
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def in_order(parameters: Sequence[Parameter]) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    """Parameters with each after those that it depends on, else as given; and those that depend on each other in a circle."""
    ordered: list[Parameter] = []
    waiting = list(parameters)
    while waiting:
        placed = {parameter.name for parameter in ordered}
        ready = next((parameter for parameter in waiting if set(parameter.only_if) <= placed), None)
        if ready is None:
            break
        waiting.remove(ready)
        ordered.append(ready)
    return tuple(ordered), tuple(waiting)
