"""Which device each worker of the pool `gpu` gets. Torch isn't loaded: `nvidia-smi` counts the GPUs."""

import os
import subprocess
from collections.abc import Mapping

VISIBLE, THREADS = "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Their numbers or names, as `CUDA_VISIBLE_DEVICES` writes them: those that it names where it is set, else all of the machine's."""
    said = environment.get(VISIBLE)
    if said is not None:
        return [part.strip() for part in said.split(",") if part.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def place(number: int, count: int, gpus: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """What worker `number` of `count`, from 1 on, has of its own in its environment: a GPU, else its part of the cores.

    More threads or fewer are the user's to say: `OMP_NUM_THREADS` holds for each worker where it is set.
    """
    if gpus:
        return {VISIBLE: gpus[number - 1]} if number <= len(gpus) else {}
    return {THREADS: environment.get(THREADS) or str(max(1, usable_cores() // max(count, 1)))}
