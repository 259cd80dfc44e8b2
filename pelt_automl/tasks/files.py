"""Readers of labeled files: CSV, TSV, JSON, JSON lines, Parquet. They find every broken line before they give up."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pelt_automl.errors import SettingsError, TaskError, all_problems
from pelt_automl.tasks.delimited import delimiter_from, read_delimited
from pelt_automl.tasks.encodings import decode, known_encoding, no_encoding
from pelt_automl.tasks.squad import squad_rows
from pelt_automl.tasks.tables import Table, TextForm, counted_rows, is_blank, positions, raise_if


@dataclass(frozen=True)
class Reading:
    """How to read text files, where it isn't found out."""

    encoding: str | None = None
    """Overrides what a file's bytes look like: ``utf-8``, ``windows-1252``, ``utf-16``, ..."""
    delimiter: str | None = None
    """Overrides what stands between the cells of a CSV or TSV file: one character, or ``tab``."""
    columns: tuple[str, ...] = ()
    """Columns that are expected, which helps to tell a delimiter."""


def read_table(path: Path, reading: Reading | None = None) -> Table:
    """The rows of a file, by its ending.

    Raises `TaskError` when there is no such file, its ending is unknown, or lines can't be read (all of them, by number), `SettingsError`
    for an encoding or delimiter that doesn't exist.
    """
    reading = reading or Reading()
    ending = path.suffix.lower()
    if ending not in READERS:
        raise TaskError(f"{path}: unknown ending {path.suffix!r}; a file must end in {', '.join(READERS)}{_how_to_convert(path)}")
    if not path.is_file():
        raise TaskError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'there is no such file'}")
    try:
        with path.open("rb") as file:
            start = file.read(4)
        for magic, (kind, own) in MAGIC.items():
            if start.startswith(magic) and ending != ".parquet":
                raise TaskError(f"{path}: is {kind}, though its ending is {path.suffix}{_how_to_convert(path.with_suffix(own))}")
        table = READERS[ending](path, reading)
    except OSError as error:
        raise TaskError(f"{path}: can't be read ({error.strerror or error})") from error
    if not table.rows:
        raise TaskError(f"{path}: has no rows with data")
    return table


def check_reading(paths: Sequence[Path], reading: Reading) -> None:
    """Raises `SettingsError` when an encoding or a delimiter is set that doesn't exist, or that none of these files can have."""
    endings = {path.suffix.lower() for path in paths}
    problems = []
    if reading.encoding is not None and known_encoding(reading.encoding) is None:
        problems.append(no_encoding(reading.encoding))
    if reading.delimiter is not None:
        try:
            delimiter_from(reading.delimiter)
        except SettingsError as error:
            problems.append(str(error))
    if reading.delimiter is not None and not endings & {".csv", ".tsv"}:
        problems.append(f"delimiter is {reading.delimiter!r}, but no file ends in .csv or .tsv; leave it out")
    if reading.encoding is not None and endings <= {".parquet"}:
        problems.append(f"encoding is {reading.encoding!r}, but a Parquet file has none; leave it out")
    if problems:
        raise SettingsError(all_problems("how to read the files", problems))


