"""GLUE (Wang et al., 2019), three tasks of SuperGLUE, and SQuAD (Rajpurkar et al., 2016, 2018).

Columns, classes in the Hub's order, and each one's metric.

GLUE's test sets have no public labels, so the report split is the official validation set (MNLI: the matched one), as in most papers.
Where GLUE prints two metrics, one is taken as UniPELT (Mao et al., 2022) takes it: F1 for MRPC and QQP, Spearman for STS-B.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from pelt_automl.errors import SettingsError, TaskError
from pelt_automl.home import expanded
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks.columns import Columns
from pelt_automl.tasks.examples import Kind, RawTask, TaskInfo
from pelt_automl.tasks.files import READERS, Reading, check_reading, read_table
from pelt_automl.tasks.hub import HubName, checked_task, load_tables
from pelt_automl.tasks.tables import Table

DATA_DIR = "PELT_AUTOML_DATA_DIR"
ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet", ".json", ".ndjson")
"""Of files in the data folder, in the order in which they are looked for."""


@dataclass(frozen=True)
class Benchmark:
    """One public task: a `TextTask`."""

    info: TaskInfo
    hub: HubName
    text: tuple[str, ...]
    labels: tuple[str, ...]
    validation: str = "validation"
    """Name of the validation split."""
    label: str = "label"
    """Column with the label."""
    version: str = ""
    """What may stand behind the name of a split in the name of a local file."""
    target: str | None = None
    """Column with the word in question (WiC); it is put before the first text: ``bank: He sat on the bank.``"""

    def read(self, settings: TaskSettings) -> RawTask:
        """From the local folder when there is one, else from the Hub.

        Raises `TaskError` when it can't be reached or used, `SettingsError` when the settings contradict the task.
        """
        if settings.kind not in (None, self.info.kind):
            raise SettingsError(f"{self.info.name} is a {self.info.kind} task; leave kind out")
        columns = Columns(settings.text_columns or self.text, settings.label_column or self.label, settings.group_column)
        folders = local_folders(self.info.name, settings.data_dir)
        folder = next((folder for folder in folders if folder.is_dir()), None)
        tables = (
            self._local(folder, Reading(settings.encoding, settings.delimiter, columns.named))
            if folder
            else self._remote(columns.label, folders)
        )
        text = columns.text[0]
        for split, table in tables.items() if self.target else ():
            if self.target not in table.columns:
                raise TaskError(f"{table.name}: there is no column {self.target!r}; its columns are: {', '.join(table.columns)}")
            rows = [row | {text: f"{row[self.target]}: {row[text]}"} if row.get(text) else row for row in table.rows]
            tables[split] = replace(table, rows=rows)
        source = str(folder) if folder else f"the Hub's {self.hub}"
        if "train" not in tables:
            raise TaskError(f"{self.info.name}: {source} has no split 'train'")
        return checked_task(
            self.info.name,
            tables,
            columns,
            cast("Kind", self.info.kind),
            sources={"test": f"the labeled test set of {source}", "validation": f"the official validation set of {source}"},
            labels=self.labels,
            metric=self.info.metric,
        )

    def _local(self, folder: Path, reading: Reading) -> dict[str, Table]:
        names = {"train": ("train",), "validation": (self.validation, "validation", "dev"), "test": ("test",)}
        found = dict[str, Path]()
        for split, stems in names.items():
            versions = dict.fromkeys(("", self.version))
            candidates = (folder / f"{stem}{version}{ending}" for stem in stems for version in versions for ending in ENDINGS)
            if path := next((path for path in candidates if path.is_file()), None):
                found[split] = path
        if "train" not in found:
            raise TaskError(f"{folder} has no file train with the ending {', '.join(READERS)}")
        check_reading(list(found.values()), reading)
        return {split: read_table(path, reading) for split, path in found.items()}

    def _remote(self, label_column: str, looked_in: list[Path]) -> dict[str, Table]:
        try:
            tables = load_tables(self.hub, label_column)
        except TaskError as error:
            local = f" (no folder {' or '.join(map(str, looked_in))})" if looked_in else ""
            raise TaskError(f"{self.info.name}: {error}{local}") from error
        names = {"train": "train", "validation": self.validation, "test": "test"}
        return {split: tables[name] for split, name in names.items() if name in tables}


def local_folders(task: str, data_dir: Path | None) -> list[Path]:
    """Where a task's files may lie: ``DIR/<task>``, ``DIR/glue/<task>``, ``DIR/super_glue/<task>``.

    DIR is `data_dir`, else ``$PELT_AUTOML_DATA_DIR``. Raises `TaskError` when it is given but isn't a folder.
    """
    given = data_dir or os.environ.get(DATA_DIR)
    if not given:
        return []
    root = expanded(given)
    if not root.is_dir():
        raise TaskError(f"the data folder {root} ({'--data-dir' if data_dir else DATA_DIR}) is not a folder")
    return [root / task, root / "glue" / task, root / "super_glue" / task]


def _glue(name: str, description: str, text: tuple[str, ...], labels: tuple[str, ...], metric: str = "accuracy") -> Benchmark:
    info = TaskInfo(name, description, "classification" if labels else "regression", metric, f"nyu-mll/glue:{name}")
    validation = "validation_matched" if name == "mnli" else "validation"
    return Benchmark(info, HubName("nyu-mll/glue", name), text, labels, validation)


def _super_glue(
    name: str, description: str, text: tuple[str, ...], labels: tuple[str, ...], metric: str = "accuracy", target: str | None = None
) -> Benchmark:
    info = TaskInfo(name, description, "classification", metric, f"aps/super_glue:{name}")
    return Benchmark(info, HubName("aps/super_glue", name), text, labels, target=target)


def _squad(name: str, description: str, version: str) -> Benchmark:
    info = TaskInfo(name, description, "question-answering", "answer_f1", f"rajpurkar/{name}")
    return Benchmark(info, HubName(f"rajpurkar/{name}"), ("question", "context"), (), label="answers", version=version)


_SENTENCES = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")

BENCHMARKS: dict[str, Benchmark] = {
    task.info.name: task
    for task in (
        _glue("cola", "Is the sentence acceptable English?", ("sentence",), ("unacceptable", "acceptable"), "mcc"),
        _glue("sst2", "Is the movie review positive?", ("sentence",), ("negative", "positive")),
        _glue("mrpc", "Do two news sentences say the same?", _SENTENCES, ("not_equivalent", "equivalent"), "f1"),
        _glue("qqp", "Do two questions on Quora ask the same?", ("question1", "question2"), ("not_duplicate", "duplicate"), "f1"),
        _glue("stsb", "How similar are two sentences, from 0 to 5?", _SENTENCES, (), "spearman"),
        _glue(
            "mnli",
            "Does the premise entail the hypothesis, contradict it, or neither? (matched)",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
        ),
        _glue("qnli", "Does the sentence answer the question?", ("question", "sentence"), _ENTAILMENT),
        _glue("rte", "Does the first text entail the second?", _SENTENCES, _ENTAILMENT),
        _glue("wnli", "Does the sentence with its pronoun resolved follow?", _SENTENCES, ("not_entailment", "entailment")),
        _super_glue("boolq", "Does the passage answer the question with yes?", ("question", "passage"), ("False", "True")),
        _super_glue(
            "cb",
            "Does the speaker commit to the hypothesis?",
            ("premise", "hypothesis"),
            ("entailment", "contradiction", "neutral"),
            "accuracy_macro_f1",
        ),
        _squad("squad", "Which piece of the passage answers the question?", "-v1.1"),
        _squad("squad_v2", "Which piece of the passage answers the question, if any does?", "-v2.0"),
        _super_glue("wic", "Does the word mean the same in both sentences?", _SENTENCES, ("False", "True"), target="word"),
    )
}
"""Public benchmarks by name."""
