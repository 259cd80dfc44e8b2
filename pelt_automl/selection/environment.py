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
from pelt_automl.config import SelectionSettings
from pelt_automl.search.spaces import SearchSpace

LIBRARIES = ("pelt-automl", "torch", "transformers", "datasets", "optuna", "mlflow", "prefect", "scikit-learn", "numpy")


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


def key_of(settings: SelectionSettings, data_hash: str, spaces: Mapping[str, SearchSpace]) -> str:
    """The same for the same command on the same data with the same version: 16 hex digits.

    The number of threads isn't part of it, nor where files lie: the data's hash and the spaces themselves say it better.
    """
    plain = settings_as_json(settings)
    plain["training"].pop("threads")
    for path in ("data_dir", "train", "validation", "test"):
        plain["task"].pop(path)
    plain["search"].pop("spaces")
    everything = [plain, data_hash, {method: asdict(space) for method, space in spaces.items()}, pelt_automl.__version__]
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]


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
