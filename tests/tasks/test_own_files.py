"""A user's own files, from the settings to the splits: what is taken, and every way in which it can be wrong."""

import csv
import json
from dataclasses import replace
from itertools import pairwise

import pytest

from pelt_automl.errors import SettingsError, TaskError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import load_nested, load_task, name_and_hash


def write(path, labels, texts=None):
    texts = texts or [f"{path.stem} text {i}" for i in range(len(labels))]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    return path


def own(train, **more):
    return TaskSettings(**{"train": train, "text_columns": ("text",), "label_column": "label"} | more)


def problems_of(settings, kind=TaskError):
    with pytest.raises(kind, match=r"\w") as caught:
        load_task(settings)
    return str(caught.value)


def test_a_fifth_is_put_aside_and_select_is_carved_out_of_the_k_examples(tmp_path):
    data = load_task(own(write(tmp_path / "a.csv", ["no", "yes"] * 100), k=100))
    train, select = data.split(0)
    assert data.sizes(0) == {"train": 70, "select": 30, "report": 40}
    assert (data.labels, data.outputs, data.metric.name, data.pair, data.kind) == (("no", "yes"), 2, "accuracy", False, "classification")
    assert train.labels.count(0) == 35
    assert not set(train.texts) & set(select.texts)
    assert not (set(train.texts) | set(select.texts)) & set(data.report.texts)
    assert "report is a stratified 20% of the training data, put aside first (seed 0): 40 examples" in data.notes


def test_split_seeds_move_select_but_never_report_or_the_k_examples(tmp_path):
    data = load_task(own(write(tmp_path / "a.csv", ["no", "yes"] * 100), k=50))
    parts = [data.split(seed) for seed in range(3)]
    assert len({select.hash() for _, select in parts}) == 3
    assert len({frozenset(train.texts + select.texts) for train, select in parts}) == 1
    assert load_task(own(tmp_path / "a.csv", k=50)).hashes(1) == data.hashes(1)


def test_another_seed_takes_other_examples_but_the_data_hash_stays(tmp_path):
    train = write(tmp_path / "a.csv", ["no", "yes"] * 100)
    one, two = (load_task(own(train, k=50, seed=seed)) for seed in (0, 1))
    assert one.hashes(0)["train"] != two.hashes(0)["train"]
    assert one.hashes(0)["report"] != two.hashes(0)["report"]
    assert one.data_hash == two.data_hash == name_and_hash(own(train))[1]
    write(train, ["yes", "no"] * 100)
    assert name_and_hash(own(train))[1] != one.data_hash


def test_the_paper_protocol_selects_on_the_next_examples(tmp_path):
    train = write(tmp_path / "a.csv", ["no", "yes"] * 1000)
    data = load_task(own(train, k=100, protocol="paper", test=write(tmp_path / "b.csv", ["no", "yes"] * 10)))
    assert data.sizes(3) == {"train": 100, "select": 1000, "report": 20}
    assert not set(data.split(3)[0].texts) & set(data.split(3)[1].texts)
    assert set(data.split(3)[0].texts) != set(data.split(4)[0].texts)
    few = load_task(own(train, k=1900, protocol="paper", test=tmp_path / "b.csv"))
    assert few.sizes(0)["select"] == 100
    assert any("there are 100 only" in note for note in few.notes)


def test_the_users_validation_file_is_select_for_every_seed(tmp_path):
    settings = own(
        write(tmp_path / "a.csv", ["no", "yes"] * 50),
        validation=write(tmp_path / "v.csv", ["no", "yes"] * 10),
        test=write(tmp_path / "t.csv", ["no", "yes"] * 10),
        k=16,
    )
    data = load_task(settings)
    assert data.sizes(0) == {"train": 16, "select": 20, "report": 20}
    assert data.split(0) == data.split(1)


def test_in_the_paper_protocol_the_validation_file_is_reported_on(tmp_path):
    files = {"validation": write(tmp_path / "v.csv", ["no", "yes"] * 10)}
    data = load_task(own(write(tmp_path / "a.csv", ["no", "yes"] * 50), k=16, protocol="paper", **files))
    assert data.sizes(0) == {"train": 16, "select": 84, "report": 20}


def test_texts_of_report_and_validation_leave_the_pool_and_are_counted(tmp_path):
    texts = [f"t {i}" for i in range(60)]
    data = load_task(
        own(
            write(tmp_path / "a.csv", ["no", "yes"] * 30, texts),
            test=write(tmp_path / "t.csv", ["no", "yes"] * 3, [" t 0", "t 1 ", *"abcd"]),
            validation=write(tmp_path / "v.csv", ["no", "yes"] * 3, ["t 0", "t 2", *"efgh"]),
        )
    )
    assert data.sizes(0) == {"train": 57, "select": 5, "report": 6}
    assert "1 examples with the same texts as one of report were removed from validation" in data.notes
    assert "3 training examples with the same texts as one of report or validation were removed" in data.notes


