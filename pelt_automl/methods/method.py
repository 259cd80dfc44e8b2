"""What a PELT method is: hyper-parameters in, Modifications out. No torch."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pelt_automl.design_space import Modification
from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.log.events import HyperParameters
from pelt_automl.methods.values import wrong_value

LEARNING_RATE = "learning_rate"
"""The one hyper-parameter that every method has and that no Modification carries."""


@dataclass(frozen=True)
class PeltMethod:
    """One PELT method.

    `build` takes the method's structural hyper-parameters as keyword arguments; its defaults are the published ones, its annotations
    say which values there are. It raises `SettingsError` with the reason for a combination that makes no sense.
    """

    name: str
    summary: str
    """What is trained, in one line."""
    source: str
    """The paper."""
    learning_rate: float
    """The published default: AdamW's peak learning rate."""
    build: Callable[..., tuple[Modification, ...]]
    slow_starter: bool = False
    """Whether it needs a longer grace before it can be judged (prefix, prompt)."""
    readers: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """By hyper-parameter, where the annotation can't say which values there are: makes the plain value for the records of what a search
    space gives (a list, say), or raises `SettingsError`."""
    unpublished: frozenset[str] = frozenset()
    """Hyper-parameters without a published value, so that a search space needn't hold the default: its first choice is tried first."""

    @property
    def defaults(self) -> dict[str, Any]:
        """The published configuration: every hyper-parameter by name, the learning rate included."""
        defaults = {name: parameter.default for name, parameter in inspect.signature(self.build).parameters.items()}
        plain = {name: str(default) if isinstance(default, StrEnum) else default for name, default in defaults.items()}
        return {LEARNING_RATE: self.learning_rate} | plain

    def unknown(self, names: Iterable[str]) -> list[str]:
        """What is wrong with names of hyper-parameters: a line for those that this method doesn't have."""
        missing = sorted(set(names) - set(self.defaults))
        return [f"{self.name} has no hyper-parameter {', '.join(missing)}; it has {', '.join(self.defaults)}"] if missing else []

    def plain(self, name: str, value: Any) -> Any:
        """A hyper-parameter's value as the records hold it. Raises `SettingsError` for one that it can't take."""
        if name in self.readers:
            return self.readers[name](value)
        annotation = float if name == LEARNING_RATE else inspect.signature(self.build).parameters[name].annotation
        if wrong := wrong_value(annotation, value):
            raise SettingsError(f"{name} is {wrong}")
        return value

    def modifications(self, hyper_parameters: HyperParameters) -> tuple[Modification, ...]:
        """The changes that these hyper-parameters stand for; those left out take the published default.

        Raises `SettingsError` for names and values that this method doesn't have, and for combinations that make no sense.
        """
        if unknown := self.unknown(hyper_parameters):
            raise SettingsError(unknown[0])
        values, problems = dict[str, Any](), list[str]()
        for name, value in hyper_parameters.items():
            try:
                values[name] = self.plain(name, value)
            except SettingsError as error:
                problems.append(str(error))
        if problems:
            raise SettingsError(all_problems(self.name, problems))
        values.pop(LEARNING_RATE, None)
        return self.build(**values)

    def refusal(self, hyper_parameters: HyperParameters) -> str | None:
        """Why a configuration makes no sense, as ``what: why``; None for one that does."""
        try:
            self.modifications(hyper_parameters)
        except SettingsError as error:
            return str(error)
        return None
