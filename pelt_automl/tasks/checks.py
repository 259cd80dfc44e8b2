"""From the tables of a user's files or of a Hub data set to checked examples: everything wrong is reported at once."""

from collections.abc import Mapping

from pelt_automl.tasks.columns import Column, Columns, group_of, refuse_if
from pelt_automl.tasks.examples import Examples, Kind, RawTask
from pelt_automl.tasks.label_columns import (
    amounts,
    as_integers,
    examples,
    look_like_codes,
    match,
    odd_classes,
    spellings,
    without_missing,
)
from pelt_automl.tasks.labels import (
    MANY_INTEGERS,
    SeveralLabelsError,
    class_names,
    class_problems,
    integral,
    is_number,
    kind_of,
    normalize,
    odd_ones,
    same_class,
    shortened,
)
from pelt_automl.tasks.several import check_several, says_several
from pelt_automl.tasks.squad import KIND, check_answers, says_answers
from pelt_automl.tasks.tables import Table, cell_text, meant


def check_tables(
    name: str,
    tables: Mapping[str, Table],
    columns: Columns,
    kind: Kind | None = None,
    labels: tuple[str, ...] = (),
    *,
    leave_out: bool = False,
) -> RawTask:
    """The task in these tables.

    Args:
        name: of the task.
        tables: by split: ``train``, and maybe ``validation`` and ``report``.
        columns: where texts and labels stand.
        kind: None to tell from the labels.
        labels: the official class names, when they are known: then a label is one of them, or its index.
        leave_out: leave rows without a text or label out, with a note, instead of refusing them: for data that nobody here can mend.

    Raises:
        TaskError: everything that is wrong, with line numbers.
    """
    missing = []
    for table in tables.values():
        hint = " (is the delimiter another one?)" if len(table.columns) == 1 and any(c in table.columns[0] for c in ";\t,|") else ""
        missing += [
            f"{table.name}: there is no column {name!r}{meant(name, table.columns)}; its columns are: {', '.join(table.columns)}{hint}"
            for name in columns.named_in(table)
            if name not in table.columns
        ]
    refuse_if((), missing)
    if not labels and (kind == KIND or (kind is None and says_answers(tables["train"], columns))):
        return check_answers(name, tables, columns, leave_out=leave_out)
    if not labels and says_several(tables["train"], columns, kind):
        return check_several(name, tables, columns, kind, leave_out=leave_out)
    read = {split: _read(table, columns, leave_out=leave_out) for split, table in tables.items()}
    notes = [note for table in tables.values() for note in table.notes]
    notes += _settle(read, kind, official=bool(labels))
    for column in read.values():
        column.complain_of_missing(columns, leave_out=leave_out)
        if gone := len(column.table.rows) - len(column.kept):
            notes.append(f"{gone} rows of {column.table.name} without text or label were left out")
        notes += column.ungrouped(columns)
    odd = [_complain_of_odd_labels(column, kind) or column.unreadable for column in read.values()] if not labels else []
    if any(odd):
        # What the classes are, and whether there are any, can't be told before these are mended.
        refuse_if(read.values())
    if kind is None and not labels:
        notes += _kind_notes(read)
    kind = kind or kind_of(read["train"].present())
    if kind == "regression":
        # A file may hold words throughout where train holds numbers.
        for column in read.values():
            _complain_of_odd_labels(column, kind)
        refuse_if(read.values())
    names, splits = _classes(read, labels, notes) if kind == "classification" else ((), _numbers(read))
    report, validation = splits.get("report"), splits.get("validation")
    return RawTask(
        name,
        kind,
        names,
        None,
        columns.text,
        splits["train"],
        report,
        validation=validation,
        notes=tuple(notes),
        group_column=columns.group,
    )


def _settle(read: Mapping[str, Column], kind: Kind | None, *, official: bool) -> list[str]:
    """Give labels the form that their column has, in every split; notes on it."""
    if official:
        for column in read.values():
            column.labels = [None if label is None else integral(label) for label in column.labels]
        return []
    notes: list[str] = []
    units: dict[str, str] = {}
    before = {split: list(column.labels) for split, column in read.items()}
    for column in read.values():
        if kind != "classification":
            numbers = amounts(column.labels)
            if any(label is not None and is_number(label) for label in numbers.labels):
                units[column.table.name] = numbers.unit
            column.unreadable, column.marked = bool(numbers.problem), numbers.marked
            notes += [f"{column.table.name}: {numbers.note}"] if numbers.note else []
            column.problems += [f"{column.table.name}: {numbers.problem}"] if numbers.problem else []
            column.labels = without_missing(numbers.labels)
    if len(set(units.values())) > 1 and not any(column.unreadable for column in read.values()):
        each = ", ".join(f"{unit or 'none'} in {name}" for name, unit in units.items())
        read["train"].problems.append(f"the labels have different signs: {each}; write them alike")
        read["train"].unreadable = True
    whole = as_integers({split: column.labels for split, column in read.items()})
    for split, column in read.items():
        column.labels, there = whole[split], set(before[split])
        for old, new in zip(before[split], column.labels, strict=True):
            if old is not None and new is not None and new not in there:
                column.was.setdefault(new, old)
    return notes


