"""Work in a forked child that `SIGKILL` may end: one life of a process that is resumed. Set torch to one thread before."""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def killed(work: Callable[[], Mapping[str, int]], told: Path) -> bool:
    """Whether `SIGKILL` ended it; else what `work` has returned is in the file `told`. Raises `RuntimeError` when it failed."""
    child = os.fork()
    if child == 0:
        try:
            told.write_text(json.dumps(work()))
        except BaseException:  # noqa: BLE001 told to the parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status not in (0, signal.SIGKILL):
        raise RuntimeError(f"the life that was to write {told} ended with {status}")
    return status != 0