_SPREADSHEET = (
    "; save the sheet as CSV (in Excel: File, Save As, CSV UTF-8), or in Python: pandas.read_excel({old!r}).to_csv({new!r}, index=False)"
)
_PANDAS = {
    ".feather": "read_feather",
    ".arrow": "read_feather",
    ".orc": "read_orc",
    ".dta": "read_stata",
    ".sav": "read_spss",
    ".sas7bdat": "read_sas",
    ".xml": "read_xml",
}
CONVERSIONS = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), _SPREADSHEET),
    **{ending: f"; in Python: pandas.{reader}({{old!r}}).to_csv({{new!r}}, index=False)" for ending, reader in _PANDAS.items()},
    **dict.fromkeys((".txt", ".dat", ".text", ".tab", ".psv", ""), "; if it is a table with a header and delimiters, rename it to .csv"),
    **dict.fromkeys((".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar"), "; unpack it first"),
    ".parquet": "; rename it to .parquet",
    **dict.fromkeys((".pkl", ".pickle"), "; a pickle can run any code and is never loaded: write the data as CSV with what made it"),
}
"""What to do with a file of another kind, by its ending."""
MAGIC = {
    b"PK\x03\x04": ("an Excel file or another zip archive", ".xlsx"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", ".xls"),
    b"\x1f\x8b": ("a gzip archive", ".gz"),
    b"PAR1": ("a Parquet file", ".parquet"),
    b"%PDF": ("a PDF", ".pdf"),
}
"""What a file is by its first bytes, whatever its name says, and the ending that it should have."""


def _how_to_convert(path: Path) -> str:
    return CONVERSIONS.get(path.suffix.lower(), "").format(old=path.name, new=path.with_suffix(".csv").name)


def _cells(path: Path, reading: Reading, usual: str) -> Table:
    """Without the rows at the end that hold nothing: a spreadsheet's export has hundreds. Records of other formats are meant."""
    table = read_delimited(path, usual, reading.encoding, reading.delimiter, reading.columns)
    kept = len(table.rows)
    while kept and all(is_blank(value) for value in table.rows[kept - 1].values()):
        kept -= 1
    gone = len(table.rows) - kept
    if not gone:
        return table
    note = f"{table.name}: {counted_rows(gone)} without any content at the end {'was' if gone == 1 else 'were'} skipped"
    return replace(table, rows=table.rows[:kept], lines=table.lines[:kept], notes=(*table.notes, note))


def _text(path: Path, reading: Reading) -> tuple[str, tuple[str, ...], TextForm]:
    """A text file without cells; its notes, and how it was written."""
    text, codec, note = decode(path.read_bytes(), path, reading.encoding)
    return text, (note,) if note else (), TextForm(codec)


def _jsonl(path: Path, reading: Reading) -> Table:
    """An object a line; one array that is called .jsonl is read, too."""
    text, notes, form = _text(path, reading)
    found = None
    if text.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            found = json.loads(text)
    if found is None:
        return _json_lines(path, text, notes, form)
    return _records(path, found, (*notes, f"{path}: it is one JSON array, and is read as such"), form)


def _json_lines(path: Path, text: str, notes: tuple[str, ...], form: TextForm) -> Table:
    problems, rows = list[str](), dict[int, dict[str, Any]]()
    # Not splitlines(): it also breaks at characters that may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.append(f"line {number} is not JSON ({getattr(error, 'msg', type(error).__name__)})")
            continue
        if isinstance(row, dict):
            rows[number] = row
        else:
            problems.append(f"line {number} is not an object with columns, but {_in_words(row)}")
    raise_if(path, problems)
    return _table(path, rows, "line", notes, form)


def _table(path: Path, found: Mapping[int, dict[str, Any]], unit: str, notes: tuple[str, ...], form: TextForm) -> Table:
    """Records by number, with a question mark for each half character: JSON can hold an emoji that was cut in two, text can't."""
    rows, halved = list[dict[str, Any]](), list[int]()
    for number, row in found.items():
        text = json.dumps(row, ensure_ascii=False)
        whole = _HALF.sub("?", text)
        rows.append(row if whole == text else json.loads(whole))
        halved += [number] if whole != text else []
    if halved:
        notes = (*notes, f"{path}: half characters (an emoji that was cut in two) are read as ? ({positions(halved, unit)})")
    return Table(str(path), tuple(dict.fromkeys(name for row in rows for name in row)), rows, list(found), unit, notes, form)


_HALF = re.compile("[\ud800-\udfff]")
_RECORDS = 'an array of objects is expected: [{"text": "...", "label": "..."}, ...]'


def _json(path: Path, reading: Reading) -> Table:
    """An array of objects; JSON lines that are called .json are read, too."""
    text, notes, form = _text(path, reading)
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise TaskError(f"{path}: is nested too deeply; {_RECORDS}") from error
    except ValueError as error:
        if text.lstrip().startswith("{") and "\n" in text.strip():
            return _json_lines(path, text, notes, form)
        raise TaskError(f"{path}: is not JSON ({error}); {_RECORDS}") from error
    if (rows := squad_rows(found)) is not None:
        return _records(path, rows, notes, form)
    if isinstance(found, dict):
        if any(isinstance(value, dict | list) for value in found.values()):
            raise TaskError(f"{path}: holds one object; {_RECORDS}{_where_the_records_are(found, path)}")
        found = [found]
    return _records(path, found, notes, form)


def _records(path: Path, found: Any, notes: tuple[str, ...], form: TextForm) -> Table:
    if not isinstance(found, list):
        raise TaskError(f"{path}: holds {_in_words(found)}; {_RECORDS}")
    odd = [number for number, row in enumerate(found, start=1) if not isinstance(row, dict)]
    if odd:
        what = _in_words(found[odd[0] - 1])
        raise TaskError(f"{path}: {positions(odd, 'record')} {'are' if len(odd) > 1 else 'is'} no object, but {what}; {_RECORDS}")
    return _table(path, dict(enumerate(found, start=1)), "record", notes, form)


def _in_words(value: Any) -> str:
    """What JSON calls it."""
    words = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return words.get(type(value), "a number")


def _where_the_records_are(found: dict[str, Any], path: Path) -> str:
    for name, value in found.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            return (
                f". They stand under {name!r}: write that array alone, for example with: jq '.{name}' {path.name} > {path.stem}-{name}.json"
            )
    return ". With pandas: to_json(path, orient='records')"


def _parquet(path: Path, _: Reading) -> Table:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        # Not read_table(): it takes folder names such as key=value for columns.
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, ValueError) as error:
        raise TaskError(f"{path}: is not a Parquet file that can be read ({str(error).splitlines()[0]})") from error
    rows = table.to_pylist()
    return Table(str(path), tuple(table.column_names), rows, range(1, len(rows) + 1), unit="row")


READERS: dict[str, Callable[[Path, Reading], Table]] = {
    ".csv": partial(_cells, usual=","),
    ".tsv": partial(_cells, usual="\t"),
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}
"""Reader by file ending."""
