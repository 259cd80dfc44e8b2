"""What a PELT method is: hyper-parameters in, Modifications out. No torch."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pelt_automl.design_space import Form, Modification
from pelt_automl.errors import SettingsError
from pelt_automl.records import HyperParameters

LEARNING_RATE = "learning_rate"
"""The one hyper-parameter that every method has and that no Modification carries."""


@dataclass(frozen=True)
class PeltMethod:
    """One PELT method.

    `build` takes the method's structural hyper-parameters as keyword arguments; its defaults are the published ones.
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

    @property
    def defaults(self) -> dict[str, Any]:
        """The published configuration: every hyper-parameter by name, the learning rate included."""
        structure = {name: parameter.default for name, parameter in inspect.signature(self.build).parameters.items()}
        return {LEARNING_RATE: self.learning_rate} | structure

    @property
    def packable(self) -> bool:
        """Whether it can share the frozen backbone with other trials."""
        return all(modification.form is not Form.FULL for modification in self.build())

    def modifications(self, hyper_parameters: HyperParameters) -> tuple[Modification, ...]:
        """The changes that these hyper-parameters stand for; those left out take the published default.

        Raises `SettingsError` for a name that this method doesn't have.
        """
        if unknown := sorted(set(hyper_parameters) - set(self.defaults)):
            raise SettingsError(f"{self.name} has no hyper-parameter {', '.join(unknown)}; it has {', '.join(self.defaults)}")
        return self.build(**{name: value for name, value in hyper_parameters.items() if name != LEARNING_RATE})
