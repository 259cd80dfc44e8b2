"""Selections of a tiny model whose workers are flow runs: a real server, real Prefect workers, real kills. With doubles: test_places."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error

import psutil
import pytest

from chaos.checker import main as check
from pelt_automl.execution.certificates import Certificates
from pelt_automl.log.events import Released, SegmentLost, SelectionEnded, TrialEnded, VerdictReached, WorkerJoined, WorkersAwaited, of_kind
from tests.flows.test_end_to_end import ROOT, Server
from tests.tiny_world import make_world, records_of

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.timeout(900)]

SMALL = {"methods": ["lora", "head"], "trials": 3, "baselines": [], "finalist_seeds": 1, "most_seeds": 1, "race": False, "portfolio": False}
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Places(Server):
    """A Prefect server with a worker for selections and two places for their workers; no MLflow server."""

    def __init__(self, folder):
        super().__init__(folder)
        self.options = {
            name: str(value) if os.sep in str(value) else value for name, value in make_world(folder / "data").options(**SMALL).items()
        }
        Certificates.temporary().write(folder / "certificates")
        self.environment |= {
            "PYTHONPATH": str(ROOT), "PELT_AUTOML_ROOT": str(ROOT), "PELT_AUTOML_CERTIFICATES": str(folder / "certificates"),
            "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "true",
        }  # fmt: skip
        self.daemons = []

    def begin(self, *arguments):
        """A command of Prefect's that goes on."""
        log = (self.folder / f"{len(self.daemons)}.log").open("w")
        default = "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); os.execv(sys.executable, sys.argv[1:])"
        command = [sys.executable, "-c", default, sys.executable, "-m", "prefect", *arguments]
        self.daemons.append(
            subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        )

    def up(self):
        self.begin("server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        wait_for(self.answers)
        for pool, limit in (("pelt", "1"), ("gpu", "2")):
            self.begin("worker", "start", "--pool", pool, "--type", "process", "--name", f"{pool}-1", "--limit", limit)
        deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        subprocess.run(deploy, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)

    def answers(self):
        try:
            return self.ask("health") is True
        except OSError:
            return False

    def down(self):
        for own in reversed(self.daemons):
            for child in psutil.Process(own.pid).children(recursive=True):
                child.kill()
            own.kill()
            own.wait()

    def recover(self):
        """What `make up` does about what was killed."""
        command = [sys.executable, "-m", "flows.stack_side", "recover"]
        subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, check=True)

    def again(self, run, seed):
        """Who goes on with a selection that was killed: once, whoever has started it."""
        return [own for own in self.runs("select-pelt") if own["parameters"].get("seed") == seed and own["id"] != run]

    def select(self, seed):
        """Begin a selection; its flow run and its folder."""
        options = self.options | {"workers": 2, "seconds": None, "output": f"seed-{seed}", "seed": seed}
        return self.start("select-pelt/default", **options), self.folder / "home" / "selections" / f"seed-{seed}"

    def state(self, run):
        return self.ask(f"flow_runs/{run}")["state_type"]

    def workers_of(self, run):
        found = self.ask("flow_runs/filter", flow_runs={"tags": {"all_": [f"workers-of:{run}"]}}, limit=200)
        return {own["name"].partition(" of ")[0]: own for own in found}

    def ended_workers(self, run):
        """Once all have ended: how."""

        def states():
            found = {name: own["state_type"] for name, own in self.workers_of(run).items()}
            return found if set(found.values()) <= ENDED else None

        return wait_for(states, 90.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    (folder / "data").mkdir()
    server = Places(folder)
    try:
        server.up()
        yield server
    finally:
        server.down()


def wait_for(what, seconds=300.0):
    """Asks again, also where a server on an SQLite file stands still for a while."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(TimeoutError, urllib.error.URLError):
            if found := what():
                return found
        assert time.monotonic() < deadline
        time.sleep(0.7)


def trains(folder):
    """Once two workers are there and something was begun: the process of each by its name."""

    def found():
        events = records_of(folder) if (folder / "records.jsonl").is_file() else []
        pids = {event.worker: event.environment["process"] for event in of_kind(events, WorkerJoined)}
        return pids if len(pids) > 1 and of_kind(events, Released) else None

    return wait_for(found)


def nothing_left(folder, server, capsys):
    assert check([str(folder), "--prefect", f"http://127.0.0.1:{server.port}/api"]) == 0, capsys.readouterr()


def gone(pids, seconds):
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids), seconds)


def test_workers_that_are_killed_are_replaced_and_the_selection_ends_with_all_that_they_did(server, capsys):
    run, folder = server.select(1)
    pids = trains(folder)
    os.kill(psutil.Process(pids["worker-2"]).ppid(), signal.SIGKILL)  # its flow run's process
    os.kill(pids["worker-1"], signal.SIGKILL)
    gone(pids.values(), 10.0)
    wait_for(lambda: server.state(run) in ENDED)
    assert server.state(run) == "COMPLETED"
    events = records_of(folder)
    assert of_kind(events, VerdictReached)
    joined = {event.worker for event in of_kind(events, WorkerJoined)}
    assert {"worker-1", "worker-2"} < joined <= {"worker-1", "worker-2", "worker-1.2", "worker-2.2"}
    assert of_kind(events, SegmentLost)
    assert len({event.trial for event in of_kind(events, TrialEnded)}) == len(of_kind(events, TrialEnded))
    (end,) = of_kind(events, SelectionEnded)
    assert sum(event.seconds for event in of_kind(events, WorkersAwaited)) > 0
    assert any("worker-1.2 (cpu, " in name or "worker-2.2 (cpu, " in name for name in end.devices), "the bill by device"
    states, found = server.ended_workers(run), server.workers_of(run)
    assert set(states) == {"worker-1", "worker-2", "worker-1.2", "worker-2.2"}, "no more than asked for"
    assert (states["worker-1"], states["worker-2"]) == ("FAILED", "CRASHED")
    assert "it was killed by SIGKILL, as a system short of memory does" in found["worker-1"]["state"]["message"]
    assert found["worker-2"]["name"] == "worker-2 of select-reviews-k60-seed1"
    (page,) = server.ask("artifacts/filter", artifacts={"key": {"any_": ["workers-reviews"]}}, flow_runs={"id": {"any_": [run]}})
    shown = {row["worker"]: row["device"] for row in json.loads(page["data"])}
    assert {"worker-1", "worker-2"} <= set(shown)
    stayed = next(name for name, state in states.items() if state == "COMPLETED")
    assert shown[stayed].startswith("cpu, ")
    bars = server.ask("artifacts/filter", flow_runs={"id": {"any_": [found[stayed]["id"]]}})
    assert [(bar["type"], bar["description"].startswith(f"{stayed} (cpu, ")) for bar in bars] == [("progress", True)]
    nothing_left(folder, server, capsys)


def test_a_selection_that_is_cancelled_ends_in_time_and_its_workers_with_it(server, capsys):
    run, folder = server.select(2)
    pids = trains(folder)
    asked = time.monotonic()
    server.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
    wait_for(lambda: server.state(run) != "CANCELLING", 60.0)
    assert server.state(run) == "CANCELLED"
    assert time.monotonic() - asked < 45, "before Prefect kills what doesn't end"
    gone(pids.values(), 20.0)
    assert set(server.ended_workers(run).values()) == {"CANCELLED"}
    assert check([str(folder), "--unfinished"]) == 0, capsys.readouterr()


def test_when_the_selections_process_is_killed_its_workers_end_and_it_is_resumed_with_others(server, capsys):
    run, folder = server.select(3)
    pids = trains(folder)
    os.kill(int((server.folder / "home" / "flow-runs" / f"{run}.lock").read_text().split()[0]), signal.SIGKILL)
    gone(pids.values(), 30.0)
    assert set(server.ended_workers(run).values()) == {"FAILED"}
    server.recover()
    (again,) = wait_for(lambda: server.again(run, 3), 60.0)
    wait_for(lambda: server.state(again["id"]) in ENDED)
    assert server.state(again["id"]) == "COMPLETED"
    assert set(server.ended_workers(again["id"]).values()) == {"COMPLETED"}
    assert not [own for own in server.runs("pelt-worker") if "started-again:1" in own["tags"]]
    nothing_left(folder, server, capsys)
