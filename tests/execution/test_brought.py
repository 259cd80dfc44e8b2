"""Workers that somebody else brings: what they tell him, what he sees of them, and what the selection hears from him."""

import io
import json
import subprocess
import threading
from contextlib import contextmanager

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.execution import leashed
from pelt_automl.execution.certificates import Certificates
from pelt_automl.execution.worker import in_words
from pelt_automl.log.events import TrialEnded, WorkerJoined, WorkerLeft
from pelt_automl.log.log import Log
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.grid import Grid
from tests.execution.crew import POOL, SEGMENTS, STEPS, Make, cluster, crew

slow = pytest.mark.slow  # starts a process


@contextmanager
def brought(workers, folder, name="worker-1"):
    """One that tells, with the lines that it has told so far."""
    errors = (folder / "errors.txt").open("w+b")
    process, told = leashed.start(workers.address, name, workers.certificates, errors, tells=True), []
    reader = threading.Thread(target=lambda: told.extend(json.loads(line) for line in process.stdout), daemon=True)
    reader.start()
    try:
        yield process, told
    finally:
        leashed.end(process, 5.0)
        reader.join(5)
        errors.close()


@slow
def test_who_brings_a_worker_hears_its_device_what_it_trains_and_how_far_and_how_it_ended(tmp_path):
    with crew(tmp_path, Make(POOL, pace=0.3), 0) as workers:
        workers.supplied, events = True, []
        assert workers.present() == set()
        with brought(workers, tmp_path) as (process, told):
            workers.first(events.append)
            assert [event.device for event in events if isinstance(event, WorkerJoined)] == ["cpu, 1 thread"]
            assert (workers.present(), workers.proven) == ({"worker-1"}, {"worker-1"})
            assert workers.at_work() == [("worker-1", "cpu, 1 thread", "waits for work")]
            log, seen = Log(), []
            executor = cluster(workers, log.history, POOL, tmp_path, progress=lambda *_: seen.extend(workers.at_work()))
            drive(Grid(SEGMENTS[:2]), executor, log, Budget)
            assert len(log.history.of_kind(TrialEnded)) == 2
            workers.leaving()
            workers._held.close()
            assert process.wait(10) == 0
    doing = {one["doing"] for one in told}
    assert told[-1]["device"] == "cpu, 1 thread"
    assert any(text.startswith("lora-0000 and 1 more, step ") and text.endswith(f" of {STEPS}") for text in doing)
    assert any(0 < one["done"] < 1 for one in told)
    assert any(what.startswith("lora-0000 and 1 more, step ") for _, _, what in seen)
    assert (tmp_path / "errors.txt").read_text() == "the selection has ended\n"


@slow
def test_the_only_worker_is_sent_away_when_it_raises_if_somebody_brings_another(tmp_path):
    with crew(tmp_path, Make(POOL), 0) as workers:
        workers.supplied = True
        with brought(workers, tmp_path) as (process, _):
            events = []
            workers.first(events.append)
            seat = workers.ready()[0]
            workers.dismiss(seat, "OSError: no space")
            assert [event.why for event in workers.events() if isinstance(event, WorkerLeft)] == ["OSError: no space"]
            assert process.wait(10) == 3


@slow
def test_when_nobody_else_will_come_that_is_an_error_unless_somebody_is_there(tmp_path):
    with crew(tmp_path, Make(POOL), 0) as workers:
        with brought(workers, tmp_path):
            workers.first(lambda _: None)
            workers.hopeless("no worker can be started: no GPU")
            workers.happened(0.5)
        while workers.ready():
            workers.happened(0.5)
        workers.hopeless("no worker can be started: no GPU")
        with pytest.raises(SelectionError, match="no worker can be started: no GPU"):
            workers.first(lambda _: None)


def test_how_a_worker_ended_is_told_by_its_signal_or_its_last_line():
    errors = io.BytesIO()
    process = subprocess.Popen(["sleep", "60"])
    process.kill()
    process.wait()
    assert leashed.said_at_its_end(process, errors) == "it was killed by SIGKILL, as a system short of memory does"
    process = subprocess.Popen(["false"])
    process.wait()
    assert leashed.said_at_its_end(process, errors) == "it ended with code 1"
    errors.write(b"\xff\n" * leashed.TAIL + b"first\nerror: no GPU\n")
    assert leashed.said_at_its_end(process, errors) == "no GPU"


def test_no_secret_is_an_argument_or_in_the_environment_of_a_worker(monkeypatch):
    started = {}

    def popen(command, **named):
        started.update(named, command=command)
        return real(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    real = subprocess.Popen
    monkeypatch.setattr(leashed.subprocess, "Popen", popen)
    process = leashed.start("tls://127.0.0.1:1", "worker-1", Certificates("public", "mine", "SECRET"), io.BytesIO(), {"A": "1"})
    process.stdin.close()
    assert json.loads(process.stdout.readline())["certificates"] == ["public", "mine", "SECRET"]
    process.wait()
    assert "SECRET" not in str(started["command"])
    assert "SECRET" not in str(started["env"])
    assert started["env"]["A"] == "1"


def test_what_a_pack_is_at_in_words():
    assert in_words({}) == "waits for work"
    assert in_words({"lora-0003": (3, 20)}) == "lora-0003, step 3 of 20"
    assert in_words({"lora-0003": (3, 20), "head-0001": (4, 8)}) == "lora-0003 and 1 more, step 3 of 20"
