"""A whole selection with worker processes on a tiny model: nothing is lost with a worker, and its answer is that of one process."""

import os
import signal
import socket
import subprocess
import sys
from collections import Counter

import pytest
import torch

from pelt_automl import select
from pelt_automl.display import TerminalDisplay
from pelt_automl.errors import SettingsError
from pelt_automl.execution import workers
from pelt_automl.execution.certificates import Certificates
from pelt_automl.execution.worker import TRAVELS, Offer
from pelt_automl.log.codec import to_json
from pelt_automl.log.events import (
    CostMeasured,
    FinalistScored,
    KnockedOut,
    SegmentEnded,
    SegmentLost,
    SelectionEnded,
    StateLost,
    TrialEnded,
    WorkerJoined,
    of_kind,
)
from pelt_automl.options import settings_from
from pelt_automl.selection import Selection
from pelt_automl.selection.environment import question_of
from pelt_automl.selection.hiring import check_hiring
from pelt_automl.selection.machine import Machine
from tests.tiny_world import records_of

FEW = {"methods": ["lora", "head"], "trials": 2, "finalist_seeds": 1, "race": False, "portfolio": False}


class Killer:
    """Kills a worker by SIGKILL as the second trial ends."""

    def __init__(self):
        self.ended, self.pids = 0, []

    def record(self, event):
        self.ended += isinstance(event, TrialEnded)
        if isinstance(event, WorkerJoined):
            self.pids.append(event.environment["process"])
        if self.ended == 2 and len(self.pids) == 2:
            os.kill(self.pids[0], signal.SIGKILL)
            self.pids.append(0)


@pytest.mark.slow  # a whole selection, and two processes that load torch
def test_a_selection_with_two_workers_of_which_one_is_killed_has_the_answer_of_one_process(world, tmp_path, without_mlflow):
    options = world.options(**FEW)
    alone = select(**options, output=tmp_path / "alone")
    killer = Killer()
    found = select(**options, workers=2, output=tmp_path / "two", display=killer)
    assert len(killer.pids) >= 3
    one, two = (records_of(tmp_path / name) for name in ("alone", "two"))
    ended = Counter(event.trial for event in of_kind(two, TrialEnded))
    assert set(ended.values()) == {1}
    assert {event.trial for event in of_kind(one, TrialEnded)} == set(ended)

    def scores(events):
        return {event.trial: pytest.approx(event.report_score, abs=0.02) for event in of_kind(events, FinalistScored)}

    assert scores(one) == scores(two)
    assert (found.method, len(found.leaderboard)) == (alone.method, len(alone.leaderboard))
    assert len(of_kind(two, WorkerJoined)) >= 2
    [end] = of_kind(two, SelectionEnded)
    assert all(seconds > 0 for seconds in end.devices.values())
    assert any(name.startswith("worker-2 (cpu, ") for name in end.devices)
    assert {event.device.partition(" ")[0] for event in of_kind(two, SegmentEnded)} <= {"worker-1", "worker-2", "worker-1.2", "worker-2.2"}
    report = (tmp_path / "two" / "report.md").read_text()
    assert "seconds at work" in report
    assert "seconds at work" not in (tmp_path / "alone" / "report.md").read_text()
    assert not (tmp_path / "two" / "work").exists(), "what workers leave is cleared away"
    assert all("SIGKILL" in event.cause for event in of_kind(two, SegmentLost) if not event.moved_to)
    assert not any("PRIVATE KEY" in to_json(event) for event in two)


