import fcntl
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import stack_database
import stack_devices
import yaml
from stack_database import Database

from pelt_automl.execution.certificates import Certificates
from tests.flows.test_end_to_end import free_port

HARD = re.compile(r"where (?:it|they) stood|go(?:es)? on with|\banew\b|called after|stands in|comes before the Hub|at most\.\"")
GONE = "but its process is gone; make up closes it and resumes its selection"
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "stack.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("stack", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["stack"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stack(script, tmp_path):
    (tmp_path / "home" / "stack").mkdir(parents=True)
    return script.read_stack({"PELT_AUTOML_HOME": str(tmp_path / "home")}, tmp_path / "prefect.toml")


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_ports_have_defaults_and_a_wrong_one_is_named(script, stack, tmp_path):
    assert (stack.prefect_port, stack.mlflow_port) == (4200, 5000)
    for wrong in ("0", "65536", "http", "-1"):
        with pytest.raises(script.StackError, match=f"PELT_AUTOML_MLFLOW_PORT is '{wrong}'"):
            script.read_stack({"PELT_AUTOML_MLFLOW_PORT": wrong}, tmp_path / "prefect.toml")


def test_a_port_that_another_program_has_is_a_clear_error_and_nothing_stays_running(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        environment = dict(os.environ, PELT_AUTOML_HOME=str(tmp_path), PELT_AUTOML_PREFECT_PORT=port)
        command = [sys.executable, str(SCRIPT), "up", "--settings-file", str(tmp_path / "prefect.toml")]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"port {port} for the prefect-server is taken by another program; end that, or choose one: PELT_AUTOML_PREFECT_PORT=PORT make up\n"
    )
    assert not (tmp_path / "prefect.toml").exists()


def test_stopping_ends_a_process_with_its_whole_session(script, stack, sleeper):
    (stack.folder / "worker.pid").write_text(f"{sleeper.pid} {script.started_at(sleeper.pid)}")
    assert script.running(stack, "worker") == sleeper.pid
    assert script.stop(stack, "worker")
    assert sleeper.wait(timeout=5) == -signal.SIGTERM
    assert not script.stop(stack, "worker")


PARENT = """
import subprocess, sys
child = "import socket, sys, time; s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); print('ready', flush=True)"
with subprocess.Popen([sys.executable, "-c", child + "; time.sleep(100)", sys.argv[1]]) as process:
    process.wait()
"""
"""Of a server whose port a child of it has, as MLflow's and Prefect's."""


@pytest.mark.slow
@pytest.mark.parametrize("then", ["start", "stop"])
def test_a_server_that_was_killed_leaves_no_child_that_holds_its_port(script, stack, then):
    port = free_port()
    service = script.Service("mlflow-server", (sys.executable, "-c", PARENT, str(port)), lambda: script.has_listener(port), port)
    script.start(stack, service)
    try:
        os.kill(script.running(stack, "mlflow-server"), signal.SIGKILL)
        while script.running(stack, "mlflow-server"):
            time.sleep(0.01)
        assert script.has_listener(port)
        if then == "start":
            script.start(stack, service)
            assert script.running(stack, "mlflow-server")
    finally:
        script.stop(stack, "mlflow-server")
    assert not script.is_taken(port)


OWNER = """
import subprocess, sys, time
sys.path[:0] = [sys.argv[1]]
import stack_database
process = subprocess.Popen(sys.argv[2:], **stack_database.as_account())
print(process.pid, flush=True)
sys.stdin.readline()
time.sleep(3)
"""
"""Starts a PostgreSQL, and looks after it only some seconds after its end."""


@pytest.mark.slow
def test_a_postgresql_that_was_killed_just_now_is_started_again_once_nothing_of_it_holds_its_data(script):
    folder = Path(tempfile.mkdtemp(prefix="pelt-", dir="/tmp"))  # its account may enter, and a socket's path is short
    folder.chmod(0o755)
    home = folder / "home"
    (home / "stack").mkdir(parents=True)
    stack_database.prepare_own(home)
    stack = script.read_stack({"PELT_AUTOML_HOME": str(home)}, folder / "prefect.toml")
    stack = script.replace(stack, database=Database("own"))
    service = script.services(stack)[0]
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(SCRIPT.parent), *service.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        pid = int(owner.stdout.readline())
        (stack.folder / "postgres.pid").write_text(f"{pid} {script.started_at(pid)}")
        while not script.serves(stack):
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        owner.stdin.write("look\n")
        owner.stdin.flush()
        script.start(stack, service)
        assert script.running(stack, "postgres") not in (None, pid)
        assert script.serves(stack)
    finally:
        script.stop(stack, "postgres")
        owner.kill()
        owner.wait()
        shutil.rmtree(folder)


