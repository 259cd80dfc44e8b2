"""Where a process's wall time goes: functions are wrapped from outside, and each second belongs to the innermost of them."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from typing import Any


@dataclass
class Entry:
    """What one name has used."""

    wall: float = 0.0
    cpu: float = 0.0
    """Of the thread itself: what is missing to `wall` it has waited (for a lock, a disk, a server, a GPU, or the processor)."""
    calls: int = 0


@dataclass
class _Thread(threading.local):
    """Names that the thread is inside of, outermost first, and when it was last looked at."""

    names: list[str] = field(default_factory=list)
    wall: float = 0.0
    cpu: float = 0.0


class Ledger:
    """Shares the wall time of a thread out among names that nest; what other threads do beside it is kept apart."""

    def __init__(self, rest: str, wall: Callable[[], float] = time.perf_counter, cpu: Callable[[], float] = time.thread_time) -> None:
        """From now on the time of this thread that belongs to no other name belongs to `rest`."""
        self.rest, self._wall, self._cpu = rest, wall, cpu
        self.entries: dict[str, Entry] = {}
        self.beside: dict[str, Entry] = {}
        """Of other threads."""
        self._home = threading.get_ident()
        self._thread = _Thread()
        self._thread.names.append(rest)
        self._thread.wall, self._thread.cpu = wall(), cpu()

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """The time inside belongs to `name`, less what belongs to names further in."""
        here = self._thread
        if here.names:
            self._charge()
        here.wall, here.cpu = self._wall(), self._cpu()
        here.names.append(name)
        self._entry(name).calls += 1
        try:
            yield
        finally:
            self._charge()
            here.names.pop()

    def _charge(self) -> None:
        here, wall, cpu = self._thread, self._wall(), self._cpu()
        entry = self._entry(here.names[-1])
        entry.wall += wall - here.wall
        entry.cpu += cpu - here.cpu
        here.wall, here.cpu = wall, cpu

    def _entry(self, name: str) -> Entry:
        book = self.entries if threading.get_ident() == self._home else self.beside
        return book.setdefault(name, Entry())

    def within(self, name: str) -> bool:
        """Whether this thread is inside of `name`."""
        return name in self._thread.names

    def close(self) -> None:
        """Charge what is left, from the thread that made the ledger."""
        self._charge()

    # ------------------------------------------------------------ wrapping

    def watch(self, place: str, name: str | Callable[[], str], look: Callable[[Any], None] = lambda _: None) -> bool:
        """Wrap a function or method given as ``package.module:Class.method``; False if it isn't there.

        A function is replaced wherever the program's modules have imported it. A `name` may be asked for at each call. `look` is told
        each result.
        """
        module_name, _, path = place.partition(":")
        try:
            holder: Any = import_module(module_name)
        except ModuleNotFoundError:
            return False
        *classes, last = path.split(".")
        for one in classes:
            holder = getattr(holder, one, None)
        found = getattr(holder, "__dict__", {}).get(last)
        if found is None:
            return False
        static = isinstance(found, staticmethod)
        original = found.__func__ if static else found
        wrapped = self._wrapped(original, name, look)
        if classes:
            setattr(holder, last, staticmethod(wrapped) if static else wrapped)
        else:
            _replace_everywhere(original, wrapped)
        return True

    def _wrapped(self, function: Callable[..., Any], name: str | Callable[[], str], look: Callable[[Any], None]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.inside(name if isinstance(name, str) else name()):
                result = function(*args, **kwargs)
                look(result)
                return result

        return timed


def _replace_everywhere(original: Any, wrapped: Any, packages: tuple[str, ...] = ("pelt_automl", "flows", "benchmarks")) -> None:
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").partition(".")[0] not in packages:
            continue
        for name, value in list(vars(module).items()):
            if value is original:
                setattr(module, name, wrapped)
