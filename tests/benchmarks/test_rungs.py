"""What rungs foretell, by hand; and the whole script on a tiny world."""

import json
from dataclasses import replace

import pytest

from benchmarks import our_search, rungs
from benchmarks.rungs import Foretold, Searched, foretold, foretold_of_all, promoted_at, tabulate
from pelt_automl.records import CurvePoint, Seeds, TrialEnded, to_json

STEPS, POINTS = 40, (10, 20, 30)


def trial(name, *scores, final=None):
    """`scores` after every 10 steps; the first of a method is its published default."""
    curve = [CurvePoint(10 * (i + 1), 0.5, score, 1e-3, 1.0) for i, score in enumerate(scores)]
    return TrialEnded(
        name, name, name.split("-")[0], "search", 0, "completed", name.endswith("-0"), {}, Seeds(0, 0, 0), {}, curve,
        max(scores) if final is None else final, STEPS, 1.0,
    )  # fmt: skip


def searched(*trials, greater=True):
    return Searched(trials[0].method, list(trials), POINTS, STEPS, greater)


LORA = searched(
    trial("lora-0", 0.50, 0.60, 0.70, 0.70),
    trial("lora-1", 0.60, 0.65, 0.66, 0.71),
    trial("lora-2", 0.55, 0.70, 0.75, 0.80),
    trial("lora-3", 0.52, 0.55, 0.60, 0.72),
)


@pytest.mark.parametrize(
    ("step", "going_on", "correlation", "regret"),
    [
        # The default goes on, and a third of the other 3. Ranks at the end: 1, 2, 4, 3. Spearman's is 1 - 6 sum d^2 / 60.
        (10, ["lora-0", "lora-1"], 1 - 6 * (0 + 4 + 1 + 1) / 60, 0.09),  # ranks 1, 4, 3, 2
        (20, ["lora-0", "lora-2"], 1 - 6 * (1 + 1 + 0 + 4) / 60, 0.0),  # ranks 2, 3, 4, 1
        (30, ["lora-0", "lora-2"], 1 - 6 * (4 + 0 + 0 + 4) / 60, 0.0),  # ranks 3, 2, 4, 1
    ],
)
def test_what_goes_on_from_each_point_and_what_it_foretells(step, going_on, correlation, regret):
    assert promoted_at(LORA, step, 1 / 3) == going_on
    left = len(going_on) / 4
    expected = Foretold(pytest.approx(correlation), pytest.approx(regret), pytest.approx(left + (1 - left) * step / 40), 4)
    assert foretold(LORA, step, 1 / 3) == expected


def test_the_regret_is_what_the_best_trial_falls_by():
    late = replace(LORA, trials=[*LORA.trials, trial("lora-4", 0.40, 0.40, 0.40, 0.95)])  # a third of 4 are one as well
    assert foretold(late, 30, 1 / 3).regret == pytest.approx(0.15)
    errors = searched(
        trial("lora-0", 0.9, 0.8, 0.7, 0.6, final=0.6),
        trial("lora-1", 0.95, 0.9, 0.9, 0.2, final=0.2),
        trial("lora-2", 0.85, 0.8, 0.7, 0.5, final=0.5),
        greater=False,
    )
    assert promoted_at(errors, 10, 1 / 3) == ["lora-0", "lora-2"]
    assert foretold(errors, 10, 1 / 3).regret == pytest.approx(0.3)


def test_slow_starters_have_twice_the_share():
    prompt = searched(*(trial(f"prompt-{i}", *(0.5 + j / 100 + i / 10 for j in range(4))) for i in range(4)))
    assert promoted_at(prompt, 10, 1 / 4) == ["prompt-0", "prompt-2", "prompt-3"]


