"""Predictions from a file to a file, with a trained winner."""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

from pelt_automl.durable import replacing
from pelt_automl.errors import SettingsError, TaskError, all_problems
from pelt_automl.tasks.delimited import write_delimited
from pelt_automl.tasks.files import Reading, check_reading, read_table
from pelt_automl.tasks.tables import Table, TextForm, cell_text, counted_rows, meant

PROBABILITY = "probability_"
"""In front of a class's name: the column with its probabilities."""
BETWEEN = "|"
"""What stands between several labels in a cell of CSV and TSV; JSON and Parquet have lists."""


@dataclass(frozen=True)
class Predicted:
    """What came of it."""

    rows: int
    """Rows that were written."""
    predictions: int
    """Those of them that have a prediction."""
    notes: tuple[str, ...]
    """How the input was read, which rows have no text and so an empty prediction, and how many were left open."""


def predict_file(
    selection: Path,
    input_file: Path,
    output_file: Path,
    *,
    text_columns: tuple[str, ...] = (),
    encoding: str | None = None,
    delimiter: str | None = None,
    model: str | None = None,
    probabilities: bool = False,
    abstain_below: float | None = None,
    column: str = "prediction",
    overwrite: bool = False,
) -> Predicted:
    """Read texts, predict, and write all columns with the predictions behind them.

    A table of cells is written in the input's encoding, and with its delimiter when both files have the same ending; JSON is UTF-8.
    A row without text gets an empty prediction.

    Args:
        selection: the folder of a selection, or of its winner.
        input_file: with the text columns.
        output_file: to write.
        text_columns: names of the columns in this file, in the order of training; empty when they are those of training.
        encoding: of the input; None: found out.
        delimiter: of the input; None: found out.
        model: where the pretrained model is now, when that isn't where it was.
        probabilities: also write a column for each class.
        abstain_below: a probability; the prediction is empty where no class has so much. None: there always is one.
        column: name of the column with the predictions.
        overwrite: whether an output file that is there may be replaced.

    Raises:
        TaskError: a file can't be read.
        SettingsError: columns are missing or would be overwritten, the output can't be written, or `abstain_below` doesn't fit.

    And the errors of `pelt_automl.load`.
    """
    from pelt_automl.baselines.winner import load_winner
    from pelt_automl.tasks.kinds import KINDS
    from pelt_automl.training.checkpoints import load_config
    from pelt_automl.training.predicting import PredictionWarning, check_abstaining, winner_of

    if problems := _output_problems(input_file, output_file, column, overwrite=overwrite):
        raise SettingsError(all_problems("the output", problems))
    reading = Reading(encoding, delimiter, text_columns)
    check_reading([input_file], reading)
    winner = winner_of(selection)
    if not input_file.is_file():
        read_table(input_file, reading)  # which says what is wrong with it
    config = load_config(winner)
    check_abstaining(config, abstain_below)
    columns = text_columns or tuple(config.text_columns)
    table = read_table(input_file, replace(reading, columns=columns))
    labels = config.labels if probabilities else []
    new = (column, *(PROBABILITY + label for label in labels))
    _check(table, columns, len(config.text_columns), new)
    if probabilities and not config.labels:
        raise SettingsError(f"{config.task} is a {config.kind} task: it has no classes, and so no probabilities; leave --probabilities out")
    texts = [tuple(cell_text(row.get(name)) or "" for name in columns) for row in table.rows]
    present = [number for number, parts in enumerate(texts) if all(parts)]
    in_cells = output_file.suffix.lower() in (".csv", ".tsv")
    if in_cells and KINDS[config.kind].fitted_as == "labels" and (odd := [label for label in config.labels if BETWEEN in label]):
        raise SettingsError(
            f"{output_file}: lists are written as a{BETWEEN}b, and the label {odd[0]!r} has a {BETWEEN}; write .jsonl or .parquet"
        )
    predictor = load_winner(winner, model=model)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", PredictionWarning)
        given = [texts[number] for number in present]
        logits = predictor.logits(given)
    cells: list[dict[str, Any]] = [dict.fromkeys(new) for _ in texts]
    answers = predictor.answers(logits, given, abstain_below)
    for number, answer in zip(present, answers, strict=True):
        cells[number][column] = BETWEEN.join(answer) if in_cells and isinstance(answer, list) else answer
    if labels:
        for number, chances in zip(present, predictor.chances(logits), strict=True):
            cells[number] |= {PROBABILITY + label: round(float(chance), 6) for label, chance in zip(labels, chances, strict=True)}
    # NaN, which neither JSON nor a column of texts can hold, is nothing.
    rows = [
        {name: None if isinstance(value := row.get(name), float) and isnan(value) else value for name in table.columns} | own
        for row, own in zip(table.rows, cells, strict=True)
    ]
    same = input_file.suffix.lower() == output_file.suffix.lower()  # between two kinds of files only the encoding is kept
    _write(output_file, (*table.columns, *new), rows, table.form if same else TextForm(table.form.encoding))
    empty = sorted(set(range(len(texts))) - set(present))
    without = f"{table.name}: {counted_rows(len(empty))} without text {'has' if len(empty) == 1 else 'have'} an empty prediction"
    left_open = sum(answer is None for answer in answers)
    notes = [
        *table.notes,
        *([f"{without} ({table.where(empty)})"] if empty else []),
        *(str(w.message) for w in said if w.category is PredictionWarning),
        *([] if abstain_below is None else [f"{left_open} of {len(present)} left open: no class has a probability of {abstain_below:g}"]),
    ]
    return Predicted(len(rows), len(present) - left_open, tuple(notes))


