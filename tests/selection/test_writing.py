"""What the end of a selection takes: remembered of the machine, planned with, and counted from the command's start."""

import time

import pytest

from pelt_automl import cli, options
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import Planned
from pelt_automl.options import settings_from
from pelt_automl.selection import selection as selections
from pelt_automl.selection.machine import costs_of
from pelt_automl.selection.selection import Selection
from pelt_automl.selection.writing import MOST, WRITING, remember_writing
from pelt_automl.timing.policy import POLICY
from tests.tiny_world import of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")

SHORT = {"methods": ["lora"], "trials": 1, "epochs": 1, "finalist_seeds": 1, "most_seeds": 1, "baselines": ()}


def opened(world, folder, **changed):
    return Selection.open(settings_from(**world.options(**SHORT | changed)), folder)


def kept(selection):
    return costs_of(selection.question, selection.machine, selection.log.history).writing


def test_what_a_report_took_is_kept_for_the_next_one_with_the_same_limit(world, tmp_path, monkeypatch):
    real = selections.write_report
    monkeypatch.setattr(selections, "write_report", lambda folder: (time.sleep(0.5), real(folder)))
    with opened(world, tmp_path / "first", seconds=60) as selection:
        assert kept(selection) == POLICY.writing
        selection.run()
    assert WRITING not in of(records_of(tmp_path / "first"), Planned)[0].numbers
    with opened(world, tmp_path / "second", seconds=60, seed=1) as selection:
        selection.prepare()
        assert 0.5 <= kept(selection) <= MOST
    assert of(records_of(tmp_path / "second"), Planned)[0].numbers[WRITING] == kept(selection)
    with opened(world, tmp_path / "longer", seconds=61) as selection:
        assert kept(selection) == POLICY.writing


def test_a_selection_without_a_limit_remembers_nothing_and_is_told_nothing(world, tmp_path):
    with opened(world, tmp_path / "out") as selection:
        remember_writing(selection.question, 1.0)
        assert kept(selection) == POLICY.writing


def test_one_report_that_took_long_does_not_take_the_next_finals_their_time(world, tmp_path):
    with opened(world, tmp_path / "out", seconds=60) as selection:
        remember_writing(selection.question, 40.0)
        assert kept(selection) == MOST < 40.0


def test_what_was_planned_with_stays_whatever_is_remembered_since(world, tmp_path):
    with opened(world, tmp_path / "out", seconds=60) as selection:
        remember_writing(selection.question, 1.5)
        selection.prepare()
    with opened(world, tmp_path / "out", seconds=60) as selection:
        remember_writing(selection.question, 2.5)
        assert kept(selection) == 1.5
        assert selection.log.history.plan.numbers[WRITING] == 1.5


def test_the_limit_counts_from_the_command_before_its_imports(monkeypatch):
    asked, seen = [], []

    def refused(*_, started=None):
        seen.append(started)
        raise SelectionError("that will do")

    monkeypatch.setattr(options, "settings_from", lambda **_: asked.append(time.monotonic()))
    monkeypatch.setattr(Selection, "open", refused)
    before = time.monotonic()
    with pytest.raises(SelectionError, match="that will do"):
        cli._run_selection({}, None)
    assert before <= seen[0] <= asked[0]


def test_what_passed_before_it_was_opened_is_spent(world, tmp_path):
    with Selection.open(settings_from(**world.options(**SHORT, seconds=60)), tmp_path / "out", started=time.monotonic() - 20) as selection:
        assert selection.clock.left < 40
        assert selection.log.history.started.seconds_before >= 20
