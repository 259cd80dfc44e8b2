import dataclasses

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import Decision
from pelt_automl.log.history import History
from pelt_automl.recorders.run_tree import Point, run_tree, texts
from tests.recorders.selection_double import STARTED, events, trial

FINAL = "final-lora-0000-seed0"


def metrics(run):
    return {point.name: point.value for point in run.points}


def test_a_selection_is_one_run_and_one_for_each_training():
    tree = run_tree(History.of(events()))
    assert {name: run.status for name, run in tree.children.items()} == {
        "lora-0000": "FINISHED", "lora-0001": "FINISHED", "adapter-0000": "FAILED", FINAL: "FINISHED",
    }  # fmt: skip
    assert (tree.parent.name, tree.parent.status) == (STARTED.selection, "FINISHED")
    assert tree.parent.ended - tree.parent.started == 45


def test_a_selection_that_has_not_ended_counts_as_killed():
    tree = run_tree(History.of(events()[:6]))
    assert tree.parent.status == "KILLED"
    assert tree.parent.ended == 1020.0


def test_each_training_carries_the_tags_that_filters_need_and_its_method_as_a_parameter():
    runs = run_tree(History.of(events())).children
    final = runs[FINAL]
    wanted = {"task": "toy-task", "model": "toy-model", "k": "16", "protocol": "strict", "stage": "finalist", "method": "lora"}
    assert wanted.items() <= final.tags.items()
    assert {name: run.tags.get("rung") for name, run in runs.items()} == {
        "lora-0000": "1", "lora-0001": "0", "adapter-0000": "1", FINAL: None,
    }  # fmt: skip
    assert runs["lora-0001"].tags["state"] == "stopped"
    assert runs["lora-0001"].tags["is_default"] == "false"
    assert runs["lora-0000"].tags["seed"] == "1-2-3"
    assert runs["adapter-0000"].tags["cause"] == "ValueError: loss is not finite"
    assert runs["lora-0000"].params == {"method": "lora", "rank": "8", "learning_rate": "0.001"}
    assert runs["adapter-0000"].params["method"] == "adapter"


def test_a_curve_has_the_optimizer_steps_and_leaves_out_what_is_not_finite():
    points = run_tree(History.of(events())).children["lora-0000"].points
    assert [point for point in points if point.name == "select_score"] == [
        Point("select_score", 0.5, 1017.0, 10), Point("select_score", 0.75, 1019.0, 20),
    ]  # fmt: skip
    assert [point.step for point in points if point.name == "train_loss"] == [10]


def test_scores_and_evidence_are_added_to_the_finalists_run():
    runs = run_tree(History.of(events())).children
    final = metrics(runs[FINAL])
    assert final["report_score"] == 0.8
    assert final["gate_drift/lora.attention.query"] == pytest.approx(0.12)
    assert final["select_score_without/lora"] == 0.6
    assert "report_score" not in metrics(runs["lora-0000"])
    assert [point.step for point in runs[FINAL].points if point.name.startswith("gate_mean")] == [3], "the layer"


def test_the_selections_run_has_the_winners_parameters_and_score_and_what_was_asked():
    parent = run_tree(History.of(events())).parent
    assert {"method": "lora", "rank": "8", "learning_rate": "0.001", "task.k": "16", "model": "toy-model"}.items() <= parent.params.items()
    found = metrics(parent)
    assert (found["report_score"], found["best_select_score"], found["parameters/kept"], found["bill/search"]) == (0.8, 0.75, 110, 20.0)
    asked = {"k": "16", "protocol": "strict", "question": "question1", "effort": "effort1", "outcome": "recommended", "seed": "7"}
    assert asked.items() <= parent.tags.items()
    wanted = {"verdict.method": "lora", "hash.data": "d" * 64, "environment.versions.torch": "2.13.0"}
    assert wanted.items() <= parent.tags.items()
    assert parent.tags["mlflow.note.content"] == "LoRA, by a little."


def test_a_training_that_went_on_after_its_rung_is_what_it_became():
    tree = run_tree(History.of([STARTED, trial("lora-0000", "stopped", time=1010.0), trial("lora-0000", "completed", time=1020.0)]))
    assert tree.children["lora-0000"].tags["state"] == "completed"
    assert len([point for point in tree.children["lora-0000"].points if point.name == "select_score"]) == 2


def test_a_digest_changes_with_the_content_alone():
    one, same = run_tree(History.of(events())), run_tree(History.of(events()))
    other = run_tree(History.of([*events(), dataclasses.replace(events()[9], report_score=0.7, time=2000.0)]))
    assert one.children[FINAL].digest == same.children[FINAL].digest != other.children[FINAL].digest
    assert one.children["lora-0000"].digest == other.children["lora-0000"].digest


def test_records_without_their_selection_are_a_clear_error():
    with pytest.raises(SelectionError, match="is this a selection's folder"):
        run_tree(History.of([Decision("promoted", "x", "y")]))


def test_what_goes_to_mlflow_has_no_passwords_and_no_tokens():
    said = texts({"cause": "no route to https://anna:s3cret@host/x with hf_abcdefghijklmnop1234", "none": None, "a:b": 1})
    assert said == {"cause": "no route to https://host/x with hf_...", "a_b": "1"}
    assert len(texts({"long": "x" * 9000})["long"]) == 5000
