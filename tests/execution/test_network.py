"""Three hosts with a cable each: a selection, two workers by hand, and a cable that is cut. It needs root, and ``ip`` with namespaces."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pelt_automl.execution.certificates import Certificates
from pelt_automl.log.codec import read
from pelt_automl.log.events import SegmentLost, TrialEnded, WorkerJoined, WorkerLeft
from pelt_automl.log.folder import RECORDS
from tests.execution.crew import SEGMENTS
from tests.execution.machines import nothing_lost_or_twice

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NETWORK = f"10.{77 + os.getpid() % 100}.0"


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Hosts:
    """``server``, ``a`` and ``b``: .1, .2 and .3 of a network of their own."""

    def __init__(self):
        self.names = {name: f"pelt-{os.getpid()}-{name}" for name in ("server", "a", "b")}
        self.running = []

    def __enter__(self):
        try:
            for name in self.names.values():
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            server = self.names["server"]
            ip("-n", server, "link", "add", "bridge", "type", "bridge")
            ip("-n", server, "addr", "add", f"{NETWORK}.1/24", "dev", "bridge")
            ip("-n", server, "link", "set", "bridge", "up")
            for place, name in enumerate("ab", 2):
                ip("-n", server, "link", "add", f"to-{name}", "type", "veth", "peer", "name", "cable", "netns", self.names[name])
                ip("-n", server, "link", "set", f"to-{name}", "master", "bridge", "up")
                ip("-n", self.names[name], "addr", "add", f"{NETWORK}.{place}/24", "dev", "cable")
                ip("-n", self.names[name], "link", "set", "cable", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            why = f"network namespaces can't be made here: {getattr(error, 'stderr', error)}"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.kill()
            process.wait()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def cable(self, name, state):
        ip("-n", self.names["server"], "link", "set", f"to-{name}", state)

    def on(self, name, *command):
        words = ["ip", "netns", "exec", self.names[name], sys.executable, *map(str, command)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.running.append(subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return self.running[-1]


def events_of(folder):
    return list(read(folder / RECORDS)) if (folder / RECORDS).exists() else []


def until(folder, enough, seconds):
    """The events, once they are enough."""
    end = time.monotonic() + seconds
    while not enough(events := events_of(folder)):
        assert time.monotonic() < end, events
        time.sleep(0.1)
    return events


def count(events, kind):
    return sum(isinstance(event, kind) for event in events)


def test_a_cut_cable_costs_what_its_worker_was_at_and_when_it_is_back_a_worker_joins_again(tmp_path):
    folder, keys = tmp_path / "out", tmp_path / "keys"
    Certificates.temporary().write(keys)
    address = f"tls://{NETWORK}.1:8786"
    with Hosts() as hosts:

        def a_worker(name):
            program = "from pelt_automl.cli import main; main()"
            return hosts.on(name, "-c", program, "worker", address, "--certificates", keys)

        selection = hosts.on("server", "-m", "tests.execution.machines", folder, "--listen", address, "--certificates", keys, "--pace", 1.0)
        cut, _ = a_worker("a"), a_worker("b")
        until(folder, lambda events: count(events, WorkerJoined) == 2 and count(events, TrialEnded) >= 1, 40)
        hosts.cable("a", "down")
        until(folder, lambda events: count(events, WorkerLeft) == 1, 20)
        hosts.cable("a", "up")
        a_worker("a")
        assert selection.wait(60) == 0, selection.stderr.read()
        assert cut.wait(20) == 3, "it has noticed, and says so"
    events = events_of(folder)
    assert nothing_lost_or_twice(folder)
    lost = [event for event in events if isinstance(event, SegmentLost) and not event.moved_to]
    assert 1 <= len(lost) <= 2, "what it was at, once"
    assert count(events, WorkerJoined) == 3
    ended = Counter(event.state for event in events if isinstance(event, TrialEnded))
    assert ended == {"completed": len(SEGMENTS)}
