"""FLOPs, exponents, shares and tables, each with the answer written out."""

import argparse
import json
import math

import pytest

from benchmarks.common import Report, Table, add_selection_options, selection_options
from benchmarks.flops import trial_flops
from benchmarks.measuring import RESULT, Ended
from benchmarks.overheads import lines, padding, summary
from benchmarks.scaling import PowerLaw, fit_power_law
from benchmarks.time_to_answer import LIMITED, OURS, PEER, limited_note, where_examples_went, why_faster, with_finals
from benchmarks.time_to_answer import main as time_to_answer
from pelt_automl.design_space import BackboneShape, Form, Insertion, Modification, Site

# One token in a sequence of one: linear maps 2 (4*1 + 2*1*3) = 20 and attention products 4 a layer, forward; 20 + 8 = 28 backward.
SMALL = BackboneShape("bert", layers=3, hidden=1, ffn=3, heads=1, query_width=1, kv_width=1, embedding=1, parameters=1, biases=1)
FORWARD = 3 * 24


def change(site, form=Form.LINEAR, **more):
    return Modification("x", site, form, **more)


@pytest.mark.parametrize(
    ("modifications", "backward"),
    [
        ((), 0),  # the head alone
        ((change(Site.BIASES, Form.BIAS),), 3 * 28),
        ((change(Site.EMBEDDINGS, Form.PROMPT, size=1),), 3 * 28),
        ((change(Site.ATTENTION_QUERY, size=1),), 2 * 28 + 8 + 2 + 6 + 6),  # both products twice, output, up, down
        ((change(Site.HEADS, Form.SOFTMAX, size=1),), 2 * 28 + 22),
        ((change(Site.ATTENTION, Form.RELU, size=1),), 2 * 28 + 12),
        ((change(Site.FFN_UP, size=1),), 2 * 28 + 6),
        ((change(Site.FFN, Form.RELU, insertion=Insertion.SEQUENTIAL, size=1),), 2 * 28),
        ((change(Site.ATTENTION_VALUE, size=1, layers=(2,)),), 22),
        ((change(Site.FFN, Form.RELU, size=1, layers=(1, 2)), change(Site.ATTENTION_VALUE, size=1, layers=(2,))), 28),
    ],
)
def test_backward_counts_what_comes_after_the_lowest_change(modifications, backward):
    assert trial_flops(SMALL, modifications, examples=1, tokens=1) == FORWARD + backward


def test_attention_grows_with_the_square_of_the_length_and_the_rest_with_the_length():
    assert trial_flops(SMALL, (), examples=5, tokens=1) == 5 * FORWARD
    assert trial_flops(SMALL, (), examples=1, tokens=10) == 10 * 3 * (20 + 40)


def test_a_bert_base_step_of_lora_takes_about_four_times_its_frozen_weights_a_token():
    # 2 FLOPs a weight forward, 2 backward, over 85 million weights in the layers and 2,048 tokens: 0.70 TFLOP; attention adds little.
    bert = BackboneShape("bert", 12, 768, 3072, 12, 768, 768, 768, parameters=1, biases=1)
    step = trial_flops(bert, (change(Site.ATTENTION_QUERY, size=8), change(Site.ATTENTION_VALUE, size=8)), examples=16, tokens=128)
    assert step == pytest.approx(0.70e12, rel=0.05)


def test_a_power_law_is_found_again():
    law = fit_power_law([1, 2, 4, 8], [3.0, 3 * 2**1.5, 3 * 4**1.5, 3 * 8**1.5])
    assert (law.exponent, law.low, law.high, law.factor) == pytest.approx((1.5, 1.5, 1.5, 3.0))


def test_the_interval_of_an_exponent_is_students():
    # In powers of two: x = 0, 1, 2 and y = 0, 2, 2. The line is 1/3 + x with residuals -1/3, 2/3, -1/3: their squares sum to 2/3, on one
    # degree of freedom. Standard error sqrt((2/3) / 2) = 0.57735; t(0.975, 1) = 12.7062.
    law = fit_power_law([1, 2, 4], [1.0, 4.0, 4.0])
    assert law.exponent == pytest.approx(1.0)
    assert law.factor == pytest.approx(2 ** (1 / 3))
    assert (law.low, law.high) == pytest.approx((1 - 12.7062 * 0.57735, 1 + 12.7062 * 0.57735), abs=1e-3)


def test_two_points_have_an_exponent_without_an_interval_and_one_has_none():
    assert fit_power_law([10, 100], [5.0, 50.0]) == PowerLaw(pytest.approx(1.0), -math.inf, math.inf, pytest.approx(0.5))
    with pytest.raises(ValueError, match="two different sizes"):
        fit_power_law([4, 4], [1.0, 2.0])


