"""Tables whose examples have several labels: lists in a cell, a text with a separator, or a column of 0 and 1 for each label."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pelt_automl.tasks.columns import Column, Columns, group_of, refuse_if
from pelt_automl.tasks.examples import Examples, Kind, RawTask
from pelt_automl.tasks.label_columns import as_integers, match, odd_classes, spellings
from pelt_automl.tasks.labels import SeveralLabelsError, class_names, normalize, rare_problems, same_class, shortened
from pelt_automl.tasks.tables import Table, cell_text, is_blank

HAS = {"1": True, "0": False, "true": True, "false": False}
"""What stands in a label's own column, in small letters."""
LEAST = 2
"""Examples that a label needs, as a class does."""

Cell = tuple[str, ...] | None
"""The labels of an example; None where that isn't known."""


def says_several(train: Table, columns: Columns, kind: Kind | None) -> bool:
    """Whether the examples have several labels: by the settings, or since some labels are lists."""
    if kind == "multi-label" or columns.separator is not None or len(columns.labels_in(train)) > 1:
        return True
    return kind is None and any(isinstance(row.get(columns.label), list | tuple) for row in train.rows)


def check_several(name: str, tables: Mapping[str, Table], columns: Columns, kind: Kind | None, *, leave_out: bool) -> RawTask:
    """As `checks.check_tables`: the task in these tables, its labels rows of zeros and ones."""
    by_column = columns.labels_in(tables["train"])
    one_hot = len(by_column) > 1
    clash = []
    if kind not in (None, "multi-label"):
        clash.append(f"kind is {kind!r}, but {len(by_column)} label columns are named, which means several labels: leave kind out")
    if one_hot and columns.separator is not None:
        clash.append(f"{len(by_column)} label columns are named, whose cells need no separator: leave it out")
    refuse_if((), clash)
    read = {split: _read(table, columns, leave_out=leave_out) for split, table in tables.items()}
    if kind is None and not one_hot and columns.separator is None:
        _complain_of_both(read, columns.label)
    notes = [note for table in tables.values() for note in table.notes]
    for column in read.values():
        column.complain_of_missing(columns, leave_out=leave_out)
        if gone := len(column.table.rows) - len(column.kept):
            notes.append(f"{gone} rows of {column.table.name} without text or label were left out")
        notes += column.ungrouped(columns)
    if one_hot:
        names, notes_on_names = by_column, list[str]()
        index = {label: number for number, label in enumerate(names)}
    else:
        _as_integers(read)
        names, index, notes_on_names = _named(read)
    notes += notes_on_names
    for column in read.values():
        known = f"not in {read['train'].table.name}; drop, rename or add examples there"
        unknown = {i: [label for label in own if _of(label, index) is None] for i, own in zip(column.kept, column.sets, strict=True)}
        values = ", ".join(sorted({shortened(label) for own in unknown.values() for label in own})[:10])
        column.complain([i for i, own in unknown.items() if own], f"with labels {values}: {known}")
    problems = [f"{read['train'].table.name}: {problem}" for problem in _problems(read["train"], names, index, columns)]
    if problems or any(column.problems for column in read.values()):
        problems += [note for note in notes_on_names if "are one class" in note]  # what was taken for one label may be why
    refuse_if(read.values(), problems)
    splits = {split: _examples(column, names, index) for split, column in read.items()}
    notes.insert(sum(len(table.notes) for table in tables.values()), _what_was_found(columns, splits["train"], names, by_column))
    return RawTask(
        name,
        "multi-label",
        names,
        None,
        columns.text,
        splits["train"],
        splits.get("report"),
        validation=splits.get("validation"),
        notes=tuple(notes),
        group_column=columns.group,
    )


def _read(table: Table, columns: Columns, *, leave_out: bool) -> Column:
    """Texts and labels of a table."""
    column, wrong, not_text = Column(table), dict[str, list[int]](), list[int]()
    by_column = columns.labels_in(table)
    for i, row in enumerate(table.rows):
        texts = tuple(cell_text(row.get(name)) for name in columns.text)
        if leave_out and not all(texts):
            continue
        try:
            cell = _one_hot(row, by_column) if len(by_column) > 1 else _cell(row.get(columns.label), columns.separator)
        except ValueError as error:
            wrong.setdefault(str(error), []).append(i)
            continue
        if None in texts:
            not_text.append(i)
        column.texts.append(tuple(text or "" for text in texts))
        column.labels.append(None if cell is None else "there")
        column.sets.append(cell or ())
        column.kept.append(i)
        if columns.group is not None:
            column.groups.append(group_of(row.get(columns.group)))
    column.complain(not_text, f"where {' or '.join(map(repr, columns.text))} is not text")
    for what, rows in wrong.items():
        column.complain(rows, what)
    return column


def _complain_of_both(read: Mapping[str, Column], label: str) -> None:
    """Lists and single values can't stand side by side, in one file or in two, where nothing says that they are several labels."""
    rows: dict[bool, list[tuple[Column, int]]] = {True: [], False: []}
    for column in read.values():
        for i, there in zip(column.kept, column.labels, strict=True):
            if there is not None:
                rows[isinstance(column.table.rows[i].get(label), list | tuple)].append((column, i))
    fewer = len(rows[True]) < len(rows[False])
    forms = ("a list", "one value") if fewer else ("one value", "lists")
    what = f"with {forms[0]} in {label!r}, where the others have {forms[1]}"
    for column in read.values() if rows[not fewer] else ():
        column.complain(
            [i for own, i in rows[fewer] if own is column],
            f"{what}; write all labels alike, or set kind to 'multi-label', which takes one value as a list of one",
        )


