"""What all tests share."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # it is read when the library is imported

import pytest
import torch

from tests.tiny_world import finished, nothing_learned, without_mlflow, world

__all__ = ["finished", "nothing_learned", "without_mlflow", "world"]

torch.set_num_threads(1)  # tiny tensors: a second thread only costs


TIERS = ("slow", "stack", "statistical", "whole")
BUDGET = 2.0
"""Seconds of CPU time of a test without one of these marks. Those above it are listed; `make test-all` fails far above it."""


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def _own_home(_homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's state, or looks for a hub."""
    home = _homes / uuid.uuid4().hex
    home.mkdir()
    monkeypatch.setenv("PELT_AUTOML_HOME", str(home))
    monkeypatch.delenv("PELT_AUTOML_DATA_DIR", raising=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Take down what a test without a mark costs, its child processes included; wall time would tell of the machine's other users."""
    before = sum(os.times()[:4])
    result = yield
    seconds = sum(os.times()[:4]) - before
    if not any(item.get_closest_marker(tier) for tier in TIERS):
        item.user_properties.append(("seconds", seconds))
        most = float(os.environ.get("PELT_SLOWEST_TEST", "inf"))
        assert seconds <= most, f"{seconds:.1f} s of CPU time: make it faster, or mark it {', '.join(TIERS)}"
    return result


def pytest_terminal_summary(terminalreporter) -> None:
    """List the tests that want a mark."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind) if report.when == "call"]
    slow = {report.nodeid: dict(report.user_properties).get("seconds", 0.0) for report in reports}
    slow = {name: seconds for name, seconds in slow.items() if seconds > BUDGET}
    for name, seconds in sorted(slow.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{seconds:.1f} s of CPU time without a mark ({', '.join(TIERS)}): {name}")
