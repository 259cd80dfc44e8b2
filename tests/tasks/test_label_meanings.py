"""What labels mean as people write them: each is read rightly, or a note or a refusal names it."""

import json
from decimal import Decimal

import pytest

from pelt_automl.errors import TaskError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import load_task
from pelt_automl.tasks.labels import SeveralLabelsError, normalize


def write(path, labels):
    """A file of texts and labels; in CSV every label is text, in JSON lines it keeps its type."""
    rows = [(f"{path.name} text {i}", label) for i, label in enumerate(labels)]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist([{"text": text, "label": label} for text, label in rows]), path)
    else:
        path.write_text("text;label\n" + "".join(f"{text};{label}\n" for text, label in rows), encoding="utf-8")
    return path


def own(tmp_path, train, test=None, endings=(".csv", ".csv"), **more):
    files = {"train": write(tmp_path / f"train{endings[0]}", train)} | (
        {"test": write(tmp_path / f"test{endings[1]}", test)} if test else {}
    )
    return TaskSettings(text_columns=("text",), label_column="label", **files, **more)


def notes_of(data):
    usual = ("report is", "report has only", "select is")
    return [note for note in data.notes if not note.startswith(usual) and "stand between" not in note]


def refusal(settings):
    with pytest.raises(TaskError, match=r"\w") as caught:
        load_task(settings)
    return str(caught.value)


@pytest.mark.parametrize("labels", [["2,5", "3,25", "4"], ["-0,5", "1,5", "2"], ["0,125", "0,250", "1,000"]])
def test_decimal_commas_are_numbers_and_said_to_be(tmp_path, labels):
    data = load_task(own(tmp_path, labels * 20))
    assert data.kind == "regression"
    assert set(data.report.labels) == {float(label.replace(",", ".")) for label in labels}
    assert f"labels such as '{labels[0]}'" in notes_of(data)[0]
    assert "are read as numbers with decimal commas" in notes_of(data)[0]


def test_a_test_file_may_have_points_where_train_has_commas(tmp_path):
    data = load_task(own(tmp_path, ["2,5", "3,5", "4"] * 20, [2.5, 4, 3.5], (".csv", ".jsonl")))
    assert data.report.labels == (2.5, 4.0, 3.5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["2,5", "2.5", "3"], "labels with decimal commas ('2,5') and with points ('2.5'); write them alike"),
        (["1,234", "2,500", "12"], "labels such as '1,234', '2,500' may mean 1234 or 1.234; write them without a comma"),
    ],
)
def test_commas_that_may_mean_two_things_are_refused(tmp_path, labels, message):
    assert message in refusal(own(tmp_path, labels * 20))


def test_a_user_who_says_classification_means_commas_as_they_stand(tmp_path):
    assert load_task(own(tmp_path, ["2,5", "3,5"] * 20, kind="classification")).labels == ("2,5", "3,5")


@pytest.mark.parametrize(
    ("labels", "name"),
    [(["Billing"] * 20 + ["billing"] * 3 + [" billing "], "Billing"), (["BILLING"] * 3 + ["billing"] * 21, "billing")],
)
def test_spellings_of_one_class_are_one_class_and_named(tmp_path, labels, name):
    data = load_task(own(tmp_path, [*labels, *["Other"] * 24]))
    assert sorted(data.labels) == sorted([name, "Other"])
    assert len(data.pool) + len(data.report) == 48
    (note,) = notes_of(data)
    assert f"one class, '{name}': '" in note
    assert "rename one to keep them apart" in note


@pytest.mark.parametrize("labels", [["a  b", "a\u00a0b", " a b\t", "a\u200b b"], ["caf\u00e9", "cafe\u0301"]])
def test_white_space_and_unicode_forms_make_no_classes(tmp_path, labels):
    data = load_task(own(tmp_path, [*labels * 5, *["other"] * 20]))
    assert len(data.labels) == 2
    assert notes_of(data) == []


BOOLEANS = {"json": [True, False], "python": ["True", "False"], "excel": ["TRUE", "FALSE"], "javascript": ["true", "false"]}


@pytest.mark.parametrize("train", BOOLEANS)
@pytest.mark.parametrize("test", BOOLEANS)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_truth_values_of_every_program_are_the_same(tmp_path, train, test, ending):
    endings = tuple(ending if name == "json" else ".csv" for name in (train, test))
    data = load_task(own(tmp_path, BOOLEANS[train] * 20, BOOLEANS[test] * 5, endings))
    assert [name.lower() for name in data.labels] == ["false", "true"]
    assert data.report.labels == (1, 0) * 5


@pytest.mark.parametrize(
    ("train", "test", "endings", "labels"),
    [
        ([1, 2], ["1", "2"], (".jsonl", ".csv"), ("1", "2")),
        (["1", "2"], [1.0, 2.0], (".csv", ".jsonl"), ("1", "2")),
        (["1.0", "2.0"], [1, 2], (".csv", ".jsonl"), ("1", "2")),
        ([1.0, 2.0], ["1", "2.0"], (".parquet", ".csv"), ("1", "2")),
        ([Decimal("1.0"), Decimal("2.0")], [1, 2], (".parquet", ".jsonl"), ("1", "2")),
        (["01", "02"], [1, 2], (".csv", ".jsonl"), ("01", "02")),
    ],
)
def test_numbers_of_every_type_are_the_same_class(tmp_path, train, test, endings, labels):
    data = load_task(own(tmp_path, train * 20, test * 5, endings))
    assert (data.kind, data.labels) == ("classification", labels)
    assert data.report.labels == (0, 1) * 5


