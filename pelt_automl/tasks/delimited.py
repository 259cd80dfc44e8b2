"""Tables of cells between delimiters: CSV, TSV, and what goes by these names. Every broken line is found."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pelt_automl.errors import SettingsError
from pelt_automl.tasks.encodings import decode
from pelt_automl.tasks.tables import Table, TextForm, raise_if

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
"""What is looked for, and how notes call it."""
WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}
"""Delimiters that are hard to type."""
NONE = "\x1f"
"""Delimiter of a file with one column: a character that no text has."""
LOOKED_AT = 500
"""Rows by which the delimiter is found out."""
_SAYS = "sep="


def delimiter_from(text: str) -> str:
    """One character, from what a user typed: itself, or ``tab``, ``comma``, ``semicolon``, ``pipe``.

    Raises `SettingsError` for anything else.
    """
    delimiter = WORDS.get(text.strip().lower(), text)
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise SettingsError(f"delimiter is {text!r}; it must be one character, or one of tab, comma, semicolon, pipe")
    return delimiter


def read_delimited(path: Path, usual: str, encoding: str | None, delimiter: str | None, columns: Sequence[str]) -> Table:
    """The rows of a file with a header.

    Args:
        path: the file.
        usual: the delimiter that its ending stands for.
        encoding: overrides what its bytes look like.
        delimiter: overrides what a first line ``sep=;`` says, and what the rows look like.
        columns: columns that are expected; a delimiter with which the header has them is the right one.

    Raises:
        TaskError: everything that is wrong with it, with line numbers.
        SettingsError: there is no such encoding or delimiter.
    """
    text, codec, note = decode(path.read_bytes(), path, encoding)
    said, text = _said(text)
    before = csv.field_size_limit(2**31 - 1)  # the csv module refuses cells above 131,072 characters, for the whole process
    try:
        chosen = delimiter_from(delimiter) if delimiter is not None else said or _found(text, usual, columns)
        table, problems = _parsed(str(path), text, chosen, first=2 if said else 1)
    finally:
        csv.field_size_limit(before)
    raise_if(path, problems)
    notes = [note, f"{path}: its cells stand between {DELIMITERS.get(chosen, repr(chosen))}" if chosen not in (usual, NONE) else ""]
    form = TextForm(codec, usual if chosen == NONE else chosen, says_delimiter=said is not None)
    return replace(table, notes=tuple(filter(None, notes)), form=form)


def _said(text: str) -> tuple[str | None, str]:
    """The delimiter that a first line ``sep=;`` says, and the text without that line."""
    first, _, rest = text.partition("\n")
    line = first.strip("\r \"'")
    if not line.lower().startswith(_SAYS) or len(line) - len(_SAYS) > 1:
        return None, text
    return line[len(_SAYS) :] or ("\t" if "\t" in first else ","), rest


def _found(text: str, usual: str, columns: Sequence[str]) -> str:
    """The delimiter of a text: one with which the header has the expected columns, then one that cuts the rows as it cuts the header.

    Where the header is one cell whatever the delimiter, the file has one column.
    """
    ordered = [usual, *(delimiter for delimiter in DELIMITERS if delimiter != usual)]
    readers = {delimiter: csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for delimiter in ordered}
    rows = {delimiter: [row for row in islice(reader, LOOKED_AT) if not _blank(row)] for delimiter, reader in readers.items()}
    cutting = [delimiter for delimiter in ordered if rows[delimiter] and len(rows[delimiter][0]) > 1]
    if not cutting:
        return NONE

    def fits(delimiter: str) -> tuple[int, float]:
        header, *others = rows[delimiter]
        names = {name.strip() for name in header}
        return sum(column in names for column in columns), sum(len(row) == len(header) for row in others) / max(1, len(others))

    return max(cutting, key=fits)  # the first of equals


def _parsed(name: str, text: str, delimiter: str, first: int) -> tuple[Table, list[str]]:
    """Quotes are read as in CSV; in a file with tabs, as plain characters where that fails, or where a quoted cell would swallow rows.

    GLUE's own files never quote.
    """
    table, problems = _rows(name, text, delimiter, first, csv.QUOTE_MINIMAL)
    cells = (cell for cells in (table.columns, *(row.values() for row in table.rows)) for cell in cells)
    swallowed = delimiter == "\t" and any("\t" in cell and ("\n" in cell or "\r" in cell) for cell in cells)
    if (problems and delimiter in ("\t", NONE)) or swallowed:
        plain, others = _rows(name, text, delimiter, first, csv.QUOTE_NONE)
        return (table, problems) if others else (plain, others)
    return table, problems


def _rows(name: str, text: str, delimiter: str, first: int, quoting: Literal[0, 3]) -> tuple[Table, list[str]]:
    """The rows, and what is wrong with them. `first`: number of the header's line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    cut, problems, start = dict[int, list[str]](), list[str](), first
    try:
        for cells in reader:
            if cut or not _blank(cells):
                cut[start] = cells
            start = first + reader.line_num
    except csv.Error as error:
        problems.append(f"line {start} can't be read ({error})")
    header = cut.pop(min(cut)) if cut else []
    width = len(header)
    used = {i for i, cell in enumerate(header) if cell.strip()}
    used |= {i for cells in cut.values() if len(cells) >= width for i in range(width) if i not in used and cells[i].strip()}
    names = {i: header[i].strip() for i in sorted(used)}  # without the empty columns that Excel leaves behind the last one
    columns, rows = tuple(names.values()), dict[int, dict[str, Any]]()
    problems += [f"column {column!r} occurs twice" for column in sorted({column for column in columns if columns.count(column) > 1})]
    for number, cells in cut.items():
        if _blank(cells) and len(cells) < width and width > 1:
            continue  # an empty line; in a file with one column it is a row without text
        if (len(cells) < width and not _blank(cells)) or not _blank(cells[width:]):
            problems.append(f"line {number} has {len(cells)} fields for {width} columns (is a quote or a delimiter missing?)")
        else:
            rows[number] = {column: cells[i] if i < len(cells) else "" for i, column in names.items()}
    return Table(name, columns, list(rows.values()), list(rows)), problems


def _blank(cells: Sequence[str]) -> bool:
    return not any(cell.strip() for cell in cells)


def write_delimited(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]], form: TextForm) -> None:
    """Write rows as a file of this form. Raises `UnicodeEncodeError` when a text has characters that its encoding lacks."""
    text = io.StringIO(newline="")
    if form.says_delimiter:
        text.write(f"sep={form.delimiter}\r\n")
    writer = csv.DictWriter(text, list(columns), delimiter=form.delimiter or ",")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(form.encoding))
