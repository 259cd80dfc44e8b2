"""Weights that only a selection under way needs, and where they are."""

from pathlib import Path
from typing import Literal

from pelt_automl.folders import WORK

Part = Literal["checkpoints", "finalists", "searched"]

PARTS: tuple[Part, ...] = ("checkpoints", "finalists", "searched")
"""Trials at their rungs, the finalists' runs, and the best of each method's search."""


def working(folder: Path, part: Part) -> Path:
    """One of these folders, in the ``work`` folder of a selection's."""
    return folder / WORK / part
