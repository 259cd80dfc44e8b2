"""Contenders over a made-up table whose best answer is known."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pelt_automl.errors import SettingsError
from pelt_automl.execution.recorded import Recorded
from pelt_automl.log.events import Because, Released, Stopped
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.drive import drive
from pelt_automl.settings import SearchSettings
from studies import simulate
from studies.contenders import CONTENDERS, frozen, one_kind
from studies.harness import Report
from studies.simulate import Roles, World, key_of, recorded_training
from studies.table_costs import Costs, MethodCosts
from studies.table_files import load_table, write_table
from tests.studies.test_table_files import made

CONFIGURATIONS = {"default": 1e-4, "known-1": 1e-3, "random-1": 2e-3, "random-2": 5e-3}
COSTS = Costs("", "", "", "", 1, 1.0, {name: MethodCosts(0.0, 10 / 96, 0.0, 1e-9, 0.0) for name in ("lora", "bitfit")})
"""A training takes 10 seconds, the probe's fit one."""
LABELS = [i % 2 for i in range(100)]


def said(score):
    """Of 100 examples so many right."""
    return [label if i < round(100 * score) else 1 - label for i, label in enumerate(LABELS)]


def rows(quality, seeds=range(5), **more):
    """LoRA's and BitFit's trainings, and the probe: `quality` by method and configuration, on select and on report; a seed adds 1 point."""
    made_up = []
    for seed in seeds:
        for method, own in quality.items():
            for name, score in own.items():
                values = {"learning_rate": CONFIGURATIONS[name]} if method != "probe" else {}
                at = score + seed / 100
                made_up.append(made(
                    seed, key=f"minilm.a.{method}.{name}.{seed}", method=method, configuration=name, chosen=name.partition("-")[0],
                    hyper_parameters=values, select_score=at, report_score=at, report=said(at), report_labels=LABELS,
                    curve={"step": [0, 24, 48, 96], "score": [0.1, at - 0.02, at - 0.01, at], "train_loss": [None, 3.0, 2.0, 1.0]},
                    tokens_computed=960, tokens_of_text=960, train_size=70, select_size=3, classes=2, max_length=32, data_hash="0f",
                    parameters={"lora": 300, "bitfit": 100, "probe": 10}.get(method, 50),
                    **more,
                ))  # fmt: skip
                if method == "probe":
                    made_up[-1] |= {"head_start": "none", "steps": 0, "rungs": [], "select": {}, "curve": {"step": [0], "score": [at]}}
    return made_up


QUALITY = {
    "lora": {"default": 0.60, "known-1": 0.70, "random-1": 0.65, "random-2": 0.62},
    "bitfit": {"default": 0.55, "known-1": 0.58, "random-1": 0.80, "random-2": 0.57},
    "probe": {"default": 0.50},
}
ASKED = argparse.Namespace(at_once=1, trials=4, reserve=0.0, most_seeds=10)


def world_of(folder, quality=None):
    write_table(rows(quality or QUALITY), (), folder)
    return World(load_table(folder=folder, sealed=()), COSTS)


@pytest.fixture
def world(tmp_path):
    return world_of(tmp_path)


def selected(world, contender, number=0, limit=None, **asked):
    return world.select(contender, CONTENDERS.get(contender), number, argparse.Namespace(**{**vars(ASKED), **asked}), limit)


def test_a_row_is_a_recorded_training(tmp_path):
    write_table(rows(QUALITY), (), tmp_path)
    table = load_table(folder=tmp_path, sealed=())
    row = table[(table["method"] == "lora") & (table["configuration"] == "known-1") & (table["seed"] == 1)].to_dict("records")[0]
    training = recorded_training(row | {"seconds": 10.0})
    assert (training.method, training.seed, training.planned, training.steps, training.seconds) == ("lora", 1, 96, 96, 10.0)
    assert [(point.step, point.train_loss) for point in training.points] == [(0, None), (24, 3.0), (48, 2.0), (96, 1.0)]
    assert [point.select_score for point in training.points] == pytest.approx([0.1, 0.69, 0.70, 0.71])
    assert training.predictions == dict.fromkeys((24, 48, 96), (0.0, 2.0, 1.0))
    assert training.report == tuple(map(float, said(0.71)))


def test_search_finals_and_truth_have_disjoint_seeds_that_rotate():
    every = [Roles.of(range(7), number, 10) for number in range(7)]
    assert every[0] == Roles(0, [1, 2, 3], [4, 5, 6])
    for roles in every:
        assert sorted([roles.search, *roles.finals, *roles.truth]) == list(range(7))
    assert sorted(roles.search for roles in every) == list(range(7))
    assert Roles.of(range(24), 5, 10) == Roles(5, list(range(6, 16)), [*range(16, 24), *range(5)])
    assert Roles.of([3, 4, 7], 1, 10) == Roles(4, [7], [3])


