"""Starts and stops what `make up` promises: Prefect's server, its workers with their deployments, and MLflow's UI, all on loopback.

All state (databases, logs, process ids) lies in PELT_AUTOML_HOME, ``./pelt-home`` by default. Starting twice is harmless and changes
nothing that is there; stopping ends what was started here and nothing else. Nothing but the standard library is loaded: the servers are the
commands that a person would type, and what needs Prefect's client is flows/stack_side.py in a process of its own.
"""

import argparse
import collections
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import stack_database
from stack_database import OWN, SQLITE, Database, DatabaseError
from stack_devices import VISIBLE, place, visible_gpus

from pelt_automl.durable import write_text
from pelt_automl.errors import SettingsError
from pelt_automl.execution.certificates import check_findable

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
POOL, GPU_POOL = "pelt", "gpu"
DATA = {"PELT_AUTOML_DATA_DIR": "data-dir.txt", "PELT_AUTOML_DATA_ROOTS": "data-roots.txt"}
"""What the worker reads files from, by variable, and the file that keeps its value for the next `make up`."""
CERTIFICATES = "PELT_AUTOML_CERTIFICATES"
COUNT, AT_ONCE = "GPU_WORKERS", "SELECTIONS"
LISTEN = "PELT_AUTOML_LISTEN"
REMEMBERED = DATA | {CERTIFICATES: "certificates.txt", LISTEN: "listen.txt", COUNT: "gpu-workers.txt", AT_ONCE: "selections.txt"}
SERVER_DATABASE = "PELT_AUTOML_SERVER_DATABASE"
"""Of the workers' environment: the kind alone. The address, with its password, is for the two servers."""
FILES = Database(SQLITE)
PREFECTS_OWN = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
MOST_WORKERS = 64
"""Of the pool `gpu`, and selections at once: a slip of the finger isn't to start a thousand processes."""
RENEWED = 330.0
"""Days after which `make up` makes its certificates again; they are valid for a year."""
PATIENCE = 300.0
"""Seconds that a service may take until it answers, and a command until it ends."""
LEFT_BEHIND = 60.0
"""Seconds in which PostgreSQL is tried again, where a killed one still holds its data."""
MARK = "# Written by `make up`, removed by `make down`: lets the prefect command in this folder find the server.\n"


class StackError(Exception):
    """What a person has to know, without a traceback."""


