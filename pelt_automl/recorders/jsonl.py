"""The selection's own record: a JSON lines file that survives a kill."""

import os
from pathlib import Path

from pelt_automl.errors import SelectionError
from pelt_automl.records import Ephemeral, Event, to_json


class JsonlRecorder:
    """Appends each event that is kept as one line of `path`, on disk before `record` returns.

    A ``kill -9`` loses at most the line that is being written; what it left of that line is cut off at the next opening. This is
    the one recorder that may raise (`SelectionError` when the file can't be opened, `OSError` when the disk is full): a selection
    without its record is worth nothing.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _cut_off_partial_line(path)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise SelectionError(f"can't write the selection's records to {path}: {error.strerror}; choose another --output") from error

    def record(self, event: Event) -> None:
        """Append the event, unless only a display is interested in it."""
        if isinstance(event, Ephemeral):
            return
        self._file.write(to_json(event) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def publish(self, folder: Path) -> None:
        """Nothing to do: every event is on disk already."""

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._file.close()


def _cut_off_partial_line(path: Path) -> None:
    """Shorten the file to the end of its last whole line, reading backwards in blocks."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65_536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