def test_what_is_recorded_on_fewer_than_three_seeds_takes_no_part(tmp_path):
    few = [*rows({"head": {"default": 0.9}}, seeds=range(2)), *rows({"head": {"known-1": 0.9}})]
    write_table([*rows(QUALITY), *few], (), tmp_path / "one")
    world = World(load_table(folder=tmp_path / "one", sealed=()), COSTS)
    assert (sorted(world.methods), world.seeds) == (["bitfit", "lora"], [0, 1, 2, 3, 4])
    assert "head" not in {method for method, _ in world.scores}
    write_table(rows(QUALITY, seeds=range(2)), (), tmp_path / "all")
    with pytest.raises(SettingsError, match="default recorded on 3 seeds"):
        World(load_table(folder=tmp_path / "all", sealed=()), COSTS)


def test_a_seed_on_which_a_default_has_failed_counts(tmp_path):
    broken = [own | {"report": None, "report_score": None, "select_score": None, "select_best": None, "failure": "a loss is not finite"}
              for own in rows({"lora": {"default": 0.6}}, seeds=[2])]  # fmt: skip
    write_table([*[own for own in rows(QUALITY) if own["key"] != broken[0]["key"]], *broken], (), tmp_path)
    world = World(load_table(folder=tmp_path, sealed=()), COSTS)
    assert world.seeds == [0, 1, 2, 3, 4]
    assert world.scores[key_of("lora", {"learning_rate": 1e-4})] == pytest.approx([0.60, 0.61, 0.50, 0.63, 0.64])
    failed = selected(world, "always-lora", 2)  # it searches on seed 2
    assert (failed["method"], failed["regret"]) == (None, pytest.approx(100 * (0.80 - 0.50) + 0.5, abs=2)), "no answer isn't free"


def test_without_a_completed_trial_the_best_that_was_stopped_is_the_answer_and_without_any_the_constant(world):
    short = selected(world, "random", limit=6.0)
    assert short["method"] in ("lora", "bitfit"), "it was evaluated after a quarter"
    nothing = selected(world, "random", limit=1.0)  # the probe alone takes as long
    roles = Roles.of(world.seeds, 0, 10)
    expected = 100 * float(np.mean([world.oracle[seed] - 0.5 for seed in roles.truth]))
    assert (nothing["method"], nothing["regret"], nothing["recommended"]) == (None, pytest.approx(expected), pytest.approx(expected))


def test_repeats_on_the_same_seed_draw_differently(world):
    def drawn(name, number):
        log, setting = Log(), world.setting(0, number, 4, 0.0)
        executor = Recorded(world.pool, log.history, kind=one_kind)
        drive(CONTENDERS[name](setting, world.nearest), executor, log, lambda: Budget(None, executor.seconds))
        return [(trial.segment.method, str(trial.segment.hyper_parameters)) for trial in log.history.trials.values()]

    for name in ("random", "tpe+median"):
        assert len({str(drawn(name, 5 * repeat)) for repeat in range(6)}) > 1


def test_the_oracle_is_judged_on_seeds_that_its_choice_has_not_seen(tmp_path):
    quality = {"lora": {"default": 0.60}, "bitfit": {"default": 0.61}}
    lucky = [own | {"report": said(0.99)} for own in rows({"lora": {"default": 0.60}}, seeds=[2])]
    write_table([*[own for own in rows(quality) if (own["method"], own["seed"]) != ("lora", 2)], *lucky], (), tmp_path)
    world = World(load_table(folder=tmp_path, sealed=()), COSTS)
    # LoRA's mean is the best thanks to seed 2 alone: there, without it, BitFit is chosen, which has 0.63
    assert world.oracle == pytest.approx([0.60, 0.61, 0.63, 0.63, 0.64])
    assert world.regret(key_of("bitfit", {"learning_rate": 1e-4}), [0, 2]) == pytest.approx((-1 + 0) / 2)


def test_configurations_are_proposed_once_the_default_first(world):
    setting = world.setting(0, 0, 4, 0.0)
    assert setting.known("lora") == [{"learning_rate": 1e-4}, {"learning_rate": 1e-3}]
    asked = setting.next(History(), "lora")
    assert (asked.number, asked.hyper_parameters, asked.is_default) == (0, {"learning_rate": 1e-4}, True)
    assert sorted(own["learning_rate"] for own in setting.drawn["lora"]) == [2e-3, 5e-3]


