"""Predictions from a file to a file, with a trained winner."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pelt_automl
from pelt_automl.errors import SelectionError, SettingsError
from pelt_automl.tasks.files import Table, read_table

COLUMN = "prediction"


def predict_file(selection: Path, input_file: Path, output_file: Path, text_columns: Sequence[str] = ()) -> int:
    """Read texts, predict, and write all columns with `COLUMN` behind them; the number of predictions.

    `text_columns`: names of the columns in this file, in the order of training; empty when they are those of training.
    Raises `TaskError` for a file that can't be read, `SettingsError` for missing columns or an unknown ending of the output, and the
    errors of `pelt_automl.load`.
    """
    writer = WRITERS.get(output_file.suffix.lower())
    if writer is None:
        raise SettingsError(f"{output_file}: unknown ending {output_file.suffix!r}; a file must end in {', '.join(WRITERS)}")
    if not output_file.absolute().parent.is_dir():
        raise SettingsError(f"{output_file}: its folder {output_file.absolute().parent} isn't there")
    table = read_table(input_file)
    predictor = pelt_automl.load(selection)
    columns = tuple(text_columns) or tuple(predictor.config.text_columns)
    _check(table, columns, len(predictor.config.text_columns))
    predictions = predictor.predict([tuple(_text(row, column) for column in columns) for row in table.rows])
    whole = [{column: row.get(column) for column in table.columns} for row in table.rows]  # a JSON line may lack some
    writer(output_file, [row | {COLUMN: prediction} for row, prediction in zip(whole, predictions, strict=True)])
    return len(predictions)


def _text(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _check(table: Table, columns: Sequence[str], wanted: int) -> None:
    if len(columns) != wanted:
        raise SettingsError(f"the winner was trained on {wanted} text column{'s' * (wanted > 1)}; {len(columns)} are named")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise SettingsError(
            f"{table.name} has no column {', '.join(missing)}; it has {', '.join(table.columns)}. "
            "Name those with the text in the order of training: --text-columns a,b"
        )
    empty = [index for index, row in enumerate(table.rows) if not all(_text(row, column) for column in columns)]
    if empty:
        raise SelectionError(f"{table.name}: no text in {table.where(empty)}")


def _write_csv(path: Path, rows: Sequence[dict[str, Any]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def _write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows), encoding="utf-8")


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pandas as pd

    pd.DataFrame(list(rows)).to_parquet(path, index=False)


WRITERS: dict[str, Callable[[Path, Sequence[dict[str, Any]]], None]] = {
    ".csv": _write_csv,
    ".tsv": lambda path, rows: _write_csv(path, rows, "\t"),
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
"""Writer by file ending."""
