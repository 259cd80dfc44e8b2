"""Tables of questions whose answers are pieces of a passage: as SQuAD and the Hub write them, and as people do."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pelt_automl.tasks.answers import Answer, answers_of, as_label
from pelt_automl.tasks.columns import Column, Columns, group_of, refuse_if
from pelt_automl.tasks.examples import Examples, RawTask
from pelt_automl.tasks.tables import Table, counted_rows, is_blank

KIND = "question-answering"
FORMS = (
    "a text, a list of texts, SQuAD's list of objects with text and answer_start, or the Hub's object with a list of each is expected; "
    "nothing where the passage has no answer"
)

FEWEST_PASSAGES = 5
"""With fewer of them whole passages make no parts of about the usual sizes."""

Found = list[tuple[str, int | None]]
"""The acceptable answers of a row, each with the character that it starts at, where that is said."""


def says_answers(train: Table, columns: Columns) -> bool:
    """Whether some labels are answers as SQuAD or the Hub writes them."""
    return any(_is_answer(value[0] if isinstance(value := row.get(columns.label), list) and value else value) for row in train.rows)


def squad_rows(found: Any) -> list[dict[str, Any]] | None:
    """The questions of a file in SQuAD's form, an object with ``data``, each a row; None where it has another form."""
    if not isinstance(found, dict) or not isinstance(found.get("data"), list):
        return None
    rows = []
    try:
        for article in found["data"]:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    none = asked.get("is_impossible", False)
                    own = {"question": asked["question"], "context": paragraph["context"], "answers": [] if none else asked["answers"]}
                    rows.append(own | {"id": asked.get("id"), "title": article.get("title")})
    except (TypeError, KeyError, AttributeError):
        return None
    return rows


def check_answers(name: str, tables: Mapping[str, Table], columns: Columns, *, leave_out: bool) -> RawTask:
    """As `checks.check_tables`: the task in these tables, its labels as `answers.as_label` writes them.

    Questions on one passage are a group when the table of `train` is divided, unless a column of groups is named. A test file may have
    the same passages: then the questions to come have them, too.
    """
    if len(columns.text) != 2:
        refuse_if((), [f"{KIND} needs two text columns, the question and the passage, in this order; {len(columns.text)} named"])
    notes = [note for table in tables.values() for note in table.notes]
    read = {}
    for split, table in tables.items():
        read[split], more = _read(table, columns, of_train=split == "train", leave_out=leave_out)
        notes += [*more, *read[split].ungrouped(columns)]
    if not read["train"].problems and not any(answers_of(label) for label in read["train"].present()):
        read["train"].problems.append(f"{tables['train'].name}: no question has an answer in {columns.label!r}")
    empty = [f"{column.table.name}: no row has both question and passage" for column in read.values() if not column.kept]
    refuse_if(read.values(), [] if any(column.problems for column in read.values()) else empty)
    splits = {split: column.with_labels(column.present()) for split, column in read.items()}
    group_column = columns.group
    if group_column is None:
        splits, group_column, about = _by_passage(splits, columns.text[1])
        notes += about
    none = sum(not answers_of(label) for label in splits["train"].labels)
    few = f"; {none} of {len(splits['train'])} questions to train on have no answer in their passage" if none else ""
    notes.append(f"answers are pieces of {columns.text[1]!r}{few}")
    return RawTask(
        name,
        KIND,
        (),
        None,
        columns.text,
        splits["train"],
        splits.get("report"),
        validation=splits.get("validation"),
        notes=tuple(notes),
        group_column=group_column,
    )


def _by_passage(splits: Mapping[str, Examples], column: str) -> tuple[dict[str, Examples], str | None, list[str]]:
    """The examples, of train by passages where there are enough of them, what they are grouped by, and notes."""
    train, others = splits["train"], {texts[1] for split, part in splits.items() if split != "train" for texts in part.texts}
    passages = dict.fromkeys(texts[1] for texts in train.texts)
    notes = []
    if both := sum(passage in others for passage in passages):
        notes.append(f"{both} of {len(passages)} passages to train on are in the test or validation file, too")
    alone = {split: replace(part, groups=()) for split, part in splits.items()}
    if len(passages) < FEWEST_PASSAGES:
        are = "passage is" if len(passages) == 1 else "passages are"
        notes.append(f"{len(passages)} {are} too few to keep apart: questions on one may be on both sides of a split")
        return alone, None, notes
    return alone | {"train": replace(train, groups=tuple(_digest(texts[1]) for texts in train.texts))}, column, notes