def entry(wall, cpu=None, calls=1):
    return {"wall": wall, "cpu": wall if cpu is None else cpu, "calls": calls}


SEEN = {
    "seconds": 100.0,
    "start_seconds": 2.0,
    "first_trial_seconds": 7.5,
    "entries": {
        "train": entry(58.0, 40.0), "collate, training": entry(2.0),
        "evaluate": entry(12.0), "collate, evaluation": entry(3.0), "score on report": entry(6.0, 5.0), "optuna": entry(1.0),
        "mlflow": entry(4.0, 0.5), "search": entry(12.0),
    },
    "beside": {"mlflow": entry(30.0, 10.0, calls=9)},
    "tokens": {"train": {"computed": 1000, "real": 950}, "evaluate": {"computed": 0, "real": 0}},
    "peak_bytes": 2_500_000_000,
    "not_found": [],
}  # fmt: skip


def test_overheads_are_start_orchestration_and_tracking_over_everything():
    found = summary(SEEN)
    assert found["overheads %"] == pytest.approx(7.0)  # 2 + 1 + 4; the thread beside and our own bookkeeping don't count
    assert found["evaluation / training %"] == pytest.approx(25.0)  # (12 + 3) / (58 + 2)
    assert found["scoring on report / training %"] == pytest.approx(10.0)
    assert (found["first trial s"], found["peak GB"]) == (7.5, 2.5)
    assert found["padding %, training"] == pytest.approx(5.0)
    assert found["padding %, evaluation"] is None
    assert padding({"computed": 8, "real": 6}) == 25.0


def test_the_lines_of_a_selection_are_sorted_and_say_who_waited():
    rows = lines(SEEN)
    assert [row["part"] for row in rows] == [
        "train", "evaluate", "search", "score on report", "mlflow", "collate, evaluation", "start (imports)", "collate, training", "optuna",
        "of these: waiting outside of training and evaluation", "mlflow, in a thread beside",
    ]  # fmt: skip
    assert sum(row["share %"] for row in rows[:-2]) == pytest.approx(100.0)
    assert rows[0]["waiting s"] == 18.0
    assert rows[-2]["seconds"] == pytest.approx(3.5)  # MLflow's alone: waiting in training or scoring is no idle time
    assert rows[-1]["waiting s"] == 20.0


def test_a_table_is_aligned_prints_a_dash_for_what_is_missing_and_knows_its_columns():
    table = Table("Speed", ("who", "seconds"))
    table.add(who="ours", seconds=1234.5678)
    table.add(who="a peer")
    assert table.markdown().splitlines() == [
        "**Speed**", "", "| who    | seconds |", "|--------|---------|", "| ours   | 1235    |", "| a peer | -       |",
    ]  # fmt: skip
    with pytest.raises(KeyError, match="Speed has no column second"):
        table.add(second=1)


def test_a_report_is_printed_and_written_with_its_machine_and_what_was_left_out(tmp_path, capsys):
    report = Report("packing", {"steps": 2}, left_out=["bert-base: the time limit"])
    report.tables.append(Table("Speed", ("who",)))
    report.write(tmp_path / "new")
    written = json.loads((tmp_path / "new" / "packing.json").read_text())
    assert written["left_out"] == ["bert-base: the time limit"]
    assert written["options"] == {"steps": 2}
    assert written["environment"]["versions"]["torch"]
    assert {"cores", "threads", "load_before", "device", "processor"} <= set(written["environment"])
    text = (tmp_path / "new" / "packing.md").read_text()
    assert "- bert-base: the time limit" in text
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        (["--k", "100"], {"task": "pydoc-match", "k": "100"}),
        (["--train", "/x/a.csv", "--trials", "3"], {"train": "/x/a.csv", "trials": 3}),
    ],
)
def test_an_own_file_takes_the_place_of_the_default_task(typed, given):
    parser = argparse.ArgumentParser()
    add_selection_options(parser, task="pydoc-match")
    assert selection_options(parser.parse_args(typed)) == given


OURS_IN_TWO_TURNS = [
    {"parts": {"search": {"seconds": 40.0, "examples": 800}, "finalists": {"seconds": 50.0, "examples": 500}}},
    {"parts": {"search": {"seconds": 20.0, "examples": 800}, "finalists": {"seconds": 50.0, "examples": 700}}},
]