def _kind_notes(read: Mapping[str, Column]) -> list[str]:
    """That the labels are taken as amounts; numbers that may be codes are a problem."""
    train = read["train"].present()
    way_out = "set kind to 'classification' when they are names, to 'regression' when they are amounts"
    if kind_of(train) != "regression":
        if marked := read["train"].marked:
            read["train"].problems.append(f"{read['train'].table.name}: labels such as {examples(marked)} look like amounts; {way_out}")
        return []
    for column in read.values():
        if why := look_like_codes(column.written):
            column.problems.append(f"{column.table.name}: {why}; {way_out}")
    fractions = [read["train"].shown(label) for label in train if not float(label).is_integer()]
    taken = "taken as amounts (a regression); if they are names or codes, set kind to 'classification'"
    return [f"the labels are numbers with fractions, such as {examples(fractions)} ({len(set(train))} different ones), {taken}"]


def _read(table: Table, columns: Columns, *, leave_out: bool) -> Column:
    column = Column(table)
    not_text, several, odd = [], [], []
    for i, row in enumerate(table.rows):
        texts = tuple(cell_text(row.get(name)) for name in columns.text)
        value = row.get(columns.label)
        try:
            label = normalize(value)
        except SeveralLabelsError:
            several.append(i)
            continue
        except TypeError:
            odd.append(i)
            continue
        if leave_out and not all(texts):
            continue
        if None in texts:
            not_text.append(i)
        column.texts.append(tuple(text or "" for text in texts))
        column.labels.append(label)
        column.kept.append(i)
        if columns.group is not None:
            column.groups.append(group_of(row.get(columns.group)))
        if label is not None and isinstance(value, str):
            column.written.append(label)
    named = " or ".join(map(repr, columns.text))
    column.complain(not_text, f"where {named} is not text")
    way_out = "" if leave_out else "; several labels are lists in JSON and Parquet, or a|b with a separator (--label-separator)"
    column.complain(several, f"with several labels in {columns.label!r} (a list); one label a row is expected: keep one{way_out}")
    column.complain(odd, f"where {columns.label!r} is neither text nor a number")
    return column


def _complain_of_odd_labels(column: Column, kind: Kind | None) -> bool:
    """Whether some labels are of another type than the rest, which then is a problem."""
    odd, what = odd_ones(column.labels, kind)
    if column.unreadable:
        return False
    values = ", ".join(sorted({shortened(column.shown(column.labels[i] or "")) for i in odd})[:3])
    way_out = "write them alike, or set kind to 'classification' when all are names" if kind is None else "or set kind to 'classification'"
    column.complain([column.kept[i] for i in odd], f"with mixed label types, such as {values}: {what}; {way_out}")
    return bool(odd)


def _numbers(read: Mapping[str, Column]) -> dict[str, Examples]:
    numbers = {split: tuple(float(label) for label in column.present()) for split, column in read.items()}
    for split, column in read.items():
        if len(set(numbers[split])) == 1:
            column.problems.append(
                f"{column.table.name}: all labels are {column.shown(column.present()[0])}, so that there is nothing to predict"
            )
    refuse_if(read.values())
    return {split: column.with_labels(numbers[split]) for split, column in read.items()}


def _classes(read: Mapping[str, Column], official: tuple[str, ...], notes: list[str]) -> tuple[tuple[str, ...], dict[str, Examples]]:
    """Names of the classes, and the examples. What has to be said of the classes goes to `notes`."""
    train = read["train"]
    more: list[str] = []
    if official:
        names = official
        index = {str(i): i for i in range(len(official))} | {same_class(name): i for i, name in enumerate(names)}
        index |= {name: i for i, name in enumerate(names)}
    else:
        spelled, more = spellings(train.present())
        names = class_names(spelled.values())
        index = {key: names.index(name) for key, name in spelled.items()}
        notes += [*more, *odd_classes([spelled[same_class(label)] for label in train.present()])]
        others = [column for column in read.values() if column is not train]
        notes += [note for column in others for note in match(column.present(), column.table.name, index, names, train.table.name)]
    found = {
        split: [None if label is None else index.get(label, index.get(same_class(label))) for label in column.labels]
        for split, column in read.items()
    }
    for split, column in read.items():
        unknown = [i for i, label in enumerate(column.labels) if label is not None and found[split][i] is None]
        values = ", ".join(sorted({shortened(column.shown(column.labels[i] or "")) for i in unknown})[:10])
        known = f"must be one of {', '.join(names)}" if official else f"not in {train.table.name}; drop, rename or add examples there"
        column.complain([column.kept[i] for i in unknown], f"with labels {values}: {known}")
    where = {
        train.shown(names[own]): train.table.where([i])
        for i, own in reversed(list(zip(train.kept, found["train"], strict=True)))
        if own is not None
    }
    named = [train.shown(names[own]) for own in found["train"] if own is not None]
    problems = class_problems(named, where) if named else []
    if problems or any(column.problems for column in read.values()):
        problems += more  # what was taken for one class may be why
    refuse_if(read.values(), [f"{train.table.name}: {problem}" for problem in problems])
    if not official and len(names) > MANY_INTEGERS and all(map(is_number, names)):
        notes.append(f"the labels are {len(names)} different integers, taken as classes; set kind to 'regression' if they are amounts")
    return names, {split: column.with_labels(i for i in found[split] if i is not None) for split, column in read.items()}
