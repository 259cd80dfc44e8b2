"""The quality of selections: what is kept and found again, data sets in folders, and the whole script on a tiny world."""

import json
import shutil
from importlib import import_module

import pytest

from benchmarks import retraining, selection_quality
from benchmarks.data_sets import find
from benchmarks.measuring import Ended
from benchmarks.our_oracle import configurations
from benchmarks.quality_answers import OURS, Judged
from benchmarks.quality_cache import Cache, Configuration, append, rows
from benchmarks.quality_figures import Forecast
from benchmarks.quality_tables import goals, quality
from pelt_automl.errors import TaskError
from tests.tiny_world import write_csv


def test_a_line_that_a_kill_cut_off_is_as_if_it_had_not_been_written(tmp_path):
    path = tmp_path / "lora.jsonl"
    append(path, {"what": "run", "number": 1})
    with path.open("a") as file:
        file.write('{"what": "run", "numb')
    assert list(rows(path)) == [{"what": "run", "number": 1}]
    append(path, {"what": "run", "number": 2})
    assert [row["number"] for row in rows(path)] == [1, 2]


def test_trainings_are_found_by_configuration_and_seed_whatever_the_order_of_the_hyper_parameters(tmp_path):
    cache = Cache.at(tmp_path, "reviews", {"k": "60"})
    one = Configuration("lora", {"rank": 4, "learning_rate": 1e-3}, 40)
    run = {"what": "run", **one.plain(), "seed": 2, "score": 0.5, "predictions": [0.0], "cost": 1.0, "wall": 3.0}
    append(cache.of_method("lora"), run)
    found = cache.runs()[Configuration("lora", {"learning_rate": 1e-3, "rank": 4}, 40).key]
    assert (found[2].score, found[2].cost, found[2].wall) == (0.5, 1.0, 3.0)
    assert Configuration("lora", {"rank": 4, "learning_rate": 1e-3}, 24).key not in cache.runs()  # shorter: another model


def test_what_changes_a_training_has_a_folder_of_its_own(tmp_path):
    folders = {Cache.at(tmp_path, "reviews", options).folder for options in ({"k": "60"}, {"k": "60", "epochs": 2.0}, {"k": "100"})}
    assert len(folders) == 3
    assert Cache.at(tmp_path, "reviews", {"k": "60"}).folder in folders


def searched(*trials, greater=True):
    found = [
        {"number": i, "state": state, "is_default": i == 0, "select_score": score, "hyper_parameters": {"rank": i}, "cause": ""}
        for i, (state, score) in enumerate(trials)
    ]
    return {"method": "lora", "steps": 40, "greater_is_better": greater, "found": found}


@pytest.mark.parametrize(
    ("row", "ranks"),
    [
        (searched(("completed", 0.5), ("completed", 0.9), ("completed", 0.7), ("completed", 0.9)), [0, 1, 3]),
        (searched(("completed", 0.9), ("completed", 0.8), ("failed", None), ("stopped", 1.0)), [0, 1]),
        (searched(("failed", None), ("completed", 0.8)), [1]),
        (searched(("completed", 0.5), ("completed", 0.9), ("completed", 0.7), greater=False), [0, 2]),
    ],
)
def test_the_oracle_trains_the_default_and_the_best_two(row, ranks):
    assert [one.hyper_parameters["rank"] for one in configurations(row, 2)] == ranks


def test_data_sets_are_found_with_their_columns_and_tables_without_a_label_are_left_out(tmp_path):
    folder = tmp_path / "data"
    for name in ("glue/rte", "custom/mails", "generation/translated"):
        (folder / name).mkdir(parents=True)
    write_csv(folder / "glue/rte/train.csv", ["sentence1", "sentence2", "label", "idx"], [["a", "b", 0, 1]])
    write_csv(folder / "custom/mails/train.csv", ["text", "intent", "idx"], [["hello", "greet", "7"]])
    write_csv(folder / "custom/mails/dev.csv", ["text", "intent", "idx"], [["hi", "greet", "8"]])
    write_csv(folder / "generation/translated/train.csv", ["source", "target"], [["a", "b"]])
    write_csv(folder / "loose.csv", ["question", "answer", "label"], [["a", "b", "yes"]])
    found = find([folder], [])
    assert {one.name: one.options for one in found.data_sets} == {
        "rte": {"task": "rte", "data_dir": str(folder / "glue")},
        "mails": {
            "train": str(folder / "custom/mails/train.csv"), "test": str(folder / "custom/mails/dev.csv"), "text_columns": "text",
            "label_column": "intent",
        },
        "loose": {"train": str(folder / "loose.csv"), "text_columns": "question,answer", "label_column": "label"},
    }  # fmt: skip
    assert len(found.left_out) == 1
    assert "translated: no column of source, target is a label" in found.left_out[0]
    assert [one.name for one in find([folder], ["rte", "loose"]).data_sets] == ["rte", "loose"]
    with pytest.raises(TaskError, match="nowhere: no train file"):
        find([folder], ["rte", "nowhere"])


