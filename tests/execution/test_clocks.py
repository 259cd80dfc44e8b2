"""The wall clock jumps by an hour while workers train: nothing that this program decides rests on it.

Dask's messages do: what was to be sent just as the clock was put back waits for an hour. Its worker is lost after the deadline of a piece.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pelt_automl.log.codec import read
from pelt_automl.log.events import TrialEnded
from pelt_automl.log.folder import RECORDS
from tests.execution.machines import nothing_lost_or_twice

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
JUMPS = """
import os, time
now, nanoseconds, by, when = time.time, time.time_ns, {seconds}, {when!r}
time.time = lambda: now() + (by if os.path.exists(when) else 0)
time.time_ns = lambda: nanoseconds() + (by * 10**9 if os.path.exists(when) else 0)
"""
"""Imported by each process as it starts."""


# Put back, it may silence one of Dask's streams, which batches by the wall clock, until the deadline has passed: some runs take minutes.
@pytest.mark.parametrize("seconds", [3600, pytest.param(-3600, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_a_clock_that_jumps_by_an_hour_costs_at_most_what_is_under_way(tmp_path, seconds):
    folder, when, early = tmp_path / "out", tmp_path / "jumped", tmp_path / "early"
    early.mkdir()
    (early / "sitecustomize.py").write_text(JUMPS.format(seconds=seconds, when=str(when)))
    command = [sys.executable, "-m", "tests.execution.machines", str(folder), "--workers", "2", "--pace", "0.3", "--stalled", "6"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(early), str(ROOT)])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not _ended(folder):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    when.touch()
    try:
        _, said = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert nothing_lost_or_twice(folder)
    ends = _ended(folder)
    assert {event.state for event in ends} == {"completed"}
    jump = ends[-1].time - ends[0].time
    assert abs(jump - seconds) < 120, "the log's own times show it"


def _ended(folder):
    return [event for event in read(folder / RECORDS) if isinstance(event, TrialEnded)] if (folder / RECORDS).exists() else []
