"""A selection whose workers somebody else brings: it waits for the first, its time limit doesn't, and it says when the work is done."""

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.execution import leashed
from pelt_automl.execution.certificates import Certificates
from pelt_automl.log.events import SegmentEnded, WorkerJoined, WorkerLeft, WorkersAwaited, of_kind
from pelt_automl.options import settings_from
from pelt_automl.selection import Selection
from pelt_automl.selection import selection as selection_module
from pelt_automl.timing.clock import Clock
from tests.tiny_world import records_of

DELAY = 3.0


class Brings:
    """One process, after a while."""

    listen = "tls://127.0.0.1:0"

    def __init__(self, folder):
        self.folder, self.certificates, self.asked, self.over = folder, Certificates.temporary(), [], None

    @contextmanager
    def bring(self, workers, count, key, task, epoch):
        self.asked.append((count, key, epoch))
        started = []

        def later():
            with (self.folder / "errors.txt").open("wb") as errors:
                started.append(leashed.start(workers.address, "worker-1", self.certificates, errors))

        timer = threading.Timer(DELAY, later)
        timer.start()
        try:
            yield
        finally:
            self.over = workers.over
            timer.cancel()
            threading.Thread(target=lambda: [leashed.end(own, 10.0) for own in started]).start()


@pytest.mark.slow  # a whole search, and a process that loads torch
def test_it_waits_for_the_first_and_its_time_limit_does_not(world, tmp_path, without_mlflow):
    few = {"methods": ["head"], "trials": 2, "finalist_seeds": 1, "race": False, "portfolio": False, "seconds": 600.0}
    brings = Brings(tmp_path)
    before = time.monotonic()
    with Selection.open(settings_from(**world.options(**few, workers=3)), tmp_path / "out", provider=brings) as selection:
        selection.prepare()
        selection.search()
        assert selection.waited > DELAY - 2.0
        assert selection.clock.elapsed < time.monotonic() - before - selection.waited + 0.5
        assert brings.over is None
        key = selection.key
        selection.confirm()
        selection.explain()
        assert brings.over is True, "the work is done: nobody has to be cancelled"
        selection.recommend()
    assert brings.asked == [(3, key, 1)]
    events = records_of(tmp_path / "out")
    assert sum(event.seconds for event in of_kind(events, WorkersAwaited)) == pytest.approx(selection.waited, abs=0.001)
    assert [event.worker for event in of_kind(events, WorkerJoined)] == ["worker-1"]
    assert {event.device.partition(" ")[0] for event in of_kind(events, SegmentEnded)} == {"worker-1"}


def test_a_wait_that_is_broken_off_does_not_count_as_time_that_was_used(monkeypatch):
    class Nobody:
        def ready(self):
            return []

        def first(self, told):
            now[0] += 3000.0
            told(WorkerLeft("worker-1", "cpu", "refused: version 1", 0.0))
            now[0] += 300.0
            raise SelectionError("no worker can be started")

    now, said = [50.0], []
    monkeypatch.setattr(selection_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    own = SimpleNamespace(
        provider=object(),
        machine=SimpleNamespace(workers=Nobody()),
        log=SimpleNamespace(append=said.append),
        clock=Clock(600.0, started=50.0),
    )
    with pytest.raises(SelectionError):
        Selection._await_worker(own)
    assert [type(event).__name__ for event in said] == ["WorkersAwaited", "WorkerLeft", "WorkersAwaited"]
    assert sum(event.seconds for event in of_kind(said, WorkersAwaited)) == own.waited == 3300.0
    assert own.clock.started == 3350.0


@pytest.mark.slow  # loads a model
def test_work_that_is_broken_off_is_not_over(world, tmp_path, without_mlflow):
    brings = Brings(tmp_path)
    opened = Selection.open(settings_from(**world.options(workers=1)), tmp_path / "out", provider=brings)
    with opened as selection:
        selection.prepare()
    assert brings.over is False
