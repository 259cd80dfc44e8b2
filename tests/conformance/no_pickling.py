"""A ban on pickling, for as long as something runs."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch


class PicklingError(AssertionError):
    """Something was pickled, or read from a pickle."""


_banned: list[bool] = []


def _forbidden(*arguments, **options):
    raise PicklingError("nothing of a training, or of what it keeps, is ever pickled")


def _guarded(kind: type) -> type:
    """A class in whose place: libraries that are imported under the ban may derive from it, and go on working after it."""

    class Guarded(kind):
        def __init__(self, *arguments, **options):
            if _banned:
                _forbidden()
            super().__init__(*arguments, **options)

    return Guarded


@contextmanager
def no_pickling() -> Iterator[None]:
    """While active, whoever pickles or unpickles anything, or calls torch.save or torch.load, gets an error."""
    places = [(pickle, name, _forbidden) for name in ("dump", "dumps", "load", "loads")]
    places += [(pickle, name, _guarded(getattr(pickle, name))) for name in ("Pickler", "Unpickler")]
    places += [(torch, "save", _forbidden), (torch, "load", _forbidden)]
    patches = [patch.object(*place) for place in places]
    _banned.append(True)
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
        _banned.pop()
