"""Files that a log refers to by the SHA-256 of their content: outputs and states. What was damaged is never taken for what was written."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from pelt_automl.durable import full_disk_as_os_error, sync
from pelt_automl.errors import SelectionError

REFERENCE = re.compile(r"[0-9a-f]{64}(\.[a-z]+)?")
"""The SHA-256 of a file's content, and what kind of file it is."""


def is_reference(name: str) -> bool:
    """Whether a file's name is one that `put` gives."""
    return REFERENCE.fullmatch(name) is not None


def put(folder: Path, write: Callable[[Path], object], suffix: str = "") -> str:
    """Store what `write` writes to the path that it is given, and return its reference: the file's name in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".writing{suffix}"
    with full_disk_as_os_error(draft):
        write(draft)
    sync(draft)
    reference = _digest(draft) + suffix
    draft.replace(folder / reference)
    sync(folder)
    return reference


def get(folder: Path, reference: str) -> Path:
    """The file of a reference. Raises `SelectionError` when it isn't there, can't be read, or was changed."""
    if not is_reference(reference):
        raise SelectionError(f"{reference!r} is not the name of a file in {folder}: the SHA-256 of its content, in 64 hex digits")
    path = folder / reference
    try:
        if _digest(path) != reference.partition(".")[0]:
            raise SelectionError(f"{path} is damaged: its content isn't what was written")
    except OSError as error:
        raise SelectionError(f"{path} can't be read: {error.strerror}") from error
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