def _cell(value: Any, separator: str | None) -> Cell:
    """The labels in one cell. Raises `ValueError` that says what is wrong with it."""
    if separator is not None and isinstance(value, str) and not value.strip():
        return ()
    if is_blank(value) or (isinstance(value, str) and _is_missing(value)):
        return None
    if separator is not None and isinstance(value, str):
        value = [part for part in value.split(separator) if part.strip()]
    return tuple(dict.fromkeys(map(_name, value))) if isinstance(value, list | tuple) else (_name(value, alone=True),)


def _name(value: Any, *, alone: bool = False) -> str:
    """One label. Raises `ValueError`; `alone`: whether it is all that its cell has."""
    try:
        label = normalize(value)
    except SeveralLabelsError as error:
        if alone and isinstance(value, str):
            what = "with a list that is written as text; write a|b with a separator (--label-separator), or JSON lines"
        else:
            what = "with a list or an object inside the labels; names are expected there"
        raise ValueError(what) from error
    except TypeError as error:
        raise ValueError("with labels that are neither text nor numbers") from error
    if label is None:
        raise ValueError("with an empty label among others; leave it out")
    return label


def _is_missing(text: str) -> bool:
    """Whether a program has written that there is no label."""
    try:
        return normalize(text) is None
    except SeveralLabelsError:
        return False


def _one_hot(row: Mapping[str, Any], names: Sequence[str]) -> Cell:
    """Of a column for each label. Raises `ValueError` that says what is wrong with it."""
    odd, found = list[str](), list[str]()
    for name in names:
        value = row.get(name)
        text = str(int(value)) if isinstance(value, float) and value in (0, 1) else str(value).strip().lower()
        there = HAS.get({"1.0": "1", "0.0": "0"}.get(text, text))
        if there is None:
            odd.append(name)
        elif there:
            found.append(name)
    if odd:
        raise ValueError(f"where {', '.join(map(repr, odd))} {'is' if len(odd) == 1 else 'are'} neither 0 nor 1 (nor true or false)")
    return tuple(found)


def _as_integers(read: Mapping[str, Column]) -> None:
    """``1.0`` as ``1`` where no label of any split has a fraction."""
    whole = as_integers({split: [label for own in column.sets for label in own] for split, column in read.items()})
    for split, column in read.items():
        labels = iter(whole[split])
        column.sets = [tuple(dict.fromkeys(label for label in [next(labels) for _ in own] if label is not None)) for own in column.sets]


def _flat(column: Column) -> list[str]:
    return [label for own in column.sets for label in own]


def _of(label: str, index: Mapping[str, int]) -> int | None:
    return index.get(label, index.get(same_class(label)))


def _named(read: Mapping[str, Column]) -> tuple[tuple[str, ...], dict[str, int], list[str]]:
    """The names of the labels in train, their indices by spelling, and notes on both."""
    train = _flat(read["train"])
    spelled, notes = spellings(train)
    names = class_names(spelled.values())
    index = {key: names.index(own) for key, own in spelled.items()}
    notes += odd_classes([spelled[same_class(label)] for label in train])
    for split, column in read.items():
        if split != "train":
            notes += match(_flat(column), column.table.name, index, names, read["train"].table.name)
    return names, index, notes


def _problems(train: Column, names: Sequence[str], index: Mapping[str, int], columns: Columns) -> list[str]:
    """What keeps labels from being learned: there are fewer than two, or some have fewer examples than a class needs."""
    where, counts = dict[str, str](), Counter[str]()
    for i, own in zip(train.kept, train.sets, strict=True):
        for number in {_of(label, index) for label in own} - {None}:
            name = names[number or 0]
            counts[name] += 1
            where.setdefault(name, train.table.where([i]))
    if not counts:
        return [] if train.problems else [f"no row has a label in {columns.label!r}"]
    if len(names) == 1:
        return [f"all labels are {shortened(names[0])}: several labels need at least two names; write one that is there or not as a class"]
    rare = [name for name in names if counts[name] < LEAST]
    these = "labels have" if len(rare) > 1 else "label has"
    fewer = "one example only" if all(counts[name] for name in rare) else "one example or none"
    return rare_problems(rare, where, f"{these} {fewer}", "add examples, merge the label into another one, or leave it out")


def _examples(column: Column, names: Sequence[str], index: Mapping[str, int]) -> Examples:
    rows = [{_of(label, index) for label in own} for own in column.sets]
    return column.with_labels(tuple(int(number in own) for number in range(len(names))) for own in rows)


def _what_was_found(columns: Columns, train: Examples, names: Sequence[str], by_column: Sequence[str]) -> str:
    how = f"{columns.label!r} holds lists"
    if len(by_column) > 1:
        how = f"the columns {', '.join(map(repr, by_column[:5]))}{' and more' * (len(by_column) > 5)} say which labels are there"
    elif columns.separator is not None:
        how = f"{columns.label!r} is cut at {columns.separator!r}"
    mean = sum(map(sum, train.labels)) / len(train)
    none = sum(not any(row) for row in train.labels)
    empty = f", and {none} of {len(train)} training examples have none" if none else ""
    return f"{how}, so that an example has any number of {len(names)} labels: {mean:.2g} on average{empty}"
