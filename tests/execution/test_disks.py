"""Disks that are full and folders that can't be written to any more, with real processes on file systems of their own, which need root."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pelt_automl.log.codec import read, to_json
from pelt_automl.log.events import SegmentEnded, SegmentLost, TrialEnded
from pelt_automl.log.folder import RECORDS
from tests.execution.crew import SEGMENTS
from tests.execution.machines import nothing_lost_or_twice

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def disk(tmp_path):
    """Makes a disk of so many bytes at a folder."""
    mounted = []

    def make(folder, size):
        folder.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False)
        if made.returncode:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"file systems can't be mounted here: {made.stderr}")
        mounted.append(folder)
        return folder

    yield make
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", folder], check=False)


def change(folder, how):
    """Until nobody is writing there."""
    end = time.monotonic() + 10
    while subprocess.run(["mount", "-o", f"remount,{how}", folder], capture_output=True, check=False).returncode:
        assert time.monotonic() < end
        time.sleep(0.01)


def started(folder, *more):
    command = [sys.executable, "-m", "tests.execution.machines", folder, "--workers", "2", *more]
    return subprocess.Popen([str(word) for word in command], env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)


def ends_of(folder):
    events = read(folder / RECORDS) if (folder / RECORDS).exists() else []
    return [event for event in events if isinstance(event, TrialEnded | SegmentEnded)]


def test_a_full_disk_ends_the_selection_in_one_sentence_and_with_space_the_same_command_finishes_it(tmp_path, disk):
    folder = disk(tmp_path / "out", 900_000)
    process = started(folder)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert said.splitlines()[-1].startswith("error: the disk is full (")
    before = ends_of(folder)
    assert before
    assert not [event for event in before if isinstance(event, TrialEnded) and event.cause], "no training has failed for it"
    change(folder, "size=50m")
    process = started(folder)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    after = ends_of(folder)
    assert nothing_lost_or_twice(folder)
    assert [to_json(event) for event in after[: len(before)]] == [to_json(event) for event in before]
    assert {event.state for event in after if isinstance(event, TrialEnded)} == {"completed"}


def test_a_folder_that_turns_read_only_ends_the_selection_and_the_same_command_finishes_it(tmp_path, disk):
    folder = tmp_path / "out"
    states = disk(folder / "states", 50_000_000)
    process = started(folder, "--pace", 0.2)
    while len(ends_of(folder)) < 4:
        time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()
    change(states, "ro")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "Read-only file system" in said.splitlines()[-1]
    before = ends_of(folder)
    change(states, "rw")
    process = started(folder)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert nothing_lost_or_twice(folder)
    assert [to_json(event) for event in ends_of(folder)[: len(before)]] == [to_json(event) for event in before]
    assert not [event for event in read(folder / RECORDS) if isinstance(event, SegmentLost)], "no worker is at fault"
    assert sum(isinstance(event, TrialEnded) for event in before) < len(SEGMENTS)
