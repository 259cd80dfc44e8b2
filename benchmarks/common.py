"""What every benchmark shares: options of a selection, the machine it ran on, tables, and the JSON beside them."""

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pelt_automl.durable import write_text

ROOT = Path(__file__).resolve().parents[1]

PEERS = ("peft", "accelerate")
"""Libraries that only the peers need; the program's own are in its own list."""

SELECTION_OPTIONS: dict[str, Callable[[str], Any]] = {
    "task": str,
    "data_dir": Path,
    "train": Path,
    "validation": Path,
    "test": Path,
    "text_columns": str,
    "label_column": str,
    "k": str,
    "model": str,
    "methods": str,
    "trials": int,
    "epochs": float,
    "finalist_seeds": int,
    "most_seeds": int,
    "seed": int,
}
"""Options of `pelt-automl select` that a benchmark passes on as they are."""


def environment() -> dict[str, Any]:
    """What the program writes into its records (versions, machine, commit), and the device, threads and load of this process."""
    import torch

    found = _program_environment()
    found["versions"] |= {name: _version(name) for name in PEERS}
    gpu = torch.cuda.is_available()
    return found | {
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "cuda": torch.version.cuda if gpu else None,
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _program_environment() -> dict[str, Any]:
    # By its path: importing the package `pelt_automl.selection` takes Optuna and MLflow, which a bare GPU machine doesn't have.
    spec = importlib.util.spec_from_file_location("benchmarks._environment", ROOT / "pelt_automl" / "selection" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.environment()
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@dataclass
class Table:
    """Rows of plain values; a missing one is printed as a dash."""

    title: str
    columns: Sequence[str]
    rows: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, **row: Any) -> None:
        """Add a row. Raises `KeyError` for a column that isn't there."""
        if unknown := set(row) - set(self.columns):
            raise KeyError(f"{self.title} has no column {', '.join(sorted(unknown))}")
        self.rows.append(row)

    def markdown(self) -> str:
        """Aligned, so that it reads in a terminal too."""
        cells = [list(self.columns)] + [[_shown(row.get(column)) for column in self.columns] for row in self.rows]
        widths = [max(len(line[index]) for line in cells) for index in range(len(self.columns))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([f"**{self.title}**", "", lines[0], rule, *lines[1:]])


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


@dataclass
class Report:
    """What a benchmark hands over: tables for people, all of its data for programs."""

    name: str
    options: Mapping[str, Any]
    tables: list[Table] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """What wasn't measured, each with the reason."""
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=environment)
    started: float = field(default_factory=time.monotonic)

    def markdown(self) -> str:
        """Machine, tables, notes, and what was left out."""
        machine = self.environment
        versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        head = f"# {self.name}\n\n{machine['device']}, {machine['cores']} cores, {machine['processor']}; {versions}"
        commit = machine.get("git_commit", "no commit")[:12] + (" with changes" if machine.get("git_dirty") else "")
        where = f"{machine['time']}, {commit}, load before {machine['load_before']}, {time.monotonic() - self.started:.0f} s in all"
        parts = [f"{head}\n{where}", *(table.markdown() for table in self.tables)]
        for title, lines in (("Notes", self.notes), ("Left out", self.left_out)):
            if lines:
                parts.append(f"{title}:\n\n" + "\n".join(f"- {line}" for line in lines))
        return "\n\n".join(parts) + "\n"

    def as_json(self) -> str:
        """Everything."""
        content = {
            "benchmark": self.name,
            "environment": self.environment,
            "options": dict(self.options),
            "seconds": round(time.monotonic() - self.started, 1),
            "tables": {table.title: list(table.rows) for table in self.tables},
            "notes": self.notes,
            "left_out": self.left_out,
            **self.data,
        }
        return json.dumps(content, indent=2, default=str) + "\n"

    def write(self, folder: Path | None) -> None:
        """Print the tables, then the JSON; into `folder` too, as ``NAME.md`` and ``NAME.json``."""
        text, data = self.markdown(), self.as_json()
        print(f"{text}\n{data}", flush=True)
        if folder:
            write_text(folder / f"{self.name}.md", text)
            write_text(folder / f"{self.name}.json", data)


def say(message: str) -> None:
    """Tell a person at the terminal what is being measured; the results alone go to stdout."""
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def parser(description: str | None) -> argparse.ArgumentParser:
    """With the option that every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--output", type=Path, help="folder for the table (.md) and the JSON (and plots)")
    return made


def add_selection_options(to: argparse.ArgumentParser, **defaults: Any) -> None:
    """Options of `pelt-automl select`, with a benchmark's own defaults."""
    group = to.add_argument_group("the selection (as in pelt-automl select)")
    for name, kind in SELECTION_OPTIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, default=defaults.get(name))


def selection_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those that were given, as plain values: an own file takes the default task's place."""
    given = {name: value for name in SELECTION_OPTIONS if (value := getattr(arguments, name)) is not None}
    if "train" in given:
        given.pop("task", None)
    return {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in given.items()}


def numbers(text: str) -> list[int]:
    """``1,2,4`` as numbers."""
    return [int(part) for part in text.split(",") if part]


def names(text: str) -> list[str]:
    """``lora,adapter`` as names."""
    return [part.strip() for part in text.split(",") if part.strip()]