def test_the_final_score_is_the_recorded_one_and_not_the_curves():
    partly = searched(trial("lora-0", 0.5, 0.6, 0.7, 0.9, final=0.65))
    assert partly.scores(40) == {"lora-0": 0.65}
    assert partly.scores(30) == {"lora-0": 0.7}
    assert partly.scores(5) == {}
    assert foretold(partly, 5, 1 / 3) is None


def test_over_all_methods_a_weak_methods_regret_costs_nothing():
    adapter = searched(
        trial("adapter-0", 0.5, 0.5, 0.5, 0.5), trial("adapter-1", 0.4, 0.4, 0.4, 0.4), trial("adapter-2", 0.3, 0.3, 0.3, 0.6)
    )
    assert foretold(adapter, 20, 1 / 3) == Foretold(pytest.approx(-0.5), pytest.approx(0.1), pytest.approx(5 / 6), 3)
    found = foretold_of_all([LORA, adapter], 20, 1 / 3)
    assert found == Foretold(pytest.approx((0.4 - 0.5) / 2), 0.0, pytest.approx((0.75 + 5 / 6) / 2), 7)
    assert foretold_of_all([], 10, 1 / 3) is None


def test_the_table_has_a_line_a_method_and_point_in_points_over_the_seeds():
    late = replace(LORA, trials=[*LORA.trials, trial("lora-4", 0.40, 0.40, 0.40, 0.95)])
    rows = tabulate([[LORA], [late]], 1 / 3, unit=100).rows
    assert [(row["method"], row["share of the training"]) for row in rows] == [
        (method, share) for method in ("lora", "all methods") for share in (0.25, 0.5, 0.75)
    ]
    assert (rows[2]["regret"], rows[2]["largest regret"], rows[2]["trials"], rows[2]["seeds"]) == (
        pytest.approx(7.5),
        pytest.approx(15),
        9,
        2,
    )
    assert rows[0]["lowest"] < rows[0]["rank correlation"] < rows[0]["highest"] == pytest.approx(0.4)


def test_failed_trials_foretell_nothing():
    failed = replace(trial("lora-9", 0.9), state="failed")
    found = {"trials": [to_json(trial("lora-0", 0.5, 0.5, 0.5, 0.5)), to_json(failed)], "evaluate_at": [10, 20, 30, 40], "steps": 40}
    assert [one.trial for one in Searched.of("lora", found | {"greater_is_better": True}).trials] == ["lora-0"]
    assert Searched.of("lora", found | {"greater_is_better": True}).points == POINTS


@pytest.mark.usefixtures("without_mlflow")
def test_every_trial_of_the_programs_search_is_trained_to_its_last_step(world, tmp_path):
    options = world.options(trials=4, epochs=4) | {"methods": None}
    found = our_search.search_alone(tmp_path / "lora", "lora", options)
    trials = Searched.of("lora", found).trials
    assert [one.steps for one in trials] == [found["steps"]] * 4
    assert all([point.step for point in one.curve if point.step] == list(found["evaluate_at"]) for one in trials)
    assert found["evaluate_at"][-1] == found["steps"]
    assert len(found["evaluate_at"]) == rungs.EVALUATIONS


@pytest.mark.slow
def test_the_script_writes_its_table_and_names_what_cannot_be_searched(world, tmp_path, capsys):
    typed = ["--train", str(world.train), "--test", str(world.test), "--text-columns", "text", "--label-column", "label", "--k", "60"]
    typed += ["--model", str(world.model), "--methods", "bitfit", "--trials", "3", "--epochs", "2", "--seeds", "1"]
    rungs.main([*typed, "--output", str(tmp_path / "out")])
    written = json.loads((tmp_path / "out" / "rungs.json").read_text())
    rows = written["tables"]["Final scores foretold"]
    assert {row["method"] for row in rows} == {"bitfit", "all methods"}
    assert all(row["regret"] >= 0 and row["trials"] == 3 for row in rows)
    assert written["left_out"] == []
    assert len(written["searches"]["0"]["methods"]["bitfit"]["trials"]) == 3
    capsys.readouterr()
