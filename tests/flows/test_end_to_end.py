"""Real server, real worker, the real command line; only `Selection` is a double (see `worker_doubles`)."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from unittest.mock import ANY

import pytest

from chaos.checker import Check, check_prefect

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


TWICE = """
import sys
from pelt_automl.cli import main
for _ in range(2):
    try:
        main()
    except SystemExit as ended:
        print(f"it has ended with {ended.code or 0}", file=sys.stderr)
"""
"""What is typed, two times in a process: most of one is its imports."""

PATIENCE = float(os.environ.get("PELT_PATIENCE", "150"))
"""Seconds after which a test fails: on a machine with much else to do, a flow takes minutes to start."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Prefect's API and commands, as a person in another shell would use them."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        foreign = ("PREFECT_", "MLFLOW_", "PELT_", "GPU_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
            "PELT_AUTOML_HOME": str(folder / "home"),
            "PELT_AUTOML_DATA_DIR": str(folder / "data"),
            "PELT_AUTOML_DATABASE": "sqlite",
            "PELT_AUTOML_PREFECT_PORT": str(self.port),
            "PELT_AUTOML_MLFLOW_PORT": str(free_port()),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "flows" / "worker_doubles"), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }

    def stack(self, what, **environment):
        command = [sys.executable, "scripts/stack.py", what, "--settings-file", str(self.folder / "prefect.toml")]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def prefect(self, *arguments):
        """Typed in the folder where ``make up`` left its settings, with nothing else to say where the server is."""
        command = [sys.executable, "-m", "prefect", *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)

    def ask(self, path, method=None, **body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/{path}", headers=headers, method=method)
        request.data = json.dumps(body).encode() if body else None
        for attempt in range(10):
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return json.loads(response.read() or b"null")
            except urllib.error.HTTPError as error:
                # The server's answer while its SQLite file is locked; Prefect's own client tries again too.
                if error.code != 503 or attempt == 9:
                    raise
                time.sleep(0.5)
        raise AssertionError

    def start(self, deployment, **parameters):
        found = self.ask(f"deployments/name/{deployment}")
        return self.ask(f"deployments/{found['id']}/create_flow_run", parameters=found["parameters"] | parameters)["id"]

    def ended(self, run_id):
        deadline = time.monotonic() + PATIENCE
        while (run := self.ask(f"flow_runs/{run_id}"))["state_type"] not in ENDED:
            assert time.monotonic() < deadline, run["state"]
            time.sleep(0.3)
        return run

    def unfinished(self):
        """The runs of selections that have begun, or wait for their worker."""
        states = {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}
        return self.ask("flow_runs/filter", flows={"name": {"any_": ["select-pelt"]}}, flow_runs={"state": states})

    def unfinished_steps(self, run_id):
        states = {"type": {"any_": ["PENDING", "RUNNING"]}}
        return self.ask("task_runs/filter", flow_runs={"id": {"any_": [run_id]}}, task_runs={"state": states})

    def at_work(self, run_id):
        """Waits until the run searches; returns it."""
        deadline = time.monotonic() + PATIENCE
        while [step["name"].rpartition("-")[0] for step in self.unfinished_steps(run_id)] != ["search"]:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        return self.ask(f"flow_runs/{run_id}")

    def left_open(self):
        """What the checker of `chaos` says of the doubles' flow runs, which share a key, after a selection of theirs has ended."""
        check = Check(self.folder)
        check.events = [(1, {"event": "SelectionStarted", "key": "abc123"}), (2, {"event": "SelectionEnded"})]
        check_prefect(check, f"http://127.0.0.1:{self.port}/api")
        return check.problems

    def log(self, *run_ids):
        """The lines of ended runs, once the last has come: logs are sent in the background."""
        deadline = time.monotonic() + PATIENCE
        while True:
            lines = self.ask("logs/filter", logs={"flow_run_id": {"any_": list(run_ids)}}, limit=200, sort="TIMESTAMP_ASC")
            if len([line for line in lines if line["message"].startswith("Finished in state") and not line["task_run_id"]]) == len(run_ids):
                return lines
            assert time.monotonic() < deadline, lines
            time.sleep(0.3)

    def runs(self, flow_name):
        return self.ask("flow_runs/filter", flows={"name": {"any_": [flow_name]}}, sort="START_TIME_DESC")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    (folder / "data").mkdir()
    rows = [f"sentence number {number},{'yes' if number % 2 else 'no'}" for number in range(60)]
    (folder / "data" / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (folder / "data" / "tasks.d").mkdir()
    own = "train: reviews.csv\ntext_columns: [text]\nlabel_column: label\nk: 16\n"
    (folder / "data" / "tasks.d" / "reviews.yaml").write_text(own)
    (folder / "data" / "tasks.d" / "broken.yaml").write_text("task: ../x\n")
    server = Server(folder)
    try:
        up = server.stack("up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield server
    finally:
        down = server.stack("down", FORCE="1")
    assert down.stdout.endswith("Stopped: worker, mlflow-server, prefect-server.\n"), "after what an automation may just have started"
    assert not (folder / "prefect.toml").exists()


def test_the_users_command_runs_a_selection_whose_steps_tags_and_artifacts_are_visible(server):
    asked = ("--param", "task=toy-task", "--param", "k=100", "--watch", "--watch-interval", "1")
    typed = server.prefect("deployment", "run", "select-pelt/default", *asked)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    (run,) = server.runs("select-pelt")
    assert run["name"] == "select-toy-task-k100-seed0"
    assert run["state"]["message"] == "Recommended: LoRA, 81.2 accuracy"
    assert "Recommended: LoRA, 81.2 accuracy" in " ".join(typed.stdout.split("prefect.flow-run.Completed")[-1].split()), "it ends with that"
    log = [line["message"] for line in server.log(run["id"])]
    assert log[-2].startswith("Recommended: LoRA, 81.2 accuracy. It is the only one.\n")
    assert "lora (default)" in log[-2]
    assert log[-1] == "Finished in state Completed('Recommended: LoRA, 81.2 accuracy')"
    assert {"task:toy-task", "model:minilm", "k:100", "pelt-automl", "selection:abc123"} <= set(run["tags"])
    assert server.left_open() == []
    steps = server.ask("task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}}, sort="EXPECTED_START_TIME_ASC")
    assert [step["name"].rpartition("-")[0] for step in steps] == ["prepare", "search", "confirm", "explain", "recommend"]
    artifacts = {found["key"]: found for found in server.ask("artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})}
    assert {key: found["type"] for key, found in artifacts.items()} == {
        "report-toy-task": "markdown", "leaderboard-toy-task": "table", "records-toy-task": "markdown",
    }  # fmt: skip
    assert artifacts["report-toy-task"]["data"] == "# LoRA it is\n"
    done = (server.folder / "home" / "selections" / "toy-task-abc123" / "steps.txt").read_text().split("\n")
    assert done == ["open", "prepare", "search", "confirm", "explain", "recommend", "close", ""]


def test_several_k_are_a_curve_with_a_step_for_each(server):
    run = server.ended(server.start("select-pelt/default", task="bent", k=[50, "full"]))
    assert run["state_type"] == "COMPLETED", run["state"]
    assert {"task:bent", "k:50", "k:full", "selection:abc123"} <= set(run["tags"])
    assert (server.folder / "home" / "selections" / "bent-curve" / "steps.txt").read_text() == "k 50\nk None\n"
    steps = server.ask("task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
    assert [step["name"].rpartition("-")[0] for step in steps] == ["select_at", "select_at"]
    artifacts = {found["key"]: found["data"] for found in server.ask("artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})}
    assert artifacts["k-curve-bent"] == "# LoRA from 50 on\n"


def test_bad_parameters_and_failing_steps_fail_the_run_with_their_message_and_no_traceback(server):
    bad = server.start("select-pelt/default", task="../x", data_dir="/etc")
    locked = server.start("select-pelt/default", task="locked")
    messages = {run_id: server.ended(run_id)["state"] for run_id in (bad, locked)}
    assert [state["type"] for state in messages.values()] == ["FAILED", "FAILED"]
    assert messages[bad]["message"].startswith("the request has 2 problems:\n  - task '../x' isn't a task's name")
    assert messages[locked]["message"].startswith("another process is working on this selection")
    assert "output" not in messages[locked]["message"]
    assert [line["message"] for line in server.log(bad, locked) if "Traceback" in line["message"]] == []
    steps = (server.folder / "home" / "selections" / "locked-abc123" / "steps.txt").read_text()
    assert steps == "open\nclose\n", "after a failed step none follows, and the selection is closed"


def test_reevaluate_starts_what_is_new_in_the_one_worker_it_sits_in_and_reports_what_is_wrong(server):
    reevaluated = server.ended(server.start("reevaluate-tasks/nightly", folder=str(server.folder / "data" / "tasks.d")))
    assert reevaluated["state_type"] == "FAILED", "a wrong file is no success"
    assert "task file broken.yaml: task '../x'" in reevaluated["state"]["message"]
    log = [line["message"] for line in server.log(reevaluated["id"])]
    assert [line for line in log if "Traceback" in line] == []
    assert len([line for line in log if line.startswith("broken: problem, task file broken.yaml: ") and "\n" not in line]) == 1
    (page,) = server.ask("artifacts/filter", artifacts={"key": {"any_": ["reevaluated-tasks"]}})
    assert "| reviews | new | started as" in page["data"]
    (started,) = [run for run in server.runs("select-pelt") if run["parameters"].get("train") == "reviews.csv"]
    assert server.ended(started["id"])["state_type"] == "COMPLETED"
    assert "reevaluate-tasks" in started["tags"]
    assert started["parent_task_run_id"] is None


def test_an_announced_task_is_started_by_its_event_and_not_twice(server):
    file = server.folder / "fresh.yaml"
    file.write_text("train: reviews.csv\ntext_columns: [text]\nlabel_column: label\nk: 20\n")
    command = [sys.executable, "-c", TWICE, "tasks", "announce", str(file)]
    typed = subprocess.run(command, cwd=server.folder, env=server.environment, capture_output=True, text=True, check=False)
    assert (typed.returncode, typed.stderr.count("it has ended with 0")) == (0, 2), typed.stdout + typed.stderr
    deadline = time.monotonic() + PATIENCE
    while len(looked := [run for run in server.runs("reevaluate-tasks") if (run["parameters"].get("announced") or {}).get("name")]) < 2:
        assert time.monotonic() < deadline, looked
        time.sleep(1.0)
    assert {server.ended(run["id"])["state_type"] for run in looked} == {"COMPLETED"}
    (started,) = [run for run in server.runs("select-pelt") if "task-file:fresh" in run["tags"]]
    assert (started["parameters"]["k"], started["parameters"]["train"]) == (20, "reviews.csv")
    assert server.ended(started["id"])["state_type"] == "COMPLETED"
    (page,) = server.ask("artifacts/filter", artifacts={"key": {"any_": ["changed-verdicts"]}, "flow_run_id": {"any_": [looked[0]["id"]]}})
    assert page["data"] == "No task has a second verdict yet.\n"


def test_stopping_asks_for_a_run_under_way_and_the_next_start_goes_on_with_it_and_changes_nothing_else(server):
    nightly = server.ask("deployments/name/reevaluate-tasks/nightly")
    (schedule,) = nightly["schedules"]
    server.ask(f"deployments/{nightly['id']}/schedules/{schedule['id']}", method="PATCH", active=False)
    server.ask("work_pools/pelt", method="PATCH", concurrency_limit=3)
    worker_log = (server.folder / "home" / "stack" / "worker.log").read_text()
    long = server.start("select-pelt/default", task="long-one")
    name = server.at_work(long)["name"]

    refused = server.stack("down")
    assert refused.returncode == 2
    assert refused.stderr == (
        f"1 flow run is under way: {name}. Nothing was stopped. Wait for it, or stop all the same: FORCE=1 make down\n"
    )
    assert server.ask(f"flow_runs/{long}")["state_type"] == "RUNNING"
    assert server.stack("down", FORCE="1").stdout.startswith(f"Stopped: {name}. The next make up resumes it.")

    assert server.stack("up").stdout.count(f"{name} was stopped; started again as {name}.") == 1
    old, (new,) = server.ask(f"flow_runs/{long}"), server.unfinished()
    assert (old["state_type"], old["state_name"]) == ("CRASHED", "Started again")
    assert old["state"]["message"] == f"stopped by make down; started again as {name}"
    assert new["parameters"] == old["parameters"]
    assert server.unfinished_steps(long) == []
    assert server.ask("deployments/name/reevaluate-tasks/nightly")["schedules"] == [schedule | {"active": False, "updated": ANY}]
    assert server.ask("work_pools/pelt")["concurrency_limit"] == 3
    assert (server.folder / "home" / "stack" / "worker.log").read_text().startswith(worker_log), "logs are added to"
    told = server.stack("status").stdout
    assert "nightly, 0 3 * * *: paused" in told
    assert "pelt, at most 3 runs at once" in told
    assert len(re.findall("runs .process", told)) == 3
    assert re.search(r"work pool +gpu\n", told)
    assert "prefect-server.log" in server.stack("logs").stdout


def test_a_run_that_was_killed_with_its_worker_is_closed_with_its_steps_and_gone_on_with_once(server):
    (run,) = server.unfinished()
    server.at_work(run["id"])
    lock, worker = server.folder / "home" / "flow-runs" / f"{run['id']}.lock", server.folder / "home" / "stack" / "worker.pid"
    for file in (worker, lock):
        os.kill(int(file.read_text().split()[0]), signal.SIGKILL)
    assert [step["name"].rpartition("-")[0] for step in server.unfinished_steps(run["id"])] == ["search"]
    assert f"{run['name']}: still Running, but its process is gone" in server.stack("status").stdout
    assert f"in Prefect {run['name']} is still Running, though the selection has ended" in server.left_open()
    up = server.stack("up").stdout
    assert f"{run['name']} was still Running, but its process is gone: closed." in up
    assert f"{run['name']} was killed; started again as {run['name']}." in up
    assert server.unfinished_steps(run["id"]) == []
    twice = server.stack("up")
    assert (twice.returncode, "Starting" in twice.stdout, "was killed" in twice.stdout) == (0, False, False), "up twice is harmless"
    (again,) = server.unfinished()
    assert "started-again:1" in again["tags"]
    (server.folder / "home" / "selections" / "long-one-abc123" / "go").touch()
    assert server.ended(again["id"])["state_type"] == "COMPLETED"
    assert server.left_open() == []
