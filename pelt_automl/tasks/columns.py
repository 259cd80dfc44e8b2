"""Which columns of a table hold what, and what stands in them: texts, labels, groups, and everything that is wrong with them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pelt_automl.errors import TaskError, all_problems
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks.examples import Examples
from pelt_automl.tasks.labels import normalize
from pelt_automl.tasks.tables import Table, cell_text, counted_rows


@dataclass(frozen=True)
class Columns:
    """Which columns hold what."""

    text: tuple[str, ...]
    """One or two."""
    label: str
    """One, or with commas one for each of several labels."""
    group: str | None = None
    """What examples of one group have in common."""
    separator: str | None = None
    """What stands between several labels in one cell."""

    @property
    def named(self) -> tuple[str, ...]:
        """All that may be looked for."""
        labels = dict.fromkeys((self.label, *split_names(self.label)))
        return (*self.text, *labels, *([self.group] if self.group is not None else []))

    def labels_in(self, table: Table) -> tuple[str, ...]:
        """The label's column; those between the commas where no column of the table is called so as a whole."""
        return (self.label,) if self.label in table.columns else split_names(self.label)

    def named_in(self, table: Table) -> tuple[str, ...]:
        """All that the table must have."""
        return (*self.text, *self.labels_in(table), *([self.group] if self.group is not None else []))


USUAL = {"question-answering": Columns(("question", "context"), "answers")}
"""What the columns of a kind of task are called where the user names none."""


def columns_of(settings: TaskSettings) -> Columns:
    """What the user has named, else the usual names."""
    usual = USUAL.get(settings.kind or "", Columns((), ""))
    return Columns(
        settings.text_columns or usual.text, settings.label_column or usual.label, settings.group_column, settings.label_separator
    )


def split_names(label: str) -> tuple[str, ...]:
    """The columns that ``a,b,c`` names."""
    return tuple(name.strip() for name in label.split(",") if name.strip()) or (label,)


@dataclass
class Column:
    """The texts and labels of one table, and what is wrong with them."""

    table: Table
    texts: list[tuple[str, ...]] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    """As many as texts, or none."""
    sets: list[tuple[str, ...]] = field(default_factory=list)
    """Where an example has several labels: as many as texts, and a label is None or says only that there are some."""
    kept: list[int] = field(default_factory=list)
    """Rows of the table."""
    problems: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    """The labels that are text in the file, as they stand there: only those keep zeros at their ends."""
    was: dict[str, str] = field(default_factory=dict)
    """What stands in the file for labels that were given another form."""
    marked: tuple[str, ...] = ()
    """Labels with units or separated thousands."""
    unreadable: bool = False
    """Whether a problem says already that its numbers can't be told."""

    def shown(self, label: str) -> str:
        """As it stands in the file."""
        return self.was.get(label, label)

    def complain(self, rows: Sequence[int], what: str) -> None:
        """Add a problem of these rows, if there are any."""
        if rows:
            self.problems.append(f"{self.table.name}: {counted_rows(len(rows))} {what} ({self.table.where(rows)})")

    def complain_of_missing(self, columns: Columns, *, leave_out: bool) -> None:
        """Rows without text or label: a problem, or with `leave_out` left out."""
        if leave_out:
            kept = [i for i, label in enumerate(self.labels) if label is not None]
            self.groups = [self.groups[i] for i in kept] if self.groups else []
            self.sets = [self.sets[i] for i in kept] if self.sets else []
            self.texts, self.labels, self.kept = ([values[i] for i in kept] for values in (self.texts, self.labels, self.kept))  # type: ignore[assignment]
        not_text = {i for i in self.kept if any(cell_text(self.table.rows[i].get(name)) is None for name in columns.text)}
        empty = [i for i, texts in zip(self.kept, self.texts, strict=True) if not all(texts) and i not in not_text]
        named = " or ".join(map(repr, columns.text))
        self.complain(empty, f"without text in {named}; fill or drop")
        unlabeled = [i for i, label in zip(self.kept, self.labels, strict=True) if label is None]
        values = [self.table.rows[i].get(columns.label) for i in unlabeled]
        written = {repr(text) for value in values if isinstance(value, str) and (text := value.strip()).lower() not in ("", "nan")}
        what = f"empty, NaN or {', '.join(sorted(written))}" if written else "empty or NaN"
        self.complain(unlabeled, f"without a label ({what}) in {columns.label!r}; fill or drop")
        if not self.kept and not self.problems:
            self.problems.append(f"{self.table.name}: no row has both text and label")

    def ungrouped(self, columns: Columns) -> list[str]:
        """A note on rows without a group, if there are any."""
        if not (alone := [i for i, group in zip(self.kept, self.groups, strict=False) if group is None]):
            return []
        where = self.table.where(alone)
        return [f"{self.table.name}: {counted_rows(len(alone))} without {columns.group!r}, each a group of its own ({where})"]

    def present(self) -> list[str]:
        """The labels without those that are missing."""
        return [label for label in self.labels if label is not None]

    def with_labels(self, labels: Iterable[Any]) -> Examples:
        """The examples, with labels of the task's kind."""
        return Examples(tuple(self.texts), tuple(labels), tuple(self.groups))


def group_of(value: Any) -> str | None:
    """The name of a group, by which ``7`` of CSV and ``7.0`` of pandas are one; None where there is none."""
    try:
        return normalize(value)
    except TypeError:  # a date, a list: whatever has equals
        return str(value)


def refuse_if(read: Iterable[Column], more: Sequence[str] = ()) -> None:
    """Raises `TaskError` with all problems of columns, and `more`."""
    if problems := [*(problem for column in read for problem in column.problems), *more]:
        raise TaskError(all_problems("the task's data", problems))
