"""Searches over a made-up table whose best answer is known."""

import json

import pandas as pd
import pytest

from pelt_automl.errors import SettingsError
from pelt_automl.log.history import History
from studies import simulate
from studies.simulate import PoolProposer, World, recorded_training
from studies.table_files import load_table, write_table
from tests.studies.test_table_files import made

CONFIGURATIONS = {"default": 1e-4, "known-1": 1e-3, "random-1": 2e-3, "random-2": 5e-3}


def rows(quality, seeds=(0, 1), **more):
    """LoRA's and BitFit's trainings: `quality` by method and configuration, in points, on select and on report."""
    return [
        made(
            seed, key=f"minilm.a.{method}.{name}.{seed}", method=method, configuration=name, chosen=name.partition("-")[0],
            hyper_parameters={"learning_rate": CONFIGURATIONS[name]}, select_score=score, report_score=score,
            curve={"step": [0, 24, 48, 96], "score": [0.1, score - 0.02, score - 0.01, score], "train_loss": [None, 3.0, 2.0, 1.0]},
            **more,
        )
        for seed in seeds
        for method, own in quality.items()
        for name, score in own.items()
    ]  # fmt: skip


QUALITY = {
    "lora": {"default": 0.60, "known-1": 0.70, "random-1": 0.65, "random-2": 0.62},
    "bitfit": {"default": 0.55, "known-1": 0.58, "random-1": 0.80, "random-2": 0.57},
}


@pytest.fixture
def table(tmp_path):
    write_table(rows(QUALITY), (), tmp_path)
    return load_table(folder=tmp_path, sealed=())


def test_a_row_is_a_recorded_training(table):
    row = table[(table["method"] == "lora") & (table["configuration"] == "known-1") & (table["seed"] == 1)].to_dict("records")[0]
    training = recorded_training(row)
    assert (training.method, training.seed, training.planned, training.steps, training.seconds) == ("lora", 1, 96, 96, 10.0)
    assert [(point.step, point.train_loss) for point in training.points] == [(0, None), (24, 3.0), (48, 2.0), (96, 1.0)]
    assert [point.select_score for point in training.points] == pytest.approx([0.1, 0.68, 0.69, 0.70])
    assert training.predictions == dict.fromkeys((24, 48, 96), (0.0, 2.0, 1.0))


def test_configurations_are_proposed_once_the_default_first():
    proposer = PoolProposer({"lora": [{"rank": 1}, {"rank": 2}]}, {"lora": 1})
    assert proposer.known("lora") == [{"rank": 1}]
    asked = proposer.next(History(), "lora")
    assert (asked.number, asked.hyper_parameters, asked.is_default) == (0, {"rank": 1}, True)


def test_a_search_without_a_limit_finds_the_best_recorded_configuration(table):
    found = World(table).simulate(1, at_once=1, trials=4, limit=None, reserve=0.0)
    assert (found["method"], found["regret"], found["trials"]) == ("bitfit", pytest.approx(0.0), 8)
    assert 20 < found["seconds"] < 80, "what is behind at a rung isn't trained to its end"
    again = World(table).simulate(1, at_once=1, trials=4, limit=None, reserve=0.0)
    assert {**again, "ms": 0} == {**found, "ms": 0}


def test_a_search_with_a_limit_keeps_to_it_and_pays_with_regret(table):
    found = World(table).simulate(0, at_once=1, trials=4, limit=40.0, reserve=0.25)
    assert found["seconds"] <= 30.0 + 1.0
    assert (found["method"], found["trials"]) == ("lora", 3), "both defaults, and one that is known to be good but not trained to its end"
    assert found["regret"] == pytest.approx(20.0), "0.60 where a draw of BitFit has 0.80"


def test_failures_stay_failures_and_are_never_the_answer(tmp_path):
    broken = rows({"lora": {"known-1": 0.9}}, failure="a loss is not finite", steps=30)
    write_table([own for own in rows(QUALITY) if (own["method"], own["configuration"]) != ("lora", "known-1")] + broken, (), tmp_path)
    found = World(load_table(folder=tmp_path, sealed=())).simulate(0, at_once=2, trials=4, limit=None, reserve=0.0)
    assert (found["method"], found["regret"], found["trials"]) == ("bitfit", pytest.approx(0.0), 8)


def test_the_study_names_what_is_recorded_too_little_of(table, monkeypatch, tmp_path, capsys):
    alone = table[table["method"] == "lora"].assign(task="b")
    monkeypatch.setattr(simulate, "load_table", lambda **_: pd.concat([table, alone]))
    simulate.main(["--simulations", "4", "--share", "0.5", "--output", str(tmp_path)])
    written = json.loads((tmp_path / "simulate.json").read_text())
    (row,) = written["tables"]["Simulated searches"]
    assert (row["task"], row["methods"], row["seeds"]) == ("a", 2, 2)
    assert row["regret, points"] >= 0
    assert row["seconds"] <= 0.5 * row["of all seconds"]
    assert written["left_out"] == ["b: fewer than two methods have a recorded default"]
    with pytest.raises(SettingsError, match="fewer than two"):
        World(alone)
    with pytest.raises(SystemExit, match="2"):
        simulate.main(["--tasks", "nowhere"])
    assert "nothing is recorded of nowhere at K = 100; there are a, b" in capsys.readouterr().err
