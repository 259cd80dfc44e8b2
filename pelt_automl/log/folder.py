"""Output folders: what is where in them, which of them the program may write to, who works in one, the log's file, and the one folder
inside that is cleared away.

A folder that the user names is written to when it is new or empty, or when it holds what the same command has written there before.
Nothing in it is ever deleted but its ``work`` folder, and that only when this program made it, which a file in it says.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from pelt_automl.durable import is_draft, sync, write_text
from pelt_automl.errors import SelectionError
from pelt_automl.log.codec import read, to_json
from pelt_automl.log.events import Ephemeral, Event
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs

log = logging.getLogger(__name__)

Kind = Literal["selection", "curve", "reproduction"]

RECORDS, LOCK, CURVE, PROTOCOL = "records.jsonl", "selection.lock", "k-curve.json", "protocol.json"
RECOMMENDATION, REPORT, PAGE = "recommendation.json", "report.md", "report.html"
OUTPUTS = "outputs"
"""Folder of the files that the records refer to, inside a selection's."""
WINNER = "winner"
"""Folder of the trained weights, inside a selection's."""
WORK, MARKER = "work", "MADE_BY_PELT_AUTOML.txt"

IN_WORDS = {"selection": "a selection", "curve": "a curve over K", "reproduction": "a reproduction of UniPELT's tables"}

MARK = (
    "This folder was made by pelt-automl. It holds what a selection needs while it runs, and is deleted when the selection has ended.\n"
    "Keep nothing of your own here.\n"
)

_FIRST_EVENT = "SelectionStarted"
_SHOWN = 5


def check_output(folder: Path, kind: Kind) -> None:
    """Refuse a folder that isn't this program's to write to, before anything is written.

    Raises `SelectionError` for a file, for a folder that can't be read, for one that holds another kind of result, and for one that isn't
    empty and holds none of its own.
    """
    try:
        if not folder.is_dir():
            _check_place(folder)
            return
        found = held_by(folder)
        if found == kind:
            return
        if found:
            raise SelectionError(f"{folder} holds {IN_WORDS[found]}; choose another folder with --output")
        inside = sorted(path.name for path in folder.iterdir() if not is_draft(path.name) and path.name != LOCK)
    except OSError as error:
        raise SelectionError(f"the folder {folder} can't be read ({error.strerror}); choose another --output") from error
    if RECORDS in inside and kind == "selection":
        raise SelectionError(
            f"{folder / RECORDS} doesn't begin as a selection's records do: it is damaged or something else. Choose another --output"
        )
    if inside:
        more = f" and {len(inside) - _SHOWN} more" if len(inside) > _SHOWN else ""
        raise SelectionError(
            f"{folder} isn't empty and doesn't hold {IN_WORDS[kind]} (it has {', '.join(inside[:_SHOWN])}{more}); nothing was written. "
            f"Choose a new or empty folder with --output, such as {folder / kind}"
        )


def _check_place(folder: Path) -> None:
    if folder.is_symlink() and not folder.exists():
        raise SelectionError(f"{folder} is a link to {folder.readlink()}, which isn't there; choose another folder with --output")
    if folder.exists():
        raise SelectionError(f"{folder} is a file; choose a folder with --output")


def held_by(folder: Path) -> Kind | None:
    """What this program has written there, or has begun to; None for any other folder. Raises `OSError`."""
    if _is_selection(folder):
        return "selection"
    if _is_json_object(folder / CURVE, "ks", "points") or any(_is_selection(inside) for inside in folder.glob("k-*")):
        return "curve"
    return "reproduction" if _is_json_object(folder / PROTOCOL, "model", "training") else None


def _is_selection(folder: Path) -> bool:
    """Whether there are a selection's records; a process that was killed at once may have left no more than the start of them."""
    path = folder / RECORDS
    if not path.is_file():
        return False
    with path.open("rb") as file:
        line = file.readline()
    if line.endswith(b"\n"):
        with suppress(ValueError, RecursionError, AttributeError):
            return bool(json.loads(line).get("event") == _FIRST_EVENT)
        return False
    start = b'{"event": "%s"' % _FIRST_EVENT.encode()
    return line[: len(start)] == start[: len(line)] and (folder / LOCK).is_file()


def _is_json_object(path: Path, *fields: str) -> bool:
    with suppress(FileNotFoundError, ValueError, RecursionError):
        found = json.loads(path.read_bytes())
        return isinstance(found, dict) and set(fields) <= set(found)
    return False


def make_output(folder: Path) -> None:
    """Make an output folder if it isn't there. Raises `SelectionError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SelectionError(f"the folder {folder} can't be made ({error.strerror}); choose another --output") from error


@contextmanager
def exclusive(path: Path, otherwise: str = "") -> Iterator[bool]:
    """Hold the lock file `path` while inside; False when another process has it. Released by the system when the holder dies.

    Raises `SelectionError` when the file system can't lock it, or doesn't let it be written; `otherwise`: what can be done about it.
    """
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)  # a soft one would outlive a kill
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.filename is None:  # of the lock, not of the file
            says = f"{path} can't be locked ({error.strerror}), as on some network folders; choose an --output on a local disk"
        else:
            says = f"the folder {path.parent} can't be written ({error.strerror}); choose another --output"
        raise SelectionError(f"{says.rpartition('; ')[0]}; {otherwise}" if otherwise else says) from error
    try:
        yield True
    finally:
        lock.release()


# -------------------------------------------------------------------- the log's file


def history_of(folder: Path) -> History:
    """The fold of a selection's records, which lie in `folder`. Raises `SelectionError` for records that can't be read."""
    return History.of(read(folder / RECORDS), Outputs(folder / OUTPUTS))


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
    """Shorten the file to the end of its last whole line."""
    if path.exists():
        with path.open("r+b") as file:
            content = file.read()
            if (end := content.rfind(b"\n") + 1) < len(content):
                file.truncate(end)


# -------------------------------------------------------------------- what only the work needs


def make_work_folder(folder: Path) -> None:
    """Make ``work/`` in an output folder, marked as this program's, unless it is there.

    Raises `SelectionError` when something else has that name, and when it can't be made.
    """
    work = folder / WORK
    if is_own_work_folder(work):
        return
    if work.is_symlink() or work.exists():
        raise SelectionError(
            f"{work} isn't a folder that this program made (there is no {MARKER} in it); move it away, or choose another --output"
        )
    unmarked = folder / f".{WORK}.{MARKER}"  # so that there is never one without its mark
    try:
        unmarked.mkdir(exist_ok=True)
        write_text(unmarked / MARKER, MARK)
        unmarked.rename(work)
        sync(folder)
    except OSError as error:
        raise SelectionError(f"the folder {work} can't be made ({error.strerror}); choose another --output") from error


def is_own_work_folder(work: Path) -> bool:
    """Whether this program made it."""
    marker = work / MARKER
    return not work.is_symlink() and not marker.is_symlink() and marker.is_file()


def clear_work_folder(folder: Path, parts: tuple[str, ...]) -> None:
    """Delete these folders in ``work/``, and it too if nothing else is in it. One that this program didn't make is left alone."""
    work = folder / WORK
    if not is_own_work_folder(work):
        return
    try:
        for name in parts:
            part = work / name
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
        if [path.name for path in work.iterdir()] == [MARKER]:
            (work / MARKER).unlink()
            work.rmdir()
    except OSError as error:
        log.warning("%s can't be cleared away (%s); it isn't needed any more", work, error.strerror or error)
