"""Outputs of examples as files that are named by the SHA-256 of their content: what a log refers to instead of holding it.

Outputs are one value per example: class indices, numbers, rows of numbers (logits, several labels, spans), or texts. Numbers become a
safetensors file with the one tensor ``outputs``, ``(n, ...)``; texts, and whatever else isn't an array of numbers, a JSON list.
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

Outputs = NDArray[Any] | list[Any]
"""``(n, ...)`` numbers, or n other values."""


def put(folder: Path, outputs: Sequence[Any] | NDArray[Any]) -> str:
    """Write outputs into `folder`, which is made if need be, and return their reference: the same for the same outputs.

    Raises `OSError` when the disk is full, and `TypeError` for values that neither a tensor nor JSON can hold.
    """
    from safetensors.numpy import save_file

    array = _numbers(outputs)
    if array is None:
        text = json.dumps(list(outputs), ensure_ascii=False)
        return files.put(folder, lambda path: path.write_text(text, encoding="utf-8"), TEXTS)
    return files.put(folder, lambda path: save_file({NAME: np.ascontiguousarray(array)}, path), NUMBERS)


def _numbers(outputs: Sequence[Any] | NDArray[Any]) -> NDArray[Any] | None:
    """As an array; None where they aren't numbers, or rows of different lengths."""
    try:
        array = np.asarray(outputs)
    except ValueError:
        return None
    return array if array.dtype.kind in "biuf" else None


def get(folder: Path, reference: str) -> Outputs:
    """The outputs of a reference, of the type and shape that they were written with.

    Raises `SelectionError` when the file is missing, was changed, or isn't one that `put` has written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = files.get(folder, reference).read_bytes()
    try:
        found: Outputs = json.loads(content) if reference.endswith(TEXTS) else load(content)[NAME]
    except (ValueError, KeyError, SafetensorError, RecursionError) as error:
        raise SelectionError(f"{folder / reference} holds no outputs that this version has written: {error}") from error
    return found
