"""The quality of selections: the oracle's choice, data sets in folders, the tables by hand, and the whole study on a tiny world."""

import json
import shutil

import pandas as pd
import pytest

from pelt_automl.errors import TaskError
from pelt_automl.log.codec import read
from pelt_automl.log.history import History
from studies import quality
from studies.data_sets import find
from studies.harness import Ended, Kept
from studies.quality import OURS, best_of, goals
from tests.tiny_world import write_csv


def searched(*trials, greater=True):
    found = [{"method": "lora", "state": state, "is_default": i == 0, "select_score": score, "hyper_parameters": {"rank": i}}
             for i, (state, score) in enumerate(trials)]  # fmt: skip
    return {"steps": 40, "greater_is_better": greater, "found": found}


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
    assert [one["hyper_parameters"]["rank"] for one in best_of(row, 2)] == ranks


def test_data_sets_are_found_with_their_columns_and_tables_without_a_label_are_left_out(tmp_path):
    folder = tmp_path / "data"
    for name in ("glue/rte", "custom/mails", "generation/translated"):
        (folder / name).mkdir(parents=True)
    write_csv(folder / "glue/rte/train.csv", ["sentence1", "sentence2", "label", "idx"], [["a", "b", 0, 1]])
    write_csv(folder / "custom/mails/train.csv", ["text", "intent", "idx"], [["hello", "greet", "7"]])
    write_csv(folder / "custom/mails/dev.csv", ["text", "intent", "idx"], [["hi", "greet", "8"]])
    write_csv(folder / "generation/translated/train.csv", ["source", "target"], [["a", "b"]])
    write_csv(folder / "loose.csv", ["question", "answer", "label"], [["a", "b", "yes"]])
    found, left_out = find([folder], [])
    assert found == {
        "rte": {"task": "rte", "data_dir": str(folder / "glue")},
        "mails": {
            "train": str(folder / "custom/mails/train.csv"), "test": str(folder / "custom/mails/dev.csv"), "text_columns": "text",
            "label_column": "intent",
        },
        "loose": {"train": str(folder / "loose.csv"), "text_columns": "question,answer", "label_column": "label"},
    }  # fmt: skip
    assert len(left_out) == 1
    assert "translated: no column of source, target is a label" in left_out[0]
    assert list(find([folder], ["rte", "loose"])[0]) == ["rte", "loose"]
    with pytest.raises(TaskError, match="nowhere: no train file"):
        find([folder], ["rte", "nowhere"])


def answer(data_set, repeat, method, regret, contender=OURS, budget=0.1, **more):
    return {"data set": data_set, "contender": contender, "budget": budget, "repeat": repeat, "method": method, "regret": regret,
            "tied": [], "holds_best": False, "holds_right": False} | more  # fmt: skip


def test_a_contenders_line_has_means_over_data_sets_and_shares_over_selections():
    sure = {"errors": [0.01, 0.01], "unsure": [0.0, 0.0]}
    wrong = {"errors": [0.64, 0.64], "unsure": [0.25, 0.25]}
    line = quality.quality(
        pd.DataFrame([
            answer("x", 0, "a", 0.0, tied=["a"], holds_best=True, holds_right=True, seconds=10.0, **sure),
            answer("x", 1, "a", 1.0, tied=["a", "b"], holds_best=False, holds_right=True, seconds=20.0, **wrong),
            answer("y", 0, "b", 2.0, tied=["a"]),
            answer("y", 1, "a", 2.0),  # no finalist was scored: nothing is claimed
        ])
    )  # fmt: skip
    assert (line["selections"], line["data sets"], line["regret"]) == (4, 2, 1.25)
    assert (line["holds best %"], line["holds right %"]) == (pytest.approx(100 / 3), pytest.approx(200 / 3))
    assert line["Brier"] == pytest.approx((0.01 + 0.01 + 0.64 + 0.64) / 4)
    assert line["truth's part"] == pytest.approx(0.125)
    assert (line["same method %"], line["tie sets meet %"], line["seconds"]) == (50.0, 100.0, 15.0)


def test_a_goal_is_met_or_missed_by_our_own_selections_at_a_tenth():
    own = [answer("x", 0, "a", 0.5, tied=["a"], holds_right=True), answer("y", 0, "a", 0.3, tied=["a"])]
    rival = [answer(name, 0, "b", regret, "random") for name, regret in (("x", 0.6), ("y", 0.1))]
    default = [answer(name, 0, "lora", 1.0, "lora default", None) for name in ("x", "y")]
    found = goals(pd.DataFrame([*own, *rival, *default]))
    assert found[0] == "goal: mean regret at most 0.5 points: 0.4, met"
    assert found[1] == "goal: tie set right at least 95 %: 50, missed"
    assert found[2] == "goal: Brier score at most 0.15: not measured, missed"
    assert "missed against random (random -0.05" in found[3]
    assert "lora default +0.60" in found[3]
    assert goals(pd.DataFrame(rival)) == []


@pytest.fixture
def in_process(monkeypatch, tmp_path, without_mlflow):
    """Processes as calls, and what was asked of each."""
    asked = []
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "home"))

    def call(place, home, **arguments):
        arguments = json.loads(json.dumps(arguments))
        name = place.partition(":")[2]
        asked.append((name, arguments))
        return Ended(100.0, 0, json.loads(json.dumps(getattr(quality, name)(**arguments), default=str)))

    monkeypatch.setattr(quality, "fresh_process", call)
    return asked


