"""Kills processes of the whole stack at random while selections run on it, and has the checker look at what came of them.

    python -m chaos.stack [--kills N] [--seconds S] [--seed X] [--workers W]

The stack is that of `make up` in a home and on ports of its own: PostgreSQL, Prefect's server, MLflow's, the workers of both pools, a
selection's flow run, and the flow runs and processes that train for it. Every few seconds one of them is killed (`SIGKILL`), stopped for
a while (`SIGSTOP`), or, where it trains, cancelled in Prefect. Others do what a person or an init system would do, and no more: `make up`
some seconds after a service is gone, and the same selection again where nobody works on it for some minutes. `--seed` settles what is
drawn and when, not what is at work then. Exit code 0 when nothing was lost, doubled or left open; 1 when something was; 2 for bad input.
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
from collections import Counter, deque
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
FLOWS = ("select-pelt", "pelt-worker", "resume-killed")
WAIT, STOPPED, NOTICED = (1.0, 40.0), (5.0, 50.0), (0.0, 30.0)
"""Seconds from one deed to the next; of a stop (a silent worker is given up after a minute); until somebody notices that a service is
gone, and types `make up`."""
ALONE = 150.0
"""Seconds in which what was killed has to be taken up, or closed, without a person. A busy machine takes a minute for a start."""
LONGEST = 900.0
"""Seconds from the last deed to a selection's end, at most."""
OTHERS = ("PREFECT_", "MLFLOW_", "PELT_", "GPU_")
"""Variables that would lead to another stack."""


@dataclass(frozen=True)
class Deed:
    """What is drawn of one kill."""

    kind: str
    pick: float
    """Which of the kind, from 0 to 1."""
    how: str
    wait: float
    stopped: float
    noticed: float


def drawn(luck: random.Random, kills: int) -> deque[Deed]:
    """So many deeds: of each ten, one of each kind."""
    kinds = [kind for _ in range(0, kills, len(KINDS)) for kind in luck.sample(KINDS, len(KINDS))]

    def deed(kind: str) -> Deed:
        how = luck.choice(["kill", "stop", "cancel"] if kind == "pelt-worker" else ["kill", "kill", "kill", "stop"])
        return Deed(kind, luck.random(), how, *(luck.uniform(*span) for span in (WAIT, STOPPED, NOTICED)))

    return deque(map(deed, kinds[:kills]))


