"""Who is alive: with real processes and a real kill."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys

import pytest

from flows.life_signs import alive, forget, is_alive, lock_file, process_of

HOLD = """
import sys, time
from flows.life_signs import alive
with alive("run-1", "select-toy"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder():
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_run_is_alive_while_its_process_works_and_dead_after_a_kill(holder):
    assert is_alive("run-1") is True
    assert process_of("run-1") == holder.pid
    assert lock_file("run-1").read_text() == f"{holder.pid} select-toy"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert is_alive("run-1") is False
    assert process_of("run-1") is None
    forget("run-1")
    assert is_alive("run-1") is None


def test_a_run_that_came_to_its_end_leaves_nothing_and_one_that_nobody_knows_is_unknown(holder):
    holder.communicate("\n")
    assert holder.returncode == 0
    assert is_alive("run-1") is None
    assert list(lock_file("run-1").parent.iterdir()) == []


def test_looking_does_not_take_the_lock_away():
    with alive("run-2"):
        assert [is_alive("run-2") for _ in range(3)] == [True] * 3
    with alive(None):
        pass
    assert is_alive("run-2") is None


def test_a_run_that_is_just_beginning_is_never_seen_as_dead(monkeypatch):
    seen, real = [], fcntl.flock

    def flock(file, how):
        if how == fcntl.LOCK_EX:
            seen.append(is_alive("run-5"))
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with alive("run-5"):
        seen.append(is_alive("run-5"))
    assert seen == [None, True]


def test_a_failing_run_leaves_no_lock():
    with pytest.raises(RuntimeError, match="broken"), alive("run-3"):
        raise RuntimeError("broken")
    assert is_alive("run-3") is None


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_a_run_goes_on_with_a_warning_and_heartbeats_tell(monkeypatch, caplog, holder, code):
    def no_locks(file, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert is_alive("run-1") is None
    assert process_of("run-1") is None
    worked = False
    with caplog.at_level(logging.WARNING), alive("run-4", "select-toy"):
        worked = True
        assert not lock_file("run-4").exists(), "a file that nobody holds would mean a death"
    assert worked
    (message,) = caplog.messages
    assert f"{lock_file('run-4')} can't be locked ({os.strerror(code)}). The run goes on" in message


def test_a_home_that_cant_be_written_is_no_reason_not_to_work(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "file"))
    with alive("run-5"):
        assert is_alive("run-5") is None
    assert "Not a directory" in caplog.text


def test_an_error_of_the_run_itself_is_not_taken_for_one_of_the_lock(caplog):
    with pytest.raises(OSError, match="disk"), alive("run-6"):
        raise OSError(errno.ENOSPC, "the disk is full")
    assert caplog.messages == []
    assert is_alive("run-6") is None
