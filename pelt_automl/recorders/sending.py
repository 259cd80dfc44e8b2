"""Sends a selection's folder to MLflow in a process of its own, which can't hold the selection up: a server that hangs is given up.

A process, since MLflow reads its time-outs from the environment, keeps global state, and a thread that hangs can't be ended.
"""

import json
import logging
import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from pelt_automl.durable import write_text
from pelt_automl.log.events import Event
from pelt_automl.printable import printable_uri, without_secrets
from pelt_automl.recorders.mlflow_server import default_tracking_uri, sqlite_file

logger = logging.getLogger(__name__)

SENT = "mlflow.json"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""What MLflow reads from its process's environment, where the user has set nothing: seconds, not minutes, for a server that is away."""
COMMAND = (sys.executable, "-P", "-m", "pelt_automl.recorders")
"""``-P``: no module is taken from the folder that the user is in."""
START_SECONDS = 45.0
"""Until MLflow is imported and a new SQLite file has its tables, on a busy machine."""
SILENT_SECONDS = 8.0
"""Between two answers of the server, before it is given up."""
MOST_SECONDS = 60.0
"""For everything at the end of a selection; MLflow's import and large files come on top."""
SLOWEST = 5e6
"""Bytes a second that a server must take at least."""


@dataclass(frozen=True)
class Sent:
    """What MLflow has of a selection, as ``mlflow.json`` in its folder says."""

    uri: str
    """Of the server or SQLite file, without a password."""
    problem: str = ""
    """Why MLflow hasn't everything; empty when it has."""
    complete: bool = False
    """Whether the selection had ended, so that there is no more to send."""
    experiment: str = ""
    run: str = ""
    """Ids in MLflow."""
    trainings: int = 0
    model: str = ""
    """Name of the registered model; empty where there is no winner."""
    version: str = ""
    champion: str = ""
    """What happened to the alias ``champion``, in words."""

    @property
    def run_page(self) -> str:
        """Address of the selection's run on the server; empty for a file."""
        return f"{self.uri.rstrip('/')}/#/experiments/{self.experiment}/runs/{self.run}" if self.run and self._is_server else ""

    @property
    def version_page(self) -> str:
        """Address of the winner's version on the server; empty for a file, or where there is none."""
        return f"{self.uri.rstrip('/')}/#/models/{self.model}/versions/{self.version}" if self.version and self._is_server else ""

    @property
    def _is_server(self) -> bool:
        return self.uri.startswith(("http://", "https://"))


def sent_of(folder: Path) -> Sent | None:
    """What was sent of the selection in `folder`; None when nobody has tried, or the file isn't one of ours."""
    try:
        data = json.loads((folder / SENT).read_text(encoding="utf-8"))
        known = {own.name for own in fields(Sent)}
        return Sent(**{name: value for name, value in data.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def is_sent(folder: Path) -> bool:
    """Whether the MLflow in use has all of the selection, as far as its folder knows."""
    sent, uri = sent_of(folder), default_tracking_uri()
    file = sqlite_file(uri)
    return bool(sent and sent.complete and not sent.problem and sent.uri == printable_uri(uri) and (file is None or file.is_file()))


def send_folder(folder: Path, most: float = MOST_SECONDS) -> Sent:
    """Send what is missing and keep the answer in the folder's ``mlflow.json``. Never raises for a server that is away or hangs;
    `OSError` when no process can be started or the folder can't be written.

    `most`: seconds at most, large files apart; a server that doesn't answer is given up after `SILENT_SECONDS`.
    """
    uri, paths = default_tracking_uri(), [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = ENVIRONMENT | os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        child = subprocess.Popen(  # noqa: S603
            [*COMMAND, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )
        assert child.stdout is not None
        try:
            answer = _answer(child.stdout, most)
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        if answer is None:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or ["its process ended without a word"]
            answer = {"problem": without_secrets(lines[-1])[:240]}
    sent = Sent(**answer | {"uri": printable_uri(uri)})
    write_text(folder / SENT, json.dumps(asdict(sent), ensure_ascii=False, indent=2) + "\n")
    return sent


def _answer(lines: IO[bytes], most: float) -> dict[str, Any] | None:
    """The answer among a child's lines of JSON, each of which says how many seconds the next may take, or what went wrong; None when it
    has ended without any.
    """
    allowed, deadline, rest = START_SECONDS, float("inf"), b""
    while True:
        left = deadline - time.monotonic()
        if not select.select([lines], [], [], max(0.0, min(allowed, left)))[0]:
            return {"problem": f"it didn't answer for {allowed:.0f} s" if allowed <= left else f"it took longer than {most:.0f} s"}
        if not (read := os.read(lines.fileno(), 65_536)):
            return None
        *whole, rest = (rest + read).split(b"\n")
        for line in whole:
            try:
                said = json.loads(line)
            except ValueError:  # a library's own print
                continue
            if isinstance(said, dict) and "seconds" not in said:
                return said
            if isinstance(said, dict):
                allowed = float(said["seconds"])
                deadline = min(deadline, time.monotonic() + most) + max(0.0, allowed - SILENT_SECONDS)  # more for a large file


class MlflowRecorder:
    """Syncs a selection's folder to MLflow once it has ended; `pelt-automl sync` does the same at any time."""

    def record(self, event: Event) -> None:
        """Nothing to do: the folder has every event."""

    def publish(self, folder: Path) -> None:
        """Send what is missing, unless MLflow has it all; say what happened."""
        if is_sent(folder):
            return
        try:
            sent = send_folder(folder)
        except Exception as error:  # noqa: BLE001  # whatever it is, the selection has ended and its folder is complete
            sent = Sent(printable_uri(default_tracking_uri()), without_secrets(f"{type(error).__name__}: {error}"))
        if sent.problem:
            again = f"Nothing is lost; once it is back: pelt-automl sync {folder}"
            logger.warning("MLflow at %s hasn't got everything: %s. %s", sent.uri, sent.problem, again)
        elif sent.champion:
            logger.info("MLflow: %s: %s", sent.model, sent.champion)

    def close(self) -> None:
        """Nothing to do."""
