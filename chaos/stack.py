"""Kills processes of the whole stack at random while selections run on it, and has the checker look at what came of them.

    python -m chaos.stack [--kills N] [--seconds S] [--seed X] [--workers W]

The stack is that of `make up` in a home and on ports of its own: PostgreSQL, Prefect's server, MLflow's, the workers of both pools, a
selection's flow run, and the flow runs and processes that train for it. Each time one of these kinds is drawn, then one of its processes:
it is killed (`SIGKILL`), stopped for a while (`SIGSTOP`), or, where it trains, cancelled in Prefect. Then comes what a person or an init
system would do, and no more: `make up` for a service that is gone; for a selection that nobody has started again for some minutes,
`make up`, then the same selection again. `--seed` settles what is drawn and when, not what is at work then. Exit code 0 when nothing was
lost, doubled or left open; 1 when something was; 2 for bad input.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.checker import UNDER_WAY, Check, NotCheckableError, checked
from chaos.driver import Process, descendants, lines_of, processes, unsent

ROOT = Path(__file__).resolve().parents[1]
ASKED = {
    "task": "pydoc-topic", "model": "minilm", "k": 24, "methods": ["head", "bitfit", "lora"], "trials": 4, "baselines": ["none"],
    "epochs": 3, "batch_size": 8, "max_length": 16, "finalist_seeds": 2, "most_seeds": 2, "precision": "fp32", "threads": 1, "pack_size": 2,
    "experience": False, "seconds": None,
}  # fmt: skip
"""Parameters of the small selections."""
KINDS = ("postgres", "prefect-server", "mlflow-server", "pelt-1", "gpu", "selection", "selection", "pelt-worker", "training", "any")
WAIT = (1.0, 12.0)
"""Seconds from one deed, or from what followed it, to the next."""
STOPPED = (5.0, 50.0)
"""Seconds of a stop: up to a minute until a silent worker is given up."""
NOTICED = (0.0, 8.0)
"""Seconds until somebody notices that a service is gone, and types `make up`."""
FOLLOWS = 150.0
"""Seconds in which a flow run that was killed is replaced, else a person comes. A busy machine takes a minute for a start."""
HURRY = 0.25
"""Share of the deeds after which the next doesn't wait for what follows."""
OTHERS = ("PREFECT_", "MLFLOW_", "PELT_", "GPU_")
"""Variables that would lead to another stack."""


@dataclass(frozen=True)
class Deed:
    """What is drawn of one kill."""

    kind: str
    how: str
    wait: float
    seconds: float
    """Of the stop."""
    noticed: float
    pick: float
    """Which of the kind, from 0 to 1."""
    hurry: bool


@dataclass
class Plan:
    """What is to be done yet."""

    luck: random.Random
    left: int
    until: float
    """No deed comes later."""
    drawn: list[Deed] = field(default_factory=list)

    @property
    def next(self) -> Deed | None:
        """The deed that is due. Ten are drawn at a time: each kind once, in an order of luck's."""
        if self.left < 1 or time.monotonic() > self.until:
            return None
        for kind in [] if self.drawn else self.luck.sample(KINDS, len(KINDS)):
            how = self.luck.choice(["kill", "stop", "cancel"] if kind == "pelt-worker" else ["kill", "kill", "kill", "stop"])
            wait, stop, noticed = (self.luck.uniform(*span) for span in (WAIT, STOPPED, NOTICED))
            self.drawn.append(Deed(kind, how, wait, stop, noticed, self.luck.random(), self.luck.random() < HURRY))
        return self.drawn[0]

    def did(self) -> None:
        """That one."""
        self.left -= 1
        self.drawn.pop(0)


