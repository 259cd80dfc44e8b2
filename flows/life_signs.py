"""Whether a flow run is alive. Prefect can't tell: a run whose process was killed stays Running.

A run holds a lock file of its own while it works. The system lets go of it however the process ends, so that the answer is exact for
the runs of this machine and this ``PELT_AUTOML_HOME``. For others there are Prefect's heartbeats, an event every half minute.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pelt_automl.config import home


def lock_file(run_id: str) -> Path:
    """Where the flow run's lock lies; it holds the number of its process and the run's name."""
    return home() / "flow-runs" / f"{run_id}.lock"


@contextmanager
def alive(run_id: str | None, name: str = "") -> Iterator[None]:
    """Hold the run's lock while inside; outside a flow run (None) nothing happens."""
    if run_id is None:
        yield
        return
    path = lock_file(run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # whoever looks holds it for a moment
        file.write(f"{os.getpid()} {name}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before it is let go: a file that nobody holds means a death


def is_alive(run_id: str) -> bool | None:
    """Whether a process of this machine works on the run; None when it never began to, here, or has come to its end."""
    try:
        with lock_file(run_id).open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return None
    return False


def process_of(run_id: str) -> int | None:
    """The number of the process that holds the run's lock; None when none does."""
    if not is_alive(run_id):
        return None
    with suppress(OSError, ValueError, IndexError):
        return int(lock_file(run_id).read_text(encoding="utf-8").split(maxsplit=1)[0])
    return None


def forget(run_id: str) -> None:
    """Take away what a dead run left."""
    lock_file(run_id).unlink(missing_ok=True)