def test_our_search_without_a_limit_finds_the_best_recorded_configuration_and_its_finals_confirm_it(world):
    found = selected(world, "ours", 1)
    assert (found["method"], found["regret"], found["recommended"], found["trials"]) == ("bitfit", 0.0, 0.0, 8)
    # the best of LoRA and of BitFit and LoRA's default, on two seeds at most: 10 points apart, so that no further one is wanted
    assert found["finals"] in (4, 6)
    assert found["seconds"] < 80 + 60 + 5, "what is behind at a rung isn't trained to its end"
    assert sum(found[part] for part in simulate.PARTS) == pytest.approx(found["seconds"])
    assert (found["fixed"], found["finals' trainings"]) == pytest.approx((1.0, 10 * found["finals"] + 2)), "with two fits of the probe"
    assert found["scoring"] == pytest.approx(100 * world.example * (found["finals"] + 2))
    again = selected(world, "ours", 1)
    assert {**again, "ms": 0} == {**found, "ms": 0}


def test_finals_recommend_the_cheapest_of_the_tied(tmp_path):
    world = world_of(tmp_path, {"lora": {"default": 0.608}, "bitfit": {"default": 0.60}})
    found = selected(world, "ours")
    assert found["regret"] == pytest.approx(0.0, abs=1.0)
    assert found["method"] == "bitfit", "0.8 points are within the region, and it has a third of the parameters"


def test_a_search_with_a_limit_keeps_to_it_and_pays_with_regret(world):
    found = selected(world, "ours-without-finals", limit=30.0)
    assert found["seconds"] <= 31.0
    assert (found["method"], found["regret"]) == ("lora", pytest.approx(20.0)), "the default's 0.60 where a draw of BitFit has 0.80"


@pytest.mark.parametrize("name", ["random", "asha", "tpe+median"])
def test_plain_contenders_try_everything_they_may_and_end_in_time(world, name):
    found = selected(world, name)
    assert (found["method"], found["regret"], found["finals"]) == ("bitfit", 0.0, 0)
    assert found["trials"] == (8 if name == "tpe+median" else 4), "random search and ASHA draw, they know no good ones"
    short = selected(world, name, limit=15.0)
    assert (short["trials"], short["seconds"]) == (2, pytest.approx(15.0, abs=0.2))


def test_a_contender_without_a_search_costs_what_it_trains(world):
    lora, probe = selected(world, "always-lora"), selected(world, "always-probe")
    assert (lora["method"], lora["regret"], lora["seconds"], lora["trials"]) == ("lora", pytest.approx(20.0), pytest.approx(11.0), 1), (
        "its head starts from the probe"
    )
    assert (probe["method"], probe["regret"], probe["seconds"], probe["trials"]) == ("probe", pytest.approx(30.0), 1.0, 0)


def driven(world, name, seed=0, **more):
    log, setting = Log(), replace(world.setting(seed, 0, 4, 0.0), **more)
    executor = Recorded(world.pool, log.history, kind=one_kind)
    drive(CONTENDERS[name](setting, world.nearest), executor, log, lambda: Budget(None, executor.seconds))
    return log.history


def test_an_ablation_takes_away_what_it_names(world):
    def stopped(name):
        return {event.because for event in driven(world, name).of_kind(Stopped)}

    assert Because.NOT_PROMOTED in stopped("ours")
    assert Because.NOT_PROMOTED not in stopped("ours-without-rungs")
    without_race = CONTENDERS["ours-without-race"](world.setting(0, 0, 4, 0.0), world.nearest)
    assert without_race == replace(without_race, settings=replace(SearchSettings(seed=0), race=False))
    assert without_race.plan.rungs


def test_asha_stops_who_is_not_among_the_best_third_so_far_at_a_rung(world):
    history = driven(world, "asha")
    order, stopped = list(history.trials), {event.trial: event.because for event in history.of_kind(Stopped)}
    scores = {name: history.trials[name].ended.curve[1].select_score for name in order}  # of the first rung
    for place, name in enumerate(order):
        better = sum(scores[other] > scores[name] for other in order[:place])
        allowed = max(1, int((place + 1) / 3 + 0.5))
        assert (name in stopped) == (better >= allowed)
    assert set(stopped.values()) == {Because.NOT_PROMOTED}


