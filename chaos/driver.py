"""Kills processes of selections at random, starts them again until they have ended, and has the checker look at what came of them.

    python -m chaos.driver [--kills N] [--seconds S] [--seed X] [--workers W | -- COMMAND ...]

COMMAND starts one selection, or takes it up again; ``{folder}`` in it stands for the folder to write to. Without one it is a small
selection of a task and a model that the package has. A kill is a `SIGKILL` of the command's own process, or of one of its descendants,
each as likely; what was killed, and when, is told. After the last kill the selection under way may end. Exit code 0 when
nothing was lost, doubled or left open in any selection; 1 when something was; 2 for bad input.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaos.checker import NotCheckableError, checked

SMALL = (
    "select --task pydoc-topic --model minilm --k 24 --methods head,bitfit --trials 2 --baselines none --epochs 2 --batch-size 8 "
    "--max-length 16 --finalist-seeds 2 --most-seeds 2 --precision fp32 --threads 1 --pack-size 2 --no-experience --output {folder}"
)
"""The command of `pelt-automl` whose processes are killed when none is given."""
AT_ONCE = 0.1
"""Share of the starts whose kill counts from their very beginning."""
SILENT = 120.0
"""Seconds until a start's first line, at most."""
LIVES = 4
"""Starts without a kill that don't end well, after which a selection is given up."""
LOOK = 0.2
"""Seconds between two looks at a selection's processes."""


@dataclass(frozen=True)
class Process:
    """One of the system's."""

    pid: int
    started: str
    """Tells it from a later one with the same number."""
    command: str = field(compare=False)
    parent: int = field(compare=False)


def processes() -> list[Process]:
    """All that run; the dead that nobody has waited for aren't among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended just now
            state, parent, *rest = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if state not in "ZX":
                found.append(Process(int(path.name), rest[17], command.strip(), int(parent)))
    return found


def descendants(pid: int) -> list[Process]:
    """A process's children, their children, and so on."""
    running, family = processes(), {pid}
    while more := {one.pid for one in running if one.parent in family} - family:
        family |= more
    return [one for one in running if one.pid in family - {pid}]


@dataclass
class Chaos:
    """What was asked for, and what has been done of it."""

    command: list[str]
    folder: Path
    """Of everything: the program's home, the selections, and what their commands have said."""
    kills: int
    """Wanted."""
    seconds: float
    """No kill comes later."""
    luck: random.Random
    mlflow: str | None
    """Where the selections are sent."""
    span: float
    """Seconds in which a kill comes, from a start's first line in the log; doubled after each start that wrote no second."""
    linger: float
    """Seconds after a selection's end in which the last of its processes has to be gone."""
    began: float = field(default_factory=time.monotonic)
    main: int = 0
    """Kills of a command's own process."""
    others: int = 0
    """Kills of descendants."""

    @property
    def more(self) -> bool:
        """Whether there is more to kill."""
        return self.main + self.others < self.kills and time.monotonic() - self.began < self.seconds

    def say(self, text: str) -> None:
        """With the seconds since the beginning."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)


@dataclass
class Life:
    """One start of a selection's command: to its end, or until it was killed."""

    code: int
    """Its exit code; negative for a signal."""
    kills: int
    family: set[Process]
    """The descendants that were seen."""


def live(chaos: Chaos, folder: Path, span: float) -> Life:
    """Start a command, and kill it or its descendants, as luck says."""
    before, kills, family = lines_of(folder), 0, set[Process]()
    with told(folder).open("ab") as output:
        command = [part.replace("{folder}", str(folder)) for part in chaos.command]
        environment = os.environ | {"PELT_AUTOML_HOME": str(chaos.folder / "home"), "OMP_NUM_THREADS": "1"}
        main = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    started, waits = time.monotonic(), chaos.luck.random() >= AT_ONCE
    try:
        while main.poll() is None:
            while waits and main.poll() is None and lines_of(folder) == before and time.monotonic() - started < SILENT:
                time.sleep(LOOK / 4)
            at = time.monotonic() + chaos.luck.uniform(0, span) if chaos.more else math.inf
            while main.poll() is None and time.monotonic() < at:
                family |= set(descendants(main.pid))
                time.sleep(min(LOOK, max(0.0, at - time.monotonic())))
            if main.poll() is None:
                kills += kill(
                    chaos, main, f"{time.monotonic() - started:.1f} s after its start, at line {lines_of(folder)} of {folder.name}"
                )
            waits = False
    finally:
        if main.poll() is None:
            main.kill()
    return Life(main.wait(), kills, family)


