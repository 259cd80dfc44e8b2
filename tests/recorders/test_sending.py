"""The process that sends to MLflow, and that it never holds anything up."""

import fcntl
import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pelt_automl.home import home
from pelt_automl.log.events import SelectionEnded
from pelt_automl.log.folder import exclusive
from pelt_automl.recorders import RECORDERS, MlflowRecorder, Sent, is_sent, send_folder, sending, sent_of
from pelt_automl.recorders.mlflow_server import make_client
from tests.recorders.selection_double import STARTED, another, events, write_folder

TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
"""Its seconds. The least where a server is to be given up: what a busy machine adds counts toward `SILENT_SECONDS`, too."""


@pytest.fixture(autouse=True)
def _where(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)


@pytest.fixture
def silent_server(monkeypatch):
    """Takes every connection and never says a word; the list of connections."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take():
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:s3cret@127.0.0.1:{server.getsockname()[1]}")
        yield taken
    for connection in taken:
        connection.close()


def child(monkeypatch, program):
    """What is run in place of the process that sends."""
    monkeypatch.setattr(sending, "COMMAND", (sys.executable, "-c", program))


@pytest.mark.whole
def test_a_finished_selection_is_sent_once_and_its_folder_says_where(folder, caplog):
    recorder = RECORDERS["mlflow"](folder)
    with caplog.at_level(logging.INFO, logger="pelt_automl"):
        for event in events():
            recorder.record(event)
        assert sent_of(folder) is None
        recorder.publish(folder)
        recorder.close()
    sent = sent_of(folder)
    assert (sent.problem, sent.complete, sent.trainings, sent.model, sent.version) == ("", True, 4, "pelt-toy-task", "1")
    assert caplog.messages == ["MLflow: pelt-toy-task: version 1 is the champion (accuracy 80.0)"]
    client = make_client(sent.uri)
    assert client.get_run(sent.run).info.run_name == STARTED.selection
    assert is_sent(folder)
    before = (folder / "mlflow.json").stat().st_mtime_ns
    recorder.publish(folder)
    assert (folder / "mlflow.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_server_that_takes_the_connection_and_never_answers_costs_seconds(folder, silent_server, caplog, monkeypatch):
    assert float(sending.ENVIRONMENT[TIMEOUT]) < sending.SILENT_SECONDS, "it is MLflow that gives up first"
    monkeypatch.setenv(TIMEOUT, "1")
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, logger="pelt_automl"):
        MlflowRecorder().publish(folder)
    assert len(silent_server) == 1, "it isn't tried again"
    assert time.monotonic() - started < sending.START_SECONDS, "most of it is MLflow's import"
    sent = sent_of(folder)
    assert sent.problem == "it took the connection and gave no answer within seconds"
    assert "s3cret" not in (folder / "mlflow.json").read_text() + caplog.text
    (message,) = caplog.messages
    assert f"pelt-automl sync {folder}" in message
    assert not is_sent(folder)


@pytest.mark.slow
def test_after_an_outage_everything_can_be_sent(folder, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert send_folder(folder).problem == "it can't be reached (connection refused)"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    recorder = MlflowRecorder()
    recorder.publish(folder)  # as the same command does
    assert sent_of(folder).problem == ""
    assert sent_of(folder).complete


def test_no_password_of_a_server_is_kept(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:s3cret@127.0.0.1:9")
    child(monkeypatch, "raise SystemExit('gone')")
    assert send_folder(folder).uri == "http://127.0.0.1:9"
    assert "s3cret" not in (folder / "mlflow.json").read_text()


def test_a_process_that_falls_silent_is_ended(folder, monkeypatch):
    child(monkeypatch, "import time; print('{\"seconds\": 0.2}', flush=True); time.sleep(60)")
    started = time.monotonic()
    assert send_folder(folder).problem == "it didn't answer for 0 s"
    assert time.monotonic() - started < 10


def test_a_server_that_answers_a_little_at_a_time_is_given_up_too(folder, monkeypatch):
    child(monkeypatch, "import time\nwhile True: print('{\"seconds\": 5}', flush=True); time.sleep(0.05)")
    started = time.monotonic()
    assert send_folder(folder, most=0.5).problem == "it took longer than 0 s"
    assert time.monotonic() - started < 10


def test_large_files_have_time_of_their_own(folder, monkeypatch):
    said = ['{"seconds": 8}', f'{{"seconds": {sending.SILENT_SECONDS + 30}}}', '{"problem": "done"}']
    child(monkeypatch, f"import time\nfor line in {said!r}: print(line, flush=True); time.sleep(0.4)")
    assert send_folder(folder, most=0.5).problem == "done"


def test_a_process_that_dies_without_an_answer_says_its_last_line(folder, monkeypatch):
    child(monkeypatch, "raise ValueError('no way to http://anna:s3cret@host/')")
    assert send_folder(folder).problem == "ValueError: no way to http://host/"
    child(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert send_folder(folder).problem == "its process ended without a word"


def test_the_users_environment_comes_first_and_stays_as_it_is(folder, monkeypatch):
    names = [TIMEOUT, "MLFLOW_HTTP_REQUEST_MAX_RETRIES"]
    child(monkeypatch, f"import json, os; print(json.dumps({{'problem': ' '.join(os.environ[name] for name in {names})}}))")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)  # the checker of `chaos` may have set it in this process
    monkeypatch.setenv(TIMEOUT, "77")
    before = dict(os.environ)
    assert send_folder(folder).problem == "77 0"
    assert dict(os.environ) == before


def test_two_processes_do_not_send_one_selection_at_the_same_time_however_it_is_named(folder, monkeypatch):
    opened = os.open(folder, os.O_RDONLY)
    fcntl.flock(opened, fcntl.LOCK_EX)
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("PELT_AUTOML_HOME", str(folder.parent / "another home"))
    for other in (folder, Path(folder.name)):
        assert send_folder(other).problem == "another process is sending this selection right now"
    os.close(opened)
    assert not (folder.parent / "another home" / "sending").exists()


def test_where_the_folder_cannot_be_locked_a_file_in_the_home_is(folder, monkeypatch):
    child(monkeypatch, FOLDERS_WITHOUT_LOCKS)
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    (home() / "sending").mkdir(parents=True)
    with exclusive(home() / "sending" / f"{name}.lock") as mine:
        assert mine
        assert send_folder(folder).problem == "another process is sending this selection right now"


FOLDERS_WITHOUT_LOCKS = """
import errno, fcntl, os, stat, sys
from pathlib import Path
from pelt_automl.recorders.__main__ import main

