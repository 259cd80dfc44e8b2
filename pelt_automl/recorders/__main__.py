"""``python -m pelt_automl.recorders FOLDER`` sends a selection's folder to MLflow, in the process that `sending` watches.

Writes JSON lines: the seconds until the next one, and at last the answer (fields of `sending.Sent`).
"""

import fcntl
import hashlib
import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pelt_automl.errors import PeltError
from pelt_automl.home import home
from pelt_automl.log.folder import exclusive
from pelt_automl.printable import without_secrets
from pelt_automl.recorders.mlflow_server import default_tracking_uri
from pelt_automl.recorders.sending import SILENT_SECONDS, SLOWEST

TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
BUSY = "another process is sending this selection right now"

IN_WORDS = {
    "ReadTimeoutError": "it took the connection and gave no answer within seconds",
    "ConnectTimeoutError": "it can't be reached (no answer)",
    "NameResolutionError": "it can't be reached (its name isn't known)",
    "NewConnectionError": "it can't be reached (connection refused)",
    "RemoteDisconnected": "it closed the connection without an answer",
    "ConnectionResetError": "it closed the connection without an answer",
}
"""By urllib3's names, which MLflow quotes in its errors."""


def main(folder: Path) -> None:
    """Send and answer."""
    answers, timeout = sys.stdout, os.environ.get(TIMEOUT, "5")

    def say(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    def sending(size: float = 0) -> None:
        """So many bytes are sent next: how long that may take, here and to MLflow."""
        os.environ[TIMEOUT] = str(int(timeout) + int(size / SLOWEST))
        say(seconds=SILENT_SECONDS + size / SLOWEST)

    with redirect_stdout(sys.stderr):
        say(**_sent(folder, sending))


def _sent(folder: Path, sending: Any) -> dict[str, Any]:
    from pelt_automl.recorders.mlflow_sync import sync

    try:
        with _locked(folder) as mine:  # two at once would make its runs twice
            return asdict(sync(folder, default_tracking_uri(), sending, sending)) if mine else {"problem": BUSY}
    except PeltError as error:
        return {"problem": str(error)}
    except Exception as error:  # noqa: BLE001  # whatever it is, the selection is done and its folder complete
        return {"problem": _in_short(error)}


def _locked(folder: Path) -> AbstractContextManager[bool]:
    """The selection's folder, until this process ends; False where another process has it.

    A file in the home stands in where the folder itself can't be locked: NFS locks only what is opened for writing.
    """
    try:
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return nullcontext(enter_result=False)
    except OSError:
        lock = home() / "sending" / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}.lock"
        with suppress(OSError):
            lock.parent.mkdir(parents=True, exist_ok=True)
        return exclusive(lock, "set PELT_AUTOML_HOME to a folder on a local disk")
    return nullcontext(enter_result=True)


def _in_short(error: Exception) -> str:
    """What went wrong, without passwords: some libraries put stack traces and whole addresses into their messages."""
    known = next((words for name, words in IN_WORDS.items() if name in str(error)), None)
    lines = str(error).strip().splitlines() or ["no message"]
    return known or without_secrets(f"{type(error).__name__}: {lines[0]}")[:300]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
