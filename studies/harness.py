"""What every study shares: options of a selection, fresh processes, turns, results that are kept, and a report as tables and JSON."""

import argparse
import hashlib
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pelt_automl.durable import write_text

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "transformers", "numpy", "scikit-learn")

SELECTION_OPTIONS: dict[str, Callable[[str], Any]] = {
    "task": str, "data_dir": Path, "train": Path, "validation": Path, "test": Path, "text_columns": str, "label_column": str, "k": str,
    "model": str, "methods": str, "trials": int, "epochs": float, "finalist_seeds": int, "most_seeds": int, "seed": int,
}  # fmt: skip
"""Options of `pelt-automl select` that a study passes on as they are."""


# -------------------------------------------------------------------- options


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """With the option that every study has."""
    made = argparse.ArgumentParser(
        prog=f"python -m studies.{name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--output", type=Path, help="folder for the tables (.md) and the JSON")
    return made


REQUIRED = object()
"""In place of a default."""


def add_options(to: Any, options: Mapping[str, tuple[Any, Any, str]]) -> None:
    """By name: how the text is read (``bool``: a switch; a tuple: one of it), the default, which the help shows, and what it is."""
    for name, (kind, default, what) in options.items():
        if kind is bool:
            to.add_argument(f"--{name}", action="store_true", help=what)
            continue
        shown = ",".join(map(str, default)) if isinstance(default, list) else f"{default:g}" if isinstance(default, float) else default
        told = what if default in (None, REQUIRED, []) or "default: " in what else f"{what} (default: {shown})".strip()
        read: Row = {"choices": kind} if isinstance(kind, tuple) else {"type": kind}
        given: Row = {"required": True} if default is REQUIRED else {"default": default}
        to.add_argument(f"--{name}", **read, **given, help=told)


def add_selection_options(to: argparse.ArgumentParser, **defaults: Any) -> None:
    """Options of `pelt-automl select`, with a study's own defaults."""
    group = to.add_argument_group("the selection (as in pelt-automl select)")
    for name, kind in SELECTION_OPTIONS.items():
        shown = f"default: {defaults[name]}" if name in defaults else None
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, default=defaults.get(name), help=shown)


def selection_options(arguments: argparse.Namespace) -> Row:
    """Those that were given, as plain values: an own file takes the default task's place."""
    given = {name: value for name in SELECTION_OPTIONS if (value := getattr(arguments, name)) is not None}
    if "train" in given:
        given.pop("task", None)
    return {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in given.items()}


def numbers(text: str) -> list[int]:
    """``1,2,4`` as numbers."""
    return [int(part) for part in names(text)]


def names(text: str) -> list[str]:
    """``lora,adapter`` as names."""
    return [part.strip() for part in text.split(",") if part.strip()]


def shares(text: str) -> list[float]:
    """``0.05,0.1`` as numbers above 0."""
    found = [float(part) for part in names(text)]
    if not found or min(found) <= 0:
        raise argparse.ArgumentTypeError(f"expected shares of the oracle's cost such as 0.05,0.1, not {text!r}")
    return found


# -------------------------------------------------------------------- what is measured on


def machine() -> str:
    """Processor and cores: ``Intel(R) Xeon(R) Processor, 2 cores``."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{processor or platform.machine()}, {usable_cores()} cores"


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(*more: str) -> str:
    """``python 3.11.2, torch 2.6.0, ...``; `more`: libraries, too."""
    found = [f"python {platform.python_version()}"]
    for name in (*LIBRARIES, *more):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} unknown")
    return ", ".join(found)


def commit() -> str:
    """Of this checkout, with ``+`` where files of it are changed; empty where git doesn't tell."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


# -------------------------------------------------------------------- the report


class Report:
    """What a study hands over: tables for people (rows by title), all ``data`` for programs, ``notes``, and what was ``left_out``."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.options, self.started, self.load_before = name, options, time.monotonic(), os.getloadavg()[0]
        self.tables: dict[str, list[Row]] = {}
        self.data: Row = {}
        self.left_out, self.notes = list[str](), list[str]()

    def leave_out(self, what: str, why: object) -> None:
        """Say that something wasn't measured."""
        self.left_out.append(f"{what}: {str(why).strip().splitlines()[0] if str(why).strip() else type(why).__name__}")
        say(f"left out: {self.left_out[-1]}")

    def add(self, title: str, **row: Any) -> None:
        """A row for the table `title`; what isn't a number is None."""
        gaps = {name: None for name, value in row.items() if isinstance(value, float) and math.isnan(value)}
        self.tables.setdefault(title, []).append(row | gaps)

    def environment(self) -> Row:
        """Machine, versions, commit, device, threads, load."""
        import torch

        gpu = torch.cuda.is_available()
        return {
            "machine": machine(), "versions": versions("peft", "accelerate", "optuna"), "commit": commit(),
            "device": torch.cuda.get_device_name() if gpu else "processor", "cuda": torch.version.cuda if gpu else None,
            "threads": torch.get_num_threads(), "load_before": round(self.load_before, 2),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seconds": round(time.monotonic() - self.started, 1),
        }  # fmt: skip

    def write(self) -> None:
        """Print the tables, then the JSON; into the folder `--output` too, as ``NAME.md`` and ``NAME.json``."""
        environment = self.environment()
        parts = [f"# {self.name}\n\n" + "; ".join(f"{name} {value}" for name, value in environment.items())]
        parts += [f"**{title}**\n\n{markdown(rows)}" for title, rows in self.tables.items() if rows]
        parts += [f"{title}:\n\n" + "\n".join(f"- {line}" for line in own) for title, own in
                  (("Notes", self.notes), ("Left out", self.left_out)) if own]  # fmt: skip
        text = "\n\n".join(parts) + "\n"
        options = {name: str(value) for name, value in vars(self.options).items()}
        content = {"study": self.name, "environment": environment, "options": options, "tables": self.tables, "notes": self.notes,
                   "left_out": self.left_out, **self.data}  # fmt: skip
        data = json.dumps(content, indent=2, default=str) + "\n"
        print(f"{text}\n{data}", flush=True)
        if self.options.output:
            write_text(self.options.output / f"{self.name}.md", text)
            write_text(self.options.output / f"{self.name}.json", data)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table that reads in a terminal too; what is missing is a dash."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([_shown(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "-" if value is None else str(value)


