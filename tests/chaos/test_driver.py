"""The driver kills, starts again, and has found whatever came of it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.driver import descendants, main

ROOT = Path(__file__).resolve().parents[2]


def drive(*arguments, timeout=300):
    command = [sys.executable, "-m", "chaos.driver", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture
def replay(finished):
    """The options for killing a selection that takes a second."""
    return ["--no-mlflow", "--span", "1", "--linger", "2", "--", sys.executable, "-m", "tests.chaos.replay", finished.folder, "{folder}"]


@pytest.mark.slow
def test_commands_and_their_descendants_are_killed_until_all_kills_are_done_and_each_is_told(replay):
    done = drive("--kills", 12, *replay)
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.findall(r"kill (\d+): (the command|process)[ ,].* ([\d.]+) s after its start, at line \d+ of selection-\d+", done.stdout)
    assert [int(number) for number, _, _ in told] == list(range(1, 13))
    assert {what for _, what, _ in told} == {"the command", "process"}
    assert re.search(r"12 kills \(\d+ of commands, \d+ of their descendants\), \d+ selections: nothing was lost, doubled", done.stdout)
    assert re.search(r"selection-\d+ has ended: \d+ events, ([2-9]|1\d) starts, ", done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("doubles", "has ended twice"),
        ("leaves", "(sleep 100) is left running"),
        ("fails", "the command ended 4 times by itself, last with exit code 1, and isn't done: error: it can't be done"),
    ],
)
def test_what_a_selection_makes_wrong_after_a_kill_is_found(replay, tmp_path, fault, said):
    done = drive(
        "--kills",
        1 if fault == "leaves" else 12,
        "--seed",
        3,
        "--seconds",
        20 if fault == "fails" else 60,
        "--folder",
        tmp_path / "kept",
        *replay,
        fault,
    )
    assert said in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
    assert f"everything is kept in {tmp_path / 'kept'}" in done.stdout
    for process in re.findall(r"process (\d+) \(sleep 100\) is left running", done.stdout):
        os.kill(int(process), signal.SIGKILL)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kills", "0"], "--kills has to be at least 1"),
        (["--seconds", "0"], "--seconds above 0"),
        (["--kills", "many"], "invalid int value"),
        (["--", "sleep", "1"], "has {folder} in it is expected; 'sleep 1' came"),
        (["--", "no-such-program", "{folder}"], "a command that can be started"),
        (["--folder", "."], ". isn't empty; name a new folder"),
    ],
)
def test_bad_input_is_one_message_and_ends_with_2(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_descendants_are_children_and_their_children():
    nested = "import subprocess, sys; subprocess.run(['sleep', '30'])"
    with subprocess.Popen([sys.executable, "-c", nested], start_new_session=True) as process:
        try:
            found = []
            while [one.command for one in found] != ["sleep 30"]:  # before that it is a copy of its parent
                assert process.poll() is None
                found = descendants(process.pid)
            assert process.pid in {one.pid for one in descendants(os.getpid())} >= {found[0].pid}
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_at_random_lose_nothing_of_small_selections():
    done = drive("--kills", 10, "--span", 2, timeout=800)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 kills (" in done.stdout