@dataclass
class Stack:
    """One of `make up`, with its processes."""

    folder: Path
    workers: int
    until: float = math.inf
    """No deed comes later, on the monotonic clock."""
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    wrong: int = 0
    done: Counter[str] = field(default_factory=Counter)
    """What was done to what, and what a person had to do."""
    due: float = math.inf
    """When somebody will have noticed that a service is gone."""

    def __post_init__(self) -> None:
        with socket.socket() as one, socket.socket() as other:
            for probe in (one, other):
                probe.bind(("127.0.0.1", 0))
            self.port, mlflow = one.getsockname()[1], other.getsockname()[1]
        self.home, self.api, self.mlflow = self.folder / "home", f"http://127.0.0.1:{self.port}/api", f"http://127.0.0.1:{mlflow}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)} | {
            "PELT_AUTOML_HOME": str(self.home),
            "PELT_AUTOML_PREFECT_PORT": str(self.port),
            "PELT_AUTOML_MLFLOW_PORT": str(mlflow),
            "GPU_WORKERS": str(self.workers),
            "OMP_NUM_THREADS": "1",
        }

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
        """`make up`, and what it said of flow runs. It has to do its work at once, whatever is gone."""
        since, made = time.monotonic(), self.make("up")
        self.due = math.inf
        self.done["make up"] += 1
        told = [line for line in made.stdout.splitlines() if line.startswith("Starting") or "again" in line or "is gone" in line]
        self.say(f"  make up ({why}), {time.monotonic() - since:.0f} s: {'; '.join(told) or 'all was there'}")
        if made.returncode:
            self.fault(f"make up has failed with {made.returncode}: {' / '.join((made.stdout + made.stderr).strip().splitlines()[-5:])}")

    def ask(self, path: str, **body: Any) -> Any:
        """Prefect's server. Raises `OSError` while it is away."""
        request = urllib.request.Request(f"{self.api}/{path}", headers={"Content-Type": "application/json"})
        request.data = json.dumps(body).encode() if body else None
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read() or b"null")

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """The flow runs in these states; none while the server is away."""
        with suppress(OSError):
            found: list[dict[str, Any]] = self.ask(
                "flow_runs/filter", flows={"name": {"any_": list(FLOWS)}}, flow_runs={"state": {"type": {"any_": list(states)}}}
            )
            return found
        return []

    def processes(self) -> dict[str, list[Process]]:
        """All of this stack's, and none of another's, by kind."""
        mark, running, named = f"PELT_AUTOML_HOME={self.home}\0".encode(), processes(), self._named()
        # PostgreSQL writes over its environment.
        family = {one.pid for one in running if mark in environment_of(one.pid) or f"{self.home}/postgres" in one.command}
        family |= {one.pid for pid in list(family) for one in descendants(pid)}
        found: dict[str, list[Process]] = {"any": []}
        for one in sorted((one for one in running if one.pid in family), key=lambda one: one.pid):
            trains = named.get(one.parent) == "pelt-worker"
            found["any"].append(one)
            found.setdefault(named.get(one.pid) or ("training" if trains else "another"), []).append(one)
        return found

    def _named(self) -> dict[int, str]:
        """The kinds of those that have said what they are: services, and flow runs that have begun."""
        found = {}
        for path in [*(self.home / "stack").glob("*.pid"), *(self.home / "flow-runs").glob("*.lock")]:
            with suppress(OSError, ValueError):
                pid, _, name = path.read_text().partition(" ")
                if path.suffix == ".lock":
                    kind = {"select": "selection", "worker": "pelt-worker"}.get(name.partition("-")[0], "another flow run")
                else:
                    kind = "gpu" if path.stem.startswith("gpu-") else {"worker": "pelt-1"}.get(path.stem, path.stem)
                found[int(pid)] = kind
        return found

    def flow_run(self, process: Process) -> str:
        """The id of the one that the process carries out; empty for another process."""
        for path in (self.home / "flow-runs").glob("*.lock"):
            with suppress(OSError):
                if path.read_text().partition(" ")[0] == str(process.pid):
                    return path.stem
        return ""


def environment_of(pid: int) -> bytes:
    """A process's, as it was started; empty for one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def do(stack: Stack, deed: Deed, name: str) -> None:
    """Do it to one of its kind, or else of any other."""
    there = stack.processes()
    victims = there.get(deed.kind) or there["any"]
    victim = victims[int(deed.pick * len(victims))]
    kind = next(own for own, members in there.items() if own != "any" and victim in members)
    run = stack.flow_run(victim)
    how = "kill" if deed.how == "cancel" and not run else deed.how
    stack.done[f"{how} {kind}"] += 1
    long = f" {deed.stopped:.0f} s" if how == "stop" else ""
    stack.say(f"{how}{long} {kind} {victim.pid} ({victim.command[-60:]}) at line {lines_of(stack.home / 'selections' / name)} of {name}")
    try:
        if how == "cancel":
            stack.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING"})
        else:
            os.kill(victim.pid, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
        if how == "stop":
            time.sleep(deed.stopped)
    except OSError as error:
        stack.say(f"  nothing has happened: {error}")
    finally:
        if how == "stop" and victim in processes():
            os.kill(victim.pid, signal.SIGCONT)
    if how == "kill" and kind not in ("selection", "pelt-worker", "training"):
        stack.due = min(stack.due, time.monotonic() + deed.noticed)


def until(true: Callable[[], Any], seconds: float) -> Any:
    """What is true at last; what isn't, after so long."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def ended(folder: Path) -> bool:
    """Whether the selection has, and has handed on all that it has found."""
    with suppress(OSError, ValueError, IndexError):
        return json.loads((folder / "records.jsonl").read_bytes().splitlines()[-1])["event"] == "Published" and not unsent(folder)
    return False