def say(message: str) -> None:
    """Tell a person at the terminal what is being measured; the results alone go to stdout."""
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


# -------------------------------------------------------------------- measuring


def spread(values: Sequence[float], name: str) -> Row:
    """The median as `name`, and the extremes."""
    return {name: statistics.median(values), "lowest": min(values), "highest": max(values)}


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Of what was measured in the same turn, so that a machine's mood cancels."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def shown_spread(values: Sequence[float]) -> str:
    """``1.2 (0.9 to 1.4)``."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def t_interval(values: Sequence[float], fewest: int = 3) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean of independent values; None of fewer than `fewest`."""
    from scipy.stats import sem, t

    if len(values) < fewest:
        return None
    half = float(t.ppf(0.975, len(values) - 1) * sem(values))
    return statistics.fmean(values) - half, statistics.fmean(values) + half


def spoken(values: Any) -> str | None:
    """Mean and `t_interval` of a pandas series, without its gaps: ``1.2 [0.9, 1.4]``."""
    known = [float(value) for value in values.dropna()]
    found = t_interval(known)
    return f"{statistics.fmean(known):.2f}" + (f" [{found[0]:.2f}, {found[1]:.2f}]" if found else "") if known else None


@dataclass(frozen=True)
class TimeLimit:
    """A limit on a whole study, in seconds."""

    seconds: float
    started: float = field(default_factory=time.monotonic)
    now: Callable[[], float] = time.monotonic

    def allows(self, expected: float) -> bool:
        """Whether something that is expected to take so many seconds still fits."""
        return expected <= self.left

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - (self.now() - self.started)


def in_turn(measures: Mapping[str, Callable[[], float]], repeats: int, limit: TimeLimit) -> dict[str, list[float]]:
    """Each measurement once, then each again: `repeats` rounds, fewer (at least one) when a round more wouldn't fit into the limit."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    longest = 0.0
    for turn in range(repeats):
        if turn and not limit.allows(longest):
            break
        start = limit.now()
        for name, measure in measures.items():
            found[name].append(measure())
        longest = max(longest, limit.now() - start)
    return found


# -------------------------------------------------------------------- fresh processes

_RESULT = "RESULT "


class ProcessError(RuntimeError):
    """A measured process failed."""


@dataclass(frozen=True)
class Ended:
    """A process that has ended well."""

    seconds: float
    """From its start to its end, imports included."""
    peak_bytes: int
    """Its largest resident memory."""
    result: Any


def fresh_process(place: str, home: Path | None = None, **arguments: Any) -> Ended:
    """Call ``module:function`` of the studies with `arguments` (plain values) in a process of its own, and measure it.

    `home`: the program's home there. Raises `ProcessError` with the end of what it printed.
    """
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    variables |= {"PELT_AUTOML_HOME": str(home)} if home else {}
    command = [sys.executable, "-m", "studies.harness", place, json.dumps(arguments)]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    seconds = time.perf_counter() - start
    told = [line.removeprefix(_RESULT) for line in done.stdout.splitlines() if line.startswith(_RESULT)]
    if done.returncode or not told:
        code = done.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        last = (done.stdout.strip().splitlines() or ["nothing"])[-1]
        raise ProcessError(f"{place} ended with {how}: {last}\n{done.stdout[-2000:]}")
    result, peak = json.loads(told[-1])
    return Ended(seconds, peak, result)


def peak_resident() -> int:
    """The largest resident memory of this process since its program started, in bytes."""
    # The system's account of a finished child also counts the process that it was forked from.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _call(place: str, arguments: str) -> None:
    module, name = place.split(":")
    if not module.startswith("studies."):
        raise ValueError(f"{module} isn't a module of the studies")
    found = getattr(import_module(module), name)(**json.loads(arguments))
    print(f"\n{_RESULT}{json.dumps([found, peak_resident()], default=str)}", flush=True)


# -------------------------------------------------------------------- results that are kept


@dataclass(frozen=True)
class Kept:
    """Results in a folder, a JSON file each, found again by what they are results of: a killed study goes on where it stood."""

    folder: Path

    def get(self, **key: Any) -> Any:
        """None if it isn't there."""
        path = self._path(key)
        return json.loads(path.read_text(encoding="utf-8"))["result"] if path.is_file() else None

    def put(self, result: Any, **key: Any) -> Any:
        """The same result, now in its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self._path(key), json.dumps({"key": key, "result": result}, default=str))
        return result

    def _path(self, key: Row) -> Path:
        return self.folder / f"{hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:20]}.json"


if __name__ == "__main__":
    _call(*sys.argv[1:])