def test_the_examples_of_each_part_and_their_speed_are_medians_over_the_turns():
    assert where_examples_went(OURS_IN_TWO_TURNS, [100.0, 100.0]) == [
        {"part": "search", "seconds": 30.0, "examples trained": 800, "examples/s": 30.0},
        {"part": "finalists", "seconds": 50.0, "examples trained": 600, "examples/s": 12.0},
        {"part": "everything else", "seconds": 20.0},
        {"part": "all", "seconds": 100.0, "examples trained": 1400, "examples/s": 14.0},
    ]


def test_fewer_examples_and_faster_ones_multiply_to_the_ratio_of_seconds():
    # Ours 100 s for 1,300 examples (13 a second), the peer 800 s for 5,200 (6.5 a second): 8 times as fast is 4 times 2.
    text = why_faster({OURS: [100.0], PEER: [800.0]}, {OURS: [1300], PEER: [5200]}, PEER)
    assert text == "4 (4 to 4) times of that come from fewer examples, and 2 (2 to 2) times from more examples a second of wall time"


def test_the_peers_finals_count_only_in_the_line_that_has_them():
    finals = {
        "method": "ia3",
        "hyper_parameters": {},
        "report_score": 0.8,
        "trials": {"finalist, completed": 3},
        "seconds": 30.0,
        "examples": 90,
    }
    result = {
        "method": "lora", "report_score": 0.7, "report_interval": (0.6, 0.8), "trials": {"complete": 5}, "confirmed": finals,
        "parts": {"search": {"seconds": 50.0, "examples": 200}}, "not_counted_seconds": 34.0,
    }  # fmt: skip
    found = with_finals(result)
    assert found["not_counted_seconds"] == 4.0, "what it took to find its precision"
    assert found["parts"] == {"search": {"seconds": 50.0, "examples": 200}, "finalists": {"seconds": 30.0, "examples": 90}}
    assert (found["method"], found["report_score"], found["report_interval"]) == ("ia3", 0.8, None)
    assert found["trials"] == {"complete": 5, "finalist, completed": 3}
    assert result["parts"] == {"search": {"seconds": 50.0, "examples": 200}}


def test_wrong_options_are_said_together_before_anything_is_measured(capsys):
    with pytest.raises(SystemExit, match="2"):
        time_to_answer(["--peer-seeds", "-1", "--share", "2", "--repeats", "0"])
    said = capsys.readouterr().err
    assert "--peer-seeds is -1; it must be 0 or more; --share is 2.0; it must be from 0 to 1; --repeats is 0" in said
    with pytest.raises(SystemExit, match="2"):
        time_to_answer(["--limit-only", "--share", "0"])
    assert "--share is 0.0; it must be more than 0 with --limit-only" in capsys.readouterr().err


def test_the_limited_selection_can_be_measured_without_the_whole_one(monkeypatch, tmp_path):
    def a_process(arguments, variables):
        ran.append(arguments[1])
        given = json.loads(arguments[3] if arguments[1] == "benchmarks.our_selection" else arguments[2])
        result = {
            "method": "lora", "metric": "accuracy", "report_score": 0.7, "report_interval": None, "trials": {}, "precision": "fp32",
            "parts": {"search": {"seconds": 1.0, "examples": 16}}, "not_counted_seconds": 0.0,
        }  # fmt: skip
        return Ended(float(given.get("seconds", 100.0)), 10**9, RESULT + json.dumps(result))

    ran = []
    monkeypatch.setattr("benchmarks.time_to_answer.run_process", a_process)
    time_to_answer(["--limit-only", "--peer-seeds", "0", "--repeats", "2", "--methods", "lora", "--output", str(tmp_path)])
    assert ran == ["benchmarks.peer_search", "benchmarks.our_selection"] * 2
    written = json.loads((tmp_path / "time_to_answer.json").read_text())
    assert {row["who"]: row["seconds"] for row in written["tables"]["Seconds to a recommendation"]} == {PEER: 100.0, LIMITED: 15.0}
    assert [note for note in written["notes"] if "times as fast" in note] == [
        "with the time limit ours is 6.67 (6.67 to 6.67) times as fast; its report score less the peer's, turn by turn: +0.000, +0.000"
    ]


def test_the_limited_selection_is_held_against_the_peer_turn_by_turn():
    seconds = {PEER: [600.0, 500.0], LIMITED: [120.0, 125.0]}
    scores = {PEER: [{"report_score": 0.72}, {"report_score": 0.75}], LIMITED: [{"report_score": 0.788}, {"report_score": None}]}
    text = limited_note(seconds, scores)
    assert text.startswith("with the time limit ours is 4.5 (4 to 5) times as fast;")
    assert text.endswith("turn by turn: +0.068, nothing scored")
