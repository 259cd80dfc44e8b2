"""Memory: what the C library does with it within and between packs, what is free, and what a training takes."""

import ctypes
import os
import resource
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Numbers of glibc's options (malloc.h)."""

KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 * 2**20}
"""No tensor in a mapping of its own; the heap's free top is never returned by itself, and grows by 64 MiB at a time."""

USUAL = {MMAP_MAX: 65_536, TRIM_THRESHOLD: 128 * 2**10, TOP_PAD: 128 * 2**10}
"""What glibc begins with (mallopt(3)). It doesn't tell what it has been set to since."""

USABLE = {"cpu": 0.5, "cuda": 0.8}
"""Share of the free memory that a pack may take: other programs need some of a processor's, and memory in pieces isn't all of use."""

MEMORY_INFO, LIMIT, USED = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
RESIDENT = Path("/proc/self/statm")


class _Keepers:
    """How many parts of the program want pages kept: the last one to end undoes it."""

    count = 0
    lock = threading.Lock()


@contextmanager
def kept_pages() -> Iterator[None]:
    """Let glibc keep what tensors free, for the tensors that come next; at the end it does as it does by itself again.

    By itself it returns the heap's free top, and every large tensor, to the system at once, and each step takes them again, page by page:
    10,000 to 50,000 page faults a step on MiniLM. May be nested, and used by several threads. Does nothing where the C library isn't glibc.
    """
    with _Keepers.lock:
        _Keepers.count += 1
        if _Keepers.count == 1:
            _set_options(KEPT)
    try:
        yield
    finally:
        with _Keepers.lock:
            _Keepers.count -= 1
            if _Keepers.count == 0:
                _set_options(USUAL)
                give_back()


def _set_options(options: Mapping[int, int]) -> None:
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None and sys.platform == "linux":
        for option, value in options.items():
            set_option(option, value)


def give_back() -> None:
    """Let the C library return what is free: packs of ever new shapes leave holes that it would keep (1.4 GB in 75 steps on MiniLM).

    Does nothing where the C library isn't glibc.
    """
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def usable_bytes(device: torch.device) -> float:
    """What a pack may take of the memory that is free now; infinite where the system doesn't tell."""
    if device.type != "cuda":
        return USABLE.get(device.type, USABLE["cuda"]) * free_on_host()
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return USABLE["cuda"] * float(torch.cuda.mem_get_info(device)[0] + cached)


def free_on_host() -> float:
    """Bytes that programs can get without swapping, and no more than is left to a container; infinite where the system doesn't tell."""
    free = float("inf")
    if MEMORY_INFO.is_file():
        kilobytes = dict(line.split(":") for line in MEMORY_INFO.read_text(encoding="ascii").splitlines())
        free = 1024.0 * int(kilobytes["MemAvailable"].split()[0])
    if LIMIT.is_file() and USED.is_file() and (limit := LIMIT.read_text(encoding="ascii").strip()) != "max":
        free = min(free, float(int(limit) - int(USED.read_text(encoding="ascii"))))
    return free


@dataclass
class Peak:
    """Memory at most, beside what was held at the start."""

    bytes: float = 0.0


@contextmanager
def peak_of(device: torch.device) -> Iterator[Peak]:
    """Measure what is done inside: the GPU's own counter, or a process' resident memory.

    Resident memory is read whenever a tensor is kept for the backward pass and whenever it is used there, which is where a step's memory is
    largest. It counts what the heap's pieces waste, which is up to as much again as the tensors themselves.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        allocated = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = float(torch.cuda.max_memory_allocated(device) - allocated)
        return
    give_back()
    before = _resident()

    def looked_at(tensor: Tensor) -> Tensor:
        peak.bytes = max(peak.bytes, _resident() - before)
        return tensor.detach()  # a tensor that its own history holds would never be freed

    with saved_tensors_hooks(looked_at, looked_at):
        yield peak
    peak.bytes = max(peak.bytes, _resident() - before)


def held_bytes(device: torch.device, *, afresh: bool = False) -> float:
    """Held by this process now; on a GPU at most since it was asked for `afresh`."""
    if device.type != "cuda":
        return _resident()
    if afresh:
        torch.cuda.reset_peak_memory_stats(device)
    return float(torch.cuda.max_memory_allocated(device))


def _resident() -> float:
    """Bytes; where the system doesn't tell what is resident now: what was at most."""
    if RESIDENT.is_file():
        return float(int(RESIDENT.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
