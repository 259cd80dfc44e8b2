"""Real selections on the table's tasks: which are started, and what their answers cost against the table's oracle."""

import json
from dataclasses import replace

import pytest

from pelt_automl.log.events import Seeds, SelectionEnded, Stage, TrialEnded
from pelt_automl.log.history import History
from studies import real_selections
from studies.answers import parts_of
from studies.harness import Ended, ProcessError
from studies.sources import Places
from studies.table_files import load_table, write_table
from tests.studies.test_simulate import COSTS, QUALITY, rows, world_of

ANSWER = {
    "answer": "lora-0001", "method": "lora", "hyper_parameters": {"learning_rate": 1e-3}, "outcome": "recommended", "score": 0.71,
    "interval": [0.6, 0.8], "finalists": 3, "work": 41.0, "report examples": [300, 500],
    "parts": {"search": 20.0, "finals' trainings": 10.0, "scoring": 5.0, "fixed": 15.0},
}  # fmt: skip


@pytest.fixture
def table(tmp_path, monkeypatch):
    write_table(rows(QUALITY), (), tmp_path)
    monkeypatch.setattr(real_selections, "load_table", lambda **_: load_table(folder=tmp_path, sealed=()))
    monkeypatch.setattr(real_selections, "load_costs", lambda: COSTS)
    monkeypatch.setattr(real_selections, "options_of", lambda task, _: {"task": task})
    return tmp_path


def test_each_is_a_process_with_its_own_seed_and_one_that_fails_is_left_out(table, monkeypatch):
    asked = []

    def made_up(place, home, *, folder, options):
        asked.append(options)
        if options["seed"] == 1:
            raise ProcessError("too short")
        return Ended(61.0, 0, ANSWER)

    monkeypatch.setattr(real_selections, "fresh_process", made_up)
    task = rows(QUALITY)[0]["task"]
    real_selections.main(["--tasks", task, "--repeats", "3", "--seconds", "40", "--output", str(table)])
    written = json.loads((table / "real_selections.json").read_text())
    assert [(own["seed"], own["seconds"], own["experience"]) for own in asked] == [(0, 40, False), (1, 40, False), (2, 40, False)]
    assert written["left_out"] == [f"{task}, seed 1: too short"]
    assert [row["seed"] for row in written["tables"]["Selections"]] == [0, 2]
    assert written["tables"]["By task (95 % t intervals)"][0]["selections"] == 2


def test_regrets_are_in_points_behind_the_oracle_by_its_own_score_and_by_the_table(tmp_path):
    world = world_of(tmp_path)  # a seed adds a point: the best configuration, BitFit's random draw, has 0.80 to 0.84, LoRA's 0.70 to 0.74
    found = real_selections.regrets_of(world, ANSWER)
    assert found["regret, points"] == pytest.approx(82 - 71)
    assert found["by the table"] == pytest.approx(82 - 72)
    assert real_selections.regrets_of(world, ANSWER | {"hyper_parameters": {"learning_rate": 7.0}})["by the table"] is None
    assert real_selections.regrets_of(world, ANSWER | {"score": None})["regret, points"] is None


def test_seconds_are_those_of_search_finals_scoring_and_all_else():
    searched = TrialEnded("lora-0000", "lora-0000", "lora", "search", 0, "completed", True, {}, Seeds(0, 0, 0), {}, [], 0.9, 20, 7.0)
    probe = replace(searched, trial="probe-0000", candidate="probe-0000", method="probe", steps=0, seconds=1.0)
    taken = replace(searched, trial="final-lora-0000-seed0", stage=Stage.FINALIST)
    fresh = [replace(own, trial=f"{own.trial}-1", stage=Stage.FINALIST, seeds=Seeds(1, 1, 1)) for own in (searched, probe)]
    end = SelectionEnded("done", 60.0, {"model": 5.0, "search": 20.0, "finalists": 18.0, "costs": 6.0, "other": 11.0})
    assert parts_of(History.of([searched, probe, taken, *fresh, end])) == {
        "search": 20.0, "finals' trainings": 8.0, "scoring": 10.0, "fixed": 22.0,
    }  # fmt: skip


def test_a_task_is_read_where_the_table_was_recorded(tmp_path):
    places = Places(tmp_path / "data", tmp_path / "cache")
    (tmp_path / "data" / "glue" / "sst2").mkdir(parents=True)
    assert real_selections.options_of("sst2", places) == {"task": "sst2", "metric": "accuracy", "data_dir": str(tmp_path / "data" / "glue")}
    (tmp_path / "cache" / "snips").mkdir(parents=True)
    for part in ("train", "test"):
        (tmp_path / "cache" / "snips" / f"{part}.jsonl").touch()
    assert real_selections.options_of("snips", places)["train"] == str(tmp_path / "cache" / "snips" / "train.jsonl")


def test_an_unknown_task_is_refused_in_one_line(table, capsys):
    with pytest.raises(SystemExit, match="2"):
        real_selections.main(["--tasks", "nowhere"])
    assert "nothing is recorded of nowhere at K = 100" in capsys.readouterr().err
