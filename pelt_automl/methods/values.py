"""Whether a value is one that an annotation allows: what YAML and JSON can't say by themselves. No torch."""

from enum import StrEnum
from typing import Any, Literal, get_args, get_origin

NUMBERS = {bool: "true or false", int: "a whole number", float: "a number"}


def wrong_value(annotation: Any, value: Any) -> str | None:
    """Why `value` isn't of a `Literal`, a `StrEnum`, bool, int or float; None if it is, or if the annotation is something else.

    A whole number is a float too; true and false are no numbers.
    """
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        choices = tuple(annotation)
    if choices:
        same = any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in choices)
        return None if same else f"{value!r}; there are {', '.join(map(str, choices))}"
    if annotation not in NUMBERS:
        return None
    allowed: tuple[type, ...] = (int, float) if annotation is float else (annotation,)
    fits = isinstance(value, allowed) and (annotation is bool or not isinstance(value, bool))
    return None if fits else f"{value!r}; it must be {NUMBERS[annotation]}"