real = fcntl.flock

def flock(file, how):
    if stat.S_ISDIR(os.fstat(file).st_mode):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    real(file, how)

fcntl.flock = flock
main(Path(sys.argv[1]))
"""


WITHOUT_LOCKS = """
import errno, fcntl, os, sys
from pathlib import Path
from pelt_automl.recorders.__main__ import main

def flock(file, how):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

fcntl.flock = flock
main(Path(sys.argv[1]))
"""


def test_where_nothing_can_be_locked_that_is_said_and_what_to_do(folder, monkeypatch):
    child(monkeypatch, WITHOUT_LOCKS)
    problem = send_folder(folder).problem
    assert problem.startswith(f"{home() / 'sending'}")
    assert "can't be locked (No locks available), as on some network folders; set PELT_AUTOML_HOME to a folder on a local disk" in problem


@pytest.mark.slow
def test_a_selection_that_has_not_ended_is_not_all_there(tmp_path):
    folder = write_folder(tmp_path / "selection", [event for event in events() if not isinstance(event, SelectionEnded)])
    sent = send_folder(folder)
    assert (sent.problem, sent.complete, sent.version) == ("", False, "")
    assert not is_sent(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"problem": 1', '{"unknown": 1}', "null"])
def test_a_damaged_answer_counts_as_none(tmp_path, text):
    (tmp_path / "mlflow.json").write_text(text)
    assert sent_of(tmp_path) is None


def test_a_servers_pages_have_addresses_and_a_files_have_none():
    of_server = Sent("http://127.0.0.1:5000/", experiment="7", run="abc", model="pelt-qnli", version="3")
    assert of_server.run_page == "http://127.0.0.1:5000/#/experiments/7/runs/abc"
    assert of_server.version_page == "http://127.0.0.1:5000/#/models/pelt-qnli/versions/3"
    of_file = Sent("sqlite:////tmp/mlflow.db", experiment="7", run="abc", model="pelt-qnli", version="3")
    assert (of_file.run_page, of_file.version_page) == ("", "")
    assert Sent("http://127.0.0.1:5000", "away").run_page == ""


@pytest.mark.slow
def test_the_first_use_of_a_new_home_prints_nothing_and_loads_nothing_of_mlflow_in_the_selections_own_process(folder, tmp_path):
    program = """
