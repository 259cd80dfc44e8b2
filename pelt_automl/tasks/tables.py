"""Rows as they stand in a file or in a split of a data set, and how messages name their lines."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from pelt_automl.errors import TaskError, all_problems

SHOWN = 5
"""Line numbers that a message names at most."""


@dataclass(frozen=True)
class TextForm:
    """How a text file was written, so that another one can be written the same way."""

    encoding: str = "utf-8"
    """Python's name of the codec; ``utf-8-sig`` and ``utf-16`` begin with a byte-order mark."""
    delimiter: str | None = None
    """Between cells; None for the ending's own, and for files without cells."""
    says_delimiter: bool = False
    """Whether the first line is ``sep=;``, as Excel reads it."""


@dataclass(frozen=True)
class Table:
    """Rows as they stand in a file or a split of a data set."""

    name: str
    """What messages call it: the file's path."""
    columns: tuple[str, ...]
    rows: Sequence[dict[str, Any]]
    lines: Sequence[int]
    """Where each row begins: the line of a text file (from 1), else the number of the row (from 1)."""
    unit: str = "line"
    notes: tuple[str, ...] = ()
    """What a reader has to know of how it was read: its encoding, its delimiter, empty rows at the end."""
    form: TextForm = TextForm()

    def where(self, indices: Sequence[int]) -> str:
        """The first few of these rows, by line."""
        return positions([self.lines[i] for i in indices], self.unit)


def positions(lines: Sequence[int], unit: str = "line", units: str = "") -> str:
    """``line 3``, ``lines 3, 8``, ``lines 3, 8, 9, 12, 14 and 20 more``; `units` where an s isn't the plural."""
    shown = ", ".join(map(str, lines[:SHOWN]))
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"{unit if len(lines) == 1 else units or unit + 's'} {shown}{more}"


def counted_rows(count: int) -> str:
    """``1 row``, ``2 rows``."""
    return f"{count} row{'s' if count != 1 else ''}"


def is_blank(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN, pandas' NA, or white space."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and isnan(value)) or type(value).__name__ in ("NAType", "NaTType")


def cell_text(value: Any) -> str | None:
    """The text of a cell, empty when there is none; None when it is something else: a list, an object."""
    if is_blank(value):  # NaN, too, as pandas writes a missing text
        return ""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) else None


def meant(name: str, columns: Sequence[str]) -> str:
    """A question about a column that is called almost so, or nothing."""
    alike = [column for column in columns if column.casefold().strip() == name.casefold().strip()]
    near = alike or difflib.get_close_matches(name, columns, n=1, cutoff=0.8)
    return f" (did you mean {near[0]!r}?)" if near else ""


def raise_if(path: Path, problems: Sequence[str]) -> None:
    """Raises `TaskError` with the first few problems of a file, if it has any."""
    if problems:
        left_out = [f"... and {len(problems) - 2 * SHOWN} more"] if len(problems) > 2 * SHOWN else []
        raise TaskError(all_problems(str(path), [*problems[: 2 * SHOWN], *left_out]))
