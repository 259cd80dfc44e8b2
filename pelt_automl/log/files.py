"""Files that a log refers to by the SHA-256 of their content: outputs and states. What was damaged is never taken for what was written."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pelt_automl.durable import full_disk, full_disk_as_os_error, sync
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


def adopt(folder: Path, reference: str, source: Path | bytes) -> Path:
    """Store what another process has made and named, and return its path: linked where that can be, else copied.

    Nothing else comes to lie under the name; what lies there whole stays. Raises `SelectionError` for a `source` that is damaged or can't
    be read.
    """
    with suppress(SelectionError):
        return get(folder, reference)
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / reference, folder / f".adopting{Path(reference).suffix}"
    draft.unlink(missing_ok=True)
    try:
        if isinstance(source, bytes):
            draft.write_bytes(source)
        else:
            _link_or_copy(source, draft)
        if not is_reference(reference) or _digest(draft) != reference.partition(".")[0]:
            said = f"what came for {path}" if isinstance(source, bytes) else str(source)
            raise SelectionError(f"{said} is damaged: its content isn't what was written")
        sync(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync(folder)
    return path


def _link_or_copy(source: Path, path: Path) -> None:
    try:
        try:
            os.link(source, path)
        except FileNotFoundError:
            raise
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, path)
    except OSError as error:
        if full_disk(error):
            raise
        raise SelectionError(f"{source} can't be read: {error.strerror}") from error


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
