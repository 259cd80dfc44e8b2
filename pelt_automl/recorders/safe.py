"""A recorder that can't get in the way."""

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

from pelt_automl.records import Event, Recorder

logger = logging.getLogger(__name__)


class SafeRecorder:
    """Passes events on to another recorder and never raises.

    The first failure is reported as a warning, each different one is kept in `problems`. After a failure the other recorder is left
    alone for `pause` seconds, so that a server that is away doesn't cost its time-out once an event; `publish` always tries again,
    and sends what was missed where the recorder can (`MlflowRecorder` does).
    """

    def __init__(self, name: str, start: Callable[[], Recorder], pause: float = 60.0) -> None:
        """`start` makes the other recorder; it is called at the first event, so that nothing slow happens before there is one."""
        self.problems: list[str] = []
        self._name = name
        self._start = start
        self._pause = pause
        self._recorder: Recorder | None = None
        self._resume_at = 0.0

    def record(self, event: Event) -> None:
        """Pass the event on, unless the other recorder failed less than `pause` seconds ago."""
        if time.monotonic() >= self._resume_at:
            self._try(lambda: self._started().record(event))

    def publish(self, folder: Path) -> None:
        """Pass the call on, whatever failed before."""
        self._try(lambda: self._started().publish(folder))

    def close(self) -> None:
        """Close the other recorder, if it was ever started."""
        if self._recorder is not None:
            self._try(self._recorder.close)

    def _started(self) -> Recorder:
        if self._recorder is None:
            self._recorder = self._start()
        return self._recorder

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # whatever it is, the search goes on
            self._resume_at = time.monotonic() + self._pause
            self._report(f"{self._name} failed: {type(error).__name__}: {_first_line(error)}")

    def _report(self, problem: str) -> None:
        if not self.problems:
            logger.warning("%s. The selection goes on; records.jsonl has everything.", problem)
        if problem not in self.problems:
            self.problems.append(problem)


def _first_line(error: Exception) -> str:
    """What went wrong, short and without passwords: some libraries put stack traces and whole URIs into their messages."""
    lines = str(error).strip().splitlines() or ["no message"]
    return re.sub(r"//[^/@\s]*@", "//", lines[0])[:240]