def selection(stack: Stack, name: str, seed: int, deeds: deque[Deed]) -> None:
    """Start it, do deeds until it has ended or there are no more, and look at what is left of it."""
    folder = stack.home / "selections" / name
    start(stack, name, seed)
    last = seen = time.monotonic()
    while not ended(folder):
        time.sleep(0.5)
        now = time.monotonic()
        if now > stack.until:
            deeds.clear()
        if now > stack.due:
            stack.up("a service is gone")
        elif deeds and now > last + deeds[0].wait and lines_of(folder):
            do(stack, deeds.popleft(), name)
            last = time.monotonic()
        if [run for run in stack.runs(*UNDER_WAY) if run["parameters"].get("output") == name]:
            seen = time.monotonic()
        elif now > seen + ALONE:
            stack.up("nobody works on it")
            start(stack, name, seed)
            seen = time.monotonic()
        if stack.wrong or now > last + LONGEST:
            stack.fault(f"{name} doesn't end")
            return
    look(stack, name)


def start(stack: Stack, name: str, seed: int) -> None:
    """The deployment, as a person would."""
    asked = ASKED | {"seed": seed, "workers": stack.workers, "output": name}
    try:
        deployment = stack.ask("deployments/name/select-pelt/default")
        run = stack.ask(f"deployments/{deployment['id']}/create_flow_run", parameters=asked)
        stack.done["selections started"] += 1
        stack.say(f"{name} is asked for: {run['name']}")
    except OSError as error:
        stack.fault(f"{name} can't be started: {error}")


def look(stack: Stack, name: str) -> None:
    """What the checker says, once all has had time to end."""
    problems: list[str] = []

    def verdict() -> Check | None:
        problems.clear()
        try:
            check = checked(stack.home / "selections" / name, stack.mlflow, stack.api)
        except NotCheckableError as error:
            problems.append(str(error))
            return None
        left = [one for one in stack.processes()["any"] if b"PREFECT__FLOW_RUN_ID=" in environment_of(one.pid)]
        problems.extend([*check.problems, *(f"process {one.pid} ({one.command[-70:]}) is left running" for one in left)])
        return None if problems else check

    if stack.due < math.inf:
        stack.up("a service is gone")
    check = until(verdict, ALONE)
    if not check:
        stack.say(f"  {name} has ended, and {len(problems)} things aren't in order by themselves: {'; '.join(problems)[:300]}")
        stack.up("to close what is open")
        check = until(verdict, 30)
    if check:
        stack.say(f"{name} has ended: {', '.join(f'{number} {what}' for what, number in check.counts.items())}")
    for problem in problems:
        stack.fault(f"{name}: {problem}")


def run(stack: Stack, deeds: deque[Deed]) -> None:
    """Selections, one after the other, while there is more to do."""
    count = 0
    stack.up(f"in {stack.folder}")
    while not stack.wrong and (deeds or not count):
        count += 1
        selection(stack, f"selection-{count}", count, deeds)
    until(lambda: not stack.runs(*UNDER_WAY), ALONE)  # one that a person has started for nothing may be the last
    if open_ := [run["name"] for run in stack.runs(*UNDER_WAY)]:
        stack.fault(f"flow runs are left open: {', '.join(open_)}")
    found = f"{stack.wrong} things are wrong; all is kept in {stack.folder}" if stack.wrong else "nothing was lost, doubled or left open"
    stack.say(f"{count} selections; {', '.join(f'{number} {what}' for what, number in sorted(stack.done.items()))}: {found}")


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
    stack = Stack(folder, asked.workers, time.monotonic() + asked.seconds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the stack ends, too
    try:
        run(stack, drawn(random.Random(asked.seed), asked.kills))
    finally:
        end(stack)
    if not stack.wrong:
        shutil.rmtree(folder)
    return 1 if stack.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
