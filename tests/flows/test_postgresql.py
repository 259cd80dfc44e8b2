"""Real servers on a real PostgreSQL with a password, three workers, and a selection's process that is killed; `Selection` is a double."""

import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import psycopg2
import pytest
import stack_database
from stack_database import Database

from tests.flows.test_end_to_end import PATIENCE, Server, free_port

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.timeout(900)]

PASSWORD = "hush-hush"


@pytest.fixture(scope="module")
def folder():
    """One that PostgreSQL's account may enter, with a path that is short enough for a socket; pytest's own are neither."""
    path = Path(tempfile.mkdtemp(prefix="pelt-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


class PostgreSQL:
    """As somebody would run it who has nothing to do with `make up`."""

    def __init__(self, home):
        self.home, self.port = home, free_port()
        home.mkdir()
        stack_database.prepare_own(home)
        with (home / "postgres" / "data" / "pg_hba.conf").open("a") as file:
            file.write("host all all 127.0.0.1/32 scram-sha-256\n")
        self.start()
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE pelt PASSWORD '{PASSWORD}'")
        self.address = f"postgresql://pelt:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self):
        command = [*stack_database.command_of_own(self.home), "-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}"]
        log = (self.home / "log").open("a")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, **stack_database.as_account())
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.connected().close()
            except psycopg2.OperationalError:
                assert time.monotonic() < deadline, (self.home / "log").read_text()
                time.sleep(0.2)

    def connected(self):
        return psycopg2.connect(f"{Database('own').url(self.home)}&port={self.port}")

    def end(self, how=signal.SIGINT):
        self.process.send_signal(how)
        self.process.wait(timeout=60)

    def tables(self, schema):
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", [schema])
            return {name for (name,) in cursor.fetchall()}


@pytest.fixture(scope="module")
def database(folder):
    assert stack_database.binaries(folder), "PostgreSQL isn't installed: apt-get install postgresql"
    database = PostgreSQL(folder / "database")
    yield database
    database.end()


@pytest.fixture(scope="module")
def server(folder, database):
    server = Server(folder)
    server.environment["PELT_AUTOML_DATABASE"] = database.address
    (folder / "data").mkdir()
    try:
        up = server.stack("up", GPU_WORKERS="2")
        assert up.returncode == 0, up.stdout + up.stderr
        assert f"Database       postgresql://pelt@127.0.0.1:{database.port}/postgres\n" in up.stdout
        assert "GPU workers    gpu-1, gpu-2\n" in up.stdout
        yield server
    finally:
        down = server.stack("down", FORCE="1")
    assert down.stdout == "Stopped: worker, gpu-1, gpu-2, mlflow-server, prefect-server.\n"


def newer_than(server, run_id):
    """The run that a killed one was started again as, once it searches."""
    deadline = time.monotonic() + 2 * PATIENCE
    while not (again := [run for run in server.unfinished() if run["id"] != run_id]):
        assert time.monotonic() < deadline, server.ask(f"flow_runs/{run_id}")["state"]
        time.sleep(0.5)
    return server.at_work(again[0]["id"])


def test_a_selection_whose_process_is_killed_is_started_again_without_a_person_and_a_cancelled_one_is_not(server):
    killed = server.start("select-pelt/default", task="long-one")
    server.at_work(killed)
    lock = server.folder / "home" / "flow-runs" / f"{killed}.lock"
    os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
    again = newer_than(server, killed)
    assert "started-again:1" in again["tags"]
    old = server.ask(f"flow_runs/{killed}")
    assert (old["state_type"], old["state_name"]) == ("CRASHED", "Started again")
    assert old["state"]["message"] == f"its process was killed; started again as {again['name']}"
    assert server.unfinished_steps(killed) == []
    assert not lock.exists()

    server.ask(f"flow_runs/{again['id']}/set_state", state={"type": "CANCELLING"})
    assert server.ended(again["id"])["state_type"] == "CANCELLED"
    looked = server.start("resume-killed/automatic", reported=f"prefect.flow-run.{again['id']}")
    assert server.ended(looked)["state_type"] == "COMPLETED"
    assert server.unfinished() == []
    assert len(server.runs("select-pelt")) == 2


def test_both_servers_state_is_in_the_database_which_may_be_killed(server, database):
    asked = urllib.request.Request(f"http://127.0.0.1:{server.environment['PELT_AUTOML_MLFLOW_PORT']}/api/2.0/mlflow/experiments/create")
    asked.data, asked.headers = b'{"name": "toy"}', {"Content-Type": "application/json"}
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.status == 200
    assert {"flow_run", "alembic_version"} <= database.tables("public")
    assert {"experiments", "alembic_version"} <= database.tables("mlflow")
    assert not [file for file in (server.folder / "home").rglob("*.db") if file.stat().st_size]
    before = {run["id"] for run in server.runs("select-pelt")}
    database.end(signal.SIGKILL)
    database.start()
    run = server.ended(server.start("select-pelt/default", task="toy-task"))
    assert run["state_type"] == "COMPLETED"
    assert {run["id"] for run in server.runs("select-pelt")} == before | {run["id"]}


def test_a_selection_that_comes_to_its_end_while_the_database_is_away_ends_well_once_that_is_back(server, database):
    run = server.start("select-pelt/default", task="long-two")
    server.at_work(run)
    database.end(signal.SIGKILL)
    folder = server.folder / "home" / "selections" / "long-two-abc123"
    (folder / "go").touch()
    deadline = time.monotonic() + PATIENCE
    while "recommend" not in (folder / "steps.txt").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(5.0)  # it asks in vain
    database.start()
    assert server.ended(run)["state_type"] == "COMPLETED"


def test_the_password_stands_in_no_log_no_title_of_a_process_and_no_file(server):
    status = server.stack("status")
    assert len([line for line in status.stdout.splitlines() if "runs (process" in line]) == 5
    titles = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    home = server.folder / "home"
    texts = {str(file): file.read_text(errors="replace") for file in home.rglob("*") if file.is_file()}
    assert any(name.endswith("mlflow-server.log") for name in texts)
    texts |= {"ps": titles, "status": status.stdout, "logs": server.stack("logs").stdout}
    assert [name for name, text in texts.items() if PASSWORD in text] == []


def test_a_postgresql_of_its_own_lets_in_whoever_typed_make_up_by_its_socket_and_nobody_else(folder):
    home = folder / "own"
    home.mkdir()
    own = Database("own")
    stack_database.prepare_own(home)
    with (home / "log").open("w") as log:
        process = subprocess.Popen(stack_database.command_of_own(home), stdout=log, stderr=log, **stack_database.as_account())
    try:
        deadline = time.monotonic() + PATIENCE
        while stack_database.problem_with(own, home):
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.2)
        with psycopg2.connect(own.url(home, schema="mlflow")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user, current_schema(), current_setting('listen_addresses')")
            assert cursor.fetchall() == [("pelt", "mlflow", "")]
        assert oct((home / "postgres").stat().st_mode)[-3:] == "700"
        idents = (home / "postgres" / "data" / "pg_ident.conf").read_text().splitlines()
        assert {line.split()[1] for line in idents} <= {getpass.getuser(), stack_database.account() or getpass.getuser()}
        stack_database.prepare_own(home)  # what is there stays
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