import sys
from pathlib import Path
from pelt_automl.home import home
from pelt_automl.log.folder import exclusive
from pelt_automl.recorders import RECORDERS, sent_of
recorder = RECORDERS["mlflow"](Path(sys.argv[1]))
recorder.publish(Path(sys.argv[1]))
recorder.close()
assert "mlflow" not in sys.modules
assert not sent_of(Path(sys.argv[1])).problem, sent_of(Path(sys.argv[1]))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {"PELT_AUTOML_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program, str(folder)], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (tmp_path / "home" / "mlflow.db").is_file()


@pytest.mark.slow
def test_a_module_in_the_folder_that_the_user_is_in_is_not_taken_for_pythons(folder, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('taken from the folder')")
    monkeypatch.chdir(tmp_path)
    assert send_folder(folder).problem == ""


class Server:
    """MLflow's own, on a SQLite file."""

    def __init__(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        store = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", str(folder / "server-artifacts")]
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        self.log = (folder / "server.log").open("w")
        command = [sys.executable, "-m", "mlflow", "server", *store, *address]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(command, env=os.environ | quiet, stdout=self.log, stderr=self.log, start_new_session=True)

    def wait(self):
        import urllib.request

        for _ in range(600):
            try:
                return urllib.request.urlopen(f"{self.uri}/health", timeout=1).read()
            except OSError:
                assert self.process.poll() is None
                time.sleep(0.2)
        raise AssertionError("MLflow's server didn't start")

    def stop(self):
        os.killpg(self.process.pid, 9)
        self.process.wait()
        self.log.close()


@pytest.mark.stack
def test_a_real_server_gets_everything_through_its_own_address(folder, tmp_path, monkeypatch):
    server = Server(tmp_path)
    try:
        server.wait()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        sent = send_folder(folder)
        assert sent.problem == ""
        again = send_folder(folder)
        assert again == sent
        better = send_folder(write_folder(tmp_path / "better", another("better", score=0.9)))
        assert better.champion == "version 2 is the champion now (accuracy 90.0): better than version 1 (80.0)"
        client = make_client(server.uri)
        assert client.get_run(sent.run).info.status == "FINISHED"
        assert {file.path for file in client.list_artifacts(sent.run)} == {"records.jsonl", "report.md", "model"}
        assert json.loads((folder / "mlflow.json").read_text())["uri"] == server.uri
        os.killpg(server.process.pid, 19)  # it hangs: connections are taken, answers never come
        monkeypatch.setenv(TIMEOUT, "1")
        started = time.monotonic()
        hanging = send_folder(write_folder(tmp_path / "late", another("late")))
        assert hanging.problem == "it took the connection and gave no answer within seconds"
        assert time.monotonic() - started < sending.START_SECONDS, "most of it is MLflow's import"
        monkeypatch.delenv(TIMEOUT)
        os.killpg(server.process.pid, 18)
        assert send_folder(tmp_path / "late").problem == ""
    finally:
        server.stop()
