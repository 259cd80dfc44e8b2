"""Processes killed by `SIGKILL` wherever it may hurt: nothing that had ended is lost or repeated, and the table is that without kills."""

import json
import subprocess
import sys
from collections import Counter

import pytest

pytestmark = pytest.mark.slow

POINTS = (
    "before a line", "after a line", "in a step", "in a state's writing", "between state and log", "between weights and log",
)  # fmt: skip


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """What came of the search without kills, and of that with each row of kills."""
    command = [sys.executable, "-m", "tests.execution.lives", str(tmp_path_factory.mktemp("lives")), "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    whole, *rest = [json.loads(line) for line in done.stdout.splitlines()]
    return whole, rest


def test_all_kinds_of_points_are_killed_at(lives):
    kills = Counter(point for row in lives[1] for point, _, died in row["kills"] if died)
    assert set(kills) == set(POINTS)
    assert min(kills.values()) >= 2


def test_the_table_is_that_without_kills(lives):
    whole, killed = lives
    assert {state for state, *_ in whole["table"].values()} == {"completed", "stopped"}
    for row in killed:
        assert row["table"] == whole["table"], row["kills"]


def test_nothing_that_had_ended_is_repeated_and_nothing_is_decided_twice(lives):
    for row in lives[1]:
        assert row["ended"] == dict.fromkeys(row["table"], 1), row["kills"]
        assert set(row["segments"].values()) == {1}, row["kills"]
        assert row["segments"] == lives[0]["segments"], row["kills"]
