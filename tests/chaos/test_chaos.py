"""Whole selections killed by `SIGKILL` at points of every kind: nothing is lost or repeated, and the verdict is that without kills."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from chaos.checker import checked
from tests.chaos.lives import KINDS

ROWS = int(os.environ.get("PELT_CHAOS_ROWS", "2"))
"""Selections, each killed once in each kind of point: 9 with ``make chaos``."""


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chaos")
    command = [sys.executable, "-m", "tests.chaos.lives", str(folder), str(ROWS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300 + 200 * ROWS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    whole, *rows = [json.loads(line) for line in done.stdout.splitlines()]
    return whole, rows, folder


@pytest.mark.slow
@pytest.mark.timeout(600 + 200 * ROWS)
def test_whatever_kills_it_a_selection_loses_and_repeats_nothing_and_comes_to_the_same_verdict(lives):
    whole, rows, folder = lives
    kills = Counter(kind for row in rows for kind, _, died in row["kills"] if died)
    print(f"{sum(kills.values())} kills: {dict(kills)}")
    assert set(kills) == set(KINDS)
    assert min(kills.values()) >= ROWS - 1
    for number, row in enumerate(rows):
        assert checked(folder / f"row{number}").problems == [], row["kills"]
        assert row["twice"] == [], row["kills"]
        assert row["left"] == [], row["kills"]
        for part in ("trials", "scored", "verdict"):
            assert row[part] == whole[part], (part, row["kills"])
