"""What this machine has shown before: small files in the program's home, one for each thing that is remembered.

So two processes never write into each other's; of the same thing the newest counts. What is damaged, by hand or by a full disk, is as good
as not there, and is written again.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pelt_automl.durable import write_text
from pelt_automl.home import home

log = logging.getLogger(__name__)

T = TypeVar("T")


def recall(what: str, of: Mapping[str, object], kind: type[T]) -> T | None:
    """What was shown; None where nothing is remembered, or nothing that can be used.

    `what`: a word for it, part of the file's name. `of`: all that it depends on, as plain values. `kind`: a dataclass, whose fields' types
    are checked, and whose ``__post_init__`` may raise `ValueError`.
    """
    try:
        import msgspec
    except ImportError:  # the training core and its studies run without it, and remember nothing
        return None
    path = _file(what, of)
    try:
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
        shown, about = msgspec.json.decode(known["shown"], type=kind), json.loads(bytes(known["of"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:  # msgspec's errors are ValueErrors
        log.info("%s can't be used, and will be written again: %s: %s", path, type(error).__name__, error)
        return None
    if about != json.loads(_text(of)):
        log.info("%s can't be used, and will be written again: it is about something else", path)
        return None
    return shown


def remember(what: str, of: Mapping[str, object], shown: object) -> None:
    """Keep a dataclass in place of what was remembered of the same. A home that can't be written to is no error."""
    with suppress(OSError, ImportError):
        import msgspec

        write_text(_file(what, of), f'{{"shown": {msgspec.json.encode(shown).decode()},\n"of": {_text(of)}}}\n')


def _text(of: Mapping[str, object]) -> str:
    return json.dumps(of, sort_keys=True, default=str)


def _file(what: str, of: Mapping[str, object]) -> Path:
    return home() / "cache" / f"{what}-{hashlib.sha256(_text(of).encode()).hexdigest()[:16]}.json"
