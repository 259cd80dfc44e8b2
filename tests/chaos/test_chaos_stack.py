"""What `chaos.stack` takes for its own, and what it draws. Whole stacks are killed by `make chaos-stack`."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from chaos import stack as chaos_stack
from chaos.stack import KINDS, Stack, drawn, ended, main

SLEEPS = "import time; time.sleep(60)"
TRAINS = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPS!r}])"


@pytest.fixture
def others():
    """Processes as in a stack: of this one, and of another."""
    running = []

    def start(home, program):
        environment = os.environ | {"PELT_AUTOML_HOME": str(home)}
        running.append(subprocess.Popen([sys.executable, "-c", program], env=environment, start_new_session=True))
        return running[-1]

    yield start
    for process in running:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_only_processes_of_the_own_home_are_known_each_by_its_kind(tmp_path, others):
    stack = Stack(tmp_path, 1)
    (stack.home / "stack").mkdir(parents=True)
    (stack.home / "flow-runs").mkdir()
    server, trains = others(stack.home, SLEEPS), others(stack.home, TRAINS)
    foreign, similar = others(tmp_path / "elsewhere", SLEEPS), others(f"{stack.home}2", SLEEPS)
    (stack.home / "stack" / "gpu-1.pid").write_text(f"{server.pid} 1")
    (stack.home / "stack" / "mlflow-server.pid").write_text(f"{foreign.pid} 1")  # a number of before
    (stack.home / "flow-runs" / "abc.lock").write_text(f"{trains.pid} worker-2.3 of select-toy-k16-seed0")
    deadline = time.monotonic() + 30
    while len(found := stack.processes()) < 4:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert {kind: [one.pid for one in members] for kind, members in found.items() if kind not in ("any", "training")} == {
        "gpu": [server.pid],
        "pelt-worker": [trains.pid],
    }
    (child,) = found["training"]
    assert {one.pid for one in found["any"]} == {server.pid, trains.pid, child.pid}
    assert not {foreign.pid, similar.pid, os.getpid()} & {one.pid for one in found["any"]}


def test_a_seed_draws_the_same_deeds_each_kind_as_often_and_no_more_than_asked_for():
    def draw(seed, kills=30):
        return list(drawn(random.Random(seed), kills))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert sorted(deed.kind for deed in draw(1)) == sorted(KINDS * 3)
    assert {deed.how for deed in draw(1)} == {"kill", "stop", "cancel"}
    assert len(draw(1, 3)) == 3


def test_after_the_time_is_over_a_selection_is_only_seen_to_its_end(tmp_path, monkeypatch):
    stack = Stack(tmp_path, 1, time.monotonic() - 1)
    deeds = drawn(random.Random(1), 3)
    looks = iter([False, False, True])
    monkeypatch.setattr(chaos_stack, "ended", lambda folder: next(looks))
    monkeypatch.setattr(chaos_stack, "start", lambda *_: None)
    monkeypatch.setattr(chaos_stack, "do", lambda *_: pytest.fail("a deed after the time"))
    seen = []
    monkeypatch.setattr(chaos_stack, "look", lambda stack, name: seen.append(name))
    chaos_stack.selection(stack, "one", 1, deeds)
    assert (len(deeds), seen) == (0, ["one"])


@pytest.mark.parametrize(("looks", "wrong"), [(2, 0), (10**6, 1)])
def test_a_flow_run_that_ends_by_itself_after_the_last_selection_isnt_left_open(tmp_path, monkeypatch, looks, wrong):
    stack, seen = Stack(tmp_path, 1), []

    def runs(*_):
        seen.append(1)
        return [{"name": "calm-cat"}] if len(seen) <= looks else []

    monkeypatch.setattr(stack, "runs", runs)
    monkeypatch.setattr(stack, "up", lambda why: None)
    monkeypatch.setattr(chaos_stack, "selection", lambda *_: None)
    monkeypatch.setattr(chaos_stack, "ALONE", 2.0)
    chaos_stack.run(stack, drawn(random.Random(1), 0))
    assert stack.wrong == wrong


def test_a_selection_has_ended_when_its_log_says_so_and_mlflow_has_it(tmp_path, finished):
    folder = tmp_path / "one"
    assert not ended(folder)
    folder.mkdir()
    log = (finished.folder / "records.jsonl").read_bytes()
    for lines, over in (log[:-3], False), (log, True):
        (folder / "records.jsonl").write_bytes(lines)
        assert ended(folder) is over
    (folder / "mlflow.json").write_text('{"problem": "it is away"}')
    assert not ended(folder)


def test_one_that_is_ended_itself_ends_its_stack(monkeypatch):
    ended, before = [], signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(chaos_stack, "run", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(chaos_stack, "end", ended.append)
    try:
        with pytest.raises(SystemExit) as end:
            main([])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (end.value.code, len(ended)) == (143, 1)
    ended[0].folder.rmdir()


@pytest.mark.parametrize("wrong", [["--kills", "0"], ["--seconds", "-1"], ["--workers", "0"]])
def test_bad_input_is_one_message_and_ends_with_2(wrong, capsys):
    with pytest.raises(SystemExit) as end:
        main(wrong)
    assert end.value.code == 2
    assert "--kills and --workers have to be at least 1 and --seconds above 0" in capsys.readouterr().err