@dataclass
class Stack:
    """One of `make up`, with its processes."""

    folder: Path
    workers: int
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    wrong: int = 0
    done: Counter[str] = field(default_factory=Counter)
    """What was done, and what a person had to do."""
    owed: bool = False
    """Whether a service is gone for which nobody has typed `make up`."""

    def __post_init__(self) -> None:
        with socket.socket() as one, socket.socket() as other:
            for probe in (one, other):
                probe.bind(("127.0.0.1", 0))
            self.port, mlflow = one.getsockname()[1], other.getsockname()[1]
        self.mlflow = f"http://127.0.0.1:{mlflow}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)} | {
            "PELT_AUTOML_HOME": str(self.home),
            "PELT_AUTOML_PREFECT_PORT": str(self.port),
            "PELT_AUTOML_MLFLOW_PORT": str(mlflow),
            "GPU_WORKERS": str(self.workers),
            "OMP_NUM_THREADS": "1",
        }

    @property
    def home(self) -> Path:
        """The program's."""
        return self.folder / "home"

    @property
    def api(self) -> str:
        """Of Prefect."""
        return f"http://127.0.0.1:{self.port}/api"

    def say(self, text: str) -> None:
        """With the seconds since the beginning."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def fault(self, text: str) -> None:
        """Say it, and count it."""
        self.wrong += 1
        self.say(f"WRONG: {text}")

    def make(self, what: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`make up` and the like."""
        command = [sys.executable, "scripts/stack.py", what, "--settings-file", str(self.folder / "prefect.toml")]
        said = self.environment | environment
        return subprocess.run(command, cwd=ROOT, env=said, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def up(self, why: str) -> None:
        """`make up`, once more where it has failed, and what it said of flow runs."""
        for last in (False, True):
            since, made = time.monotonic(), self.make("up")
            self.done["make up"] += 1
            if made.returncode == 0:
                told = [line for line in made.stdout.splitlines() if line.startswith("Starting") or "again" in line or "is gone" in line]
                self.owed = False
                self.say(f"  make up ({why}), {time.monotonic() - since:.0f} s: {'; '.join(told) or 'all was there'}")
                return
            text = " / ".join((made.stdout + made.stderr).strip().splitlines()[-3:])
            (self.fault if last else self.say)(f"  make up has failed with {made.returncode}: {text}")
            time.sleep(0 if last else NOTICED[1])

    def ask(self, path: str, **body: Any) -> Any:
        """Prefect's server. Raises `OSError` while it is away."""
        request = urllib.request.Request(f"{self.api}/{path}", headers={"Content-Type": "application/json"})
        request.data = json.dumps(body).encode() if body else None
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read() or b"null")

    def runs(self, flow: str, *states: str) -> list[dict[str, Any]]:
        """The flow's runs in these states, or all, the latest first; none while the server is away."""
        wanted = {"state": {"type": {"any_": list(states)}}} if states else {}
        with suppress(OSError):
            found: list[dict[str, Any]] = self.ask("flow_runs/filter", flows={"name": {"any_": [flow]}}, flow_runs=wanted)
            return sorted(found, key=lambda run: str(run["created"]), reverse=True)
        return []

    def processes(self) -> dict[str, list[Process]]:
        """All of this stack's, and none of another's, by kind."""
        mark, running = f"PELT_AUTOML_HOME={self.home}\0".encode(), processes()
        named = self._services() | {pid: kind for pid, kind, _ in self.flow_runs()}
        # PostgreSQL writes over its environment.
        family = {one.pid for one in running if mark in environment_of(one.pid) or f"{self.home}/postgres" in one.command}
        family |= {one.pid for pid in list(family) for one in descendants(pid)}
        parent = {one.pid: one.parent for one in running}
        found: dict[str, list[Process]] = {"any": []}
        for one in sorted((one for one in running if one.pid in family), key=lambda one: one.pid):
            own = named.get(one.pid) or ("training" if named.get(parent[one.pid]) == "pelt-worker" else "")
            found["any"].append(one)
            found.setdefault(own, []).append(one)
        return found

    def _services(self) -> dict[int, str]:
        found = {}
        for path in (self.home / "stack").glob("*.pid"):
            with suppress(OSError, ValueError, IndexError):
                name = {"worker": "pelt-1"}.get(path.stem, path.stem)
                found[int(path.read_text().split()[0])] = "gpu" if name.startswith("gpu-") else name
        return found

    def flow_runs(self) -> list[tuple[int, str, str]]:
        """Process, kind and id of those that have begun on this machine."""
        found = []
        for path in (self.home / "flow-runs").glob("*.lock"):
            with suppress(OSError, ValueError):
                pid, _, name = path.read_text().partition(" ")
                kind = {"select": "selection", "worker": "pelt-worker"}.get(name.partition("-")[0], "other flow run")
                found.append((int(pid), kind, path.stem))
        return found


