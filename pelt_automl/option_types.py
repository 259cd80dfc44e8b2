"""The options of `select` and `k_curve` with their types, for who asks at run time; type checkers and editors read option_types.pyi."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from pelt_automl.settings import Knob, options


def _type(knob: Knob) -> Any:
    one: Any = Literal[knob.choices] if knob.choices else str | Path if knob.base is Path else knob.base
    return Sequence[one] | str | None if knob.many else one | str | None if knob.nothing else one | None


Options = TypedDict("Options", {name: _type(knob) for name, knob in options().items()}, total=False)
CurveOptions = TypedDict("CurveOptions", {name: _type(knob) for name, knob in options().items() if not knob.several}, total=False)