def _output_problems(input_file: Path, output_file: Path, column: str, *, overwrite: bool) -> list[str]:
    """Everything that keeps the output from being written, before anything is read."""
    problems = []
    if output_file.suffix.lower() not in WRITERS:
        problems.append(f"{output_file}: unknown ending {output_file.suffix!r}; a file must end in {', '.join(WRITERS)}")
    if not output_file.absolute().parent.is_dir():
        problems.append(f"{output_file}: its folder {output_file.absolute().parent} isn't there")
    elif output_file.is_dir():
        problems.append(f"{output_file}: is a folder; name a file")
    elif output_file.exists() and input_file.exists() and output_file.samefile(input_file):
        problems.append(f"{output_file}: is the input; name another file")
    elif output_file.exists() and not overwrite:
        problems.append(f"{output_file}: is there already; name a new file, or replace it with --overwrite")
    if not column.strip():
        problems.append("the column for the predictions needs a name")
    return problems


def _check(table: Table, columns: Sequence[str], wanted: int, new: Sequence[str]) -> None:
    if len(columns) != wanted:
        raise SettingsError(f"the winner was trained on {wanted} text column{'s' * (wanted > 1)}; {len(columns)} are named")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise SettingsError(
            f"{table.name} has no column {', '.join(missing)}{meant(missing[0], table.columns)}; it has {', '.join(table.columns)}. "
            "Name those with the text in the order of training: --text-columns a,b"
        )
    if new[0] in new[1:]:
        raise SettingsError(f"two new columns would be called {new[0]!r}: name another one for the predictions (--prediction-column)")
    if there := [column for column in new if column in table.columns]:
        raise SettingsError(
            f"{table.name} has a column {', '.join(map(repr, there))} already, which isn't overwritten: rename it there"
            + (", or name another one with --prediction-column" if new[0] in there else "")
        )
    odd = [i for i, row in enumerate(table.rows) if any(cell_text(row.get(column)) is None for column in columns)]
    if odd:
        raise TaskError(f"{table.name}: {counted_rows(len(odd))} where {' or '.join(map(repr, columns))} is not text ({table.where(odd)})")


def _write(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]], form: TextForm) -> None:
    try:
        with replacing(path) as draft:
            WRITERS[path.suffix.lower()](draft, columns, rows, form)
    except UnicodeError as error:
        if not isinstance(error, UnicodeEncodeError):  # the codecs for names of Internet hosts
            raise SettingsError(f"{path}: can't be written in the input's encoding {form.encoding} ({error}); write .jsonl") from error
        lacking = f"the input's encoding {form.encoding} has no character {error.object[error.start]!r}, which a class's name has"
        raise SettingsError(f"{path}: {lacking}; save the input as UTF-8, or write .parquet") from error
    except OSError as error:
        raise SettingsError(f"{path}: can't be written ({error.strerror or error})") from error


def _write_json(
    path: Path, _: Sequence[str], rows: Sequence[dict[str, Any]], __: TextForm, frame: tuple[str, str, str] = ("", "\n", "\n")
) -> None:
    """One object after the other. `frame`: what stands before, between and behind them."""
    before, among, behind = frame
    path.write_bytes((before + among.join(json.dumps(row, ensure_ascii=False, default=str) for row in rows) + behind).encode())


def _write_parquet(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]], _: TextForm) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    arrays = {}
    for column in columns:
        try:
            arrays[column] = pa.array([row[column] for row in rows])
        except OverflowError as error:
            raise SettingsError(f"{column!r} holds whole numbers above 64 bits, which Parquet can't; write .jsonl or .csv") from error
        except pa.ArrowException as error:
            raise SettingsError(f"{column!r} holds values of several types, which Parquet can't; write .jsonl or .csv") from error
    pq.write_table(pa.table(arrays), path)


WRITERS: dict[str, Callable[[Path, Sequence[str], Sequence[dict[str, Any]], TextForm], None]] = {
    ".csv": write_delimited,
    ".tsv": lambda path, columns, rows, form: write_delimited(path, columns, rows, replace(form, delimiter=form.delimiter or "\t")),
    ".jsonl": _write_json,
    ".ndjson": _write_json,
    ".json": partial(_write_json, frame=("[\n", ",\n", "\n]\n")),
    ".parquet": _write_parquet,
}
"""Writer by file ending."""