def kill(chaos: Chaos, main: subprocess.Popen[bytes], when: str) -> int:
    """One of the processes; returns how many were."""
    others = sorted(descendants(main.pid), key=lambda one: one.pid)
    victim = chaos.luck.choice([None, *others])
    try:
        os.kill(victim.pid if victim else main.pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    if victim:
        chaos.others += 1
    else:
        chaos.main += 1
        main.wait()
    what = f"process {victim.pid} ({victim.command[:70]})" if victim else f"the command, {main.pid},"
    chaos.say(f"kill {chaos.main + chaos.others}: {what} {when}")
    return 1


def selection(chaos: Chaos, folder: Path) -> list[str]:
    """Start it until it has ended in a start that nothing was killed in; what is wrong then."""
    span, family, unharmed = chaos.span, set[Process](), 0
    while unharmed < LIVES:
        before = lines_of(folder)
        life = live(chaos, folder, span)
        family |= life.family
        span = chaos.span if lines_of(folder) > before + 1 else 2 * span
        if life.code == 0 and not life.kills and not unsent(folder):
            break
        unharmed += not life.kills
    else:
        last = told(folder).read_text(errors="replace").splitlines()[-3:]
        return [f"the command ended {LIVES} times by itself, last with exit code {life.code}, and isn't done: {' / '.join(last)}"]
    until = time.monotonic() + chaos.linger
    while (left := family & set(processes())) and time.monotonic() < until:
        time.sleep(LOOK)
    problems = [f"process {one.pid} ({one.command[:70]}) is left running" for one in left]
    try:
        check = checked(folder, chaos.mlflow)
    except NotCheckableError as error:
        return [*problems, str(error)]
    chaos.say(f"{folder.name} has ended: {', '.join(f'{number} {what}' for what, number in check.counts.items())}")
    return problems + check.problems


def told(folder: Path) -> Path:
    """What a selection's commands have printed."""
    return folder.with_name(f"{folder.name}.txt")


def lines_of(folder: Path) -> int:
    """Whole lines of the log."""
    try:
        return (folder / "records.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def unsent(folder: Path) -> bool:
    """Whether MLflow hasn't got everything, as the selection knows itself: the same command sends the rest."""
    try:
        return bool(json.loads((folder / "mlflow.json").read_text())["problem"])
    except (OSError, ValueError, KeyError):
        return False


def run(chaos: Chaos) -> int:
    """Selections, one after the other, while there is more to kill; returns how many things are wrong."""
    wrong = count = 0
    while chaos.more or not count:
        count += 1
        problems = selection(chaos, chaos.folder / f"selection-{count}")
        wrong += len(problems)
        for problem in problems:
            chaos.say(f"WRONG in selection-{count}: {problem}")
    found = f"{wrong} things are wrong; everything is kept in {chaos.folder}" if wrong else "nothing was lost, doubled or left open"
    chaos.say(
        f"{chaos.main + chaos.others} kills ({chaos.main} of commands, {chaos.others} of their descendants), {count} selections: {found}"
    )
    return wrong


def options() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(prog="python -m chaos.driver", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no kill comes later; what is under way then may end")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed, and when")
    parser.add_argument("--workers", type=int, default=0, help="of the small selection, which are killed as well (default: none)")
    parser.add_argument("--span", type=float, default=3.0, help="seconds in which a kill comes once a start has begun (default: 3)")
    parser.add_argument("--linger", type=float, default=60.0, help="seconds until the last process of a selection is gone (default: 60)")
    parser.add_argument("--folder", type=Path, help="new or empty; without it a temporary one, kept when something is wrong")
    parser.add_argument("--mlflow", metavar="URI", help="where the command sends selections; without it the file that it makes itself")
    parser.add_argument("--no-mlflow", action="store_true", help="the command sends nothing to MLflow")
    parser.add_argument("command", nargs="*", help="starts a selection that writes to {folder}; after --")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = options()
    asked = parser.parse_args(arguments)
    command = asked.command or [str(Path(sys.executable).with_name("pelt-automl")), *SMALL.split()]
    if asked.workers and not asked.command:
        command += ["--workers", str(asked.workers)]
    if asked.kills < 1 or not asked.seconds > 0:
        parser.error(f"--kills has to be at least 1 and --seconds above 0; {asked.kills} and {asked.seconds} came")
    if "{folder}" not in " ".join(command) or shutil.which(command[0]) is None:
        parser.error(f"a command that can be started and has {{folder}} in it is expected; {' '.join(command)!r} came")
    if asked.folder and asked.folder.exists() and (not asked.folder.is_dir() or any(asked.folder.iterdir())):
        parser.error(f"{asked.folder} isn't empty; name a new folder")
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="chaos-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    mlflow = None if asked.no_mlflow else asked.mlflow or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder}/home/mlflow.db"
    wrong = run(Chaos(command, folder, asked.kills, asked.seconds, random.Random(asked.seed), mlflow, asked.span, asked.linger))
    if not wrong and not asked.folder:
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
