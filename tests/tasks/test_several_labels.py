"""Files whose examples have several labels, in every form; and every way in which they can be wrong."""

import json

import numpy as np
import pytest

from pelt_automl.errors import PeltError
from pelt_automl.selection.environment import question_of
from pelt_automl.settings import SelectionSettings, TaskSettings
from pelt_automl.tasks import load_task, name_and_hash
from pelt_automl.tasks.kinds import KINDS, LabelScale
from pelt_automl.tasks.metrics import METRICS
from pelt_automl.tasks.splits import carve
from tests.tasks.test_label_meanings import own
from tests.tasks.test_splits import examples

KIND = KINDS["multi-label"]
LISTS = [["a", "b"], ["b"], [], ["c", "a", "a"]] * 20
TEXTS = ["a|b", "b", "", "c | a|a|"] * 20
ROWS = [(1, 1, 0), (0, 1, 0), (0, 0, 0), (1, 0, 1)]


def refusal(settings):
    with pytest.raises(PeltError, match=r"\w") as caught:
        load_task(settings)
    return str(caught.value)


def one_hot(path, values, columns=("a", "b", "c")):
    rows = [",".join(("text", *columns)), *(f"{path.name} {i},{','.join(map(str, row))}" for i, row in enumerate(values))]
    path.write_text("\n".join(rows) + "\n")
    return path


def labels_of(data):
    """The set of rows, and how many examples there are."""
    every = data.pool.labels + data.report.labels
    return data.labels, set(every), len(every)


@pytest.mark.parametrize(
    ("labels", "ending", "more"),
    [
        (LISTS, ".jsonl", {}),
        (LISTS, ".parquet", {}),
        (TEXTS, ".csv", {"label_separator": "|"}),
        (TEXTS, ".jsonl", {"label_separator": "|"}),
        (["a, b", "b", "", "c,a"] * 20, ".csv", {"label_separator": ","}),
        ([["a", "b"], "b", [], ["c", "a"]] * 20, ".jsonl", {"kind": "multi-label"}),
    ],
)
def test_lists_and_texts_with_a_separator_are_several_labels(tmp_path, labels, ending, more):
    data = load_task(own(tmp_path, labels, endings=(ending, ""), **more))
    assert (data.kind, data.metric.name, data.outputs) == ("multi-label", "micro_f1", 3)
    assert labels_of(data) == (("a", "b", "c"), set(ROWS), 80)
    (note,) = [note for note in data.notes if "any number of 3 labels: 1.2 on average, and 20 of 80 training examples have none" in note]
    assert note.startswith("'label' is cut at" if "label_separator" in more else "'label' holds lists")


@pytest.mark.parametrize("words", [("1", "0"), ("true", "false"), ("TRUE", "FALSE"), ("1.0", "0.0")])
def test_columns_of_zeros_and_ones_are_several_labels(tmp_path, words):
    cells = [[words[0] if there else words[1] for there in row] for row in ROWS * 20]
    data = load_task(TaskSettings(train=one_hot(tmp_path / "train.csv", cells), text_columns=("text",), label_column="a, b,c"))
    assert labels_of(data) == (("a", "b", "c"), set(ROWS), 80)
    assert any(note.startswith("the columns 'a', 'b', 'c' say which labels are there") for note in data.notes)


