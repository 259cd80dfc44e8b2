"""``python -m pelt_automl.recorders FOLDER`` sends a selection's folder to MLflow, in the process that `sending` watches.

Writes JSON lines: the seconds until the next one, and at last the answer (fields of `sending.Sent`).
"""

import fcntl
import hashlib
import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pelt_automl.errors import PeltError
from pelt_automl.home import home
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
    answers = sys.stdout

    def say(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    with redirect_stdout(sys.stderr):
        say(**_sent(folder, _Pace(say)))


class _Pace:
    """Says how long the next step may take, here and to MLflow."""

    def __init__(self, say: Any) -> None:
        self._say, self._timeout = say, os.environ.get(TIMEOUT, "5")

    def alive(self) -> None:
        """The server has answered."""
        os.environ[TIMEOUT] = self._timeout
        self._say(seconds=SILENT_SECONDS)

    def sending(self, size: float) -> None:
        """`size` bytes are sent next."""
        os.environ[TIMEOUT] = str(int(self._timeout) + int(size / SLOWEST))
        self._say(seconds=SILENT_SECONDS + size / SLOWEST)


def _sent(folder: Path, pace: _Pace) -> dict[str, Any]:
    from pelt_automl.recorders.mlflow_sync import send

    if problem := _hold(folder):
        return {"problem": problem}
    try:
        receipt = asdict(send(folder, default_tracking_uri(), pace.alive, pace.sending))
    except PeltError as error:
        return {"problem": str(error)}
    except Exception as error:  # noqa: BLE001  # whatever it is, the selection is done and its folder complete
        return {"problem": _in_short(error)}
    registered = receipt.pop("registered") or {"model": "", "version": "", "said": ""}
    return receipt | {"model": registered["model"], "version": registered["version"], "champion": registered["said"]}


def _hold(folder: Path) -> str:
    """Lock the selection until this process ends; says why it can't be, else nothing. Two that send at once would make its runs twice."""
    try:
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return BUSY
    except OSError:
        return _hold_in_home(folder)
    return ""


def _hold_in_home(folder: Path) -> str:
    """The same where the folder itself can't be locked: NFS locks only what is opened for writing, and some file systems lock nothing."""
    lock = home() / "sending" / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        fcntl.flock(os.open(lock, os.O_RDWR | os.O_CREAT, 0o666), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return BUSY
    except OSError as error:
        return (
            f"neither {folder} nor {lock} can be locked ({error.strerror}), so another process could send the same at the same time; "
            "set PELT_AUTOML_HOME to a folder on a local disk"
        )
    return ""


def _in_short(error: Exception) -> str:
    """What went wrong, without passwords: some libraries put stack traces and whole addresses into their messages."""
    known = next((words for name, words in IN_WORDS.items() if name in str(error)), None)
    if known:
        return known
    lines = str(error).strip().splitlines() or ["no message"]
    return without_secrets(f"{type(error).__name__}: {lines[0]}")[:300]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