def _read(table: Table, columns: Columns, *, of_train: bool, leave_out: bool) -> tuple[Column, list[str]]:
    """What a table holds, and notes on it. Of examples that aren't trained on, answers need not stand in the passage."""
    column, wrong, elsewhere, moved, several = Column(table), dict[str, list[int]](), list[int](), 0, 0
    for i, row in enumerate(table.rows):
        try:
            question, passage, found = _example(row, table, columns)
        except ValueError as error:
            wrong.setdefault(str(error), []).append(i)
            continue
        answers = [Answer(_nearest(passage, text, start), text) for text, start in found]
        moved += sum(start is not None and at not in (start, -1) for (_, start), (at, _) in zip(found, answers, strict=True))
        several += sum(start is None and passage.count(text) > 1 for text, start in found)
        if found and all(answer.start < 0 for answer in answers):
            elsewhere.append(i)
        column.texts.append((question, passage))
        column.labels.append(as_label(answers))
        column.kept.append(i)
        if columns.group is not None:
            column.groups.append(group_of(row.get(columns.group)))
    gone = wrong.pop(_no_text(columns), []) if leave_out else []
    notes = [f"{counted_rows(len(gone))} of {table.name} without question or passage left out"] if gone else []
    for what, rows in wrong.items():
        column.complain(rows, what)
    if elsewhere:
        notes += _not_there(column, elsewhere, columns, of_train=of_train, leave_out=leave_out)
    if moved:
        notes.append(f"{table.name}: {moved} answers don't stand where their start says; the nearest place is taken")
    if several:
        notes.append(f"{table.name}: {several} answers stand in their passage several times; the first place is taken")
    return column, notes


def _not_there(column: Column, rows: Sequence[int], columns: Columns, *, of_train: bool, leave_out: bool) -> list[str]:
    """Notes on rows whose answers aren't in the passage, or problems where they are to be trained on and somebody can mend them."""
    table = column.table
    if not of_train:
        return [f"{table.name}: {counted_rows(len(rows))} whose answers aren't in the passage, so that none is exact"]
    if leave_out:
        kept = [place for place, i in enumerate(column.kept) if i not in set(rows)]
        column.texts, column.labels, column.kept = ([own[k] for k in kept] for own in (column.texts, column.labels, column.kept))  # type: ignore[assignment]
        column.groups = [column.groups[k] for k in kept] if column.groups else []
        return [f"{counted_rows(len(rows))} of {table.name} whose answers aren't in the passage were left out"]
    cells = {i: table.rows[i].get(columns.labels_in(table)[0]) for i in rows}
    listed = [i for i, cell in cells.items() if isinstance(cell, str) and cell.lstrip().startswith(("[", "{"))]
    column.complain(listed, "with answers that are a list or an object as text; write the answer alone, or JSON lines or Parquet")
    others = [i for i in rows if i not in listed]
    column.complain(others, "whose answers aren't in the passage, letter by letter; correct them, or leave the answer empty")
    return []


def _no_text(columns: Columns) -> str:
    """What is wrong with a row that lacks the question or the passage."""
    return f"without text in {' or '.join(map(repr, columns.text))}; fill or drop"


def _example(row: Mapping[str, Any], table: Table, columns: Columns) -> tuple[str, str, Found]:
    """Question, passage, and answers. Raises `ValueError` that says what is wrong with them."""
    question, passage = (row.get(name) for name in columns.text)
    if is_blank(question) or is_blank(passage):
        raise ValueError(_no_text(columns))
    if {type(question), type(passage)} != {str}:
        raise ValueError(f"where {' or '.join(map(repr, columns.text))} is not text")
    return str(question).strip(), str(passage), _answers([row.get(name) for name in columns.labels_in(table)], columns.label)


def _is_answer(value: Any) -> bool:
    return isinstance(value, Mapping) and "text" in value and "answer_start" in value


def _answers(cells: Sequence[Any], column: str) -> Found:
    """Of the answers' cell, and perhaps of one that says where a single one starts. Raises `ValueError` for what is no answer."""
    value, start = cells[0], cells[1] if len(cells) > 1 else None
    try:
        if _is_answer(value):
            texts, starts = value["text"], value["answer_start"]
            pairs = [(texts, starts)] if isinstance(texts, str) else list(zip(texts, starts, strict=True))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            pairs = [(one["text"], one["answer_start"]) if _is_answer(one) else (one, None) for one in value]
        else:
            pairs = [] if is_blank(value) else [(str(value) if isinstance(value, int | float) else value, start)]
        found: Found = []
        for text, at in pairs:
            ahead = len(text) - len(text.lstrip())
            found.append((text.strip(), None if is_blank(at) else int(float(at)) + ahead))
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"with answers in {column!r} that can't be read: {FORMS}") from error
    if not all(text for text, _ in found):
        raise ValueError(f"with an empty answer among others in {column!r}; leave it out")
    return list(dict.fromkeys(found))


def _nearest(passage: str, text: str, start: int | None) -> int:
    """Where the text stands in the passage: as near to `start` as can be, first of all; -1 where it doesn't."""
    if start is not None and passage.startswith(text, start) and start >= 0:
        return start
    places, at = list[int](), passage.find(text)
    while at >= 0:
        places.append(at)
        at = passage.find(text, at + 1)
    return min(places, key=lambda place: abs(place - (start or 0)), default=-1)


def _digest(passage: str) -> str:
    return hashlib.sha256(passage.encode()).hexdigest()[:16]
