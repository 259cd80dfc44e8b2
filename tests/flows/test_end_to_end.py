"""Real server, real worker, the real command line; only `Selection` is a double (see `worker_doubles`)."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Prefect's API and commands, as a person in another shell would use them."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "PELT_"))} | {
            "PELT_AUTOML_HOME": str(folder / "home"),
            "PELT_AUTOML_DATA_DIR": str(folder / "data"),
            "PELT_AUTOML_PREFECT_PORT": str(self.port),
            "PELT_AUTOML_MLFLOW_PORT": str(free_port()),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "flows" / "worker_doubles"), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }

    def stack(self, what):
        command = [sys.executable, "scripts/stack.py", what, "--settings-file", str(self.folder / "prefect.toml")]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)

    def prefect(self, *arguments):
        """Typed in the folder where ``make up`` left its settings, with nothing else to say where the server is."""
        command = [sys.executable, "-m", "prefect", *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)

    def ask(self, path, **body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/{path}", headers={"Content-Type": "application/json"})
        request.data = json.dumps(body).encode() if body else None
        for attempt in range(10):
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    return json.load(response)
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
        deadline = time.monotonic() + 60
        while (run := self.ask(f"flow_runs/{run_id}"))["state_type"] not in ENDED:
            assert time.monotonic() < deadline, run["state"]
            time.sleep(0.3)
        return run

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
        down = server.stack("down")
    assert down.stdout == "Stopped: worker, mlflow-server, prefect-server.\n"
    assert not (folder / "prefect.toml").exists()


def test_the_users_command_runs_a_selection_whose_steps_tags_and_artifacts_are_visible(server):
    asked = ("--param", "task=toy-task", "--param", "k=100", "--watch", "--watch-interval", "1")
    typed = server.prefect("deployment", "run", "select-pelt/default", *asked)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    (run,) = server.runs("select-pelt")
    assert run["name"] == "select-toy-task"
    assert {"task:toy-task", "model:minilm", "k:100", "pelt-automl"} <= set(run["tags"])
    steps = server.ask("task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}}, sort="EXPECTED_START_TIME_ASC")
    assert [step["name"].rpartition("-")[0] for step in steps] == ["prepare", "search", "confirm", "explain", "recommend"]
    artifacts = {found["key"]: found for found in server.ask("artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})}
    assert {key: found["type"] for key, found in artifacts.items()} == {
        "report-toy-task": "markdown", "leaderboard-toy-task": "table", "records-toy-task": "markdown",
    }  # fmt: skip
    assert artifacts["report-toy-task"]["data"] == "# LoRA it is\n"
    done = (server.folder / "home" / "selections" / "toy-task-abc123" / "steps.txt").read_text().split("\n")
    assert done == ["open", "prepare", "search", "confirm", "explain", "recommend", "close", ""]
    again = server.stack("up")
    assert (again.returncode, "Starting" in again.stdout) == (0, False), "up twice is harmless"


def test_several_k_are_a_curve_with_a_step_for_each(server):
    run = server.ended(server.start("select-pelt/default", task="bent", k=[50, "full"]))
    assert run["state_type"] == "COMPLETED", run["state"]
    assert {"task:bent", "k:50", "k:full"} <= set(run["tags"])
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
    logs = server.ask("logs/filter", logs={"flow_run_id": {"any_": [bad, locked]}}, limit=200)
    assert [line["message"] for line in logs if "Traceback" in line["message"]] == []
    steps = (server.folder / "home" / "selections" / "locked-abc123" / "steps.txt").read_text()
    assert steps == "open\nclose\n", "after a failed step none follows, and the selection is closed"


def test_reevaluate_starts_what_is_new_in_the_one_worker_it_sits_in_and_reports_what_is_wrong(server):
    reevaluated = server.ended(server.start("reevaluate-tasks/nightly", folder=str(server.folder / "data" / "tasks.d")))
    assert reevaluated["state_type"] == "FAILED", "a wrong file is no success"
    assert "task file broken.yaml: the request: task '../x'" in reevaluated["state"]["message"]
    (page,) = server.ask("artifacts/filter", artifacts={"key": {"any_": ["reevaluated-tasks"]}})
    assert "| reviews | new | started as" in page["data"]
    (started,) = [run for run in server.runs("select-pelt") if run["parameters"].get("train") == "reviews.csv"]
    assert server.ended(started["id"])["state_type"] == "COMPLETED"
    assert "reevaluate-tasks" in started["tags"]
    assert started["parent_task_run_id"] is None