def test_tpe_asks_for_every_default_first_and_the_median_stops_nobody_before_five_have_completed(world):
    history = driven(world, "tpe+median")
    released = [event.segment for event in history.of_kind(Released) if event.segment.start == 0]
    assert [(own.method, own.is_default) for own in released[:2]] == [("bitfit", True), ("lora", False)], "nearest to LoRA's 5e-4 is 1e-3"
    assert len({(own.method, str(own.hyper_parameters)) for own in released}) == 8, "nothing twice"
    completed = 0
    for event in history.events:
        completed += getattr(event, "state", None) == "completed"
        assert not isinstance(event, Stopped) or completed >= 5


class Made:
    """In place of `studies.trained.Trained`: all of LoRA's score 0.9, and a point more for each seed; BitFit's fail."""

    def __init__(self, table):
        self.table, self.asked = table, []

    def row(self, method, values, seed):
        self.asked.append((key_of(method, values), seed))
        found = self.table[(self.table["method"] == method) & (self.table["seed"] == seed)].to_dict("records")[0]
        scored = {
            "select_score": 0.9,
            "report_score": 0.9 + seed / 100,
            "curve_score": [0.1, 0.9, 0.9, 0.9],
            "hyper_parameters": dict(values),
        }
        broken = {"report": None, "report_score": None, "select_score": None, "select_best": None, "failure": "a loss is not finite"}
        return found | scored | (broken if method == "bitfit" else {})


def test_what_tpe_draws_is_trained_where_nothing_stands_in_for_it(tmp_path):
    write_table(rows(QUALITY), (), tmp_path)
    table = load_table(folder=tmp_path, sealed=())
    made_up = Made(table)
    world, roles = World(table, COSTS, trained=made_up), Roles.of(range(5), 1, 10)
    found = selected(world, "drawn-tpe+median", 1)
    drawn, judged = ([key for key, seed in made_up.asked if (seed == roles.search) == first] for first in (True, False))
    assert {key[0] for key in drawn} == {"lora", "bitfit"}
    assert not world.scores.keys() & drawn, "none of them is recorded"
    assert [seed for _, seed in made_up.asked[len(drawn) :]] == list(roles.truth), "the answer alone is trained on the truth's seeds"
    assert set(judged) <= set(drawn)
    assert (found["method"], found["regret"]) == ("lora", pytest.approx(-10.0)), (
        "the oracle has BitFit's 0.80, and a point more for each seed"
    )
    before = len(made_up.asked)
    assert selected(world, "drawn-tpe+median", 1) | {"ms": 0} == found | {"ms": 0}
    assert len(made_up.asked) == before, "nothing is trained twice"


def test_the_frozen_policy_is_the_programs_at_a_commit(world):
    assert frozen("HEAD").__module__ == "studies.frozen_policy"
    with pytest.raises(SettingsError, match="give another commit with --frozen"):
        frozen("no-such-commit")


def test_failures_stay_failures_and_are_never_the_answer(tmp_path):
    broken = rows({"lora": {"known-1": 0.9}}, failure="a loss is not finite", steps=30)
    broken = [own | {"report": None, "report_score": None, "select_best": None} for own in broken]
    write_table([own for own in rows(QUALITY) if (own["method"], own["configuration"]) != ("lora", "known-1")] + broken, (), tmp_path)
    world = World(load_table(folder=tmp_path, sealed=()), COSTS)
    found = selected(world, "ours", at_once=2)
    assert (found["method"], found["regret"], found["trials"]) == ("bitfit", pytest.approx(0.0), 8)
    assert np.allclose(world.scores[key_of("lora", {"learning_rate": 1e-3})], 0.5), "it is taken to say the most frequent class"


