"""A recorder whose work is done in a thread of its own, so that it never costs search time."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pelt_automl.recorders.safe import SafeRecorder
from pelt_automl.records import Ephemeral, Event

logger = logging.getLogger(__name__)


class BackgroundRecorder:
    """Queues every call for one thread that passes them on, in order, to a `SafeRecorder`.

    `record` returns at once. `publish` and `close` wait until the queue is empty, at most `patience` seconds; what is still queued
    then is given up and reported. The thread is a daemon: a program that dies doesn't wait for it.

    `begins_with`: the kinds of events with which the work begins. Earlier ones are queued until then, or until `publish` or `close`: a
    recorder's start takes seconds of a core, and must not fall into the time in which the machine's speed is measured.
    """

    def __init__(self, recorder: SafeRecorder, patience: float = 60.0, begins_with: tuple[type[Event], ...] = (Event,)) -> None:
        self._recorder = recorder
        self._patience = patience
        self._begins_with = begins_with
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._given_up = False

    @property
    def problems(self) -> list[str]:
        """What went wrong so far, each once."""
        return self._recorder.problems

    def record(self, event: Event) -> None:
        """Queue the event, unless only a display is interested in it."""
        if not isinstance(event, Ephemeral):
            self._queue(lambda: self._recorder.record(event), begin=isinstance(event, self._begins_with))

    def publish(self, folder: Path) -> None:
        """Queue the call and wait for it."""
        self._queue(lambda: self._recorder.publish(folder))
        self._wait()

    def close(self) -> None:
        """Wait for what is queued, close the other recorder and end the thread; closing twice is harmless."""
        if self._thread is None and self._calls.empty():
            return
        self._queue(self._recorder.close)
        self._wait()
        self._calls.put(None)
        if self._thread is not None and not self._given_up:
            self._thread.join(timeout=1.0)
        self._thread = None

    def _queue(self, call: Callable[[], None], *, begin: bool = True) -> None:
        if self._given_up:
            return
        self._calls.put(call)
        if begin and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="pelt-automl-recorder", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if not self._given_up:
                call()

    def _wait(self) -> None:
        done = threading.Event()
        started = time.monotonic()
        self._queue(done.set)
        if not self._given_up and not done.wait(self._patience):
            self._given_up = True
            problem = f"the recorder still wasn't done after {time.monotonic() - started:.0f} s and was given up"
            logger.warning("%s; records.jsonl has everything.", problem)
            self._recorder.problems.append(problem)