def test_zeros_that_a_spreadsheet_has_lost_are_named(tmp_path):
    data = load_task(own(tmp_path, ["01", "02"] * 20, ["1", "2"] * 5))
    assert f"{tmp_path}/test.csv: the label '1' is taken as '01' of {tmp_path}/train.csv" in data.notes
    assert "labels '1'" in refusal(own(tmp_path, ["01", "001", "02"] * 20, ["1", "2"] * 5)), "which of the two isn't known"


def test_classes_that_are_the_same_number_are_named(tmp_path):
    data = load_task(own(tmp_path, ["007", "7"] * 20))
    assert data.labels == ("007", "7")
    assert notes_of(data) == ["the labels '007', '7' are the same number, but different classes; write them alike if they are one"]


@pytest.mark.parametrize(
    "labels",
    [
        ["1.1", "1.10", "1.2"],
        ["1.9", "1.10"],
        ["2.10", "2.9", "3.0"],
        ["1.0", "1.10", "2.0"],
        ["01.5", "02.5"],
        ["250.00", "250.50", "401.9"],
        ["1,1", "1,10", "1,2"],
    ],
)
def test_codes_are_not_taken_as_amounts_and_either_answer_is_one_setting_away(tmp_path, labels):
    message = refusal(own(tmp_path, labels * 20))
    assert "look like codes, and may be amounts; set kind to 'classification' when they are names, to 'regression' when" in message
    names = load_task(own(tmp_path, labels * 20, kind="classification"))
    assert set(names.labels) == set(labels)
    assert load_task(own(tmp_path, labels * 20, kind="regression")).kind == "regression"


@pytest.mark.parametrize("labels", [["0.5", "1.25", "3"], ["2.50", "3.75", "4"], ["1.5", "2.0", "2.5"], [1.1, 1.25]])
def test_amounts_are_amounts_and_a_note_says_so(tmp_path, labels):
    data = load_task(own(tmp_path, labels * 20, endings=(".jsonl" if isinstance(labels[0], float) else ".csv", "")))
    assert data.kind == "regression"
    (note,) = notes_of(data)
    assert note.startswith("the labels are numbers with fractions, such as ")
    assert "if they are names or codes, set kind to 'classification'" in note
    assert notes_of(load_task(own(tmp_path, labels * 20, endings=(".jsonl", ""), kind="regression"))) == []


@pytest.mark.parametrize("label", [["a", "b"], ["a"], [], {"a": 1}])
def test_lists_are_refused_as_several_labels_where_one_is_expected(tmp_path, label):
    message = refusal(own(tmp_path, [label, *["a", "b"] * 20], endings=(".jsonl", ""), kind="classification"))
    assert "1 row with several labels in 'label' (a list); one label a row is expected: keep one; several labels are lists" in message
    assert "(line 1)" in message


def test_lists_that_a_csv_file_holds_as_text_are_refused_as_several_labels(tmp_path):
    assert "1 row with several labels" in refusal(own(tmp_path, ["['a', 'b']", *["a", "b"] * 20]))


def test_labels_that_look_like_several_are_named(tmp_path):
    data = load_task(own(tmp_path, ["a", "b", "a|b", "c/d"] * 20))
    assert data.labels == ("a", "a|b", "b", "c/d")
    (note,) = notes_of(data)
    assert note == (
        "labels such as 'a|b' look like several labels of one example; each is taken as a class of its own (--label-separator '|' takes "
        "them apart)"
    )


@pytest.mark.parametrize("word", ["NA", "None", "N/A", "null", "-"])
def test_what_may_mean_no_label_is_a_class_among_words_and_named(tmp_path, word):
    data = load_task(own(tmp_path, [word, "yes", "no"] * 20))
    assert set(data.labels) == {word, "yes", "no"}
    assert notes_of(data) == [f"the label {word!r} (20 times) is taken as a class; if it means that there is no label, drop these rows"]


@pytest.mark.parametrize("word", ["NA", "None", "N/A", "null", "-", "nan", "#N/A", "<NA>", ""])
@pytest.mark.parametrize("numbers", [["1", "2"], ["1.5", "2.5"], ["1,5", "2,5"]])
def test_among_numbers_it_is_no_label(tmp_path, word, numbers):
    message = refusal(own(tmp_path, [*numbers * 20, word]))
    assert "1 row without a label (empty" in message
    assert "(line 42)" in message
    assert word in ("", "nan") or repr(word) in message


@pytest.mark.parametrize("word", ["nan", "#N/A", "<NA>", "", "  "])
def test_what_never_is_a_class_is_no_label(tmp_path, word):
    assert "1 row without a label (empty" in refusal(own(tmp_path, ["yes", "no"] * 20 + [word]))