def test_a_column_whose_name_has_a_comma_is_one_column(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": f"t {i}", "a, b": "yes" if i % 2 else "no"}) + "\n" for i in range(60)))
    assert load_task(TaskSettings(train=path, text_columns=("text",), label_column="a, b")).labels == ("no", "yes")


def test_labels_are_written_as_single_ones_are(tmp_path):
    data = load_task(own(tmp_path, [["Billing", " x\u200b "], ["billing"], [1, 1.0], ["1"]] * 20, endings=(".jsonl", "")))
    assert data.labels == ("1", "Billing", "x")
    assert any("labels that differ in capitals alone are one class, 'Billing'" in note for note in data.notes)


@pytest.mark.parametrize(
    ("train", "test", "more", "expected"),
    [
        (
            [["a"], "b", ["b"]] * 9,
            None,
            {},
            "9 rows with one value in 'label', where the others have lists; write all labels alike, or set",
        ),
        ([["a", "b"], *["a", "b"] * 20], None, {}, "1 row with a list in 'label', where the others have one value; write all labels alike"),
        ([["a"], ["b"]] * 9, [["a"], ["z", "b"]], {}, "1 row with labels 'z': not in "),
        ([["a"], ["b"]] * 9, ["a", "b"], {}, "2 rows with one value"),
        (
            [["a"], ["b"], ["a", "c"]] + [["a", "b"]] * 9,
            None,
            {},
            "1 label has one example only, too few to train and to select on: 'c' (line 3)",
        ),
        ([["a"]] * 20, None, {}, "all labels are 'a': several labels need at least two names"),
        ([[]] * 20, None, {}, "no row has a label in 'label'"),
        ([["a"], ["b", None]] * 9, None, {}, "9 rows with an empty label among others; leave it out (lines 2, 4, 6, 8, 10 and 4 more)"),
        ([["a"], ["b", ["c"]]] * 9, None, {}, "9 rows with a list or an object inside the labels"),
        ([["a"], None, ["b"]] * 9, None, {}, "9 rows without a label (empty or NaN) in 'label'"),
        ([["a"], ["b"]] * 9, None, {"kind": "classification"}, "18 rows with several labels in 'label' (a list); one label a row"),
        (["a|b"] * 9, None, {"label_separator": ""}, "label_separator is empty"),
        (["a|b"] * 9, None, {"label_separator": "|", "kind": "regression"}, "kind is 'regression', but a label separator means"),
        ([["a"], ["b"]] * 20, None, {"metric": "accuracy"}, "'accuracy' doesn't fit a task with 2 classes; choose one of: micro_f1"),
        ([["a"], ["b"]] * 20, None, {"class_weights": "balanced"}, "is a multi-label task, whose examples aren't of one class each"),
    ],
)
def test_what_is_wrong_with_several_labels_is_said(tmp_path, train, test, more, expected):
    message = refusal(own(tmp_path, train, test, endings=(".jsonl", ".jsonl"), **more)) if "label_separator" not in more else None
    if message is None:
        with pytest.raises(PeltError) as caught:
            own(tmp_path, train, endings=(".jsonl", ""), **more)
        message = str(caught.value)
    assert expected in message


def test_lists_that_csv_holds_as_text_name_the_separator(tmp_path):
    assert "a|b with a separator (--label-separator)" in refusal(own(tmp_path, ["['a', 'b']", *["a", "b"] * 20]))
    message = refusal(own(tmp_path, ["['a', 'b']", *["a", "b"] * 20], kind="multi-label"))
    assert "1 row with a list that is written as text; write a|b with a separator" in message


def test_everything_wrong_with_label_columns_is_said_at_once(tmp_path):
    path = one_hot(tmp_path / "train.csv", [(1, 0, "maybe"), (0, 1, 0), (1, 1, ""), *[(1, 1, 0)] * 30])
    message = refusal(TaskSettings(train=path, text_columns=("text",), label_column="a,b,c"))
    assert "2 rows where 'c' is neither 0 nor 1 (nor true or false) (lines 2, 4)" in message
    assert "1 label has one example or none, too few to train and to select on: 'c'" in message
    assert "there is no column 'd'" in refusal(TaskSettings(train=path, text_columns=("text",), label_column="a,d"))
    assert "3 label columns are named" in refusal(TaskSettings(train=path, text_columns=("text",), label_column="a,b,c", kind="regression"))


def test_the_separator_only_says_how_to_read_and_leaves_the_question_of_others_as_it_was(tmp_path):
    (tmp_path / "text").mkdir()
    by_lists = own(tmp_path, LISTS, endings=(".jsonl", ""))
    by_text = own(tmp_path / "text", TEXTS, endings=(".jsonl", ""), label_separator="|")
    assert name_and_hash(by_lists)[1] == name_and_hash(by_text)[1]
    plain, other = (SelectionSettings(task=TaskSettings(**by_text.__dict__ | {"label_separator": mark})) for mark in ("|", ";"))
    assert question_of(plain, "data") == question_of(other, "data")


def test_rare_combinations_share_the_stratum_of_their_rarest_label():
    rows = [(1, 0, 0)] * 5 + [(0, 0, 0)] * 4 + [(1, 1, 0), (1, 1, 1), (0, 1, 1), (0, 1, 0)]
    found = KIND.strata(rows)
    assert len(set(found[:5])) == len(set(found[5:9])) == 1
    assert found[10] == found[11] != found[9] == found[12], "label 2 is rarer than label 1"
    assert len(set(found)) == 4


def test_select_of_rare_combinations_has_its_share_and_train_keeps_every_label():
    rng = np.random.default_rng(0)
    rows = [tuple(row) for row in (rng.random((120, 6)) < (0.5, 0.5, 0.4, 0.4, 0.3, 0.02)).astype(int).tolist()]
    rows[:2] = [(0, 0, 0, 0, 0, 1), (1, 0, 0, 0, 0, 1)]
    for seed in range(20):
        rest, carved = carve(examples(rows), "multi-label", 36, seed, "select")
        assert 30 <= len(carved) <= 36
        assert KIND.names_in([rows[i] for i in rest]) == set(range(6))
        shares = np.asarray([rows[i] for i in carved])[:, :4].mean(axis=0)
        assert shares == pytest.approx(np.asarray(rows)[:, :4].mean(axis=0), abs=0.25)


def test_labels_that_k_examples_miss_are_named(tmp_path):
    lists = [["a", "b"]] * 40 + [["b"]] * 40 + [[f"rare {i}"] for i in range(20) for _ in (0, 1)]
    data = load_task(own(tmp_path, lists, endings=(".jsonl", ""), k=16))
    assert any(note.startswith("no train example has 'rare ") for note in data.notes)


def test_the_threshold_is_the_best_on_select_and_of_equals_the_one_nearest_to_one_half():
    chances = np.array([[0.3, 0.1], [0.25, 0.02], [0.1, 0.3], [0.05, 0.02]])
    logits, labels = np.log(chances / (1 - chances)), np.array([[1, 0], [1, 0], [0, 1], [0, 0]])
    found = KIND.fitted(LabelScale(), logits, labels, METRICS["micro_f1"])
    assert found.threshold == 0.25, "0.15 to 0.25 are right throughout"
    assert KIND.predictions(logits, found).tolist() == labels.tolist()
    assert KIND.fitted(LabelScale(), np.array([[5.0, -5.0]]), np.array([[1, 0]]), METRICS["subset_accuracy"]).threshold == 0.5
    numbers = KINDS["regression"].fitted(LabelScale(1.0, 2.0), logits, labels, METRICS["mae"])
    assert numbers == LabelScale(1.0, 2.0)


def test_the_constant_to_beat_is_the_best_set_of_labels():
    rows = [(0, 0, 0)] * 4 + [(1, 1, 0)] * 3 + [(1, 0, 0)] * 2 + [(0, 0, 1)]
    assert KIND.constant(rows, METRICS["micro_f1"]) == ((1, 1, 0), "the same labels")
    assert KIND.constant(rows, METRICS["subset_accuracy"]) == ((0, 0, 0), "the same labels")


def test_several_labels_are_trained_by_binary_cross_entropy_the_mean_over_labels():
    torch = pytest.importorskip("torch")
    logits, labels = torch.tensor([[[0.0, 2.0]]]), torch.tensor([[[1.0, 0.0]]])
    expected = (np.log(2) + np.log1p(np.exp(2.0))) / 2
    assert KIND.losses(logits, labels, [LabelScale()]).tolist() == [[pytest.approx(expected)]]