def test_repeated_texts_never_lie_on_both_sides(tmp_path):
    texts = [f"t {i % 40}" for i in range(200)]
    data = load_task(own(write(tmp_path / "a.csv", ["no", "yes"] * 100, texts)))
    for seed in range(5):
        train, select = data.split(seed)
        sides = [set(train.texts), set(select.texts), set(data.report.texts)]
        assert all(sides)
        assert sum(map(len, sides)) == len(set.union(*sides)) == 40


@pytest.mark.parametrize(
    ("labels", "names", "kind", "metric"),
    [
        (["b", "a"] * 20, ("a", "b"), "classification", "accuracy"),
        (["10", "9"] * 20, ("9", "10"), "classification", "accuracy"),
        (["1.0", "2.0"] * 20, ("1", "2"), "classification", "accuracy"),
        (["007", "7"] * 20, ("007", "7"), "classification", "accuracy"),
        (["0.5", "1"] * 20, (), "regression", "spearman"),
        # 31 against 9: more than three times as many; 30 against 10: not more
        (["a"] * 31 + ["b"] * 9, ("a", "b"), "classification", "macro_f1"),
        (["a"] * 30 + ["b"] * 10, ("a", "b"), "classification", "accuracy"),
    ],
)
def test_labels_tell_the_kind_and_the_metric(tmp_path, labels, names, kind, metric):
    data = load_task(own(write(tmp_path / "a.csv", labels)))
    assert (data.labels, data.kind, data.metric.name) == (names, kind, metric)
    assert any("imbalanced" in note for note in data.notes) == (metric == "macro_f1")


def test_the_user_overrides_kind_and_metric(tmp_path):
    train = write(tmp_path / "a.csv", ["1", "2", "3", "4"] * 10)
    data = load_task(own(train, kind="regression", metric="mae"))
    assert (data.outputs, data.metric.greater_is_better, set(data.report.labels)) == (1, False, {1.0, 2.0, 3.0, 4.0})
    mixed = write(tmp_path / "b.csv", ["1", "two"] * 20)
    assert load_task(own(mixed, kind="classification")).labels == ("1", "two")
    assert "choose one of: accuracy, macro_f1" in problems_of(own(train, metric="f1"), SettingsError)


def test_json_labels_of_every_type_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"t {i}", "label": i % 2 == 0}) + "\n" for i in range(40)), encoding="utf-8")
    assert load_task(own(path)).labels == ("False", "True")


GOOD = ["a", "b"] * 20


@pytest.mark.parametrize(
    ("labels", "texts", "more", "expected"),
    [
        (GOOD, None, {"label_column": "lable"}, ["there is no column 'lable' (did you mean 'label'?); its columns are: text, label"]),
        (GOOD, None, {"text_columns": ("x", "y")}, ["2 problems", "no column 'x'", "no column 'y'"]),
        (GOOD, ["", " ", *map(str, range(38))], {}, ["2 rows without text in 'text'; fill or drop (lines 2, 3)"]),
        (["a"] * 40, None, {}, ["all 40 labels are 'a'", "at least two classes"]),
        (
            [*GOOD, "rare"],
            None,
            {},
            ["1 class has one example only", "'rare' (line 42)", "merge the label into another one, or drop these rows"],
        ),
        (["nan", "", *GOOD], None, {}, ["2 rows without a label (empty or NaN) in 'label'", "(lines 2, 3)"]),
        (
            [*GOOD, "3", "4.5"],
            None,
            {},
            ["2 rows with mixed label types", "'3', '4.5'", "numbers, where the others are words", "lines 42, 43"],
        ),
        (["1", "2"] * 20 + ["x"], None, {}, ["1 row with mixed label types", "'x'", "words, where the others are numbers"]),
        (
            ["1", "2", "x"] * 20,
            None,
            {"kind": "regression"},
            ["20 rows with mixed label types", "not a number, but the task is a regression"],
        ),
        (["1.5"] * 20, None, {}, ["all labels are 1.5, so that there is nothing to predict"]),
        (list(map(str, range(40))), None, {}, ["40 of 40 classes have one example only", "set kind to 'regression'"]),
        (GOOD[:10], None, {}, ["has 8 labeled training examples and 2 to report on; at least 16"]),
    ],
)
def test_what_is_wrong_is_said_with_its_lines(tmp_path, labels, texts, more, expected):
    message = problems_of(own(write(tmp_path / "a.csv", labels, texts), **more))
    for part in expected:
        assert part in message


def test_everything_wrong_is_said_at_once_over_all_files(tmp_path):
    train = write(tmp_path / "train.csv", [*GOOD, "rare", ""], [*map(str, range(39)), "", "x", "y"])
    test = write(tmp_path / "test.csv", ["a", "new"], ["one", ""])
    message = problems_of(own(train, test=test))
    for part in ("5 problems", "line 41", "'rare' (line 42)", "line 43", "test.csv: 1 row without text", "labels 'new': not in"):
        assert part in message