def answer(data_set, repeat, method, regret, **more):
    return Judged(data_set, OURS, 0.1, repeat, method, regret, **more)


def test_a_contenders_line_has_means_over_data_sets_and_shares_over_selections():
    sure = Forecast(stated=[0.9, 0.1], outcome=[1.0, 0.0], chance=[1.0, 0.0])
    wrong = Forecast(stated=[0.8, 0.2], outcome=[0.0, 1.0], chance=[0.5, 0.5])
    a, ab = frozenset({"a"}), frozenset({"a", "b"})
    line = quality(
        [
            answer("x", 0, "a", 0.0, tied=a, holds_best=True, holds_right=True, forecast=sure, seconds=10.0),
            answer("x", 1, "a", 1.0, tied=ab, holds_best=False, holds_right=True, forecast=wrong, seconds=20.0),
            answer("y", 0, "b", 2.0, tied=a, holds_best=False, holds_right=False),
            answer("y", 1, "a", 2.0),  # no finalist was scored: nothing is claimed
        ]
    )
    assert (line["selections"], line["data sets"], line["regret"]) == (4, 2, 1.25)
    assert (line["holds best %"], line["holds right %"]) == (pytest.approx(100 / 3), pytest.approx(200 / 3))
    assert line["Brier"] == pytest.approx((0.01 + 0.01 + 0.64 + 0.64) / 4)
    assert line["truth's part"] == pytest.approx(0.125)
    assert (line["same method %"], line["tie sets meet %"], line["seconds"]) == (50.0, 100.0, 15.0)


def test_a_goal_is_met_or_missed_by_our_own_selections_at_a_tenth():
    own = [answer("x", 0, "a", 0.5, tied=frozenset("a"), holds_right=True), answer("y", 0, "a", 0.3, tied=frozenset("a"))]
    rival = [Judged(name, "random", 0.1, 0, "b", regret) for name, regret in (("x", 0.6), ("y", 0.1))]
    default = [Judged(name, "lora default", None, 0, "lora", 1.0) for name in ("x", "y")]
    found = goals([*own, *rival, *default])
    assert found[0] == "goal: mean regret at most 0.5 points: 0.4, met"
    assert found[1] == "goal: tie set right at least 95 %: 50, missed"
    assert found[2] == "goal: Brier score at most 0.15: not measured, missed"
    assert "missed against random (random -0.05" in found[3]
    assert "lora default +0.60" in found[3]
    assert goals(rival) == []


@pytest.fixture
def in_process(monkeypatch, tmp_path, without_mlflow):
    """Processes as calls, and what was asked of each."""
    asked = []
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "home"))

    def run(arguments, variables):
        _, name, *rest = arguments
        said, module = [], import_module(name)
        monkeypatch.setattr(module, "hand_over", said.append)
        asked.append((name.removeprefix("benchmarks."), json.loads(rest[-1])))
        module.main(rest)
        return Ended(100.0, 0, f"RESULT {json.dumps(said[-1])}\n")

    monkeypatch.setattr(selection_quality, "run_process", run)
    return asked


@pytest.mark.slow
def test_the_script_measures_once_goes_on_and_prints_its_tables(world, tmp_path, in_process, capsys):
    (tmp_path / "data" / "reviews").mkdir(parents=True)
    shutil.copy(world.train, tmp_path / "data" / "reviews" / "train.csv")
    shutil.copy(world.test, tmp_path / "data" / "reviews" / "test.csv")
    typed = ["--data-dir", str(tmp_path / "data"), "--k", "60", "--model", str(world.model), "--methods", "lora,head", "--epochs", "4"]
    typed += ["--oracle-trials", "3", "--oracle-finalists", "1", "--oracle-seeds", "2", "--check-seeds", "2", "--trials", "2"]
    typed += ["--repeats", "1", "--budgets", "0.1,400", "--baseline-budgets", "400", "--contenders", "ours,random", "--finalist-seeds", "2"]
    typed += ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "out")]
    selection_quality.main([*typed, "--only-oracle"])
    assert [name for name, _ in in_process] == ["our_oracle", "our_oracle", "retraining"]
    oracle = json.loads((tmp_path / "out" / "selection_quality.json").read_text())["tables"]["The oracle"][0]
    assert (oracle["data set"], oracle["metric"], oracle["report examples"]) == ("reviews", "accuracy", 60)

    in_process.clear()
    selection_quality.main([*typed, "--budgets", "400"])
    assert [name for name, _ in in_process][:2] == [
        "our_choice",
        "our_choice",
    ]  # perhaps a default is recommended, which is trained already
    ours, random = in_process[0][1], in_process[1][1]
    assert (ours["finalists"], random["finalists"], random["options"]["sampler"]) == (True, False, "random")
    assert ours["options"]["seconds"] == random["options"]["seconds"] == max(1, round(400 * oracle["cost s"]))
    assert ours["seed"] == random["seed"] == 10_000
    written = json.loads((tmp_path / "out" / "selection_quality.json").read_text())
    lines = {row["contender"]: row for row in written["tables"]["Quality of the answers"]}
    assert set(lines) == {"ours", "random", "lora default"}
    assert lines["ours"]["tied"] >= 1
    assert lines["random"]["tied"] is None
    assert 0 <= lines["ours"]["Brier"] <= 1
    assert all(-100 <= row["regret"] <= 100 for row in lines.values())
    assert {row["ours over"] for row in written["tables"]["Our lead"]} == {"random", "lora default"}
    assert written["left_out"] == []

    in_process.clear()
    selection_quality.main([*typed, "--budgets", "400"])
    assert in_process == []  # nothing is measured twice
    capsys.readouterr()


