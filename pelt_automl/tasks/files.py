"""Readers of labelled files: CSV, TSV, JSONL, Parquet. They find every broken line before they give up."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pelt_automl.errors import TaskError, all_problems

SHOWN = 5
"""Line numbers that a message names at most."""


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

    def where(self, indices: Sequence[int]) -> str:
        """The first few of these rows, by line."""
        return positions([self.lines[i] for i in indices], self.unit)


def positions(lines: Sequence[int], unit: str = "line") -> str:
    """``line 3``, ``lines 3, 8``, ``lines 3, 8, 9, 12, 14 and 20 more``."""
    shown = ", ".join(map(str, lines[:SHOWN]))
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"{unit}{'s' if len(lines) > 1 else ''} {shown}{more}"


def read_table(path: Path) -> Table:
    """The rows of a file, by its ending.

    Raises `TaskError` when there is no such file, its ending is unknown, or lines can't be read (all of them, by number).
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        hint = "; rename JSON lines to .jsonl" if path.suffix.lower() in (".json", ".ndjson") else ""
        raise TaskError(f"{path}: unknown ending {path.suffix!r}; a file must end in {', '.join(READERS)}{hint}")
    if not path.is_file():
        raise TaskError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'there is no such file'}")
    try:
        table = reader(path)
    except OSError as error:
        raise TaskError(f"{path}: can't be read ({error.strerror or error})") from error
    if not table.rows:
        raise TaskError(f"{path}: has no rows with data")
    return table


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise TaskError(
            f"{path}: line {line} is not UTF-8 text (byte 0x{raw[error.start]:02x}); save the file as UTF-8, "
            f"for example with: iconv -f latin1 -t utf-8 {path.name}"
        ) from error


def _csv(path: Path) -> Table:
    return _delimited(path, ",", csv.QUOTE_MINIMAL)


def _tsv(path: Path) -> Table:
    """Quotes are read as in CSV, and where that fails as plain characters: GLUE's own files never quote."""
    try:
        return _delimited(path, "\t", csv.QUOTE_MINIMAL)
    except TaskError as quoted:
        try:
            return _delimited(path, "\t", csv.QUOTE_NONE)
        except TaskError:
            raise quoted from None


def _delimited(path: Path, delimiter: str, quoting: Literal[0, 3]) -> Table:
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    problems: list[str] = []
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    header: list[str] | None = None
    start = 1
    try:
        for cells in reader:
            if not cells:
                pass
            elif header is None:
                header = [name.strip() for name in cells]
                problems += [f"column {name!r} occurs twice" for name in sorted({n for n in header if header.count(n) > 1})]
            elif len(cells) != len(header):
                problems.append(f"line {start} has {len(cells)} fields for {len(header)} columns (is a quote or a comma missing?)")
            else:
                rows.append(dict(zip(header, cells, strict=True)))
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        problems.append(f"line {start} can't be read ({error})")
    _raise_if(path, problems)
    return Table(str(path), tuple(header or ()), rows, lines)


def _jsonl(path: Path) -> Table:
    problems: list[str] = []
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    columns: dict[str, None] = {}
    # Not splitlines(): it also breaks at characters that may stand inside a JSON string.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.append(f"line {number} is not JSON ({getattr(error, 'msg', type(error).__name__)})")
            continue
        if not isinstance(row, dict):
            problems.append(f"line {number} is not an object with columns, but {type(row).__name__}")
            continue
        columns.update(dict.fromkeys(row))
        rows.append(row)
        lines.append(number)
    _raise_if(path, problems)
    return Table(str(path), tuple(columns), rows, lines)


def _parquet(path: Path) -> Table:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        # Not read_table(): it takes folder names such as key=value for columns.
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, ValueError) as error:
        raise TaskError(f"{path}: is not a Parquet file that can be read ({str(error).splitlines()[0]})") from error
    rows = table.to_pylist()
    return Table(str(path), tuple(table.column_names), rows, range(1, len(rows) + 1), unit="row")


def _raise_if(path: Path, problems: Sequence[str]) -> None:
    if problems:
        left_out = [f"... and {len(problems) - 2 * SHOWN} more"] if len(problems) > 2 * SHOWN else []
        raise TaskError(all_problems(str(path), [*problems[: 2 * SHOWN], *left_out]))


READERS: dict[str, Callable[[Path], Table]] = {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl, ".parquet": _parquet}
"""Reader by file ending."""
