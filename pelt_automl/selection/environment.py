"""What a selection ran on, for its records."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pelt_automl
from pelt_automl import BEHAVIOUR
from pelt_automl.search.spaces import SearchSpace
from pelt_automl.settings import SelectionSettings

LIBRARIES = ("pelt-automl", "torch", "transformers", "datasets", "optuna", "mlflow", "prefect", "distributed", "scikit-learn", "numpy")


def environment() -> dict[str, Any]:
    """Versions, machine and git state, as plain values."""
    return {
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": usable_cores(),
        **_git(),
    }


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity (taskset, a container's cpuset) where the system tells, else the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def settings_as_json(settings: SelectionSettings) -> dict[str, Any]:
    """The settings as plain values."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings), default=str))
    return plain


FILES = ("data_dir", "train", "validation", "test", "encoding", "delimiter", "group_column", "label_separator")
"""Task settings that only say where the data is and how to read it: its hash, which groups are part of, says what it is."""

LATER = {"class_weights": "none"}
"""Task settings that came later: with these values they ask what was asked before there were any."""

BY_WHOM = ("threads", "workers", "listen", "certificates")
"""Training settings that only say which threads and processes compute."""

EFFORT = (
    "methods", "baselines", "trials", "seconds", "finalist_seeds", "most_seeds", "finalist_share", "rungs", "promoted", "sampler",
    "portfolio", "experience", "race",
)  # fmt: skip
"""Search settings that say how hard to look. All others are part of what is asked."""


def question_of(settings: SelectionSettings, data_hash: str) -> str:
    """What is asked: data, model, metric, K, protocol, training settings, seed, and the program's `BEHAVIOUR`. 16 hex digits.

    Two selections with the same question are two attempts at the same answer. Who computes it (`BY_WHOM`) isn't part of it, nor where files
    are.
    """
    plain = settings_as_json(settings)
    for name in BY_WHOM:
        plain["training"].pop(name)
    asked = {name: value for name, value in plain["search"].items() if name not in (*EFFORT, "spaces")}
    task = {name: value for name, value in plain["task"].items() if name not in FILES and (name, value) not in LATER.items()}
    return _digest([task, plain["model"], plain["training"], asked, data_hash, BEHAVIOUR])


def effort_of(settings: SelectionSettings, spaces: Mapping[str, SearchSpace]) -> str:
    """How hard to look, as 16 hex digits.

    Of methods, baselines, trials, seconds, seeds, sampler, portfolio, experience, rungs, race, and the search spaces.
    """
    plain = settings_as_json(settings)["search"]
    return _digest([{name: plain[name] for name in EFFORT}, {method: asdict(space) for method, space in spaces.items()}])


def key_of(settings: SelectionSettings, data_hash: str, spaces: Mapping[str, SearchSpace]) -> str:
    """Question and effort together: the same for the same command on the same data with the same `BEHAVIOUR`. 16 hex digits."""
    return _digest([question_of(settings, data_hash), effort_of(settings, spaces)])


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git() -> dict[str, Any]:
    """Commit and dirty flag of the program's own checkout; nothing when it is installed without one."""
    root = Path(pelt_automl.__file__).parent.parent
    if not (root / ".git").exists():
        return {}

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603, S607

    try:
        return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}
