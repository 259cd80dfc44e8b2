"""Folders that the sources are read from and kept in."""

import os
from dataclasses import dataclass
from pathlib import Path

from pelt_automl.home import expanded, home
from pelt_automl.tasks.benchmarks import DATA_DIR

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""


@dataclass(frozen=True)
class Places:
    """Where texts lie; none of them ever enters the repository."""

    data: Path
    """Folder with shared task data: ``glue/sst2/train.jsonl``, ``custom/snips/train.jsonl``."""
    cache: Path
    """Folder for what is fetched (``fetched``) and for what is made from it (a folder a task). It can be copied to another machine."""


def usual_places() -> Places:
    """``$PELT_AUTOML_DATA_DIR``, else ``../shared/data`` of the repository; and ``sources`` in the program's home folder."""
    data = os.environ.get(DATA_DIR)
    return Places(expanded(data) if data else ROOT.parent / "shared" / "data", home() / "sources")
