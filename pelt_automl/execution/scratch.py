"""A worker's own folder for what it needs on disk: gone with it, and where it was killed, with the start of the next worker."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX, LOCK = "pelt-automl-worker-", "lock"

_HELD: list[int] = []
"""Open files whose locks say that this process lives; the system lets go of them when it ends, however that is."""


def own_folder(place: Path | None = None) -> Path:
    """A new folder in `place`, this process's own as long as it lives. Those that others of this user have left behind are removed.

    `place`: None for the system's temporary files. Raises `OSError`.
    """
    place = place or Path(tempfile.gettempdir())
    for other in place.glob(f"{PREFIX}*"):
        _remove_if_left(other)
    draft = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=place))
    handle = os.open(draft / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    _HELD.append(handle)
    return draft.rename(place / draft.name.removeprefix("."))  # from now on others see it, with its lock


def _remove_if_left(folder: Path) -> None:
    """Unless its process lives, or it is another user's."""
    with suppress(OSError):
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return
        handle = os.open(folder / LOCK, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)
