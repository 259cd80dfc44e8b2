"""Outputs of examples by reference: what a log refers to instead of holding it.

Outputs are one value per example: class indices, numbers, rows of numbers (logits, several labels, spans), or texts. They are a file whose
name is the SHA-256 of its content: numbers a safetensors file with the one tensor ``outputs``, ``(n, ...)``; texts, and whatever else isn't
an array of numbers, a JSON list. Where there is no folder, the reference is that list itself; so is what an old log held inline.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelt_automl.errors import SelectionError
from pelt_automl.log import files

NAME = "outputs"
"""Of the tensor."""
NUMBERS, TEXTS = ".safetensors", ".json"

Values = NDArray[Any] | list[Any]
"""``(n, ...)`` numbers, or n other values."""


class Outputs:
    """The outputs that a log refers to, each read and checked once, and where new ones go: files in `folder`, made if need be."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder, self._read = folder, dict[str, Values]()

    def put(self, outputs: Sequence[Any] | NDArray[Any]) -> str:
        """Keep outputs, and return their reference: the same for the same outputs.

        Raises `OSError` when the disk is full, and `TypeError` for values that neither a tensor nor JSON can hold.
        """
        from safetensors.numpy import save_file

        array = _numbers(outputs)
        if self.folder is not None and array is not None:
            return files.put(self.folder, lambda path: save_file({NAME: np.ascontiguousarray(array)}, path), NUMBERS)
        text = json.dumps(list(outputs) if array is None else array.tolist(), ensure_ascii=False)
        return text if self.folder is None else files.put(self.folder, lambda path: path.write_text(text, encoding="utf-8"), TEXTS)

    def get(self, reference: str) -> Values:
        """The outputs of a reference, of the type and shape that they were written with.

        Raises `SelectionError` when the file is missing, was changed, or isn't one that `put` has written.
        """
        if reference not in self._read:
            self._read[reference] = self._load(reference)
        return self._read[reference]

    def holds(self, reference: str) -> bool:
        """Whether they can be read."""
        try:
            self.get(reference)
        except SelectionError:
            return False
        return True

    def _load(self, reference: str) -> Values:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content: str | bytes
        if listed := reference.startswith("["):
            place, content = f"the list {reference[:40]!r}", reference
        elif self.folder is None:
            raise SelectionError(f"the outputs {reference!r} are a file in a selection's folder, and none was named")
        else:
            try:
                path = files.get(self.folder, reference)
            except SelectionError as error:
                raise SelectionError(f"{error}. Put back a copy of it, or begin again with another --output") from error
            place, content = str(path), path.read_bytes()
        try:
            found: Values = json.loads(content) if isinstance(content, str) or reference.endswith(TEXTS) else load(content)[NAME]
        except (ValueError, KeyError, SafetensorError, RecursionError) as error:
            raise SelectionError(f"{place} holds no outputs that this version has written: {error}") from error
        if not isinstance(found, list) and np.ndim(found) == 0:
            raise SelectionError(f"{place} holds no outputs: a value for each example is expected, not {found!r:.40}")
        array = _numbers(found) if listed else None
        return found if array is None else array


def _numbers(outputs: Sequence[Any] | NDArray[Any]) -> NDArray[Any] | None:
    """As an array; None where they aren't numbers, or rows of different lengths."""
    try:
        array = np.asarray(outputs)
    except ValueError:
        return None
    return array if array.dtype.kind in "biuf" else None
