"""Files that replace others: whatever happens, a kill or a power cut too, the old one or the new one is there, whole.

Everything that this program writes in place of an earlier file goes through here. Only the standard library is imported.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_RUST = re.compile(r"\(os error (\d+)\)")
"""How what is written in Rust (safetensors, tokenizers) tells of the system's errors."""
_DRAFT = re.compile(r"\..+\.[0-9a-f]{16}\.draft(\.[^.]*)?")


def full_disk(error: BaseException) -> str | None:
    """What to say of a full disk, or of a used-up quota; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in FULL:
        return None
    return f"the disk is full ({error.filename or error}); free some space, then run the same command again"


@contextmanager
def full_disk_as_os_error(path: Path) -> Iterator[None]:
    """For writers in Rust, whose errors have no number: a full disk is an `OSError` with the number and `path`, as it is from others."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        number = _OF_RUST.search(str(error))
        if number is None or int(number[1]) not in FULL:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file to write to; it takes the place of `path` when the block ends, and is removed when the block fails.

    It lies in the same folder, which is made if need be, under a name that no other writer uses and with the same ending. File and folder
    are on disk when this returns. A link stays: what it points to is replaced. Raises `OSError`.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft_of(target)
    try:
        if target.is_file():
            if not os.access(target, os.W_OK):
                raise PermissionError(13, "Permission denied: it is write-protected", str(target))
            draft.chmod(stat.S_IMODE(target.stat().st_mode))
        with full_disk_as_os_error(target):
            yield draft
        sync(draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    sync(target.parent)


@contextmanager
def creating(path: Path) -> Iterator[Path]:
    """As `replacing`, for a file that must not be there yet: of several processes that begin at once, one makes it, whole.

    Raises `FileExistsError` at the end of the block when it is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft_of(path)
    try:
        with full_disk_as_os_error(path):
            yield draft
        sync(draft)
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """A new folder to write files to; each of them takes its place in `folder` when the block ends, and none does when the block fails.

    Other files of `folder` stay. For writers that choose their files' names themselves. Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", suffix=".draft", dir=folder) as name:
        draft = Path(name)
        with full_disk_as_os_error(folder):
            yield draft
        sync_tree(draft)
        for path in sorted(draft.rglob("*")):
            place = folder / path.relative_to(draft)
            if path.is_dir():
                place.mkdir(exist_ok=True)
            else:
                path.replace(place)
        for path in [draft, *draft.rglob("*")]:
            sync(folder / path.relative_to(draft))  # the folders; nothing else is left in it


def write_text(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def is_draft(name: str) -> bool:
    """Whether a file of this name is one that a killed process was writing."""
    return _DRAFT.fullmatch(name) is not None


def sync(path: Path) -> None:
    """Put a file's content, or a folder's list of names, on disk. Some file systems can't do that for folders: those are left alone."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Put a folder with all that is in it on disk."""
    for inside in folder.rglob("*"):
        if not inside.is_symlink():
            sync(inside)
    sync(folder)


def _draft_of(path: Path) -> Path:
    """A new, empty file beside `path`, with the permissions that a new file gets."""
    draft = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(8)}.draft{path.suffix[:20]}")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return draft
