"""What is read from a file, checked against the types that it should have."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pelt_automl.errors import SelectionError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

_SHOWN = 5


def checked(kind: type[T], data: Any) -> T:
    """Plain values, as JSON gives them, as a `kind`: a dataclass, or a list of one. Fields that it doesn't have are left out.

    Raises `ValueError` that names what is missing or has another type, all of it at once.
    """
    from pydantic import ValidationError

    try:
        return cast("T", _adapter(cast("Any", kind)).validate_python(data))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        problems = [f"{'.'.join(map(str, problem['loc'])) or 'as a whole'}: {_in_words(problem['msg'])}" for problem in found]
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ValueError("; ".join(problems[:_SHOWN]) + more) from None


def checked_line(line: str | bytes, field: str, kinds: Mapping[str, type[T]]) -> T:
    """A line of JSON as the kind that its `field` names. Raises `ValueError`."""
    data = json.loads(line)
    name = data.get(field) if isinstance(data, dict) else None
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"not an {field} of a selection: {line[:80]!r}")
    try:
        return checked(kind, data)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def checked_lines(path: Path, field: str, kinds: Mapping[str, type[T]]) -> Iterator[T]:
    """All lines of a file, see `checked_line`; empty ones, and a last one without its end, are left out. Raises `SelectionError`."""
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise SelectionError(f"{path} can't be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _line_at(path, number, line, field, kinds)


def _line_at(path: Path, number: int, line: bytes, field: str, kinds: Mapping[str, type[T]]) -> T:
    try:
        return checked_line(line, field, kinds)
    except (ValueError, RecursionError) as error:
        raise SelectionError(
            f"{path} is damaged, or was written by another version: line {number} can't be read ({error}). "
            "Put back a copy of it, or begin again in another folder"
        ) from error


def _in_words(message: str) -> str:
    return message[:1].lower() + message[1:]


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter  # a quarter of a second

    return TypeAdapter(kind)
