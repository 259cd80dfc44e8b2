"""Weights that only a selection under way needs: where they are, and how those of an earlier version are taken over."""

import logging
import os
import shutil
from pathlib import Path
from typing import Literal

from pelt_automl.errors import SelectionError
from pelt_automl.folders import WORK, make_work_folder

log = logging.getLogger(__name__)

Part = Literal["checkpoints", "finalists", "searched"]

PARTS: tuple[Part, ...] = ("checkpoints", "finalists", "searched")
"""Trials at their rungs, the finalists' runs, and the best of each method's search."""


def working(folder: Path, part: Part) -> Path:
    """One of these folders in a selection's."""
    return folder / WORK / part


def prepare_work(folder: Path) -> None:
    """Make ``work/`` in the folder of a selection under way.

    Version 0.1.0 had its parts beside it, in the selection's folder. Their weights are taken over; the old folders stay, since what else is
    in them may be the user's. Raises `SelectionError`.
    """
    make_work_folder(folder)
    for part in PARTS:
        found = sorted((folder / part).glob("*.safetensors"))
        taken = [path for path in found if path.is_file() and _take_over(path, working(folder, part) / path.name)]
        if taken:
            log.warning("%s is of an earlier version: its weights are taken over, and the folder is left as it is", folder / part)


def _take_over(path: Path, to: Path) -> bool:
    """Whether it was; one that is there already has been trained further."""
    if to.exists():
        return False
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, to)
        except OSError:
            shutil.copy2(path, to)
    except OSError as error:
        raise SelectionError(f"{path} can't be taken over to {to} ({error.strerror})") from error
    return True
