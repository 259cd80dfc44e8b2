"""From the tables of a user's files or of a Hub data set to checked examples: everything wrong is reported at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pelt_automl.errors import TaskError, all_problems
from pelt_automl.tasks.examples import Examples, Kind
from pelt_automl.tasks.files import Table
from pelt_automl.tasks.labels import MANY_INTEGERS, class_names, class_problems, is_number, kind_of, normalize, odd_ones, shortened


@dataclass(frozen=True)
class Columns:
    """Which columns hold what."""

    text: tuple[str, ...]
    """One or two."""
    label: str


@dataclass
class _Column:
    """The texts and labels of one table, and what is wrong with them."""

    table: Table
    texts: list[tuple[str, ...]] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    """Rows of the table."""
    problems: list[str] = field(default_factory=list)

    def complain(self, rows: Sequence[int], what: str) -> None:
        if rows:
            self.problems.append(f"{self.table.name}: {what} ({self.table.where(rows)})")

    def present(self) -> list[str]:
        return [label for label in self.labels if label is not None]


@dataclass(frozen=True)
class Checked:
    """Checked examples by split."""

    kind: Kind
    labels: tuple[str, ...]
    splits: Mapping[str, Examples]
    notes: tuple[str, ...] = ()


def check_tables(
    tables: Mapping[str, Table],
    columns: Columns,
    kind: Kind | None = None,
    labels: tuple[str, ...] = (),
    *,
    leave_out: bool = False,
) -> Checked:
    """Texts and labels of tables by split, of which ``train`` is one.

    Args:
        tables: by split: ``train``, and maybe ``validation`` and ``test``.
        columns: where texts and labels stand.
        kind: None to tell from the labels.
        labels: the official class names, when they are known: then a label is one of them, or its index.
        leave_out: leave rows without a text or label out, with a note, instead of refusing them: for data that nobody here can mend.

    Raises:
        TaskError: everything that is wrong, with line numbers.
    """
    missing = [problem for table in tables.values() for problem in _missing_columns(table, columns)]
    _raise_if(missing)
    read = {split: _read(table, columns, leave_out=leave_out) for split, table in tables.items()}
    notes = [note for column in read.values() for note in _left_out(column)]
    if not labels and sum(_complain_of_odd_labels(column, kind) for column in read.values()):
        # What the classes are, and whether there are any, can't be told before these are mended.
        _raise_if(_problems(read))
    kind = kind or kind_of(read["train"].present())
    if kind == "regression":
        return Checked(kind, (), _numbers(read), tuple(notes))
    return _classes(read, labels, notes)


def _missing_columns(table: Table, columns: Columns) -> list[str]:
    wanted = [name for name in (*columns.text, columns.label) if name not in table.columns]
    hint = " (is the delimiter another one?)" if len(table.columns) == 1 and any(c in table.columns[0] for c in ";\t,|") else ""
    there = ", ".join(table.columns)
    return [f"{table.name}: there is no column {name!r}; its columns are: {there}{hint}" for name in wanted]


def _read(table: Table, columns: Columns, *, leave_out: bool) -> _Column:
    column = _Column(table)
    not_text, empty, unlabelled, odd = [], [], [], []
    for i, row in enumerate(table.rows):
        texts = tuple(_text(row.get(name)) for name in columns.text)
        try:
            label = normalize(row.get(columns.label))
        except TypeError:
            odd.append(i)
            continue
        if leave_out and (label is None or not all(texts)):
            continue
        if None in texts:
            not_text.append(i)
        elif not all(texts):
            empty.append(i)
        if label is None:
            unlabelled.append(i)
        column.texts.append(tuple(text or "" for text in texts))
        column.labels.append(label)
        column.kept.append(i)
    named = " or ".join(map(repr, columns.text))
    column.complain(not_text, f"{_rows(not_text)} where {named} is not text")
    column.complain(empty, f"{_rows(empty)} without text in {named}; fill or drop")
    column.complain(odd, f"{_rows(odd)} where {columns.label!r} is neither text nor a number")
    column.complain(unlabelled, f"{_rows(unlabelled)} without a label (empty or NaN) in {columns.label!r}; fill or drop")
    if not column.kept and not column.problems:
        column.problems.append(f"{table.name}: no row has both text and label")
    return column


def _rows(indices: Sequence[int]) -> str:
    return f"{len(indices)} row{'s' if len(indices) != 1 else ''}"


def _text(value: Any) -> str | None:
    """The text, empty when there is none; None when it is something else."""
    if value is None or value != value:  # noqa: PLR0124  # NaN, as pandas writes a missing text
        return ""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) else None


def _complain_of_odd_labels(column: _Column, kind: Kind | None) -> bool:
    """Whether some labels are of another type than the rest, which then is a problem."""
    odd, what = odd_ones(column.labels, kind)
    values = ", ".join(sorted({shortened(column.labels[i] or "") for i in odd})[:3])
    way_out = "write them alike, or set kind to 'classification' when all are names" if kind is None else "or set kind to 'classification'"
    column.complain([column.kept[i] for i in odd], f"{_rows(odd)} with mixed label types, such as {values}: {what}; {way_out}")
    return bool(odd)


def _left_out(column: _Column) -> list[str]:
    gone = len(column.table.rows) - len(column.kept)
    return [f"{gone} rows of {column.table.name} without text or label were left out"] if gone else []


def _problems(read: Mapping[str, _Column]) -> list[str]:
    return [problem for column in read.values() for problem in column.problems]


def _numbers(read: Mapping[str, _Column]) -> dict[str, Examples]:
    numbers = {split: tuple(float(label) for label in column.present()) for split, column in read.items()}
    for split, column in read.items():
        if len(set(numbers[split])) == 1:
            column.problems.append(f"{column.table.name}: all labels are {numbers[split][0]:g}, so that there is nothing to predict")
    _raise_if(_problems(read))
    return {split: Examples(tuple(column.texts), numbers[split]) for split, column in read.items()}


def _classes(read: Mapping[str, _Column], official: tuple[str, ...], notes: list[str]) -> Checked:
    train = read["train"]
    names = official or class_names(train.present())
    index = {name: i for i, name in enumerate(names)} | {str(i): i for i in range(len(official))}
    for column in read.values():
        unknown = [i for i, label in enumerate(column.labels) if label is not None and label not in index]
        values = ", ".join(sorted({shortened(column.labels[i] or "") for i in unknown})[:10])
        known = f"must be one of {', '.join(names)}" if official else f"not in {train.table.name}; drop, rename or add examples there"
        column.complain([column.kept[i] for i in unknown], f"{_rows(unknown)} with labels {values}: {known}")
    problems = _problems(read)
    where = {label: train.table.where([i]) for i, label in reversed(list(zip(train.kept, train.labels, strict=True))) if label is not None}
    problems += [f"{train.table.name}: {problem}" for problem in class_problems(train.present(), where)]
    _raise_if(problems)
    if not official and len(names) > MANY_INTEGERS and all(map(is_number, names)):
        notes.append(f"the labels are {len(names)} different integers, taken as classes; set kind to 'regression' if they are amounts")
    splits = {split: Examples(tuple(c.texts), tuple(index[label] for label in c.present())) for split, c in read.items()}
    return Checked("classification", names, splits, tuple(notes))


def _raise_if(problems: Sequence[str]) -> None:
    if problems:
        raise TaskError(all_problems("the task's data", problems))
