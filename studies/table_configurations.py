"""The configurations of the table, from the program's search spaces."""

import hashlib
import random
from typing import Any

from pelt_automl.methods import METHODS, STANDARD
from pelt_automl.search.spaces import SearchSpace, load_spaces
from studies.table_grid import CONFIGURATIONS, DEFAULT, FULL, MORE_METHODS

DIGITS = 3
"""Significant digits of numbers with a fraction that are drawn."""


def configurations() -> dict[str, dict[str, dict[str, Any]]]:
    """By method and name: the published default, the first two that are known to be good, two draws of the space; of `full` the default."""
    methods = tuple(dict.fromkeys((*STANDARD, "head", *MORE_METHODS)))
    return {method: _of(method, space) for method, space in load_spaces(None, methods).items()}


def _of(method: str, space: SearchSpace) -> dict[str, dict[str, Any]]:
    if method == FULL:
        return {DEFAULT: METHODS[method].defaults}
    found = [METHODS[method].defaults, *(space.configuration(drawn) for drawn in space.good()[:2])]
    seed = int(hashlib.sha256(f"table of trainings: {method}".encode()).hexdigest()[:8], 16)
    draws = _Draws(random.Random(seed))
    while len(found) < len(CONFIGURATIONS):
        drawn = space.suggest(draws)
        if space.refusal(drawn) is None and space.configuration(drawn) not in found:
            found.append(space.configuration(drawn))
    return dict(zip(CONFIGURATIONS, found, strict=True))


class _Draws:
    """Random search, as a search space asks for it (see `pelt_automl.search.parameters.Suggests`), without Optuna."""

    def __init__(self, source: random.Random) -> None:
        self.source = source

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:  # noqa: ARG002
        import math

        value = math.exp(self.source.uniform(math.log(low), math.log(high))) if log else self.source.uniform(low, high)
        return min(high, max(low, float(f"{value:.{DIGITS}g}")))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:  # noqa: ARG002
        import math

        if log:
            return min(high, max(low, round(math.exp(self.source.uniform(math.log(low - 0.5), math.log(high + 0.5))))))
        return low + step * self.source.randrange((high - low) // step + 1)

    def suggest_categorical(self, name: str, choices: Any) -> Any:  # noqa: ARG002
        return self.source.choice(list(choices))
