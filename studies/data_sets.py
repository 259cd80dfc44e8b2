"""Data sets in folders, as options of a selection: benchmarks with a name, and tables of one's own whose columns are found."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pelt_automl.errors import TaskError
from pelt_automl.tasks import TASKS
from pelt_automl.tasks.files import READERS, read_table

LABELS = ("label", "labels", "intent", "class", "category", "rating", "score")
"""Names of columns that are taken for the label, the first that is there."""
NUMBERS = ("idx", "id", "index")
"""Names of columns that number the rows."""
TESTS = ("test", "validation", "dev")
"""Names of files that are reported on, the first that is there."""
DEPTH = 3
"""Folders below the one given, itself included, in which a train file is looked for."""


Options = Mapping[str, Any]
"""Those of `pelt_automl.select` that say where a data set of kind classification or regression is; paths as text."""


def find(folders: Sequence[Path], names: Sequence[str]) -> tuple[dict[str, Options], list[str]]:
    """The data sets of these names (none: all) in the order of the names, and the tables that can't be used, each with the reason.

    A folder with a train file is a data set, and so is each table that lies in a given folder itself. Without any folder the names are
    those of the program's own tasks. Raises `TaskError` for names that aren't there.
    """
    if not folders:
        return {name: {"task": name} for name in names}, []
    sets, left_out = dict[str, Options](), dict[str, str]()
    for train in (path for folder in folders for path in _tables(folder)):
        name = train.parent.name if train.stem == "train" else train.stem
        try:
            if not names or name in names:
                sets[name] = _options(name, train)
        except TaskError as error:
            left_out[name] = f"{name}: {error}"
    if missing := [name for name in names if name not in sets]:
        reasons = "; ".join(left_out.get(name, f"{name}: no train file") for name in missing)
        raise TaskError(f"{', '.join(map(str, folders))} lacks data sets: {reasons}")
    return {name: sets[name] for name in names or sorted(sets)}, list(left_out.values())


def _tables(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise TaskError(f"the data folder {folder} isn't a folder")
    loose = sorted(path for path in folder.iterdir() if path.suffix in READERS and path.stem not in ("train", *TESTS))
    yield from loose
    for depth in range(DEPTH):
        yield from sorted(path for path in folder.glob("*/" * depth + "train.*") if path.suffix in READERS)


def _options(name: str, train: Path) -> dict[str, Any]:
    if name in TASKS and train.stem == "train":
        return {"task": name, "data_dir": str(train.parent.parent.absolute())}
    text, label = _columns(train)
    found = {"train": str(train.absolute()), "text_columns": ",".join(text), "label_column": label}
    test = next((path for stem in TESTS for ending in READERS if (path := train.with_name(stem + ending)).is_file()), None)
    return found | ({"test": str(test.absolute())} if test and train.stem == "train" else {})


def _columns(path: Path) -> tuple[list[str], str]:
    """The one or two columns with text, and the label's. Raises `TaskError` where there are others."""
    table = read_table(path)
    label = next((name for name in LABELS if name in table.columns), None)
    if label is None:
        raise TaskError(f"no column of {', '.join(table.columns)} is a label ({', '.join(LABELS)})")
    text = [name for name in table.columns if name not in (label, *NUMBERS) and isinstance(table.rows[0].get(name), str)]
    if len(text) not in (1, 2):
        raise TaskError(f"one or two columns with text are expected beside {label}, not {', '.join(text) or 'none'}")
    return text, label