def test_configurations_are_trained_for_their_own_steps_on_seeds_that_no_selection_has(world, tmp_path, in_process):
    cache = Cache.at(tmp_path, "reviews", {})
    wanted = [
        (Configuration(*one).plain(), seed)
        for one in (("head", {"learning_rate": 0.01}, 40), ("bitfit", {"learning_rate": 1e-4}, 8))
        for seed in (0, 1)
    ]
    options = {name: str(value) if name in ("train", "test") else value for name, value in world.options().items()}
    retraining.main([json.dumps({"cache": str(cache.folder), "options": options, "wanted": wanted})])
    (learned,), (short,) = ([row for row in rows(cache.of_method(method)) if row["seed"] == 1] for method in ("head", "bitfit"))
    assert learned["score"] > 0.9 > short["score"]
    assert (learned["steps"], short["steps"], len(short["predictions"]), short["state"]) == (40, 8, 60, "completed")
    assert 0 < learned["cost"] <= learned["wall"]
    assert set(cache.runs()[Configuration("head", {"learning_rate": 0.01}, 40).key]) == {0, 1}


def test_a_training_that_fails_predicts_the_most_frequent_class(world, tmp_path, in_process):
    cache = Cache.at(tmp_path, "reviews", {})
    options = {name: str(value) if name in ("train", "test") else value for name, value in world.options().items()}
    wanted = [(Configuration("lora", {"rank": 4, "alpha": 8.0, "targets": "query-value", "learning_rate": 1e30}, 8).plain(), 0)]
    retraining.main([json.dumps({"cache": str(cache.folder), "options": options, "wanted": wanted})])
    (row,) = rows(cache.of_method("lora"))
    assert (row["state"], row["score"], len(set(row["predictions"]))) == ("failed", 0.5, 1)
    assert "not finite" in row["cause"]


def test_what_the_limit_does_not_allow_is_named(world, tmp_path, capsys):
    typed = [
        "--data-dir",
        str(world.folder),
        "--tasks",
        "reviews",
        "--k",
        "60",
        "--methods",
        "lora",
        "--cache",
        str(tmp_path),
        "--seconds",
        "-1",
        "--output",
        str(tmp_path / "out"),
    ]
    selection_quality.main(typed)
    left_out = json.loads((tmp_path / "out" / "selection_quality.json").read_text())["left_out"]
    assert left_out == [
        "oracle of reviews: lora: the limit of -1 s",
        "reviews: its oracle isn't complete; start again to go on",
    ]
    capsys.readouterr()


def test_a_data_set_that_is_too_small_is_left_out_with_the_reason(world, tmp_path, capsys):
    typed = ["--data-dir", str(world.folder), "--tasks", "reviews", "--k", "5000", "--methods", "lora", "--cache", str(tmp_path)]
    selection_quality.main([*typed, "--output", str(tmp_path / "out")])
    written = json.loads((tmp_path / "out" / "selection_quality.json").read_text())
    assert "reviews: k is 5000" in written["left_out"][0]
    assert written["tables"]["The oracle"] == []
    capsys.readouterr()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--cache", "x"], "give --data-dir, --tasks, or both"),
        (["--cache", "x", "--tasks", "rte", "--methods", "lore"], "unknown method lore"),
        (["--cache", "x", "--tasks", "rte", "--contenders", "his"], "unknown contender his; there are ours, random"),
        (["--cache", "x", "--tasks", "rte", "--oracle-seeds", "3"], "--check-seeds can't be more than --oracle-seeds"),
        (["--cache", "x", "--tasks", "rte", "--budgets", "0"], "expected shares of the oracle's cost"),
    ],
)
def test_options_that_make_no_sense_are_refused(typed, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        selection_quality.main(typed)
    assert message in capsys.readouterr().err
