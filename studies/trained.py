"""Trainings that the table doesn't have, for simulated selections: each is trained when it is asked for, and kept.

Trained as `studies.table record` does it. They stay in a working folder of their own and never come into the table.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa  # type: ignore[import-untyped]
import torch

from pelt_automl.backbones.loading import load_backbone
from pelt_automl.errors import SelectionError
from studies.harness import Row, say
from studies.sources import SOURCES, usual_places
from studies.table import TableFolder, name_of, record_missing
from studies.table_files import SCHEMA, frame_of, row_of
from studies.table_grid import Configuration, HeadStart, Training
from studies.table_training import SETTINGS, TableTrainings


class Trained:
    """Of one task at one K."""

    def __init__(self, task: str, k: int, head_start: HeadStart, model: str, precision: Literal["bf16", "fp32"], folder: Path) -> None:
        """`precision`: of the frozen weights. Raises `PeltError` for a folder, a model or data that can't be had."""
        torch.set_num_threads(1)
        self.task, self.k, self.head_start, self.model, self.folder = task, k, head_start, model, TableFolder(folder).make()
        backbone, settings = load_backbone(model, precision=precision), replace(SETTINGS, precision=precision)
        self.trainings = TableTrainings(SOURCES[task].load(usual_places(), k), backbone, settings)

    def row(self, method: str, hyper_parameters: Mapping[str, Any], seed: int) -> Row:
        """A configuration on a seed, as a row of `studies.table_files.load_table`; trained now, or found.

        Raises `SelectionError` while another process trains it.
        """
        training = Training(self.task, self.k, Configuration(method, "drawn", hyper_parameters), self.head_start, seed, "drawn")
        record_missing([training], SOURCES, self.folder, lambda *_: self.trainings, name_of(self.model), say=say)
        path = self.folder.file(training.key(name_of(self.model)))
        if not path.is_file():
            raise SelectionError(f"{training} is under way in another process; give each process its own tasks")
        record = json.loads(path.read_text(encoding="utf-8"))
        row = frame_of(pa.Table.from_pylist([row_of(record)], SCHEMA)).iloc[0]
        return {str(name): value for name, value in row.items()}
