"""The working folder of a recording: a file a finished training, and a lock for each that is under way.

A lock is released by the system when its holder dies, so that a killed process loses the training under way and nothing else.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pelt_automl.durable import write_text
from pelt_automl.errors import SelectionError, SettingsError
from pelt_automl.home import home
from pelt_automl.log.folder import exclusive

TRAININGS, LOCKS = "trainings", "locks"


def usual_folder() -> Path:
    """``table`` in the program's home folder."""
    return home() / "table"


@dataclass(frozen=True)
class TableFolder:
    """Shared by any number of processes."""

    path: Path

    def make(self) -> "TableFolder":
        """Raises `SettingsError` when it can't be made."""
        try:
            for name in (TRAININGS, LOCKS):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"the folder {self.path} can't be made ({error.strerror}); choose another --folder") from error
        return self

    def keys(self) -> set[str]:
        """Of the finished trainings."""
        return {path.stem for path in (self.path / TRAININGS).glob("*.json") if not path.name.startswith(".")}

    def has(self, key: str) -> bool:
        """Whether it is finished."""
        return self._file(key).is_file()

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Whether it is this process's to train, as long as the block lasts: nobody else's, and not finished."""
        with exclusive(self.path / LOCKS / f"{key}.lock") as mine:
            yield mine and not self.has(key)

    def add(self, key: str, record: dict[str, Any]) -> None:
        """A finished training; it is on disk when this returns."""
        write_text(self._file(key), json.dumps(record) + "\n")

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All of them by key. Raises `SelectionError` for a file that can't be read."""
        for key in sorted(self.keys()):
            path, again = self._file(key), "move it away and record that training again"
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise SelectionError(f"{path} can't be read: {error}; {again}") from error
            if not isinstance(found, dict) or found.get("key") != key:
                raise SelectionError(f"{path} can't be read: it isn't the record of that training; {again}")
            yield key, found

    def _file(self, key: str) -> Path:
        return self.path / TRAININGS / f"{key}.json"
