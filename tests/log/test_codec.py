"""Events as lines: what this version writes, and what 0.1.0 has written (lines of real selections, shortened)."""

import json
import math
from dataclasses import replace

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.codec import checked, from_json, read, to_json
from pelt_automl.log.events import LACK_OF_TIME, CurvePoint, Decision, Planned, Reason, SelectionEnded, State, TrialEnded, What
from pelt_automl.log.history import History

OLD_PLAN = (
    '{"event": "Planned", "steps": 20, "rung_steps": 7, "evaluations": 2, "seconds_a_training": 1.5, "message": "as it was", "numbers": '
    '{"step_seconds": 0.02, "example_seconds": 0.003, "finalists": 3.0, "seconds_enough": 341.0, "pack_size": 4.0, "pack_probed": 4.0, '
    '"precision_bits": 16.0, "threads": 2.0}, "rungs": [7], "final_steps": 20, "time": 1790000000.5}'
)
OLD_TRIAL = (
    '{"event": "TrialEnded", "trial": "lora-0000", "candidate": "lora-0000", "method": "lora", "stage": "search", "number": 0, "state": '
    '"completed", "is_default": true, "hyper_parameters": {"learning_rate": 0.0005, "rank": 8}, "seeds": {"split": 0, "initialization": 0, '
    '"order": 0}, "parameters": {"pelt": 10, "gates": 0, "head": 2, "kept": 12, "training_only": 0}, "curve": [{"step": 10, "train_loss": '
    'NaN, "select_score": 0.5, "learning_rate": 0.0004, "seconds": 1.0}], "select_score": 0.5, "steps": 10, "seconds": 1.0, "time": 1.0}'
)
LEFT_OUT = [
    ("bitfit", "not possible on /models/llama: it has no bias terms", {}, What.METHOD_IMPOSSIBLE),
    ("bitfit", "not possible on cardiffnlp/twitter-roberta-base-sentiment-latest: it has no bias terms", {}, What.METHOD_IMPOSSIBLE),
    ("mam", "it has 10,005,504 trainable parameters, more than the 5,000,000 of --max-trainable", {}, What.METHOD_OVER),
    ("neighbors", "one text takes 12 ms, more than the 5 of --max-latency-ms", {}, What.METHOD_OVER),
    ("lora-0003", "best of lora on select, but no time for it", {"lack_of_time": True}, What.NO_TIME_FOR_FINALIST),
    ("lora-0003", "best of lora on select, but no time for it", {}, What.NO_TIME_FOR_FINALIST),  # before decisions said lack_of_time
    (
        "unipelt-apl-0001-without-prefix",
        "the time left is too short to train it on the finalists' seeds",
        {"lack_of_time": True},
        What.NO_TIME_FOR_FINALIST,
    ),
    ("seed 3", "the time left is too short for another seed", {"lack_of_time": True}, What.NO_TIME_FOR_SEED),
    ("gate evidence of unipelt-ap-0000", "the time left is too short for it", {"lack_of_time": True}, What.NO_TIME_FOR_EVIDENCE),
    ("gate evidence", "the time left is too short for it", {}, What.NO_TIME_FOR_EVIDENCE),
    ("memory", "the time left was too short to measure it for 1 of 2 finalists", {"lack_of_time": True}, What.NO_TIME_FOR_COSTS),
    ("unipelt-apl-0003-without-lora", "unipelt-ap-0000 is the same configuration", {}, What.SAME_CONFIGURATION),
]


@pytest.mark.parametrize(("subject", "why", "more", "what"), LEFT_OUT)
def test_each_of_the_eight_meanings_of_left_out_has_its_own_name(subject, why, more, what):
    line = json.dumps({"event": "Decision", "what": "left out", "subject": subject, "why": why, "numbers": {}, "time": 1.0} | more)
    assert from_json(line) == Decision(what, subject, why, {}, time=1.0)
    assert (what in LACK_OF_TIME) == ("time" in why and "sentiment" not in why)


def test_the_plan_of_an_old_record_has_its_figures_where_they_are_read():
    expected = Planned(
        20, 7, 2, 1.5, "as it was", {"pack_probed": 4.0, "threads": 2.0}, [7], 20, 0.02, 0.003, 3, 341.0, 4, "bf16", time=1790000000.5
    )  # fmt: skip
    assert from_json(OLD_PLAN) == expected
    first = '{"event": "Planned", "steps": 20, "rung_steps": 7, "evaluations": 2, "seconds_a_training": 1.5, "time": 1.0}'
    assert from_json(first) == Planned(20, 7, 2, 1.5, time=1.0)


