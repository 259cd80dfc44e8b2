"""Selections by workers with a virtual clock: nothing is lost or done twice, and the seconds are what the trainings take."""

import json
import math
from collections import Counter
from dataclasses import replace

import pytest

from pelt_automl.execution.worker import TRAVELS
from pelt_automl.log.events import Because, Released, SegmentLost, Stage, StateLost, TrialEnded
from pelt_automl.methods import BASELINES
from studies import scaling
from studies.empty_pieces import measured
from studies.scaling import CASES, FULL, Remembering, Selections, state_bytes, with_full, with_more
from studies.table_files import load_table, write_table
from studies.virtual_workers import Times
from tests.studies.test_simulate import COSTS, QUALITY, rows

FREE = Times(0.0, 0.0, math.inf, math.inf, math.inf, 0.0, 8.0)
"""Nothing but trainings takes time."""
(PLAIN, *_), AWAY = CASES, replace(CASES[0], shares=False)
LARGE = dict.fromkeys(["lora", "bitfit", "probe"], 2.0 * TRAVELS)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_table(rows(QUALITY), (), folder)
    return Remembering(load_table(folder=folder, sealed=()), COSTS)


def selections(world, times=FREE, states=None, most=4):
    return Selections(world, states or dict.fromkeys(LARGE, 0.0), 4, times, most)


def once(history):
    return set(Counter(event.trial for event in history.of_kind(TrialEnded)).values()) == {1}


def test_one_worker_takes_what_its_trainings_take_and_several_no_less_than_they_must(world):
    own = selections(world)
    alone = own.select(PLAIN, 1, 0)
    one, three = (own.select(PLAIN, 1, devices) for devices in (1, 3))
    fits = sum(run.seconds for run in one.history.ended(Stage.FINALIST) if run.method in BASELINES)
    assert one.seconds == pytest.approx(alone.seconds) == pytest.approx(one.work + fits)
    assert one.work == pytest.approx(sum(map(sum, one.rounds)) + sum(one.scoring))
    assert sum(one.idle.values()) == pytest.approx(fits)
    assert alone.trainings == one.trainings
    assert one.seconds > three.seconds >= three.bound(3) >= three.bound(math.inf) > 0
    assert 3 * three.seconds == pytest.approx(three.work + sum(three.idle.values()))
    assert once(three.history)


def test_the_critical_path_is_the_longest_training_of_the_search_and_of_each_round_of_the_finals(world):
    own = selections(world, most=2).select(PLAIN, 1, 2)
    search, first, *_ = own.rounds
    assert len(search) == own.trainings[Stage.SEARCH]
    assert sum(map(len, own.rounds[1:])) == own.trainings[Stage.FINALIST]
    assert own.bound(math.inf) == pytest.approx(sum(max(each) for each in own.rounds if each))
    assert max(search) == max(first) == pytest.approx(10.0)


def test_what_messages_and_states_take_is_counted_and_who_shares_no_folder_sends_them(world):
    slow = replace(FREE, message=0.5, save=2 * TRAVELS / 3.0, wire=2 * TRAVELS / 7.0)
    here, away = (selections(world, slow, LARGE).select(case, 1, 1) for case in (PLAIN, AWAY))
    pieces = here.seconds - selections(world).select(PLAIN, 1, 1).seconds
    assert pieces > len(here.history.of_kind(Released)) * 3.0, "each segment ends with a state that is saved"
    assert away.seconds > here.seconds, "best weights are sent"
    ends = sum(event.method not in BASELINES for event in away.history.of_kind(TrialEnded))
    assert away.seconds - here.seconds == pytest.approx(ends * 7.0 / 4, rel=0.2)


@pytest.mark.parametrize(("case", "states"), [(PLAIN, None), (AWAY, LARGE)])
def test_workers_that_are_lost_cost_time_and_no_training(world, case, states):
    own = selections(world, states=states)
    whole, damaged = own.select(case, 1, 2), own.select(replace(case, lasts=25.0), 1, 2, seed=3)
    assert damaged.losses >= 2
    assert damaged.lost > 0
    assert damaged.history.of_kind(SegmentLost)
    assert damaged.seconds > whole.seconds
    assert once(damaged.history)
    assert all(trial.ended for trial in damaged.history.trials.values())
    assert damaged.answer == whole.answer
    over = [event for event in damaged.history.of_kind(Released) if event.because == Because.REPEATED]
    assert bool(over) == bool(damaged.history.of_kind(StateLost)) == (case is AWAY), "a large state is gone with its worker"


def test_there_are_as_many_configurations_as_are_tried_and_full_fine_tuning(tmp_path):
    write_table(rows(QUALITY), (), tmp_path)
    table = load_table(folder=tmp_path, sealed=())
    table = table.assign(method=table["method"].replace("bitfit", "mam"), key=table["key"].str.replace("bitfit", "mam"))
    found = with_more(with_full(table), 7)
    counts = found.groupby("method")["configuration"].nunique()
    assert dict(counts) == {"lora": 7, "mam": 7, FULL: 1, "probe": 1}
    assert found["key"].is_unique
    again = found[(found["method"] == "lora") & found["configuration"].str.startswith("again")]
    assert {own["learning_rate"] for own in again["hyper_parameters"]}.isdisjoint(
        own["learning_rate"] for own in table["hyper_parameters"] if own
    )
    assert state_bytes(table)[FULL] == pytest.approx(1.76e9)


def test_the_study_tells_efficiency_bound_and_idle_time_by_case(tmp_path, monkeypatch):
    write_table(rows(QUALITY), (), tmp_path)
    monkeypatch.setattr(scaling, "load_table", lambda: load_table(folder=tmp_path, sealed=()))
    monkeypatch.setattr(scaling, "load_costs", lambda: COSTS)
    monkeypatch.setattr(scaling, "with_full", lambda own: own)
    scaling.main(["simulated", "--simulations", "1", "--trials", "4", "--workers", "1,2", "--cases", "as it is,lost every 10 min",
                  "--output", str(tmp_path)])  # fmt: skip
    written = json.loads((tmp_path / "scaling-simulated.json").read_text())
    one, two = written["tables"]["Seconds of a selection: as it is"]
    assert (one["workers"], two["workers"]) == (1, 2)
    assert one["seconds"] > two["seconds"] >= two["at least"] > two["critical path"]
    assert 0.9 < float(one["efficiency"]) <= 1
    (lost,) = [rows for title, rows in written["tables"].items() if title.startswith("Where") and "lost" in title]
    assert set(one) <= set(written["tables"]["Seconds of a selection: lost every 10 min"][0])
    assert {"search", "finals"} <= set(lost[0])


def test_an_unknown_command_is_told_which_there_are(capsys):
    with pytest.raises(SystemExit, match="2"):
        scaling.main(["everything"])
    assert "{simulated,pieces,trainings}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("shares", [True, False])
def test_empty_pieces_come_back_from_real_workers_with_their_states(tmp_path, shares):
    own = measured(tmp_path, 2, 40, 100_000, 0.0, shares)
    assert own["pieces"] == 40
    assert 0 < own["processor"] < own["seconds"]
    states = list((tmp_path / "states").iterdir())
    assert len(states) == 38, "each piece's but the last of each of the two trials"
