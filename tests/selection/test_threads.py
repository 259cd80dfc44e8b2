"""Threads are measured, and measured again when the machine's load has changed for long; a resume keeps its precision."""

from dataclasses import dataclass, field, replace

import pytest
import torch

import pelt_automl
from pelt_automl.log.events import Decision, Planned
from pelt_automl.selection import Selection, settings_from
from pelt_automl.selection.threads import Threads
from pelt_automl.timing.policy import POLICY
from tests.tiny_world import Killed, Watcher, of, records_of


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@dataclass
class Machine:
    """Two cores, and what others do on them."""

    others: float = 0.0
    own: float = 0.0
    time: float = 100.0
    measured: list[float] = field(default_factory=list)

    def threads(self):
        return Threads(self.measure, load=lambda: self.others + self.own, now=lambda: self.time)

    def measure(self):
        self.measured.append(self.time)
        return {2: 1.7, 1: 0.4} if self.others >= 1 else {2: 0.02, 1: 0.035}


def test_one_busy_minute_at_the_start_does_not_choose_one_thread_for_a_whole_selection():
    machine = Machine(others=2.0)
    threads = machine.threads()
    assert threads.choose() == torch.get_num_threads() == 1
    machine.others, machine.own, machine.time = 0.0, 1.0, 100.0 + POLICY.pause
    assert threads.look()
    assert threads.number == torch.get_num_threads() == 2
    assert str(threads) == "2 (20 ms for 2 layers, with 1 35 ms)"
    machine.others, machine.own, machine.time = 2.0, 2.0, 100.0 + 2 * POLICY.pause
    assert threads.look()
    assert torch.get_num_threads() == 1
    assert machine.measured == [100.0, 100.0 + POLICY.pause, 100.0 + 2 * POLICY.pause]


def test_nothing_is_measured_again_while_the_load_is_the_same_or_the_last_look_was_just_now():
    machine = Machine()
    threads = machine.threads()
    threads.choose()
    for second in range(300):
        machine.time, machine.own = 100.0 + second, min(2.0, second / 60)
        assert not threads.look()
    assert machine.measured == [100.0]
    machine.others = 2.0
    assert not threads.look(), "a moment after the last look"


def test_a_change_that_changes_nothing_is_measured_once_and_not_said():
    machine = Machine(others=3.0)
    threads = machine.threads()
    threads.choose()
    machine.others, machine.own, machine.time = 1.5, 1.0, 100.0 + POLICY.pause
    assert not threads.look()
    machine.time += POLICY.pause
    assert not threads.look()
    assert machine.measured == [100.0, 100.0 + POLICY.pause]


@pytest.mark.usefixtures("without_mlflow")
def test_a_number_that_the_user_gave_is_never_measured(world, tmp_path):
    with Selection.open(settings_from(**world.options(methods=["head"], threads=2)), tmp_path / "out") as selection:
        selection.prepare()
        assert torch.get_num_threads() == 2
        assert selection.machine.threads.seconds == {2: 0.0}
        assert not replace(selection.machine.threads, load=lambda: 99.0, now=lambda: 1e9).look()
        assert "threads: 2;" in of(selection.log.history.events, Planned)[0].message


@pytest.mark.usefixtures("without_mlflow")
def test_a_change_on_the_way_is_in_the_record(world, tmp_path):
    machine = Machine(others=2.0)
    with Selection.open(settings_from(**world.options(methods=["head"], trials=1, epochs=1)), tmp_path / "out") as selection:
        selection.prepare()
        selection.machine.threads = machine.threads()
        selection.machine.threads.choose()
        machine.others, machine.time = 0.0, 100.0 + POLICY.pause
        selection.search()
        assert torch.get_num_threads() == 2
        (said,) = [decision for decision in of(selection.log.history.events, Decision) if decision.what == "threads"]
    assert said.why == "measured again, since the machine's load has changed: 2 (20 ms for 2 layers, with 1 35 ms) threads"
    assert said.numbers == {"threads": 2.0}


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_the_plan_says_what_was_measured_and_a_resume_keeps_the_precision(world, tmp_path, monkeypatch):
    seconds = {"bf16": 0.1, "fp32": 0.2, "2": 0.03, "1": 0.05}
    monkeypatch.setattr("pelt_automl.backbones.loading._emulates_bf16", lambda _device: False)  # else it isn't measured
    monkeypatch.setattr("pelt_automl.backbones.layer_speed.times_in_turn", lambda steps, *_: {name: seconds[name] for name in steps})
    torch.set_num_threads(2)
    options = world.options(methods=["head"], trials=1, epochs=1, finalist_seeds=1, precision="auto", threads=None)
    watcher = Watcher(kill=lambda own: bool(of(own.events, Planned)))
    with pytest.raises(Killed):
        pelt_automl.select(output=tmp_path / "out", display=watcher, **options)
    (planned,) = of(records_of(tmp_path / "out"), Planned)
    figures = "computing in bf16 (100 ms for 2 layers, fp32 200 ms), threads: 2 (30 ms for 2 layers, with 1 50 ms)"
    assert figures in planned.message
    expected = {"layers_bf16": 0.1, "layers_fp32": 0.2, "threads": 2.0, "layers_threads_1": 0.05}
    assert expected.items() <= planned.numbers.items()
    assert planned.precision == "bf16"

    seconds |= {"bf16": 0.9}
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "new"))  # where nothing is remembered
    with Selection.open(settings_from(**options), tmp_path / "out") as selection:
        selection.prepare()
        assert selection.machine.backbone.dtype is torch.bfloat16
    with Selection.open(settings_from(**options), tmp_path / "another") as selection:
        selection.prepare()
        assert selection.machine.backbone.dtype is torch.float32