def test_other_words_of_old_records():
    line = {"event": "Decision", "what": "started anew", "subject": "lora-0002", "why": "its checkpoint can't be read", "time": 1.0}
    assert from_json(json.dumps(line)).what is What.STARTED_OVER
    assert from_json(json.dumps(line | {"what": "stopped"})).what is What.STOPPED
    ended = {"event": "SelectionEnded", "reason": "time limit reached during the search", "seconds": 1.0, "bill": {}, "time": 1.0}
    assert from_json(json.dumps(ended)) == SelectionEnded(Reason.TIME, 1.0, {}, time=1.0)


@pytest.mark.parametrize("listed", [[1.0, 0.0, 2.0], [[1, 0], [0, 1]], ["a", "b"], [0.1, 1e30]])
def test_outputs_that_old_records_held_are_found_by_their_reference(listed):
    scored = {"event": "FinalistScored", "trial": "x", "candidate": "x", "method": "lora", "seed_index": 0, "report_score": 0.5}
    opened = {"event": "ReportOpened", "openings": 1, "examples": 2, "of": 2, "time": 1.0}
    for line in (scored | {"predictions": listed}, opened | {"labels": listed}, json.loads(OLD_TRIAL) | {"select_predictions": listed}):
        found = from_json(json.dumps(line))
        values = History.of([found]).outputs.get(found.outputs)
        assert (values if isinstance(values, list) else values.tolist()) == listed
        assert from_json(to_json(found)) == found
    assert from_json(json.dumps(json.loads(OLD_TRIAL) | {"select_predictions": []})).outputs == ""
    assert from_json(OLD_TRIAL.replace("NaN", "1.0")).outputs == ""


@pytest.mark.parametrize("value", ["none", None, [None], [{}], 3])
def test_outputs_of_old_records_that_are_none_are_a_clear_error(value):
    line = {"event": "ReportOpened", "openings": 1, "examples": 2, "of": 2, "labels": value, "time": 1.0}
    with pytest.raises(ValueError, match=r"^ReportOpened: labels"):
        from_json(json.dumps(line))


def test_a_loss_that_is_no_number_survives():
    trial = from_json(OLD_TRIAL)
    assert isinstance(trial, TrialEnded)
    assert trial.state is State.COMPLETED
    assert math.isnan(trial.curve[0].train_loss)
    assert math.isnan(from_json(to_json(trial)).curve[0].train_loss)
    assert trial.tokens == {}, "the first version didn't count them"


def test_what_is_written_now_is_read_as_it_was_and_no_line_is_upgraded_twice():
    plan = from_json(OLD_PLAN)
    decision = Decision(What.NO_TIME_FOR_SEED, "seed 3", "the time left is too short for another seed", {"seconds_left": 2.5})
    for event in (plan, replace(plan, numbers={}), decision):
        assert from_json(to_json(event)) == event
        assert from_json(to_json(from_json(to_json(event)))) == event


def test_fields_of_a_later_version_are_left_out():
    assert from_json(OLD_PLAN[:-1] + ', "of_a_later_version": {"a": [1]}}') == from_json(OLD_PLAN)


@pytest.mark.parametrize(
    ("name", "damage"), [("what", '"thrown out"'), ("what", "3"), ("subject", "[]"), ("numbers", '{"a": "b"}'), ("time", "null")]
)
def test_a_line_with_another_value_is_one_error_with_its_number(name, damage, tmp_path):
    good = '{"event": "Decision", "what": "promoted", "subject": "lora-0001", "why": "better", "numbers": {}, "time": 1.0}'
    (tmp_path / "records.jsonl").write_text(f"{good}\n{good[:-1]}, " + f'"{name}": {damage}}}\n{good}\n{good[:40]}')
    with pytest.raises(SelectionError, match=rf"records\.jsonl is damaged, .*: line 2 can't be read \(Decision: {name}"):
        list(read(tmp_path / "records.jsonl"))
    (tmp_path / "records.jsonl").write_text(f"{good}\n{good}\n{good[:40]}")
    assert len(list(read(tmp_path / "records.jsonl"))) == 2, "the last line was cut off by a kill"


def test_what_is_wrong_is_said_with_its_place():
    point = {"step": 1, "train_loss": 0.5, "select_score": 0.5, "learning_rate": 0.1, "seconds": 1.0}
    assert checked(list[CurvePoint], [point]) == [CurvePoint(1, 0.5, 0.5, 0.1, 1.0)]
    for wrong, words in (
        ([point, {}], r"^\[1\]\.step: it is missing$"),
        ([point | {"step": "1"}], r"^\[0\]\.step: expected `int`, got `str`$"),
        ("text", "^as a whole: expected `array`, got `str`$"),
    ):
        with pytest.raises(ValueError, match=words):
            checked(list[CurvePoint], wrong)