def environment_of(pid: int) -> bytes:
    """A process's, as it was started; empty for one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


# -------------------------------------------------------------------- a deed and what follows


def do(stack: Stack, deed: Deed, name: str) -> None:
    """Do it to one of its kind, or else of any other, and let follow what follows."""
    there = stack.processes()
    victims = there.get(deed.kind) or there["any"]
    if not victims:
        return
    victim = victims[int(deed.pick * len(victims))]
    kind = next(own for own, members in there.items() if own != "any" and victim in members)
    before, since = {run["id"] for flow in ("select-pelt", "pelt-worker") for run in stack.runs(flow)}, time.monotonic()
    run_id = next((own for pid, _, own in stack.flow_runs() if pid == victim.pid), "")
    how = deed.how if deed.how != "cancel" or run_id else "kill"
    stack.done[how] += 1
    stack.done[kind or "others"] += 1
    number = sum(stack.done[one] for one in ("kill", "stop", "cancel"))
    what = f"{kind or 'process'} {victim.pid} ({victim.command[-60:]}) at line {lines_of(stack.home / 'selections' / name)} of {name}"
    stack.say(f"{number}: {how}{f' {deed.seconds:.0f} s' if how == 'stop' else ''} {what}")
    strike(stack, victim, how, deed.seconds, run_id)
    trains = kind in ("selection", "pelt-worker", "training")
    stack.owed |= how == "kill" and not trains
    if deed.hurry:
        return
    if stack.owed:
        time.sleep(deed.noticed)
        stack.up(f"{deed.noticed:.0f} s later")
    elif trains and how != "stop":
        flow = "select-pelt" if kind == "selection" else "pelt-worker"
        new = until(lambda: [run for run in stack.runs(flow, "RUNNING") if run["id"] not in before] or ended(stack, name), FOLLOWS)
        followed = f"{new[0]['name']} is Running" if isinstance(new, list) else f"{name} has ended" if new else "nobody has come"
        stack.say(f"  {followed} after {time.monotonic() - since:.0f} s")


def strike(stack: Stack, victim: Process, how: str, seconds: float, run_id: str) -> None:
    """Kill it, stop it for so many `seconds`, or cancel its flow run."""
    try:
        if how == "cancel":
            stack.ask(f"flow_runs/{run_id}/set_state", state={"type": "CANCELLING"})
        else:
            os.kill(victim.pid, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
        if how == "stop":
            time.sleep(seconds)
    except OSError as error:
        stack.say(f"  nothing has happened: {error}")
    finally:
        if how == "stop" and victim in processes():
            os.kill(victim.pid, signal.SIGCONT)


def until(true: Callable[[], Any], seconds: float) -> Any:
    """What is true at last; what isn't, after so long."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def ended(stack: Stack, name: str) -> bool:
    """Whether the selection has."""
    folder = stack.home / "selections" / name
    with suppress(OSError, ValueError, IndexError):
        return json.loads((folder / "records.jsonl").read_bytes().splitlines()[-1])["event"] == "SelectionEnded" and not unsent(folder)
    return False


# -------------------------------------------------------------------- selections


def selection(stack: Stack, name: str, seed: int, plan: Plan) -> None:
    """Start it, do deeds until it has ended or there are no more, and look at what is left of it."""

    def under_way() -> bool:
        return bool([run for run in stack.runs("select-pelt", "SCHEDULED", *UNDER_WAY) if run["parameters"].get("output") == name])

    start(stack, name, seed)
    idle, at, came = time.monotonic(), time.monotonic(), 0
    while not ended(stack, name):
        deed = plan.next
        if deed and time.monotonic() > at + deed.wait and lines_of(stack.home / "selections" / name):
            do(stack, deed, name)
            plan.did()
            at = idle = time.monotonic()
        elif stack.owed and not deed:
            stack.up("at last")
        time.sleep(0.5)
        if under_way():
            idle = time.monotonic()
        elif time.monotonic() > idle + FOLLOWS:
            came, idle = came + 1, time.monotonic()
            stack.up("nobody works on it")
            if not until(lambda: under_way() or ended(stack, name), 10):
                start(stack, name, seed)
                stack.done["started again by hand"] += 1
            if came > 6:
                stack.fault(f"{name} doesn't end")
                return
    look(stack, name)