def test_files_that_cannot_be_read_are_all_named(tmp_path):
    message = problems_of(own(tmp_path / "a.csv", test=tmp_path / "b.txt"))
    assert "a.csv: there is no such file" in message
    assert "b.txt: unknown ending" in message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"k": 33}, "k is 33, but a has 32 labeled training examples; set k to at most 32, or to 'full'"),
        ({"k": 30, "protocol": "paper"}, "set k to at most 27, or to 'full'"),
        ({"text_columns": ("label",)}, "the column 'label' is named twice; name two different columns"),
    ],
)
def test_settings_that_the_data_cannot_meet_are_refused(tmp_path, more, message):
    assert message in problems_of(own(write(tmp_path / "a.csv", GOOD), **more), SettingsError)


def test_k_must_leave_something_to_select_on(tmp_path):
    train = write(tmp_path / "a.csv", [f"class {i % 20}" for i in range(200)])
    assert "k is 16, but a has 20 classes" in problems_of(own(train, k=16), SettingsError)
    assert "of 20 labeled examples 0 are left to select on" in problems_of(own(train, k=20), SettingsError)


KS = [16, 40, 120, None]


def test_in_the_strict_protocol_the_examples_of_a_smaller_k_are_among_those_of_a_larger_one(tmp_path):
    settings = own(write(tmp_path / "a.csv", ["no", "yes", "no"] * 100), seed=1)
    curve = load_nested(settings, KS)
    texts = [set(data.pool.texts) for data in curve]
    assert [len(found) for found in texts] == [16, 40, 120, 240]
    assert all(small < large for small, large in pairwise(texts))
    assert [set(load_task(replace(settings, k=k)).pool.texts) for k in KS] == texts, "alone it has the same examples"
    assert len({data.report.hash() for data in curve}) == 1
    assert curve[1].sizes(0) == {"train": 28, "select": 12, "report": 60}
    assert "select is a stratified 30% (at most 1,000) of the labeled examples: 40 of 240" in curve[1].notes
    for data in curve:
        train, select = data.split(5)
        assert set(train.texts) | set(select.texts) == set(data.pool.texts)


def test_in_the_papers_protocol_the_training_examples_of_a_smaller_k_are_among_those_of_a_larger_one(tmp_path):
    settings = own(write(tmp_path / "a.csv", ["no", "yes"] * 1000), protocol="paper", test=write(tmp_path / "t.csv", ["no", "yes"] * 20))
    curve = load_nested(settings, [16, 40, 120])
    for seed in (0, 7):
        texts = [set(data.split(seed)[0].texts) for data in curve]
        assert [len(found) for found in texts] == [16, 40, 120]
        assert all(small < large for small, large in pairwise(texts))
        assert all(not set(data.split(seed)[1].texts) & set(data.split(seed)[0].texts) for data in curve)
    assert len({data.report.hash() for data in curve}) == 1


def test_with_a_validation_file_the_training_examples_are_nested_and_select_is_the_same(tmp_path):
    files = {"validation": write(tmp_path / "v.csv", ["no", "yes"] * 10), "test": write(tmp_path / "t.csv", ["no", "yes"] * 10)}
    small, large = load_nested(own(write(tmp_path / "a.csv", ["no", "yes"] * 50), **files), [16, 60])
    assert set(small.split(0)[0].texts) < set(large.split(0)[0].texts)
    assert small.split(0)[1].hash() == large.split(0)[1].hash()


def test_everything_wrong_with_any_k_is_said_at_once(tmp_path):
    train = write(tmp_path / "a.csv", [f"class {i % 20}" for i in range(200)])
    with pytest.raises(SettingsError) as found:
        load_nested(own(train), [16, 100, 161, 500])
    assert str(found.value).splitlines() == [
        "the list of K has 3 problems:",
        "  - k is 16, but a has 20 classes; set k so that there is an example of each",
        "  - k is 161, but a has 160 labeled training examples; set k to at most 160, or to 'full'",
        "  - k is 500, but a has 160 labeled training examples; set k to at most 160, or to 'full'",
    ]


def test_a_task_is_named_after_its_file(tmp_path):
    (tmp_path / "my reviews").mkdir()
    assert load_task(own(write(tmp_path / "my reviews" / "train.csv", GOOD))).name == "my-reviews-train"


def test_the_paper_protocol_never_selects_on_a_text_that_it_trained_on(tmp_path):
    train = write(tmp_path / "a.csv", ["no", "yes"] * 100, [f"t {i % 100}" for i in range(200)])
    data = load_task(own(train, k=50, protocol="paper", test=write(tmp_path / "b.csv", ["no", "yes"] * 10)))
    for seed in range(3):
        trained, select = data.split(seed)
        assert not set(trained.texts) & set(select.texts)
        assert len(trained) == 50
        assert 0 < len(select) < 150
