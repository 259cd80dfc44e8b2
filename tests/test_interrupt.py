"""Ctrl-C, as a terminal sends it: exit code 130, and a line that says how to go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0


def command(world, folder):
    options = ["--train", world.train, "--test", world.test, "--text-columns", "text", "--label-column", "label", "--model", world.model]
    options += ["--methods", "head", "--trials", "3", "--epochs", "2000", "--batch-size", "8", "--precision", "fp32", "--output", folder]
    return [sys.executable, "-m", "pelt_automl.cli", "select", *map(str, options)]


@pytest.mark.slow
def test_a_real_interrupt_ends_with_130_and_says_that_the_same_command_resumes(world, tmp_path):
    folder, log = tmp_path / "out", tmp_path / "log.txt"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PELT_", "MLFLOW_", "PREFECT_"))}
    environment = kept | {"PELT_AUTOML_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(
            command(world, folder),
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=file,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 a test runner in the background may ignore it
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (folder / "records.jsonl").is_file() or '"Planned"' not in (folder / "records.jsonl").read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 130, log.read_text()
    finally:
        process.kill()
    said = log.read_text()
    assert said.rstrip().splitlines()[-1] == "Interrupted. Run the same command again to resume."
    assert "Traceback" not in said
    assert (folder / "records.jsonl").read_text().endswith("}\n")
