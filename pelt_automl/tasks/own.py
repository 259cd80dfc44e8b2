"""The user's own labeled files."""

import re
from dataclasses import replace

from pelt_automl.errors import TaskError, all_problems
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks.checks import check_tables
from pelt_automl.tasks.columns import columns_of
from pelt_automl.tasks.examples import RawTask
from pelt_automl.tasks.files import Reading, check_reading, read_table
from pelt_automl.tasks.tables import Table


def read_own(settings: TaskSettings) -> RawTask:
    """The examples of the user's train, validation and test files; the task is named after the train file:
    ``reviews`` for reviews.csv, ``reviews-train`` for reviews/train.csv.

    Raises `TaskError` with everything that is wrong in all of the files.
    """
    given = {"train": settings.train, "validation": settings.validation, "report": settings.test}
    files = {role: path for role, path in given.items() if path is not None}
    columns = columns_of(settings)
    reading = Reading(settings.encoding, settings.delimiter, columns.named)
    check_reading(list(files.values()), reading)
    tables, problems = dict[str, Table](), list[str]()
    for role, path in files.items():
        try:
            tables[role] = read_table(path, reading)
        except TaskError as error:
            problems.append(str(error).replace("\n", "\n  "))
    if problems:
        raise TaskError(all_problems("the task's files", problems))
    # Half of all files are called train. The name becomes part of folder names and of names in MLflow.
    train = files["train"].absolute()
    telling = train.stem.lower() not in ("train", "training", "data") or not train.parent.name
    name = re.sub(r"[^\w.-]+", "-", train.stem if telling else f"{train.parent.name}-{train.stem}").strip("-.") or "own"
    return replace(check_tables(name, tables, columns, settings.kind), report_source="the user's test file")
