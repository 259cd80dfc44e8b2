"""From a source to a task: pool and report split, loaded with the program's own loading code."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pelt_automl.durable import write_text
from pelt_automl.errors import TaskError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import TaskData, load_task
from pelt_automl.tasks.examples import Kind
from pelt_automl.tasks.files import read_table
from studies.sources.places import Places
from studies.sources.rows import REPORT_MOST, Row, by_hash, sides

Sides = tuple[list[Row], list[Row]]
"""Rows to train on, and rows to report on."""


def named(task: str, places: Places, k: int, metric: str, origin: Literal["shared", "embedded"]) -> TaskData:
    """A task that the program knows by name: from the shared folder's ``glue``, or one that it makes itself."""
    folder = places.data / "glue"
    if origin == "shared" and not (folder / task).is_dir():
        raise TaskError(f"{task}: there is no folder {folder / task}; set PELT_AUTOML_DATA_DIR to the folder with the shared task data")
    return in_order(load_task(TaskSettings(task=task, data_dir=folder if origin == "shared" else None, k=k, metric=metric)), task)


@dataclass(frozen=True)
class Made:
    """A task whose rows are made once, and kept as two files in the cache folder."""

    task: str
    kind: Kind
    metric: str
    make: Callable[[Places], Sides]

    def load(self, places: Places, k: int) -> TaskData:
        """From the cache folder's files, which are made first where they aren't there. Raises `TaskError`."""
        folder = places.cache / self.task
        files = [folder / "train.jsonl", folder / "test.jsonl"]
        if not all(path.is_file() for path in files):
            for path, rows in zip(files, self.make(places), strict=True):
                write_text(path, "".join(json.dumps({"text": row.text, "label": row.label}) + "\n" for row in rows))
        settings = TaskSettings(
            train=files[0], test=files[1], text_columns=("text",), label_column="label", kind=self.kind, metric=self.metric, k=k
        )
        return in_order(load_task(settings), self.task)


def in_order(data: TaskData, task: str) -> TaskData:
    """The task under its name, with the first `REPORT_MOST` examples of report by hash of their texts: any first n are a random sample."""
    order = sorted(range(len(data.report)), key=lambda i: (by_hash(data.report.texts[i]), i))
    return replace(data, name=task, report=data.report.take(order[:REPORT_MOST]))


def split_of(parse: Callable[[Places], Iterable[Row]], most_of_class: int | None = None) -> Callable[[Places], Sides]:
    """A maker that divides the rows of a parser (see `rows.sides`)."""

    def make(places: Places) -> Sides:
        return sides(parse(places), most_of_class)

    return make


def table_rows(path: Path, text: str, label: str) -> list[Row]:
    """The rows of a file with a text and a label column, as they are. Raises `TaskError`."""
    if not path.is_file():
        raise TaskError(f"there is no file {path}; set PELT_AUTOML_DATA_DIR to the folder with the shared task data")
    return [Row(str(row[text]), str(row[label])) for row in read_table(path).rows]
