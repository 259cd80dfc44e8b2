"""What the program changes of the process that it works in, undone when it ends: another program's process may be its home."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import torch

from pelt_automl.backbones.loading import best_device
from pelt_automl.search.proposer import quiet_optuna
from pelt_automl.training.memory import kept_pages


class _Holders:
    """Who is at work in this process: the first one notes how it found it, the last one leaves it so."""

    count = 0
    lock = threading.Lock()
    stack = ExitStack()


@contextmanager
def process_restored() -> Iterator[None]:
    """Torch's threads, the C library's options, loggers and warnings' filters are afterwards as they were before.

    The environment isn't changed: MLflow, which reads much from it, has a process of its own.

    May be nested, and used by several threads: then the last to end restores them. What can't be undone: libraries that were imported stay
    so, and the kernels that oneDNN has compiled stay in its cache (`pelt_automl.backbones.loading`).
    """
    with _Holders.lock:
        _Holders.count += 1
        if _Holders.count == 1:
            for part in (_loggers(), warnings.catch_warnings(), quiet_optuna()):
                _Holders.stack.enter_context(part)
            _Holders.stack.enter_context(kept_pages() if best_device().type == "cpu" else nullcontext())
    try:
        with _threads():
            yield
    finally:
        with _Holders.lock:
            _Holders.count -= 1
            if _Holders.count == 0:
                _Holders.stack.close()


@contextmanager
def _threads() -> Iterator[None]:
    """Each thread of a process has its own number of torch's threads."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _loggers() -> Iterator[None]:
    """Levels of all loggers that there are, and the root's handlers."""
    root = logging.getLogger()
    existing = [own for own in root.manager.loggerDict.values() if isinstance(own, logging.Logger)]
    loggers = {root, *existing}
    before = {own: (own.level, own.disabled) for own in loggers}
    handlers = root.handlers[:]
    try:
        yield
    finally:
        for own, (level, disabled) in before.items():
            own.setLevel(level)
            own.disabled = disabled
        root.handlers[:] = handlers