@pytest.mark.slow  # a whole selection, and a process that loads torch
@pytest.mark.parametrize("travels", [TRAVELS, 0], ids=["states travel", "states stay with the worker"])
def test_a_worker_that_does_not_see_the_selections_folder_is_sent_what_it_needs(world, tmp_path, without_mlflow, monkeypatch, travels):
    monkeypatch.setattr(workers, "Offer", lambda make, folder, proof, facts: Offer(make, str(tmp_path / "no"), proof, facts, travels))
    where = Where(monkeypatch)
    settings = settings_from(**world.options(**FEW | {"methods": ["unipelt-ap", "head"], "workers": 1}))
    with Selection.open(settings, tmp_path / "out", where) as selection:
        selection.prepare()
        selection.machine.left, where.device = torch.device("meta"), "cpu"
        selection.search()
        states = list((tmp_path / "out" / "work" / "checkpoints").glob("*"))
        selection.confirm()
        selection.explain()
        found = selection.recommend()
    events = records_of(tmp_path / "out")
    at_rungs = of_kind(events, SegmentEnded)
    assert at_rungs
    assert all(len(event.state) == 64 + len(".safetensors") for event in at_rungs)
    assert not of_kind(events, StateLost)
    assert not of_kind(events, SegmentLost)
    assert not (travels == 0 and states), "none has come"
    assert {event.state for event in of_kind(events, TrialEnded)} <= {"completed", "stopped"}
    assert found.method in ("unipelt-ap", "head")
    assert (tmp_path / "out" / "winner").is_dir()
    assert of_kind(events, FinalistScored)
    assert {kind: at for kind, at in where.at.items() if len(at) != 1} == {}
    assert {kind.__name__: at for kind, (at,) in where.at.items()} == {
        "SegmentEnded": "cpu", "FinalistScored": "meta", "KnockedOut": "cpu", "CostMeasured": "meta",
    }  # fmt: skip


class Where:
    """Pretends that the model has another device that it leaves to a worker, and tells where it was as things came in."""

    def __init__(self, monkeypatch):
        self.device, self.at = "meta", {}
        monkeypatch.setattr(Machine, "_move", lambda _, device: setattr(self, "device", device.type))

    def record(self, event):
        if isinstance(event, SegmentEnded | FinalistScored | KnockedOut | CostMeasured):
            self.at.setdefault(type(event), set()).add(self.device)


@pytest.mark.slow  # a whole selection
def test_a_selection_to_which_no_worker_comes_has_the_answer_of_one_without(world, tmp_path, without_mlflow):
    Certificates.temporary().write(tmp_path / "certificates")
    options = world.options(**FEW)
    alone = select(**options, output=tmp_path / "alone")
    listening = {"listen": "tls://127.0.0.1:0", "certificates": tmp_path / "certificates"}
    found = select(**options, **listening, output=tmp_path / "listening")
    one, other = (records_of(tmp_path / name) for name in ("alone", "listening"))

    def facts(events):
        ends = of_kind(events, TrialEnded)
        return {(event.trial, event.state, event.steps, event.select_score) for event in ends}, len(ends)

    assert facts(one) == facts(other)
    assert (found.method, found.report_score) == (alone.method, alone.report_score)
    assert not of_kind(other, WorkerJoined)


@pytest.mark.slow  # loads a model
def test_a_selection_that_listens_says_where_and_what_to_type_on_the_other_machines(world, tmp_path, without_mlflow, capsys):
    folder = tmp_path / "my certificates"
    Certificates.temporary().write(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tls://127.0.0.1:{free.getsockname()[1]}"
    settings = settings_from(**world.options(listen=address, certificates=folder))
    with Selection.open(settings, tmp_path / "out", TerminalDisplay()) as selection:
        selection.prepare()
    [said] = [line for line in capsys.readouterr().err.splitlines() if "workers can join" in line]
    assert f"workers can join at {address}; on each of the other machines: pelt-automl worker {address} --certificates '{folder}'" in said


@pytest.mark.slow  # imports all that a selection needs
def test_without_workers_nothing_of_dask_is_imported():
    program = "import sys; import pelt_automl.cli, pelt_automl.selection, pelt_automl.execution.packs; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"dask", "distributed"} & set(modules)


def test_who_computes_is_no_part_of_the_question(world, tmp_path):
    own = settings_from(**world.options())
    other = settings_from(**world.options(workers=4, listen="tls://127.0.0.1:1", certificates=tmp_path))
    assert question_of(own, "0f") == question_of(other, "0f")


def test_workers_that_cannot_be_had_are_refused_before_anything_is_loaded(world, tmp_path, monkeypatch):
    monkeypatch.delenv("PELT_AUTOML_CERTIFICATES", raising=False)
    with pytest.raises(SettingsError, match="workers on other machines need certificates"):
        Selection.open(settings_from(**world.options(listen="tls://127.0.0.1:8786")), tmp_path / "out")
    with pytest.raises(SettingsError, match="is no address of a selection's port"):
        check_hiring(settings_from(**world.options(listen="127.0.0.1")).training)
    assert not (tmp_path / "out").exists()
