"""Who is alive: with real processes and a real kill."""

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


def test_a_failing_run_leaves_no_lock():
    with pytest.raises(RuntimeError, match="broken"), alive("run-3"):
        raise RuntimeError("broken")
    assert is_alive("run-3") is None