def test_a_process_that_only_got_the_same_number_is_left_alone(script, stack, sleeper):
    (stack.folder / "worker.pid").write_text(f"{sleeper.pid} 12345")
    assert not script.stop(stack, "worker")
    assert sleeper.poll() is None


@pytest.mark.parametrize("text", ["", "nonsense", "-1 5", "999999999 5"])
def test_a_broken_file_with_a_process_id_stops_nothing(script, stack, text):
    (stack.folder / "worker.pid").write_text(text)
    assert not script.stop(stack, "worker")


def test_only_a_settings_file_of_ours_is_removed(script, stack, capsys):
    stack.settings_file.write_text("[api]\n")
    script.down(stack)
    assert stack.settings_file.exists()
    stack.settings_file.write_text(script.MARK)
    script.down(stack)
    assert not stack.settings_file.exists()
    assert capsys.readouterr().out == "Nothing was running.\n" * 2


def test_the_services_know_nothing_of_another_prefect_server(stack, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere/api")
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    environment = stack.environment()
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert "PREFECT_API_KEY" not in environment


@pytest.fixture
def nothing_said(monkeypatch):
    for variable in (
        "PELT_AUTOML_DATA_DIR",
        "PELT_AUTOML_DATA_ROOTS",
        "PELT_AUTOML_CERTIFICATES",
        "PELT_AUTOML_LISTEN",
        "GPU_WORKERS",
        "SELECTIONS",
        "PELT_AUTOML_DATABASE",
    ):
        monkeypatch.delenv(variable, raising=False)


def nothing_started(script, monkeypatch):
    """`up` starts nothing; returns the names of what it would have started."""
    started = []
    for name, answer in (("deploy", None), ("side", []), ("make_certificates", None), ("prepare_database", None)):
        monkeypatch.setattr(script, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(script, "start", lambda stack, service: started.append(service.name))
    return started


@pytest.mark.usefixtures("nothing_said")
def test_the_data_folders_named_are_those_that_the_running_worker_has(script, stack, monkeypatch):
    assert script.data_folders(stack) == "none; for tasks from files: make down; PELT_AUTOML_DATA_DIR=DIR make up"
    with monkeypatch.context() as said:
        said.setenv("PELT_AUTOML_DATA_DIR", "/data")
        said.setenv("PELT_AUTOML_DATA_ROOTS", "/more:/my models:")
        script.remember(stack, *script.DATA)
    assert script.data_folders(stack) == "/data, /more, /my models"
    monkeypatch.setenv("PELT_AUTOML_DATA_ROOTS", "/the others")
    assert script.data_folders(stack) == (
        "still /data, /more, /my models: the worker runs already; "
        "for /data, /the others: make down; PELT_AUTOML_DATA_ROOTS='/the others' make up"
    )


class Terminal:
    """Standard input of a person, or of a script."""

    def __init__(self, *, is_one):
        self.isatty = lambda: is_one


@pytest.mark.parametrize("forced", ["1", "true", "YES"])
def test_runs_under_way_are_stopped_only_when_somebody_says_so(script, monkeypatch, capsys, forced):
    monkeypatch.delenv("FORCE", raising=False)
    script.ask_for([])
    monkeypatch.setattr(sys, "stdin", Terminal(is_one=False))
    with pytest.raises(script.StackError, match=r"2 flow runs are under way: a, b\. Nothing was stopped\. .*FORCE=1 make down"):
        script.ask_for(["a", "b"])
    monkeypatch.setattr(sys, "stdin", Terminal(is_one=True))
    for answer in ("", "n", "what?"):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        with pytest.raises(script.StackError, match=r"^Nothing was stopped"):
            script.ask_for(["a"])
    monkeypatch.setattr("builtins.input", lambda _: " Yes ")
    script.ask_for(["a"])
    assert "1 flow run is under way: a" in capsys.readouterr().out
    monkeypatch.setenv("FORCE", forced)
    monkeypatch.setattr(sys, "stdin", Terminal(is_one=False))
    script.ask_for(["a"])


def test_a_run_under_way_is_found_by_its_lock_though_no_server_answers(script, stack):
    locks = stack.home / "flow-runs"
    locks.mkdir()
    (locks / "dead.lock").write_text("1 select-dead")
    with (locks / "living.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("2 select-living-k16-seed0")
        file.flush()
        assert script.under_way(stack) == ["select-living-k16-seed0"]
    assert script.under_way(stack) == []


def test_a_log_is_added_to_and_its_end_is_shown(script, stack, monkeypatch, capsys):
    service = script.Service("worker", (sys.executable, "-c", "print('hello'); import time; time.sleep(60)"))
    for _ in range(2):
        script.start(stack, service)
        assert script.stop(stack, "worker")
    log = script.log_of(stack, "worker").read_text()
    assert log.count("--- make up, ") == 2
    monkeypatch.setenv("SERVICE", "worker")
    monkeypatch.setenv("LINES", "1")
    script.logs(stack)
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setenv("SERVICE", "database")
    with pytest.raises(script.StackError, match="SERVICE is 'database'; there are prefect-server, mlflow-server, worker"):
        script.logs(stack)


def test_a_prefect_toml_of_the_users_own_stays_as_it_is(script, stack):
    stack.settings_file.write_text("[api]\n")
    assert not script.write_settings(stack)
    assert stack.settings_file.read_text() == "[api]\n"
    assert f"say first: export PREFECT_API_URL={stack.api}" in script.instructions(stack, own_settings=False)
    stack.settings_file.unlink()
    assert script.write_settings(stack)
    assert stack.api in stack.settings_file.read_text()


def test_the_state_of_services_that_do_not_run_is_told_without_asking_anybody(script, stack, capsys):
    script.status(stack)
    names = ("prefect-server", "mlflow-server", "worker")
    assert capsys.readouterr().out.splitlines()[:3] == [f"{name:<15} doesn't run" for name in names]
    assert not (stack.folder / "ports.json").exists()


@pytest.mark.parametrize(
    ("fact", "line"),
    [
        ({"run": "a", "state": "Running", "since": "2026-01-01 10:00:00.1"}, "under way       a, Running since 2026-01-01 10:00:00 UTC"),
        ({"dead": "a", "state": "Pending"}, f"dead            a: still Pending, {GONE}"),
        ({"schedule": "nightly", "active": False, "cron": "0 3 * * *"}, "schedule        nightly, 0 3 * * *: paused"),
        ({"pool": "pelt", "paused": True, "limit": 2}, "work pool       pelt, at most 2 runs at once: paused"),
        ({"waits": "a"}, "waits           a"),
    ],
)  # fmt: skip
def test_facts_are_told_in_words(script, fact, line):
    assert script.line_of(fact) == line


@pytest.mark.usefixtures("nothing_said")
@pytest.mark.parametrize("variable", ["PELT_AUTOML_DATA_DIR", "PELT_AUTOML_DATA_ROOTS", "PELT_AUTOML_LISTEN"])
def test_data_folders_are_those_of_last_time_unless_others_or_none_are_said(script, stack, monkeypatch, variable):
    nothing_started(script, monkeypatch)
    for said in ("tls://192.0.2.7:0", "tls://192.0.2.8:0", "") if variable == "PELT_AUTOML_LISTEN" else ("/data", "/other", ""):
        monkeypatch.setenv(variable, said)
        assert stack.environment()[variable] == said
        script.up(stack)
        monkeypatch.delenv(variable)
        assert stack.environment().get(variable, "") == said


def test_the_command_that_is_named_next_asks_about_the_task_that_is_kept_up_to_date(script, stack):
    (file,) = (SCRIPT.parents[1] / "tasks.d").iterdir()
    fields = yaml.safe_load(file.read_text())
    assert (file.stem, fields["task"], fields["k"]) == ("pydoc-topic", "pydoc-topic", 300)
    assert "--param task=pydoc-topic " in script.instructions(stack, own_settings=True)


def test_words_that_were_hard_to_read_are_gone():
    root = SCRIPT.parents[1]
    for name in ("scripts/stack.py", "Makefile", "docs/servers.md", "prefect.yaml", "flows/reproduce_unipelt.py", "pelt_automl/cli.py"):
        text = (root / name).read_text()
        assert HARD.findall(text) == [], name


@pytest.mark.parametrize("wrong", ["-1", "two", "1.5", "65"])
def test_a_number_of_gpu_workers_that_is_none_is_one_clear_error(tmp_path, wrong):
    environment = dict(os.environ, PELT_AUTOML_HOME=str(tmp_path), GPU_WORKERS=wrong)
    command = [sys.executable, str(SCRIPT), "up", "--settings-file", str(tmp_path / "prefect.toml")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, f"GPU_WORKERS is '{wrong}'; it must be a number of workers from 0 to 64\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nothing_said")
def test_selections_at_once_are_as_many_as_said_or_as_last_time_and_a_worker_that_runs_keeps_its_number(
    script, stack, monkeypatch, sleeper, capsys
):
    started = nothing_started(script, monkeypatch)
    monkeypatch.setattr(script, "start", lambda _stack, service: started.append((service.name, service.command[-1])))

    def up(said=None):
        started.clear()
        with monkeypatch.context() as typed:
            if said is not None:
                typed.setenv("SELECTIONS", said)
            script.up(stack)
        said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Selections "))
        return dict(each for each in started if isinstance(each, tuple)).get("worker"), said.removeprefix("Selections").strip()

    assert up() == ("1", "1 at once; for 2, which share the GPU workers: make down; SELECTIONS=2 make up")
    assert up("3") == ("3", "3 at once")
    assert up() == ("3", "3 at once"), "as last time"
    (stack.folder / "worker.pid").write_text(f"{sleeper.pid} {script.started_at(sleeper.pid)}")
    assert up("2") == (None, "still 3 at once: the worker runs already; for 2: make down; SELECTIONS=2 make up")
    for wrong in ("0", "two", "65"):
        with pytest.raises(script.StackError, match=f"^SELECTIONS is '{wrong}'; it must be a number of selections at once from 1 to 64$"):
            script.read_stack({"SELECTIONS": wrong}, stack.settings_file)


@pytest.mark.usefixtures("nothing_said")
def test_an_address_to_listen_at_is_checked_at_once_and_a_worker_that_runs_keeps_its_own(script, stack, monkeypatch, sleeper, capsys):
    nothing_started(script, monkeypatch)

    def up(said=None):
        with monkeypatch.context() as typed:
            if said is not None:
                typed.setenv("PELT_AUTOML_LISTEN", said)
            script.up(stack)
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Listening at ")).split(maxsplit=2)[2]

    assert up() == "this machine alone"
    for wrong, said in (("192.0.2.7", "is no address of a selection's port"), ("tls://0.0.0.0:0", "is no address that workers can find")):
        with pytest.raises(script.StackError, match=f"^PELT_AUTOML_LISTEN: .*{said}"):
            up(wrong)
    assert up("tls://192.0.2.7:0") == "tls://192.0.2.7:0"
    assert up() == "tls://192.0.2.7:0", "as last time"
    (stack.folder / "worker.pid").write_text(f"{sleeper.pid} {script.started_at(sleeper.pid)}")
    assert up("tls://192.0.2.8:0") == (
        "still tls://192.0.2.7:0: the worker runs already; for tls://192.0.2.8:0: make down; PELT_AUTOML_LISTEN=tls://192.0.2.8:0 make up"
    )
    assert up("") == "still tls://192.0.2.7:0: the worker runs already; for this machine alone: make down; PELT_AUTOML_LISTEN='' make up"


@pytest.mark.usefixtures("nothing_said")
def test_gpu_workers_are_as_many_as_said_as_last_time_or_one_and_more_may_come_later(script, stack, tmp_path, monkeypatch, sleeper):
    started = nothing_started(script, monkeypatch)
    (stack.folder / "database.txt").write_text("own")

    def up(said=None):
        started.clear()
        with monkeypatch.context() as typed:
            if said is not None:
                typed.setenv("GPU_WORKERS", said)
            script.up(script.read_stack({"PELT_AUTOML_HOME": str(stack.home)}, tmp_path / "prefect.toml"))
        return [name for name in started if name.startswith("gpu-")]

    assert up() == ["gpu-1"]
    (stack.folder / "gpu-1.pid").write_text(f"{sleeper.pid} {script.started_at(sleeper.pid)}")
    assert up("3") == ["gpu-2", "gpu-3"]
    assert up() == ["gpu-2", "gpu-3"], "as last time"
    assert up("") == []
    (stack.folder / "gpu-2.pid").write_text("999999999 5")
    assert up("0") == []
    names = [service.name for service in script.gpu_services(stack)]
    assert names == ["gpu-1", "gpu-2"], "what runs, or died, is shown though it isn't wanted any more"


def test_each_gpu_worker_has_a_gpu_of_its_own_and_more_workers_than_gpus_are_refused(script, stack, monkeypatch, tmp_path):
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\nprintf 'GPU 0: H200 (UUID: GPU-a)\\n  MIG 1g (UUID: MIG-b)\\nGPU 1: H200 (UUID: GPU-c)\\n'\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    two = script.replace(stack, gpu_workers=2)
    assert [service.own for service in script.gpu_services(two)] == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    with pytest.raises(
        script.StackError, match=r"^GPU_WORKERS is 3, and this machine has 2 GPUs for them, one each: GPU_WORKERS=2 make up$"
    ):
        script.check_devices(script.replace(stack, gpu_workers=3))
    assert list(stack.folder.iterdir()) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-c")
    assert script.gpu_services(two)[0].own == {"CUDA_VISIBLE_DEVICES": "GPU-c"}
    with pytest.raises(script.StackError, match="CUDA_VISIBLE_DEVICES names 1 GPU for them"):
        script.check_devices(two)


@pytest.mark.parametrize(
    ("said", "threads"), [({}, ["4", "4"]), ({"OMP_NUM_THREADS": "3"}, ["3", "3"]), ({"CUDA_VISIBLE_DEVICES": "-1"}, ["4", "4"])]
)
def test_without_gpus_the_workers_share_the_cores_unless_the_user_says_how_many_threads_each_has(monkeypatch, said, threads):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(stack_devices, "usable_cores", lambda: 9)
    gpus = stack_devices.visible_gpus(said)
    assert [stack_devices.place(number, 2, gpus, said) for number in (1, 2)] == [{"OMP_NUM_THREADS": own} for own in threads]


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_said")
def test_certificates_are_made_once_for_the_user_alone_unless_the_user_has_some(script, stack, monkeypatch, capsys):
    script.make_certificates(stack)
    own = stack.home / "certificates"
    assert stack.environment()["PELT_AUTOML_CERTIFICATES"] == str(own)
    assert {path.name: oct(path.stat().st_mode)[-3:] for path in own.iterdir()} == dict.fromkeys(("ca.pem", "cert.pem", "key.pem"), "600")
    assert oct(own.stat().st_mode)[-3:] == "700"
    Certificates.of(own).security()
    first = Certificates.of(own)
    script.make_certificates(stack)
    assert (Certificates.of(own), capsys.readouterr().out) == (first, "")
    os.utime(own, (0, 0))
    with monkeypatch.context() as runs:
        runs.setattr(script, "running", lambda _stack, name: 1 if name == "worker" else None)
        script.make_certificates(stack)
        assert Certificates.of(own) == first, "a selection under way may use them"
    script.make_certificates(stack)
    assert Certificates.of(own) != first
    assert "are made again, since they soon end" in capsys.readouterr().out
    monkeypatch.setenv("PELT_AUTOML_CERTIFICATES", "/others")
    os.utime(own, (0, 0))
    script.make_certificates(stack)
    script.remember(stack, "PELT_AUTOML_CERTIFICATES")
    monkeypatch.delenv("PELT_AUTOML_CERTIFICATES")
    assert stack.environment()["PELT_AUTOML_CERTIFICATES"] == "/others", "as last time"
    monkeypatch.setenv("PELT_AUTOML_CERTIFICATES", "")
    assert stack.environment()["PELT_AUTOML_CERTIFICATES"] == str(own)
    assert capsys.readouterr().out == ""


@pytest.fixture
def own_possible(monkeypatch):
    """Whether `make up` could start a PostgreSQL of its own; empty for yes."""

    def set_to(why):
        monkeypatch.setattr(stack_database, "why_not_own", lambda home: why)

    set_to("")
    return set_to


@pytest.mark.usefixtures("nothing_said")
def test_a_new_home_gets_a_postgresql_of_its_own_where_one_can_be_started_and_one_with_sqlite_files_keeps_them(script, stack, own_possible):
    assert script.with_database(stack).database.address == "own"
    assert script.with_workers(script.with_database(stack)).gpu_workers == 1
    own_possible("PostgreSQL isn't installed")
    files = script.with_database(stack)
    assert (files.database.address, script.with_workers(files).gpu_workers) == ("sqlite", 0)
    own_possible("")
    (stack.folder / "database.txt").write_text(files.database.named)
    assert script.with_database(stack).database.address == "sqlite", "as last time, though PostgreSQL is there now"
    (stack.folder / "database.txt").unlink()
    (stack.home / "prefect").mkdir()
    (stack.home / "prefect" / "prefect.db").write_text("")
    assert script.with_database(stack).database.address == "sqlite", "a home of before"
    assert "none. They need PostgreSQL. With a PostgreSQL that make up starts: make down; FORCE=1" in script.gpu_workers(stack)


@pytest.mark.usefixtures("nothing_said")
@pytest.mark.parametrize(
    ("why", "way_out"),
    [
        ("", "With a PostgreSQL that make up starts: PELT_AUTOML_DATABASE=own make up."),
        ("it isn't installed", "can't start a PostgreSQL of its own: it isn't installed. To name one: PELT_AUTOML_DATABASE=postgresql://"),
    ],
)
def test_several_workers_on_sqlite_are_refused_with_the_reason_and_the_way_out(script, stack, own_possible, monkeypatch, why, way_out):
    own_possible(why)
    monkeypatch.setenv("GPU_WORKERS", "2")
    monkeypatch.setenv("PELT_AUTOML_DATABASE", "sqlite")
    with pytest.raises(script.StackError) as refused:
        script.up(stack)
    assert str(refused.value).startswith(
        "GPU_WORKERS is 2, and Prefect's server keeps its state in SQLite files: 3 workers (pelt's is one) lock"
    )
    assert way_out in str(refused.value)
    assert list(stack.folder.iterdir()) == []


@pytest.mark.usefixtures("nothing_said", "own_possible")
def test_another_database_than_the_homes_is_refused_unless_it_is_forced_since_nothing_is_copied(script, stack, monkeypatch):
    (stack.folder / "database.txt").write_text("sqlite")
    monkeypatch.setenv("PELT_AUTOML_DATABASE", "postgresql://me:secret@db/x")
    with pytest.raises(script.StackError, match=r"are in the SQLite files of .* names postgresql://me@db/x\. Nothing is copied") as refused:
        script.up(stack)
    assert "secret" not in str(refused.value)
    with monkeypatch.context() as forced:
        forced.setenv("FORCE", "1")
        assert script.with_database(stack).database.address == "postgresql://me:secret@db/x"
    (stack.folder / "prefect-server.pid").write_text(f"{os.getpid()} {script.started_at(os.getpid())}")
    monkeypatch.setenv("FORCE", "1")
    with pytest.raises(script.StackError, match=r"the servers run, and keep their state in the SQLite files .* make down"):
        script.up(stack)
    monkeypatch.setenv("PELT_AUTOML_DATABASE", "sqlite")
    assert script.with_database(stack).database.is_sqlite
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://me:secret@db/x")
    with pytest.raises(script.StackError, match=r"^PREFECT_SERVER_DATABASE_CONNECTION_URL is set\. Say PELT_AUTOML_DATABASE="):
        script.up(stack)


@pytest.mark.usefixtures("nothing_said")
def test_a_database_that_does_not_answer_is_one_clear_error_without_its_password(script, stack, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PELT_AUTOML_DATABASE", f"postgresql://me:secret@127.0.0.1:{nobody.getsockname()[1]}/x")
        with pytest.raises(
            script.StackError, match=r"^postgresql://me@127\.0\.0\.1:\d+/x can't be used: .*[Cc]onnection refused"
        ) as refused:
            script.up(stack)
    assert "secret" not in str(refused.value)
    assert list(stack.folder.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "mysql://a@b/c",
        "postgresql://host",
        "postgresql:///x",
        "x",
        "postgresql://a:secret@b:port/c",
        "postgresql://a:secret[@b/c",
        "postgresql://a:secret\u2100@b/c",
        "postgresql://a:12/secret@b/c",
        "postgresql://a:12/secret?x@b/c",
    ],
)
def test_what_is_no_database_is_one_clear_error_without_the_password(wrong):
    with pytest.raises(
        stack_database.DatabaseError, match=r"PELT_AUTOML_DATABASE is no address of a PostgreSQL database; expected"
    ) as refused:
        Database.of(wrong)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong", ["postgresql://a:secret%@127.0.0.1/c", "postgresql://a:secret@[::1]c/d", "postgresql://a:secret@b/c?secret=1"]
)
def test_an_address_that_postgresql_cannot_read_is_refused_without_the_password(tmp_path, wrong):
    try:
        problem = stack_database.problem_with(Database.of(wrong), tmp_path)
    except stack_database.DatabaseError as error:  # some versions of Python read less than others
        problem = str(error)
    assert problem.startswith(("PostgreSQL can't read the address: a % in a password is %25", "PELT_AUTOML_DATABASE is no address"))
    assert "secret" not in problem


HOME = Path("/h")


@pytest.mark.parametrize(
    ("said", "prefect", "mlflow", "named"),
    [
        ("postgres://u:p%40w@localhost/d", "postgresql+asyncpg://u:p%40w@localhost/d", "postgresql://u:p%40w@localhost/d?M", "postgresql://u@localhost/d"),
        ("postgresql://u@db:5/d", "postgresql+asyncpg://u@db:5/d?ssl=require", "postgresql://u@db:5/d?sslmode=require&M", "postgresql://u@db:5/d"),
        (
            "postgresql://db/d?sslmode=disable&password=p", "postgresql+asyncpg://db/d?password=p&ssl=disable",
            "postgresql://db/d?password=p&sslmode=disable&M", "postgresql://db/d?sslmode=disable",
        ),
        (
            "own", "postgresql+asyncpg://pelt@/postgres?host=%2Fh%2Fpostgres", "postgresql://pelt@/postgres?host=%2Fh%2Fpostgres&M", "own",
        ),
    ],
)  # fmt: skip
def test_both_servers_get_one_database_with_a_schema_for_mlflow_and_tls_to_other_machines(said, prefect, mlflow, named):
    database = Database.of(said)
    assert database.of_prefect(HOME) == {"PREFECT_SERVER_DATABASE_CONNECTION_URL": prefect}
    assert database.of_mlflow(HOME) == {"MLFLOW_BACKEND_STORE_URI": mlflow.replace("M", "options=-csearch_path%3Dmlflow")}
    assert database.named == named


def test_only_the_two_servers_know_the_databases_address(script, stack, monkeypatch):
    monkeypatch.setenv("PELT_AUTOML_DATABASE", "postgresql://me:secret@db/x")
    known = script.replace(stack, database=Database.of("postgresql://me:secret@db/x"))
    assert "secret" not in str(known.environment())
    assert known.environment()["PELT_AUTOML_SERVER_DATABASE"] == "postgresql"
    knows = {service.name: "secret" in str(service.own) for service in script.services(known)}
    assert knows == {"prefect-server": True, "mlflow-server": True, "worker": False}
    assert "secret" not in str([service.command for service in script.services(known)])
    assert "secret" not in script.instructions(known, own_settings=True)


@pytest.mark.parametrize(
    ("path", "root", "why"),
    [
        ("h", False, ""),
        ("closed/h", False, ""),
        ("closed/h", True, "root may not run PostgreSQL, and the account postgres, which would, may not enter"),
        ("x" * 120, False, "is too long for PostgreSQL's socket"),
    ],
)  # fmt: skip
def test_where_no_own_postgresql_can_be_started_it_says_why_and_what_to_do(monkeypatch, path, root, why):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "closed").mkdir(mode=0o700)
        monkeypatch.setattr(stack_database, "binaries", lambda home: Path("/usr/bin"))
        monkeypatch.setattr(stack_database, "account", lambda: "postgres" if root else None)
        monkeypatch.setattr(stack_database.pwd, "getpwnam", lambda name: None)
        told = stack_database.why_not_own(Path(folder) / path)
        assert (why in told) if why else not told
        monkeypatch.setattr(stack_database, "binaries", lambda home: None)
        assert "apt-get install postgresql" in stack_database.why_not_own(Path(folder) / path)