def test_a_label_that_is_a_date_is_refused(tmp_path):
    from datetime import date

    message = refusal(own(tmp_path, [date(2026, 1, 1)] * 40, endings=(".parquet", "")))
    assert "40 rows where 'label' is neither text nor a number" in message


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (["1,250", "2,250"], "labels such as '1,250', '2,250' may mean 1250 or 1.250"),
        (["good", "bad"], "2 rows with mixed label types, such as 'bad', 'good': not a number, but the task is a regression"),
    ],
)
def test_a_test_file_without_numbers_is_one_error_where_train_has_amounts(tmp_path, test, message):
    said = refusal(own(tmp_path, ["2,5", "3,5"] * 20, test))
    assert message in said
    assert message in refusal(own(tmp_path, ["2,5 %", "3,5 %"] * 20, test))
    assert said.count("test.csv") == 1


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        (["1,234.50", "999.25", "1,234"], {1234.5, 999.25, 1234.0}),
        (["1.234,50", "999,25", "1.234"], {1234.5, 999.25, 1234.0}),
        (["1 234,5", "2,5"], {1234.5, 2.5}),
        (["1\u00a0234,5", "2,5"], {1234.5, 2.5}),
        (["1\u202f234,5", "2,5"], {1234.5, 2.5}),
        (["2,5 %", "50%"], {2.5, 50.0}),
        (["\u22122,5", "2,5"], {-2.5, 2.5}),
        (["$2.50", "-$3.75", "$1,234.50"], {2.5, -3.75, 1234.5}),
        (["2,50 \u20ac", "3,75 \u20ac"], {2.5, 3.75}),
        (["2,50 EUR", "3,75EUR"], {2.5, 3.75}),
        (["R$ 2,50", "R$ 3,75"], {2.5, 3.75}),
    ],
)
def test_amounts_as_people_write_them_are_numbers_and_said_to_be(tmp_path, labels, numbers):
    data = load_task(own(tmp_path, labels * 20))
    assert data.kind == "regression"
    assert set(data.report.labels) == numbers
    assert any("labels such as" in note and "are read as" in note for note in notes_of(data))
    assert load_task(own(tmp_path, labels * 20, kind="classification")).kind == "classification"


@pytest.mark.parametrize(
    "labels", [["50%", "60%"], ["1 234", "2 345"], ["$5", "$7"], ["1,234,567", "2,345,678"], ["1.234.567", "2.345.678"]]
)
def test_whole_amounts_are_never_silently_classes(tmp_path, labels):
    assert "look like amounts; set kind to 'classification' when they are names" in refusal(own(tmp_path, labels * 20))
    assert load_task(own(tmp_path, labels * 20, kind="regression")).kind == "regression"
    assert set(load_task(own(tmp_path, labels * 20, kind="classification")).labels) == set(labels)


@pytest.mark.parametrize(
    ("labels", "test", "message"),
    [
        (["50%", "0.5"], None, "without a sign ('0.5') and with % ('50%'); write them alike"),
        (["$2.50", "\u20ac3.50"], None, "with $ ('$2.50') and with \u20ac"),
        (["2.5%", "3.5%"], ["2.5", "3.5"], "different signs: % in"),
        (["1,234.50", "1.234,50"], None, "with decimal commas ('1.234,50') and with points ('1,234.50')"),
        (["1,234.50", "2,5"], None, "with decimal commas ('2,5') and with points ('1,234.50')"),
        (["2,5", "3,5", "4,5"] * 3 + ["k.A."], None, "20 rows with mixed label types, such as 'k.A.': words"),
        (["1,000", "2,500", "3,5"], None, "labels such as '2,500', '3,5' look like codes"),
        (["1.0", "2.0"], ["7.0", "1.0"], "1 row with labels '7.0': not in"),
    ],
)
def test_amounts_that_cannot_be_told_are_refused_as_they_are_written(tmp_path, labels, test, message):
    assert message in refusal(own(tmp_path, labels * 20, test))


def test_spellings_that_were_merged_are_named_in_an_error(tmp_path):
    said = refusal(own(tmp_path, ["Billing", "billing"] * 10))
    assert "all 20 labels are 'Billing'" in said
    assert "labels that differ in capitals alone are one class, 'Billing': 'Billing' (10), 'billing' (10)" in said


def test_names_in_brackets_are_classes(tmp_path):
    names = ["[urgent]", "[INST]", "{x}", "(a, b)"]
    assert set(load_task(own(tmp_path, names * 20)).labels) == set(names)


@pytest.mark.parametrize("label", ["['a']", "[a, b]", "('a', 'b')", "{'a': 1}", "[]", '["a" "b"]'])
def test_lists_as_programs_write_them_are_several_labels(label):
    with pytest.raises(SeveralLabelsError):
        normalize(label)


def test_parts_that_recur_across_labels_are_named_as_several_labels(tmp_path):
    assert any("several labels" in note for note in notes_of(load_task(own(tmp_path, ["a, b", "b, c", "a, c"] * 20))))
    assert not notes_of(load_task(own(tmp_path, ["Dallas, TX", "Austin, TX"] * 20)))