def start(stack: Stack, name: str, seed: int) -> None:
    """The deployment, as a person would."""
    for _ in range(3):
        with suppress(OSError):
            deployment = stack.ask("deployments/name/select-pelt/default")
            asked = ASKED | {"seed": seed, "workers": stack.workers, "output": name}
            run = stack.ask(f"deployments/{deployment['id']}/create_flow_run", parameters=asked, idempotency_key=f"{name}-{time.time()}")
            stack.say(f"{name} is asked for: {run['name']}")
            return
        stack.up("Prefect's server is away")
    stack.fault(f"{name} can't be started")


def look(stack: Stack, name: str) -> None:
    """What the checker says, once all has had time to end."""
    folder = stack.home / "selections" / name

    def verdict() -> Check | None:
        problems.clear()
        try:
            check = checked(folder, stack.mlflow, stack.api)
        except NotCheckableError as error:
            problems.append(str(error))
            return None
        problems.extend(check.problems)
        problems.extend(f"process {one.pid} ({one.command[-70:]}) is left running" for one in left(stack))
        return None if problems else check

    problems: list[str] = []
    check = until(verdict, FOLLOWS)
    if not check:
        stack.say(f"  {name} has ended, and {len(problems)} things aren't in order by themselves: {'; '.join(problems)[:300]}")
        stack.up("to close what is open")
        check = until(verdict, 30)
    if check:
        stack.say(f"{name} has ended: {', '.join(f'{number} {what}' for what, number in check.counts.items())}")
    for problem in problems:
        stack.fault(f"{name}: {problem}")


def left(stack: Stack) -> list[Process]:
    """Processes of flow runs: none, once all selections have ended."""
    return [one for one in stack.processes()["any"] if b"PREFECT__FLOW_RUN_ID=" in environment_of(one.pid)]


def run(stack: Stack, kills: int, seconds: float, luck: random.Random) -> int:
    """Selections, one after the other, while there is more to do; returns how many things are wrong."""
    plan = Plan(luck, kills, stack.began + seconds)
    made = stack.make("up")
    if made.returncode:
        print(made.stdout + made.stderr, file=sys.stderr)
        return -1
    stack.say(f"the stack is up in {stack.folder}")
    count = 0
    while not stack.wrong and (not count or plan.next):
        count += 1
        selection(stack, f"selection-{count}", count, plan)
    open_ = [run["name"] for flow in ("select-pelt", "pelt-worker", "resume-killed") for run in stack.runs(flow, *UNDER_WAY)]
    if open_:
        stack.fault(f"flow runs are left open: {', '.join(open_)}")
    found = f"{stack.wrong} things are wrong; all is kept in {stack.folder}" if stack.wrong else "nothing was lost, doubled or left open"
    stack.say(f"{count} selections; {', '.join(f'{number} {what}' for what, number in stack.done.most_common())}: {found}")
    return stack.wrong


def end(stack: Stack) -> None:
    """`make down`, and whatever it has left."""
    stack.make("down", FORCE="1")
    for one in stack.processes()["any"]:
        stack.fault(f"process {one.pid} ({one.command[-70:]}) is left by make down")
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)


def main(arguments: list[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.stack", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30, help="how many (default: 30)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no kill comes later; what is under way then may end")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed, and when")
    parser.add_argument("--workers", type=int, default=2, help="of the pool gpu, all of which a selection asks for (default: 2)")
    asked = parser.parse_args(arguments)
    if asked.kills < 1 or not asked.seconds > 0 or asked.workers < 1:
        parser.error(
            f"--kills and --workers have to be at least 1 and --seconds above 0; {asked.kills}, {asked.workers}, {asked.seconds} came"
        )
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o711)  # PostgreSQL's account has to enter where root types this
    stack = Stack(folder, asked.workers)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the stack ends, too
    try:
        wrong = run(stack, asked.kills, asked.seconds, random.Random(asked.seed))
    finally:
        end(stack)
    if wrong < 0:
        return 2
    if not stack.wrong:
        shutil.rmtree(folder)
    return 1 if stack.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
