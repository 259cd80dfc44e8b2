"""Memory is kept within a pack, goes back to the system between packs, and is measured."""

import ctypes
import gc
import math
import platform
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pelt_automl.methods import METHODS
from pelt_automl.training import memory, packing
from tests.tiny import a_run
from tests.training.test_packing import mixed_runs, work

CPU = torch.device("cpu")
MEBIBYTE = 2**20

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
where_told = pytest.mark.skipif(not memory.RESIDENT.is_file(), reason="the system doesn't tell what is resident")


def test_memory_is_given_back_once_between_two_packs(monkeypatch) -> None:
    given = []
    monkeypatch.setattr(packing, "give_back", lambda: given.append(1))
    packing.train(work(), [*mixed_runs(), a_run("full", METHODS["full"].modifications({}))], until=3)
    assert given == [1]


class Glibc:
    """Writes down what it is asked for."""

    def __init__(self) -> None:
        self.trimmed, self.options = [], {}

    def malloc_trim(self, kept: int) -> None:
        self.trimmed.append(kept)

    def mallopt(self, option: int, value: int) -> None:
        self.options[option] = value


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def test_glibc_is_asked_to_return_all_between_packs_and_nothing_within_and_others_for_nothing(monkeypatch) -> None:
    library = Glibc()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(sys, "platform", "linux")
    memory.give_back()
    assert library.trimmed == [0]
    kept = {M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * MEBIBYTE, M_MMAP_MAX: 0}
    with memory.kept_pages():
        with memory.kept_pages():
            assert library.options == kept
        assert library.options == kept, "the outer one still wants them"
    assert library.options == {M_TRIM_THRESHOLD: 131_072, M_TOP_PAD: 131_072, M_MMAP_MAX: 65_536}, "mallopt(3)"
    assert library.trimmed == [0, 0]
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.give_back()
    with memory.kept_pages():
        pass


def test_a_training_keeps_its_pages_until_its_end(monkeypatch) -> None:
    counts = []
    shared = replace(work(), on_step=lambda _: counts.append(memory._Keepers.count))
    packing.train(shared, mixed_runs(), until=1)
    assert counts == [1]
    assert memory._Keepers.count == 0


FAULTS = """
import resource
from pelt_automl.training.memory import kept_pages

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        b"x" * (40 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

before = faults()
with kept_pages():
    after, held = faults(), resident()
print(before, after, held - resident(), faults())
"""


@pytest.mark.slow
@on_glibc
@where_told
def test_what_is_freed_is_taken_again_without_page_faults_until_the_end() -> None:
    """40 MiB ten times over: 10,240 pages each time before, once after."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after, returned, again = (int(number) for number in done.stdout.split())
    if before < 20_000:
        pytest.skip("pages are huge here")
    assert before > 90_000
    assert after < 15_000
    assert returned > 35 * MEBIBYTE
    assert again > 0.9 * before


def grown(weight: torch.Tensor) -> torch.Tensor:
    """Keeps two tensors of the weight's size for its backward pass."""
    return (weight.exp() * 2).exp().mean()


PEAK = """
import torch
from pelt_automl.training.memory import peak_of
from tests.training.test_memory import CPU, MEBIBYTE, grown

weight = torch.zeros(16 * MEBIBYTE, requires_grad=True)
weight.grad = torch.zeros_like(weight)
with peak_of(CPU) as peak:
    grown(weight).backward()
print(peak.bytes / (4 * weight.numel()))
"""


@pytest.mark.slow
@where_told
def test_the_peak_of_a_step_counts_what_is_kept_for_the_backward_pass_though_it_is_gone_afterwards() -> None:
    """Two tensors are kept, a third is the gradient on its way. In a fresh process: what the heap wastes depends on what it has held."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, cwd=root)
    assert 2.9 < float(done.stdout) < 3.5


def test_measuring_changes_no_gradient_and_holds_no_tensor() -> None:
    weight = torch.linspace(-1, 1, 5, requires_grad=True)
    (plain,) = torch.autograd.grad(grown(weight), weight)
    gc.disable()
    try:
        with memory.peak_of(CPU):
            output = weight.exp()
            gone = weakref.ref(output)
            loss = (output * 2).exp().mean()
            (measured,) = torch.autograd.grad(loss, weight)
        del output, loss
        assert gone() is None
    finally:
        gc.enable()
    assert torch.equal(plain, measured)


@pytest.mark.parametrize(
    ("limit", "used", "usable"),
    [
        (None, None, 0.5 * 2000 * 1024),
        ("max", "1048576", 0.5 * 2000 * 1024),
        ("1500000", "500000", 0.5 * 1_000_000),
        ("900000000", "500000", 0.5 * 2000 * 1024),
    ],
)
def test_half_of_what_is_available_and_left_to_the_container_may_be_used(limit, used, usable, tmp_path, monkeypatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:        9000 kB\nMemFree:          100 kB\nMemAvailable:    2000 kB\n")
    for name, text in (("limit", limit), ("used", used)):
        if text is not None:
            (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(memory, "MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "LIMIT", tmp_path / "limit")
    monkeypatch.setattr(memory, "USED", tmp_path / "used")
    assert memory.usable_bytes(CPU) == usable


def test_where_the_system_tells_nothing_memory_is_no_bound(tmp_path, monkeypatch) -> None:
    for name in ("MEMORY_INFO", "LIMIT", "USED"):
        monkeypatch.setattr(memory, name, tmp_path / "missing")
    assert math.isinf(memory.usable_bytes(CPU))