def test_the_study_names_what_is_recorded_too_little_of(tmp_path, monkeypatch, capsys):
    write_table(rows(QUALITY), (), tmp_path / "table")
    table = load_table(folder=tmp_path / "table", sealed=())
    alone, few = table[table["method"] == "lora"].assign(task="b"), table[table["seed"] == 0].assign(task="c", source="c")
    without = table[table["method"] != "lora"]
    without = pd.concat([without, without[without["method"] == "bitfit"].assign(method="adapter")]).assign(task="d", source="d")
    monkeypatch.setattr(simulate, "load_table", lambda **_: pd.concat([table, alone, few, without]))
    monkeypatch.setattr(simulate, "load_costs", lambda: replace(COSTS, methods={**COSTS.methods, "adapter": COSTS.methods["lora"]}))
    monkeypatch.setattr(simulate, "committed", lambda: argparse.Namespace(sealed=("d",)))
    typed = ["--simulations", "2", "--share", "0.5,1", "--contenders", "ours,random,always-adapter", "--frozen", "HEAD", "--include-sealed"]
    simulate.main([*typed, "--output", str(tmp_path)])
    written = json.loads((tmp_path / "simulate.json").read_text())
    lines = written["tables"]["Simulated selections"]
    assert {(row["task"], row["contender"], row["share"]) for row in lines} == {
        (task, name, share) for task in "ad" for name in ("ours", "random", "frozen") for share in (0.5, 1.0)
    } | {("d", "always-adapter", share) for share in (0.5, 1.0)}
    assert all(row["seconds"] <= 1.05 * row["share"] * row["oracle seconds"] + 6 for row in lines)
    assert {row["contender"]: row["sources"] for row in written["tables"]["Over sources (95 % t intervals)"]} == {
        **dict.fromkeys(("ours", "random", "frozen"), 2), "always-adapter": 1,
    }  # fmt: skip
    parts = written["tables"]["Where the seconds go, %"]
    assert {row["contender"] for row in parts} == {"ours", "frozen"}, "those with finals"
    assert [sum(row[part] for part in simulate.PARTS) for row in parts] == pytest.approx([100] * len(parts))
    sealed = written["tables"]["Over the sealed sources alone (95 % t intervals)"]
    assert {row["contender"]: row["sources"] for row in sealed} == dict.fromkeys(("ours", "random", "always-adapter", "frozen"), 1)
    assert all({"behind ours", "behind ours, recommended"} <= row.keys() for row in sealed)
    for name in "bc":
        assert any(line.startswith(f"{name}: fewer than two methods have a default recorded on 3 seeds") for line in written["left_out"])
    assert "a, always-adapter: its default isn't recorded" in written["left_out"]
    for wrong in (["--tasks", "nowhere"], ["--contenders", "his"], ["--frozen", "no-such-commit"], ["--at-once", "0"], ["--reserve", "1"]):
        with pytest.raises(SystemExit, match="2"):
            simulate.main(wrong)
    said = capsys.readouterr().err
    assert "nothing is recorded of nowhere at K = 100; there are a, b, c, d" in said
    assert "there is no contender his; there are ours, " in said


def test_how_many_answers_are_within_a_point_of_the_oracle_is_a_mean_over_sources():
    regrets = {"a": (0.0, 1.0, 1.5, -2.0), "b": (3.0, 0.5, 2.0, 4.0)}
    rows = [
        {"source": source, "contender": "ours", "share": 0.1, "regret": regret, "recommended": 0.0, "seconds": 1.0}
        for source, own in regrets.items() for regret in own
    ]  # fmt: skip
    report = Report("simulate", argparse.Namespace(output=None))
    simulate.over_sources(report, "all", pd.DataFrame(rows))
    assert report.tables["all"][0]["within a point, %"] == pytest.approx(50)


def test_ours_tries_first_what_was_best_on_other_sources(tmp_path):
    elsewhere = {
        "lora": {"default": 0.60, "known-1": 0.70},
        "bitfit": {"default": 0.55, "known-1": 0.6, "random-1": 0.90, "random-2": 0.5},
        "probe": {"default": 0.5},
    }
    write_table(rows(QUALITY | {"probe": {"default": 0.5}}), (), tmp_path / "own")
    others = [own | {"source": "b", "task": "b", "key": own["key"].replace(".a.", ".b.")} for own in rows(elsewhere)]
    write_table(others, (), tmp_path / "others")
    own, other = (load_table(folder=tmp_path / name, sealed=()) for name in ("own", "others"))
    world = World(own, COSTS, other)
    order, useful = world.portfolio[0]
    best = [(own.method, own.hyper_parameters["learning_rate"]) for own in order[:2]]
    assert best == [("bitfit", 2e-3), ("lora", 1e-3)], "the second by its mean, since nothing lowers the regret any more"
    assert useful == 1
    history = driven(world, "ours")
    tried = [(own.segment.method, own.segment.hyper_parameters["learning_rate"]) for own in history.trials.values()]
    assert tried[:3] == [("bitfit", 2e-3), ("lora", 1e-4), ("bitfit", 1e-4)], "after what is of use the method with the fewest trials"
    before = [own.segment.method for own in driven(world, "ours-with-written-lists").trials.values()]
    assert before[:4] == ["lora", "bitfit"] * 2 or before[:4] == ["bitfit", "lora"] * 2


def test_without_other_sources_there_is_no_learned_order(world):
    assert world.portfolio == World(world.rows.drop(columns="seconds"), COSTS, world.rows.iloc[:0]).portfolio == dict.fromkeys(range(5))
