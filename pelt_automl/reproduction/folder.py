"""A reproduction's output folder: one file of finished runs a cell, and locks, so that several processes can share it.

``protocol.json`` says what all its runs have in common. ``runs/CELL.jsonl`` has a line a finished run, ``locks/CELL.lock`` is held by the
process that trains the cell; the system releases it when that dies. Tables are replaced whole.
"""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pelt_automl.durable import creating, write_text
from pelt_automl.errors import SelectionError
from pelt_automl.log.codec import read
from pelt_automl.log.events import CurvePoint, Event, of_kind
from pelt_automl.log.folder import PROTOCOL, JsonlRecorder, check_output, exclusive
from pelt_automl.reproduction.protocol import BY_MACHINE, Cell, K, Protocol


@dataclass(frozen=True)
class FinishedRun(Event):
    """One method trained on one cell, with its score on the report split."""

    task: str
    k: K
    seed: int
    method: str
    """A name of `PAPER_METHODS`."""
    state: Literal["completed", "failed"]
    metric: str
    report_score: float | None
    """Of the best checkpoint by select, in the metric's own unit; None when it failed."""
    select_score: float | None
    constant: bool
    """Whether it predicts one class (or one value) for the whole report split."""
    cause: str
    """Why it failed, or stopped early."""
    hyper_parameters: dict[str, Any]
    parameters: int
    """Trained and kept: PELT, gates and head."""
    steps: int
    seconds: float
    """Its share of its packs' wall time."""
    curve: list[CurvePoint]
    sizes: dict[str, int]
    """Examples that were trained on, selected on and scored: ``train``, ``select`` and ``report``."""
    data_hash: str
    backbone: dict[str, str]
    """Its name, its weights' SHA-256 and the precision that it computes in."""
    version: str
    """Of this program."""
    traceback: str = ""
    """Of the exception that it failed with, as text; empty where none was raised, and in old files."""

    @property
    def cell(self) -> Cell:
        """Where it belongs."""
        return Cell(self.task, self.k, self.seed)

    def __str__(self) -> str:
        constant = ", constant" if self.constant else ""
        told = f"failed: {self.cause}" if self.report_score is None else f"{self.metric} {self.report_score:.4f}{constant}"
        return f"{self.cell}: {self.method}: {told} ({self.steps} steps, {self.seconds:.0f} s)"


class ReproductionFolder:
    """The runs of one protocol on one model."""

    def __init__(self, path: Path, protocol: Protocol, model: str) -> None:
        """Make the folder, or take up one with the same protocol. Raises `SelectionError` when it can't be made or holds another's runs."""
        self.path = path
        check_output(path, "reproduction")
        try:
            self._agree({"model": model} | protocol.shared())
            for part in (self.path / "runs", self.path / "locks"):
                part.mkdir(exist_ok=True)
        except OSError as error:
            raise SelectionError(f"the folder {path} can't be written ({error.strerror}); choose another --output") from error

    def _agree(self, shared: dict[str, Any]) -> None:
        mine = json.loads(json.dumps(shared))
        place = self.path / PROTOCOL
        with suppress(FileExistsError), creating(place) as draft:  # of several processes that begin at once, one makes it, whole
            draft.write_text(json.dumps(mine, indent=2) + "\n", encoding="utf-8")
            return
        earlier = json.loads(place.read_text(encoding="utf-8"))
        earlier["training"] = {name: value for name, value in earlier.get("training", {}).items() if name not in BY_MACHINE}
        differing = [name for name in sorted({*mine, *earlier}) if mine.get(name) != earlier.get(name)]
        if differing:
            raise SelectionError(
                f"{self.path} holds runs of another protocol (other {', '.join(differing)}; see {place}); choose another --output"
            )

    def finished(self, cells: Iterable[Cell]) -> list[FinishedRun]:
        """The runs of these cells; of several of one method (it failed, and was tried again) the last."""
        found = {}
        for cell in cells:
            if (path := self._runs(cell)).is_file():
                for run in of_kind(read(path, {FinishedRun.__name__: FinishedRun}), FinishedRun):
                    found[cell, run.method] = run
        return list(found.values())

    def claim(self, cell: Cell) -> AbstractContextManager[bool]:
        """Hold the cell while inside; False when another process does."""
        return exclusive(self.path / "locks" / f"{cell.name}.lock")

    def recorder(self, cell: Cell) -> JsonlRecorder:
        """Appends finished runs, each on disk before it returns. The cell has to be claimed."""
        return JsonlRecorder(self._runs(cell))

    def replace(self, name: str, text: str) -> Path:
        """Write a file whole."""
        return write_text(self.path / name, text)

    def _runs(self, cell: Cell) -> Path:
        return self.path / "runs" / f"{cell.name}.jsonl"
