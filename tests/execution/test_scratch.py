"""Folders of workers that live, that were killed, and that aren't ours."""

import signal
import subprocess
import sys

from pelt_automl.execution.scratch import own_folder

WAITS = """
import sys
from pathlib import Path
from pelt_automl.execution.scratch import own_folder
print(own_folder(Path({!r})), flush=True)
sys.stdin.read()
"""


def started(place):
    """A process that has a folder of its own, and that folder."""
    process = subprocess.Popen([sys.executable, "-c", WAITS.format(str(place))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_the_folder_of_a_killed_worker_is_removed_by_the_next_and_that_of_a_living_one_is_not(tmp_path):
    (tmp_path / "pelt-automl-worker-by-hand").mkdir()  # without a lock: somebody else's
    processes = [started(tmp_path) for _ in range(2)]
    try:
        (killed, gone), (_, lives) = processes
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        own = own_folder(tmp_path)
        assert {str(path) for path in tmp_path.iterdir()} == {str(own), lives, str(tmp_path / "pelt-automl-worker-by-hand")}
        assert gone != lives
        assert own.stat().st_mode & 0o777 == 0o700
    finally:
        for process, _ in processes:
            process.kill()
            process.wait()