@dataclass(frozen=True)
class Stack:
    """Where everything is."""

    home: Path
    prefect_port: int
    mlflow_port: int
    settings_file: Path
    """Prefect reads ``prefect.toml`` from the folder in which its command is typed."""
    database: Database = FILES
    """Where Prefect's and MLflow's servers keep their state; as last time, until `up` has looked at what is wanted now."""
    gpu_workers: int = 0
    """How many workers of the pool `gpu` are wanted."""
    selections: int = 1
    """How many flow runs the worker of the pool `pelt` has at once."""

    @property
    def api(self) -> str:
        """The address of Prefect's API."""
        return f"http://{HOST}:{self.prefect_port}/api"

    @property
    def mlflow(self) -> str:
        """The address of MLflow's server."""
        return f"http://{HOST}:{self.mlflow_port}"

    @property
    def folder(self) -> Path:
        """Process ids and logs."""
        return self.home / "stack"

    def environment(self) -> dict[str, str]:
        """The services' environment: the caller's, less what would lead to another Prefect server."""
        foreign = ("PREFECT_API_", "PREFECT_PROFILE", stack_database.VARIABLE)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        # As last time where nothing else is said: a selection that is resumed needs its data.
        last = {variable: value for variable, value in remembered(self).items() if variable not in kept and value}
        said = kept | last
        return said | {
            CERTIFICATES: said.get(CERTIFICATES) or str(own_certificates(self)),
            "PELT_AUTOML_HOME": str(self.home),
            "PELT_AUTOML_ROOT": str(ROOT),
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_API_URL": self.api,
            SERVER_DATABASE: "sqlite" if self.database.is_sqlite else "postgresql",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            # What the server says while its PostgreSQL is away; without that a flow ends by it.
            "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
            # `prefect deployment run ... --watch` shows the log, which ends with the verdict.
            "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
            "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }


@dataclass(frozen=True)
class Service:
    """A process that `make up` leaves running."""

    name: str
    command: tuple[str, ...]
    health: Callable[[], bool] | None = None
    """Whether the service answers; None: it is ready when it runs."""
    port: int | None = None
    port_variable: str = ""
    own: Mapping[str, str] = field(default_factory=dict)
    """What its environment has more than that of the others."""


def services(stack: Stack) -> list[Service]:
    """In the order in which they are started."""
    prefect = (sys.executable, "-m", "prefect")
    server = (*prefect, "server", "start", "--host", HOST, "--port", str(stack.prefect_port))
    # Artifacts go straight to the folder: an in-process selection and the worker's see the same experiments.
    artifacts = ("--no-serve-artifacts", "--default-artifact-root", (stack.home / "mlartifacts").as_uri())
    address = ("--host", HOST, "--port", str(stack.mlflow_port), "--workers", "1")
    mlflow = (sys.executable, "-m", "mlflow", "server", *address, *artifacts)
    database, home = stack.database, stack.home
    answered = partial(answers, f"{stack.api}/health"), partial(answers, f"{stack.mlflow}/health")
    return [
        *([Service(stack_database.NAME, stack_database.command_of_own(home), partial(serves, stack))] if database.address == OWN else []),
        Service("prefect-server", server, answered[0], stack.prefect_port, "PELT_AUTOML_PREFECT_PORT", database.of_prefect(home)),
        Service("mlflow-server", mlflow, answered[1], stack.mlflow_port, "PELT_AUTOML_MLFLOW_PORT", database.of_mlflow(home)),
        Service("worker", worker_command(POOL, f"{POOL}-1", stack.selections)),
        *gpu_services(stack),
    ]


def worker_command(pool: str, name: str, at_once: int = 1) -> tuple[str, ...]:
    """Starts a worker, which carries out so many flow runs at once."""
    patient = (sys.executable, "-m", "flows.patient_worker")
    return (*patient, "start", "--pool", pool, "--type", "process", "--name", name, "--limit", str(at_once))


def gpu_services(stack: Stack) -> list[Service]:
    """The workers of the pool `gpu` that are wanted, and those that were started and not stopped, though fewer are wanted now."""
    known = {int(path.stem.removeprefix(f"{GPU_POOL}-")) for path in stack.folder.glob(f"{GPU_POOL}-[0-9]*.pid")}
    gpus = visible_gpus(os.environ)
    return [
        Service(name, worker_command(GPU_POOL, name), own=place(number, stack.gpu_workers, gpus, os.environ))
        for number in sorted(known | set(wanted(stack)))
        for name in [f"{GPU_POOL}-{number}"]
    ]


def wanted(stack: Stack) -> range:
    """The numbers of the workers of the pool `gpu` that `up` starts."""
    return range(1, stack.gpu_workers + 1)


def is_worker(name: str) -> bool:
    """Whether the service carries out flow runs."""
    return name == "worker" or name.startswith(f"{GPU_POOL}-")


# -------------------------------------------------------------------- processes


def started_at(pid: int) -> str | None:
    """When the process started, in the system's own words; None when there is none (or a zombie). Tells a reused process id apart."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
        return shown.stdout.strip() or None
    return None if state in "ZX" else rest[18]


def running(stack: Stack, name: str) -> int | None:
    """The process id of a service that runs, else None."""
    pid, start = noted(stack, name)
    return pid if pid and started_at(pid) == start else None


def noted(stack: Stack, name: str) -> tuple[int, str]:
    """The process id that a service was started with, and when that was; 0 when it wasn't, or was stopped."""
    try:
        pid, start = (stack.folder / f"{name}.pid").read_text(encoding="utf-8").split(maxsplit=1)
    except (OSError, ValueError):
        return 0, ""
    return int(pid) if pid.isdecimal() else 0, start.strip()


def end_left_behind(stack: Stack, name: str) -> None:
    """Kill the children that a service has left when it was killed itself: they may still hold its port."""
    group, _ = noted(stack, name)
    mark = f"PELT_AUTOML_HOME={stack.home}\0".encode()  # another program may have the number by now
    for path in Path("/proc").glob("[0-9]*") if group and started_at(group) is None else ():
        with contextlib.suppress(OSError):
            own = int((path / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[2])
            if own == group and mark in (path / "environ").read_bytes():
                os.kill(int(path.name), signal.SIGKILL)


def start(stack: Stack, service: Service) -> None:
    """Start a service in a session of its own, so that it outlives this program and can be ended with all its children."""
    if not is_worker(service.name):  # a worker's flow runs live on, and are to
        end_left_behind(stack, service.name)
    if service.port is not None and is_taken(service.port):
        way_out = f"end that, or choose one: {service.port_variable}=PORT make up"
        raise StackError(f"port {service.port} for the {service.name} is taken by another program; {way_out}")
    deadline = time.monotonic() + LEFT_BEHIND
    while True:
        process = begin(stack, service)
        try:
            return wait_until_healthy(stack, service, process)
        except StackError:
            held = service.name == stack_database.NAME and stack_database.is_held(tail(stack, service.name, 8))
            if process.poll() is None or not held or time.monotonic() > deadline:
                raise
        time.sleep(0.5)  # what is left of one that was killed ends by itself


def begin(stack: Stack, service: Service) -> subprocess.Popen[bytes]:
    """A service's process, noted as the one that runs."""
    account = stack_database.as_account() if service.name == stack_database.NAME else {}
    with log_of(stack, service.name).open("a") as log:
        log.write(f"--- make up, {time.strftime('%Y-%m-%d %H:%M:%S')}: {shlex.join(service.command)}\n")
        log.flush()
        process = subprocess.Popen(
            service.command,
            cwd=ROOT,
            env=stack.environment() | service.own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A shell that starts jobs in the background ignores SIGINT, and a worker that inherits this ignores its first SIGTERM.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
            **account,
        )
    write_text(stack.folder / f"{service.name}.pid", f"{process.pid} {started_at(process.pid)}")
    return process


def wait_until_healthy(stack: Stack, service: Service, process: subprocess.Popen[bytes]) -> None:
    """Returns once the service answers; one without an address has to live for a second."""
    deadline = time.monotonic() + PATIENCE
    least = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StackError(f"the {service.name} ended at once; the end of {log_of(stack, service.name)}:\n{tail(stack, service.name)}")
        if service.health() if service.health else time.monotonic() > least:
            return
        time.sleep(0.2)
    raise StackError(f"the {service.name} did not answer within {PATIENCE:.0f} s; see {log_of(stack, service.name)}")


def stop(stack: Stack, name: str) -> bool:
    """End a service and its children: asked first, killed after 15 seconds. Returns whether it ran."""
    pid = running(stack, name)
    if pid is not None:
        # PostgreSQL would wait for its clients after a SIGTERM.
        gently = signal.SIGINT if name == stack_database.NAME else signal.SIGTERM
        for wanted, patience in ((gently, 15.0), (signal.SIGKILL, 5.0)):
            signal_group(pid, wanted)
            deadline = time.monotonic() + patience
            while started_at(pid) is not None and time.monotonic() < deadline:
                time.sleep(0.1)
        # What the service's own end left behind in its session.
        signal_group(pid, signal.SIGKILL)
    elif not is_worker(name):
        end_left_behind(stack, name)
    (stack.folder / f"{name}.pid").unlink(missing_ok=True)
    return pid is not None


def signal_group(pid: int, wanted: signal.Signals) -> None:
    """Signal the session's process group; one that has ended already is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, wanted)


def is_taken(port: int) -> bool:
    """Whether another program listens on this port, and still does after some seconds: one that is ending may."""
    deadline = time.monotonic() + 3.0
    while has_listener(port):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.1)
    return False


def has_listener(port: int) -> bool:
    """Whether a program listens on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def answers(address: str) -> bool:
    """Whether the address answers with success."""
    try:
        with urllib.request.urlopen(address, timeout=2) as response:  # noqa: S310  # our own loopback address
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def serves(stack: Stack) -> bool:
    """Whether the stack's PostgreSQL answers."""
    return not stack_database.problem_with(stack.database, stack.home)


def log_of(stack: Stack, name: str) -> Path:
    """The service's log file."""
    return stack.folder / f"{name}.log"


def tail(stack: Stack, name: str, lines: int = 15) -> str:
    """The last lines of a service's log."""
    with log_of(stack, name).open(encoding="utf-8", errors="replace") as file:
        return "".join(collections.deque(file, lines)).rstrip("\n")


def prefect_command(stack: Stack, *arguments: str) -> None:
    """Run a command of Prefect's to its end. Raises `StackError` with what it printed when it fails."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, env=stack.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if ended.returncode:
        raise StackError(f"prefect {' '.join(arguments)} failed:\n{ended.stdout}{ended.stderr}")


def side(stack: Stack, *arguments: str) -> list[dict[str, Any]]:
    """What flows/stack_side.py answers. Raises `StackError` with the end of what it printed when it fails."""
    command = [sys.executable, "-m", "flows.stack_side", *arguments]
    environment = stack.environment()
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), str(ROOT)]))
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if ended.returncode:
        last = "\n".join(ended.stderr.strip().splitlines()[-3:])
        raise StackError(f"Prefect's server at {stack.api} can't be asked ({arguments[0]}); see {log_of(stack, 'prefect-server')}:\n{last}")
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


# -------------------------------------------------------------------- up and down


def up(stack: Stack) -> None:
    """Start what doesn't run yet, deploy what isn't there, resume what was killed, and say where everything is.

    What this call started ends again when it fails.
    """
    stack = with_workers(with_database(stack))
    check_devices(stack)
    check_listening(stack)
    stack.folder.mkdir(parents=True, exist_ok=True)
    stack = with_running_ports(stack)
    prepare_database(stack)
    write_text(ports_file(stack), json.dumps({"prefect": stack.prefect_port, "mlflow": stack.mlflow_port}))
    make_certificates(stack)
    started: list[str] = []
    try:
        for service in services(stack):
            runs = running(stack, service.name) is not None
            if service.name == "worker":
                write_text(stack.folder / "database.txt", stack.database.named)
                deploy(stack)
                tell(side(stack, "recover", *pools_without_worker(stack)))
            surplus = service.name.startswith(f"{GPU_POOL}-") and int(service.name.removeprefix(f"{GPU_POOL}-")) not in wanted(stack)
            if not runs and not surplus:
                print(f"Starting the {service.name} ...", flush=True)
                started.append(service.name)
                start(stack, service)
                if service.name == "worker":
                    remember(stack, *DATA, CERTIFICATES, LISTEN)
                    write_text(stack.folder / REMEMBERED[AT_ONCE], str(stack.selections))
        if COUNT in os.environ:
            write_text(stack.folder / REMEMBERED[COUNT], os.environ[COUNT].strip())
    except BaseException:
        for name in reversed(started):
            stop(stack, name)
        raise
    print(instructions(stack, own_settings=write_settings(stack)))


def deploy(stack: Stack) -> None:
    """Make the work pool and the deployments that aren't there. Those that are stay as they are: paused, limited, or changed."""
    file = stack.folder / "missing-deployments.yaml"
    facts = side(stack, "missing", str(file))
    for fact in facts:
        if "missing_pool" in fact:
            prefect_command(stack, "work-pool", "create", fact["missing_pool"], "--type", "process")
    if any(not fact["there"] for fact in facts if "deployment" in fact):
        prefect_command(stack, "deploy", "--all", "--prefect-file", str(file))
    file.unlink(missing_ok=True)
    for fact in facts:
        if "stale" in fact:
            print(
                f"{fact['stale']} is deployed, but isn't in prefect.yaml any more. To remove it: prefect deployment delete {fact['stale']}"
            )


def with_database(stack: Stack) -> Stack:
    """The stack with the database that is asked for, else that of last time; in a new home an own PostgreSQL where one can be started.

    Raises `StackError` when another one is asked for than the home's: nothing is copied from one to the other.
    """
    if PREFECTS_OWN in os.environ:
        raise StackError(
            f"{PREFECTS_OWN} is set. Say {stack_database.VARIABLE}={stack_database.SHAPE} in its place: MLflow's server uses it, too"
        )
    asked, kept = stack_database.said(os.environ), kept_database(stack)
    if not asked and kept:
        return replace(stack, database=Database.of(kept))
    if not asked:
        return replace(stack, database=Database(SQLITE if stack_database.why_not_own(stack.home) else OWN))
    database = Database.of(asked)
    if kept and database.named != kept:
        there = Database(kept).in_words(stack.home)
        if any(running(stack, name) for name in ("prefect-server", "mlflow-server")):
            raise StackError(f"the servers run, and keep their state in {there}. To change that, say first: make down")
        if not forced():
            raise StackError(
                f"Prefect's runs, schedules and limits and MLflow's experiments are in {there}, and {stack_database.VARIABLE} names "
                f"{database.in_words(stack.home)}. Nothing is copied, and nothing is lost: they stay there, and are seen again when you go "
                f"back. Selections and their verdicts are folders, and stay as they are. To change: "
                f"FORCE=1 {stack_database.VARIABLE}=... make up. To stay: leave {stack_database.VARIABLE} out"
            )
    return replace(stack, database=database)


def kept_database(stack: Stack) -> str:
    """The name of the one that the home's servers use; empty for a new home. Homes of before have SQLite files and no note of it."""
    old = (stack.home / "prefect" / "prefect.db").exists()
    return kept_value(stack.folder / "database.txt") or (SQLITE if old else "")


def with_workers(stack: Stack) -> Stack:
    """The stack with as many selections at once as are wanted, and workers of the pool `gpu`: as said, as last time, or one each.

    SQLite can't have workers of the pool `gpu`. Raises `StackError` for any there, and for what is no count.
    """
    text, at_once = said_or_kept(stack, COUNT), said_or_kept(stack, AT_ONCE)
    stack = replace(stack, selections=count_of(AT_ONCE, at_once, 1) if at_once else 1)
    count = count_of(COUNT, text) if text else int(not stack.database.is_sqlite)
    if count and stack.database.is_sqlite:
        raise StackError(
            f"{COUNT} is {count}, and Prefect's server keeps its state in SQLite files: {count + 1} workers ({POOL}'s is one) lock each "
            f"other out, for up to a minute at a time, which time limits count. {to_postgresql(stack)} Without: {COUNT}=0 make up"
        )
    return replace(stack, gpu_workers=count)


def said_or_kept(stack: Stack, variable: str) -> str:
    """Its value in the environment, else that of last time; empty for neither."""
    said = os.environ.get(variable)
    return (kept_value(stack.folder / REMEMBERED[variable]) if said is None else said).strip()


def to_postgresql(stack: Stack) -> str:
    """What to type for a home on SQLite."""
    force = "make down; FORCE=1 " if kept_database(stack) else ""
    named = f"{force}{stack_database.VARIABLE}={stack_database.SHAPE} make up"
    if why := stack_database.why_not_own(stack.home):
        return f"make up can't start a PostgreSQL of its own: {why}. To name one: {named}."
    return f"With a PostgreSQL that make up starts: {force}{stack_database.VARIABLE}={OWN} make up. With another: {named}."


def prepare_database(stack: Stack) -> None:
    """Make the data of an own PostgreSQL, or ask the one that is named. Raises an error when it can't be used."""
    database = stack.database
    if database.address == OWN:
        stack_database.prepare_own(stack.home)
    elif not database.is_sqlite and (problem := stack_database.problem_with(database, stack.home)):
        again = "" if database.named != database.address else " If it wants a password: say it again, or keep it in ~/.pgpass."
        raise StackError(f"{database.named} can't be used: {problem}.{again}")


def check_devices(stack: Stack) -> None:
    """Raises `StackError` when there are GPUs, and fewer than workers that want one."""
    gpus = visible_gpus(os.environ)
    if gpus and stack.gpu_workers > len(gpus):
        seen = f"{VISIBLE} names" if VISIBLE in os.environ else "this machine has"
        raise StackError(
            f"{COUNT} is {stack.gpu_workers}, and {seen} {len(gpus)} GPU{'s' if len(gpus) > 1 else ''} for them, one each: "
            f"{COUNT}={len(gpus)} make up"
        )


def check_listening(stack: Stack) -> None:
    """Raises `StackError` for an address where workers couldn't find a selection."""
    if wanted := said_or_kept(stack, LISTEN):
        try:
            check_findable(wanted)
        except SettingsError as error:
            raise StackError(f"{LISTEN}: {error}") from None


def pools_without_worker(stack: Stack) -> list[str]:
    """The work pools for which no worker of `make up`'s runs now."""
    pools = {POOL if service.name == "worker" else GPU_POOL for service in services(stack) if running(stack, service.name)}
    return [pool for pool in (POOL, GPU_POOL) if pool not in pools]


def own_certificates(stack: Stack) -> Path:
    """The folder with the certificates of this home's selections and their workers."""
    return stack.home / "certificates"


def make_certificates(stack: Stack) -> None:
    """Make them where they are used and aren't there, or soon end. Raises `StackError` when that fails."""
    folder, new = own_certificates(stack), stack.home / "certificates.new"
    if stack.environment()[CERTIFICATES] != str(folder):
        return
    if folder.is_dir():
        if time.time() - folder.stat().st_mtime < RENEWED * 86_400 or any(running(stack, service.name) for service in services(stack)):
            return  # selections that run use those that are there
        print(f"The certificates in {folder} are made again, since they soon end. Copy them to other machines that have them.")
    shutil.rmtree(new, ignore_errors=True)
    command = [sys.executable, "-c", "from pelt_automl.cli import main; main()", "certificates", str(new)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if made.returncode:
        raise StackError(f"no certificates can be made: {made.stderr.strip()}")
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def tell(facts: list[dict[str, Any]]) -> None:
    """Print what happened to runs that were killed."""
    for fact in facts:
        if "closed" in fact:
            print(f"{fact['closed']} was still {fact['was']}, but its process is gone: closed.")
        if "again" in fact:
            print(f"{fact['again']}.")


def write_settings(stack: Stack) -> bool:
    """Leave Prefect's settings where its command is typed, unless a file of the user's is there. Returns whether they are ours."""
    file = stack.settings_file
    if file.exists() and not file.read_text(encoding="utf-8").startswith(MARK):
        return False
    write_text(file, f"{MARK}home = {json.dumps(str(stack.home / 'prefect'))}\n\n[api]\nurl = {json.dumps(stack.api)}\n")
    return True


def with_running_ports(stack: Stack) -> Stack:
    """The stack with the ports of the servers that run already; else those asked for."""
    if ports_file(stack).exists() and any(running(stack, service.name) for service in services(stack) if service.port):
        ports = json.loads(ports_file(stack).read_text(encoding="utf-8"))
        return replace(stack, prefect_port=ports["prefect"], mlflow_port=ports["mlflow"])
    return stack


def ports_file(stack: Stack) -> Path:
    """The file with the ports that the servers were started with."""
    return stack.folder / "ports.json"


def remember(stack: Stack, *variables: str) -> None:
    """Keep what the workers are started with."""
    environment = stack.environment()
    for variable in variables:
        own = variable == CERTIFICATES and environment[variable] == str(own_certificates(stack))
        write_text(stack.folder / REMEMBERED[variable], "" if own else environment.get(variable, ""))


def remembered(stack: Stack) -> dict[str, str]:
    """What the workers were last started with, by variable; empty for nothing."""
    return {variable: kept_value(stack.folder / REMEMBERED[variable]) for variable in (*DATA, CERTIFICATES, LISTEN)}


def kept_value(file: Path) -> str:
    """What `remember` wrote; empty for nothing."""
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def last_data(stack: Stack) -> dict[str, str]:
    """The data folders that the worker was last started with, by variable; empty for nothing."""
    return {variable: value for variable, value in remembered(stack).items() if variable in DATA}


def data_folders(stack: Stack) -> str:
    """The folders that the running worker reads from, in words; what the caller asks for may be others."""
    last = last_data(stack)
    wanted = {variable: os.environ.get(variable) or value for variable, value in last.items()}
    there = listed(last)
    if wanted != last:
        said = " ".join(f"{variable}={shlex.quote(value)}" for variable, value in wanted.items() if value != last[variable])
        return f"still {there or 'none'}: the worker runs already; for {listed(wanted)}: make down; {said} make up"
    return there or "none; for tasks from files: make down; PELT_AUTOML_DATA_DIR=DIR make up"


def listed(values: Mapping[str, str]) -> str:
    """The folders of these variables, each once."""
    folder, more = (values[variable] for variable in DATA)
    return ", ".join(dict.fromkeys(filter(None, [folder, *more.split(os.pathsep)])))


def instructions(stack: Stack, *, own_settings: bool) -> str:
    """Where everything is and what to type next."""
    commands = Path(sys.executable).parent
    export = f"export PREFECT_API_URL={stack.api}"
    elsewhere = (
        f"From another folder, say first: {export}" if own_settings else f"Your {stack.settings_file} stays as it is; say first: {export}"
    )
    return f"""
Prefect's UI   http://{HOST}:{stack.prefect_port}
MLflow's UI    {stack.mlflow}
State          {stack.home} (logs in {stack.folder})
Database       {stack.database.in_words(stack.home)}
Data folders   {data_folders(stack)}
Selections     {at_once(stack)}
GPU workers    {gpu_workers(stack)}
Listening at   {listening_at(stack)}

Next, in this folder:
  {commands / "prefect"} deployment run select-pelt/default --param task=pydoc-topic --param k=200 --param seconds=240 --watch
It ends with the verdict, or with why it failed; both are on the run's page in Prefect's UI, too.
{elsewhere}
To see what runs: make status. Logs: make logs. To stop it all: make down"""


def at_once(stack: Stack) -> str:
    """How many the running worker has at once, in words; what the caller asks for may be another number."""
    there = int(kept_value(stack.folder / REMEMBERED[AT_ONCE]) or 1)
    if there != stack.selections:
        return f"still {there} at once: the worker runs already; for {stack.selections}: make down; {AT_ONCE}={stack.selections} make up"
    return f"{there} at once" + (f"; for 2, which share the GPU workers: make down; {AT_ONCE}=2 make up" if there == 1 else "")


def listening_at(stack: Stack) -> str:
    """Where the running worker's selections are found by theirs, in words; what the caller asks for may be another address."""
    nowhere = "this machine alone"
    there, wanted = kept_value(stack.folder / REMEMBERED[LISTEN]), said_or_kept(stack, LISTEN)
    if there != wanted:
        change = f"make down; {LISTEN}={shlex.quote(wanted)} make up"
        return f"still {there or nowhere}: the worker runs already; for {wanted or nowhere}: {change}"
    return there or nowhere


def gpu_workers(stack: Stack) -> str:
    """Those that run, in words."""
    names = [service.name for service in gpu_services(stack) if running(stack, service.name)]
    if not names:
        return f"none. They need PostgreSQL. {to_postgresql(stack)}" if stack.database.is_sqlite else f"none; for 2: {COUNT}=2 make up"
    fewer = f" (to have {stack.gpu_workers}: make down; {COUNT}={stack.gpu_workers} make up)" if len(names) > stack.gpu_workers else ""
    return ", ".join(names) + fewer


def down(stack: Stack) -> None:
    """Stop what `up` started, the workers first. Raises `StackError` when selections are under way and nobody says that they may stop."""
    stack = with_running_ports(stack)
    ask_for(under_way(stack))
    # The selections' own worker first: their flow runs end the others that they asked for.
    stopped = [service.name for service in services(stack) if is_worker(service.name) and stop(stack, service.name)]
    if answers(f"{stack.api}/health") and running(stack, "prefect-server") is not None:
        try:
            for fact in side(stack, "close"):
                print(f"Stopped: {fact['closed']}." + (" The next make up resumes it." if fact["resumed"] else ""))
        except (StackError, subprocess.TimeoutExpired) as error:
            print(f"The runs under way could not be closed; the next make up closes them. {error}", file=sys.stderr)
    stopped += [service.name for service in reversed(services(stack)) if not is_worker(service.name) and stop(stack, service.name)]
    if stack.settings_file.is_file() and stack.settings_file.read_text(encoding="utf-8").startswith(MARK):
        stack.settings_file.unlink()
    print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


def under_way(stack: Stack) -> list[str]:
    """The flow runs that are being worked on, by name: those that hold their lock, and those that a worker has just taken."""
    names = []
    for path in sorted((stack.home / "flow-runs").glob("*.lock")):
        with contextlib.suppress(OSError), path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                names.append(file.read().partition(" ")[2].strip() or path.stem)
    works = any(running(stack, service.name) for service in services(stack) if is_worker(service.name))
    if works and running(stack, "prefect-server") is not None and answers(f"{stack.api}/health"):
        with contextlib.suppress(StackError, subprocess.TimeoutExpired):
            names += [fact["run"] for fact in side(stack, "running")]
    return sorted(set(names))


def ask_for(names: list[str]) -> None:
    """Let a person decide about selections that are under way; FORCE=1 has decided."""
    if not names or forced():
        return
    what = f"{len(names)} flow run{'s are' if len(names) > 1 else ' is'} under way: {', '.join(names)}"
    if not sys.stdin.isatty():
        raise StackError(
            f"{what}. Nothing was stopped. Wait for {'them' if len(names) > 1 else 'it'}, or stop all the same: FORCE=1 make down"
        )
    print(f"{what}. The next make up resumes selections.")
    if input("Stop all the same? [y/N] ").strip().lower() not in ("y", "yes"):
        raise StackError("Nothing was stopped.")


def forced() -> bool:
    """Whether the caller has decided already."""
    return os.environ.get("FORCE", "").lower() in ("1", "true", "yes")


# -------------------------------------------------------------------- a look at it


def status(stack: Stack) -> None:
    """Say which services run and what Prefect works on."""
    stack = with_running_ports(stack)
    for service in services(stack):
        print(f"{service.name:<15} {state_of(stack, service)}")
    print(f"{'state':<15} {stack.home} (logs in {stack.folder})")
    print(f"{'database':<15} {stack.database.in_words(stack.home)}")
    if running(stack, "worker") is not None:
        print(f"{'data folders':<15} {data_folders(stack)}")
    if running(stack, "prefect-server") is not None and answers(f"{stack.api}/health"):
        for fact in side(stack, "status"):
            print(line_of(fact))


def state_of(stack: Stack, service: Service) -> str:
    """In words, whether it runs and answers."""
    pid = running(stack, service.name)
    if pid is None:
        return "doesn't run"
    where = "" if service.port is None else f" at http://{HOST}:{service.port}"
    mute = service.health is not None and not service.health()
    device = f" on GPU {service.own[VISIBLE]}" if VISIBLE in service.own else ""
    return f"runs (process {pid}){where}{device}" + ("; it doesn't answer" if mute else "")


def line_of(fact: dict[str, Any]) -> str:
    """A fact of flows/stack_side.py for people."""
    match fact:
        case {"run": name, "state": state, "since": since}:
            return f"{'under way':<15} {name}, {state}" + (f" since {since[:19]} UTC" if since else "")
        case {"dead": name, "state": state}:
            return f"{'dead':<15} {name}: still {state}, but its process is gone; make up closes it and resumes its selection"
        case {"waits": name}:
            return f"{'waits':<15} {name}"
        case {"schedule": slug, "active": active, "cron": cron}:
            return f"{'schedule':<15} {slug}, {cron}" + ("" if active else ": paused")
        case {"pool": name, "paused": paused, "limit": limit}:
            return (
                f"{'work pool':<15} {name}"
                + (f", at most {limit} runs at once" if limit is not None else "")
                + (": paused" if paused else "")
            )
        case {"warning": text}:
            return f"{'! ':<15} {text}"
    return json.dumps(fact)


def logs(stack: Stack) -> None:
    """The last lines of each log, or of one: SERVICE=worker; LINES=200 for more."""
    lines = os.environ.get("LINES", "")
    names = [service.name for service in services(stack)]
    names += sorted(path.stem for path in stack.folder.glob("*.log") if path.stem not in names)
    asked = os.environ.get("SERVICE") or ""
    if asked and asked not in names:
        raise StackError(f"SERVICE is {asked!r}; there are {', '.join(names)}")
    for name in [asked] if asked else names:
        print(f"=== {log_of(stack, name)}")
        if log_of(stack, name).is_file():
            print(tail(stack, name, int(lines) if lines.isdecimal() else 30))


def read_stack(environment: Mapping[str, str], settings_file: Path) -> Stack:
    """The stack that the environment asks for. Raises `StackError` for what isn't a port."""
    ports = []
    for variable, default in (("PELT_AUTOML_PREFECT_PORT", "4200"), ("PELT_AUTOML_MLFLOW_PORT", "5000")):
        value = environment.get(variable) or default
        if not value.isdecimal() or not 0 < int(value) < 65_536:
            raise StackError(f"{variable} is {value!r}; it must be a port number from 1 to 65535")
        ports.append(int(value))
    home = Path(environment.get("PELT_AUTOML_HOME") or ROOT / "pelt-home").expanduser().absolute()
    count_of(COUNT, environment.get(COUNT) or "0")
    count_of(AT_ONCE, environment.get(AT_ONCE) or "1", 1)
    stack = Stack(home, ports[0], ports[1], settings_file)
    return replace(stack, database=Database(kept_database(stack) or SQLITE))


def count_of(variable: str, text: str, least: int = 0) -> int:
    """A number of processes. Raises `StackError` for what is none, and for less or more than there may be."""
    if not text.isdecimal() or not least <= int(text) <= MOST_WORKERS:
        what = "workers" if variable == COUNT else "selections at once"
        raise StackError(f"{variable} is {text!r}; it must be a number of {what} from {least} to {MOST_WORKERS}")
    return int(text)


COMMANDS = {"up": up, "down": down, "status": status, "logs": logs}


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(COMMANDS))
    parser.add_argument("--settings-file", type=Path, default=ROOT / "prefect.toml", help="where up writes the server's address")
    arguments = parser.parse_args()
    try:
        COMMANDS[arguments.what](read_stack(os.environ, arguments.settings_file))
    except (StackError, DatabaseError) as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # `make logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's end doesn't complain either
    except subprocess.TimeoutExpired as error:
        print(f"{' '.join(map(str, error.cmd))} did not end within {error.timeout:.0f} s", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
