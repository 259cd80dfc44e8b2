"""What went wrong in a training, in words, without what its stack frames hold: the tensors of a whole step."""

import traceback
from dataclasses import dataclass

import torch

LONGEST = 20_000
"""Characters of a traceback that are kept: its end."""

_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed", "cannot allocate memory")
"""What torch's allocators and the libraries below it say in a plain `RuntimeError`, in small letters."""


@dataclass(frozen=True)
class Failure:
    """An exception as text."""

    cause: str
    """Its type and message."""
    traceback: str
    """As Python prints it, those that led to it included; the last `LONGEST` characters."""
    of_memory: bool
    """Whether memory ran out, so that fewer trials at once may do."""

    @staticmethod
    def of(error: BaseException) -> "Failure":
        """All that is kept of `error`. Its frames are let go, and with them the memory that they hold."""
        text = "".join(traceback.format_exception(error))[-LONGEST:]
        found = Failure(f"{type(error).__name__}: {error}", text, is_of_memory(error))
        traceback.clear_frames(error.__traceback__)
        return found


def is_of_memory(error: BaseException) -> bool:
    """Whether `error`, or one that it was raised from, says that memory ran out, on a GPU or a processor."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OF_MEMORY):
        return True
    return error.__cause__ is not None and is_of_memory(error.__cause__)