@pytest.mark.slow
def test_the_study_measures_once_goes_on_and_prints_its_tables(world, tmp_path, in_process, capsys):
    (tmp_path / "data" / "reviews").mkdir(parents=True)
    shutil.copy(world.train, tmp_path / "data" / "reviews" / "train.csv")
    shutil.copy(world.test, tmp_path / "data" / "reviews" / "test.csv")
    typed = ["--data-dir", str(tmp_path / "data"), "--k", "60", "--model", str(world.model), "--methods", "lora,head", "--epochs", "4"]
    typed += ["--oracle-trials", "3", "--oracle-finalists", "1", "--oracle-seeds", "2", "--check-seeds", "2", "--trials", "2"]
    typed += ["--repeats", "1", "--budgets", "0.1,400", "--baseline-budgets", "400", "--contenders", "ours,random", "--finalist-seeds", "2"]
    typed += ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "out")]
    quality.main([*typed, "--only-oracle"])
    assert [name for name, _ in in_process] == ["search_in_full", "search_in_full", "train_on_truth"]
    oracle = json.loads((tmp_path / "out" / "quality.json").read_text())["tables"]["The oracle"][0]
    assert (oracle["data set"], oracle["metric"], oracle["report examples"]) == ("reviews", "accuracy", 60)

    in_process.clear()
    quality.main([*typed, "--budgets", "400"])
    assert [name for name, _ in in_process][:2] == ["choose", "choose"]  # perhaps a default is recommended, which is trained already
    ours, random = in_process[0][1], in_process[1][1]
    assert (ours["finalists"], random["finalists"], random["options"]["sampler"]) == (True, False, "random")
    assert ours["options"]["seconds"] == random["options"]["seconds"] == max(1, round(400 * oracle["cost s"]))
    assert ours["seed"] == random["seed"] == 10_000
    written = json.loads((tmp_path / "out" / "quality.json").read_text())
    lines = {row["contender"]: row for row in written["tables"]["Quality of the answers"]}
    assert set(lines) == {"ours", "random", "lora default"}
    assert lines["ours"]["tied"] >= 1
    assert lines["random"]["tied"] is None
    assert 0 <= lines["ours"]["Brier"] <= 1
    assert all(-100 <= row["regret"] <= 100 for row in lines.values())
    assert {row["ours over"] for row in written["tables"]["Our lead"]} == {"random", "lora default"}
    assert written["left_out"] == []

    in_process.clear()
    quality.main([*typed, "--budgets", "400"])
    assert in_process == []  # nothing is measured twice
    capsys.readouterr()


def test_configurations_are_trained_for_their_own_steps_on_seeds_that_no_selection_has(world, tmp_path):
    options = {name: str(value) if name in ("train", "test") else value for name, value in world.options().items()}
    broken = {"rank": 4, "alpha": 8.0, "targets": "query-value", "learning_rate": 1e30}
    wanted = [
        ({"method": method, "hyper_parameters": values, "steps": steps}, seed)
        for method, values, steps in (("head", {"learning_rate": 0.01}, 40), ("bitfit", {"learning_rate": 1e-4}, 8), ("lora", broken, 8))
        for seed in (0, 1)
    ]
    assert quality.train_on_truth(str(tmp_path), {"data": 1}, options | {"head_start": "random"}, wanted) == 6
    learned, short, failed = (Kept(tmp_path).get(data=1, run=own, seed=seed) for own, seed in wanted[1::2])
    assert learned["score"] > 0.9 > short["score"]
    assert (len(short["predictions"]), short["state"]) == (60, "completed")
    assert 0 < learned["cost"] <= learned["wall"]
    assert (failed["state"], failed["score"], len(set(failed["predictions"]))) == ("failed", 0.5, 1), "the most frequent class"
    assert "not finite" in failed["cause"]
    assert len(Kept(tmp_path).get(data=1, what="report")) == 60


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_a_scheduler_of_ours_is_driven_in_place_of_the_programs_on_its_own_packs(world, tmp_path):
    options = {name: str(value) if name in ("train", "test") else value for name, value in world.options(trials=3, epochs=2).items()}
    found = quality.choose(str(tmp_path / "selection"), options | {"methods": "head,lora"}, 10_000, False, "tpe+median")
    assert (found["trials"], found["finalists"], found["steps"]) == (6, [], found["full_steps"])
    history = History.of(read(tmp_path / "selection" / "records.jsonl"))
    first, trials = [trial.segment for trial in history.trials.values()][:2], history.ended()
    assert [(own.method, own.is_default) for own in first] == [("head", True), ("lora", True)], "published defaults first"
    assert {trial.stage for trial in trials} == {"search"}
    assert found["hyper_parameters"] in [trial.hyper_parameters for trial in trials]


def test_a_plain_search_trains_in_full(tmp_path):
    for name, count in (("train", 60), ("test", 20)):
        rows = [f"{name} text {number},{'yes' if number % 2 else 'no'}" for number in range(count)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    files = {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")}
    settings = quality.settings_of(files | {"text_columns": "text", "label_column": "label", "k": 60, "epochs": 30}, 10_000)
    assert quality.full_length(settings) == 88  # 42 of the 60 to train on, 3 batches, 30 epochs: 90, of which 8 parts are even


@pytest.mark.parametrize(
    ("typed", "left_out"),
    [
        (["--k", "60", "--seconds", "-1"],
         ["oracle of reviews: lora: the limit of -1 s", "reviews: its oracle isn't complete; start again to go on"]),
        (["--k", "5000"], ["reviews: k is 5000"]),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_named(typed, left_out, world, tmp_path, capsys):
    own = ["--data-dir", str(world.folder), "--tasks", "reviews", "--methods", "lora", "--cache", str(tmp_path)]
    quality.main([*own, *typed, "--output", str(tmp_path / "out")])
    written = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert [text.startswith(start) for text, start in zip(written["left_out"], left_out, strict=True)] == [True] * len(left_out)
    assert written["tables"] == {}
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
        quality.main(typed)
    assert message in capsys.readouterr().err
