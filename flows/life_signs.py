"""Whether a flow run is alive. Prefect can't tell: a run whose process was killed stays Running.

A run holds a lock file of its own while it works. The system lets go of it however the process ends, so that the answer is exact for
the runs of this machine and this ``PELT_AUTOML_HOME``. For others, and where nothing can be locked (some network folders), there are
Prefect's heartbeats, an event every half minute.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from pelt_automl.home import home

logger = logging.getLogger(__name__)


def lock_file(run_id: str) -> Path:
    """Where the flow run's lock lies; it holds the number of its process and the run's name."""
    return home() / "flow-runs" / f"{run_id}.lock"


@contextmanager
def alive(run_id: str | None, name: str = "", log: "logging.Logger | logging.LoggerAdapter[Any]" = logger) -> Iterator[None]:
    """Hold the run's lock while inside; outside a flow run (None) nothing happens.

    A lock that can't be had is no reason not to work: `log` is warned, and heartbeats tell that the run is alive.
    """
    if run_id is None:
        yield
        return
    path = lock_file(run_id)
    try:
        file = _held(path, f"{os.getpid()} {name}")
    except OSError as error:
        log.warning(
            "%s can't be locked (%s). The run goes on, and only Prefect's heartbeats tell that it is alive: a kill is seen minutes later. "
            "Set PELT_AUTOML_HOME to a folder on a local disk to have it seen at once.",
            path,
            error.strerror or error,
        )
        yield
        return
    with file:
        try:
            yield
        finally:
            _remove(path)  # before it is let go: a file that nobody holds means a death


def _held(path: Path, content: str) -> TextIO:
    """The lock file, open and locked. Raises `OSError`, and then there is no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")  # a lock that is seen and isn't held means a death
    file = draft.open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(content)
        file.flush()
        draft.replace(path)
    except OSError:
        _remove(draft)
        with suppress(OSError):  # what couldn't be written is tried again
            file.close()
        raise
    return file


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def is_alive(run_id: str) -> bool | None:
    """Whether a process of this machine works on the run; None when it never began to, here, or has come to its end.

    None, too, when the lock can't be looked at.
    """
    try:
        with lock_file(run_id).open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def process_of(run_id: str) -> int | None:
    """The number of the process that holds the run's lock; None when none does."""
    if not is_alive(run_id):
        return None
    with suppress(OSError, ValueError, IndexError):
        return int(lock_file(run_id).read_text(encoding="utf-8").split(maxsplit=1)[0])
    return None


def left() -> list[str]:
    """The runs that this machine's processes worked on when they died."""
    return [path.stem for path in sorted((home() / "flow-runs").glob("*.lock")) if is_alive(path.stem) is False]


def forget(run_id: str) -> None:
    """Take away what a dead run left."""
    lock_file(run_id).unlink(missing_ok=True)
