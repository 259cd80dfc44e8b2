"""Answers: how they agree with acceptable ones, held to another program's reading of SQuAD's script; and files of them in every form."""

import json

import numpy as np
import pytest
from torchmetrics.functional.text import squad

from pelt_automl.errors import PeltError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import METRICS, load_task
from pelt_automl.tasks.answers import Answer, answers_of, as_label, normalized
from pelt_automl.tasks.kinds import KINDS, LabelScale

KIND = KINDS["question-answering"]
WORDS = ["the", "A", "Rome", "rome.", "in", "1995", "-", "Paris", "an", "eternal", "city", "(old)"]


def texts(random, most):
    return " ".join(random.choice(WORDS, random.integers(1, most)))


def test_f1_and_exact_match_are_squads_with_several_acceptable_answers():
    random = np.random.default_rng(0)
    said = [texts(random, 5) for _ in range(300)]
    true = [[texts(random, 5) for _ in range(random.integers(1, 4))] for _ in said]
    kept = [i for i, own in enumerate(true) if all(map(normalized, own))]
    found = squad(
        [{"prediction_text": said[i], "id": str(i)} for i in kept],
        [{"answers": {"answer_start": [0] * len(true[i]), "text": true[i]}, "id": str(i)} for i in kept],
    )
    labels = [as_label([Answer(0, text) for text in true[i]]) for i in kept]
    assert METRICS["answer_f1"].value([said[i] for i in kept], labels) == pytest.approx(float(found["f1"]) / 100, abs=1e-6)
    assert METRICS["exact_match"].value([said[i] for i in kept], labels) == pytest.approx(float(found["exact_match"]) / 100, abs=1e-6)
    assert 0.02 < float(found["exact_match"]) / 100 < float(found["f1"]) / 100 < 0.9


@pytest.mark.parametrize(
    ("said", "answers", "f1", "exact"),
    [
        ("", [], 1, 1),
        ("The", [], 1, 1),
        ("Rome", [], 0, 0),
        ("", ["Rome"], 0, 0),
        ("the Rome!", ["Rome"], 1, 1),
        ("Rome city", ["Rome", "city of Rome"], 0.8, 0),
        ("nothing of it", ["Rome"], 0, 0),
    ],
)
def test_no_answer_is_right_where_there_is_none(said, answers, f1, exact):
    label = as_label([Answer(0, text) for text in answers])
    assert METRICS["answer_f1"].value([said], [label]) == pytest.approx(f1)
    assert METRICS["exact_match"].value([said], [label]) == exact


def test_a_bootstrap_weighs_the_same_statistics():
    labels = [as_label([Answer(0, "Rome")]), as_label([])]
    metric = METRICS["answer_f1"]
    statistics = metric.statistics(metric.values(["Rome", "Rome"]), metric.values(labels))
    assert metric.score(statistics, np.array([[1.0, 1.0], [3.0, 1.0], [0.0, 1.0]])).tolist() == [0.5, 0.75, 0.0]


def test_a_threshold_is_chosen_where_questions_may_have_no_answer_and_else_there_always_is_one():
    passages = ["Rome is old", "Paris is new", "Bonn is small"]
    # where the piece starts and ends, its score, and that of no answer
    logits = np.array([[0, 4, 2.0, 1.0], [0, 5, 1.0, 2.0], [0, 4, 0.0, 5.0]])
    labels = np.array([as_label([Answer(0, "Rome")]), as_label([Answer(0, "Paris")]), as_label([])])
    found = KIND.fitted(LabelScale(), logits, labels, METRICS["answer_f1"], passages)
    assert 0.0067 < found.threshold <= 0.269
    assert KIND.predictions(logits, found, passages).tolist() == ["Rome", "Paris", ""]
    always = KIND.fitted(LabelScale(), logits[:2], labels[:2], METRICS["answer_f1"], passages[:2])
    assert always.threshold == 0
    assert KIND.predictions(logits[1:], always, passages[1:]).tolist() == ["Paris", "Bonn"]


def test_strata_say_whether_there_is_an_answer_and_the_constant_is_none():
    labels = [as_label([]), as_label([Answer(3, "x")]), as_label([])]
    assert KIND.strata(labels) == [0, 1, 0]
    assert KIND.constant(labels, METRICS["answer_f1"]) == ("", "no answer")
    assert KIND.is_constant(np.array(["a", "a"]))
    assert not KIND.is_constant(np.array(["a", "b"]))


# ------------------------------------------------------------------ files


PASSAGES = [f"Passage {i}: the tower is {100 + i} feet tall, and {100 + i} is a number." for i in range(40)]
QUESTIONS = [f"How tall is tower {i}?" for i in range(40)]
STARTS = [passage.index(str(100 + i)) for i, passage in enumerate(PASSAGES)]
EXPECTED = [as_label([Answer(start, str(100 + i))]) for i, start in enumerate(STARTS)]


def as_squad(path, unanswerable=()):
    def asked(i):
        own = {"question": QUESTIONS[i], "id": f"q{i}", "answers": [{"text": str(100 + i), "answer_start": STARTS[i]}]}
        return own | ({"is_impossible": True, "answers": [], "plausible_answers": own["answers"]} if i in unanswerable else {})

    paragraphs = [{"context": PASSAGES[i], "qas": [asked(i)]} for i in range(40)]
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "Towers", "paragraphs": paragraphs}]}))
    return path


def rows(path, answers, **more):
    table = [{"question": q, "context": p, "answers": a} for q, p, a in zip(QUESTIONS, PASSAGES, answers, strict=True)]
    table = [row | {name: values[i] for name, values in more.items()} for i, row in enumerate(table)]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(table), path)
    else:
        import csv

        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    return path


def labels_of(settings):
    data = load_task(settings)
    assert (data.kind, data.metric.name, data.text_columns) == ("question-answering", "answer_f1", ("question", "context"))
    found = dict(zip((texts[0] for texts in data.pool.texts + data.report.texts), data.pool.labels + data.report.labels, strict=True))
    return [found[question] for question in QUESTIONS], data


HUB = [{"text": [str(100 + i)], "answer_start": [start]} for i, start in enumerate(STARTS)]


@pytest.mark.parametrize(
    ("answers", "ending", "more"),
    [
        (HUB, ".jsonl", {}),
        (HUB, ".parquet", {}),
        ([[{"text": own["text"][0], "answer_start": own["answer_start"][0]}] for own in HUB], ".jsonl", {}),
        ([{"text": own["text"][0], "answer_start": own["answer_start"][0]} for own in HUB], ".jsonl", {}),
        ([own["text"] for own in HUB], ".jsonl", {}),
        ([own["text"][0] for own in HUB], ".jsonl", {}),
        ([f" {own['text'][0]} " for own in HUB], ".csv", {}),
        ([own["text"][0] for own in HUB], ".csv", {"start": STARTS}),
        ([100 + i for i in range(40)], ".jsonl", {"start": STARTS}),
    ],
)
def test_answers_in_every_form_are_the_same(tmp_path, answers, ending, more):
    path = rows(tmp_path / f"train{ending}", answers, **more)
    column = {"label_column": "answers,start"} if more else {}
    assert labels_of(TaskSettings(train=path, kind="question-answering", **column))[0] == EXPECTED


def test_squads_own_file_is_read_and_questions_without_an_answer_are_said(tmp_path):
    assert labels_of(TaskSettings(train=as_squad(tmp_path / "train.json"), kind="question-answering"))[0] == EXPECTED
    found, data = labels_of(TaskSettings(train=as_squad(tmp_path / "two.json", range(0, 40, 4)), kind="question-answering"))
    assert found == [as_label([]) if i % 4 == 0 else own for i, own in enumerate(EXPECTED)]
    assert any("10 of 40 questions to train on have no answer in their passage" in note for note in data.notes)
    data = load_task(TaskSettings(train=tmp_path / "two.json", text_columns=("question", "context"), label_column="answers"))
    assert data.kind == "question-answering", "SQuAD's answers say so themselves"


def test_questions_on_one_passage_stay_on_one_side(tmp_path):
    table = [
        {"question": f"{word} tall is it?", "context": passage, "answers": [str(100 + i)]}
        for i, passage in enumerate(PASSAGES)
        for word in ("How", "Say how")
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    data = load_task(TaskSettings(train=path, kind="question-answering"))
    train, select = data.split(0)
    sides = [{texts[1] for texts in part.texts} for part in (train, select, data.report)]
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    assert any("examples with the same 'context' stay on one side" in note for note in data.notes)


def test_a_test_file_with_the_same_passages_keeps_all_examples_and_that_is_said(tmp_path):
    train, test = rows(tmp_path / "train.jsonl", HUB), tmp_path / "test.jsonl"
    table = [{"question": f"What of {i}?", "context": passage, "answers": ["tower"]} for i, passage in enumerate(PASSAGES[:30])]
    test.write_text("".join(json.dumps(row) + "\n" for row in table))
    data = load_task(TaskSettings(train=train, test=test, kind="question-answering"))
    assert (len(data.pool), len(data.report)) == (40, 30)
    assert any("30 of 40 passages to train on are in the test or validation file, too" in note for note in data.notes)


def test_questions_on_a_few_documents_are_divided_as_they_are(tmp_path):
    path = tmp_path / "train.jsonl"
    table = [{"question": f"How tall is tower {i}?", "context": " ".join(PASSAGES), "answers": [str(100 + i)]} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    data = load_task(TaskSettings(train=path, kind="question-answering"))
    assert data.sizes(0) == {"train": 22, "select": 10, "report": 8}
    assert any("1 passage is too few to keep apart: questions on one may be on both sides of a split" in note for note in data.notes)


def test_a_group_column_is_taken_as_it_is_named(tmp_path):
    train = rows(tmp_path / "train.jsonl", HUB, author=[f"a{i % 8}" for i in range(40)])
    data = load_task(TaskSettings(train=train, kind="question-answering", group_column="author"))
    assert any("examples with the same 'author' stay on one side" in note for note in data.notes)


def test_leading_spaces_of_a_passage_count_and_a_start_that_is_off_is_corrected_with_a_note(tmp_path):
    answers = [{"text": "tower", "answer_start": 99} for _ in PASSAGES]
    path = tmp_path / "train.jsonl"
    table = zip(QUESTIONS, PASSAGES, answers, strict=True)
    path.write_text("".join(json.dumps({"question": q, "context": f"  {p}", "answers": a}) + "\n" for q, p, a in table))
    found, data = labels_of(TaskSettings(train=path, kind="question-answering"))
    assert found == [as_label([Answer(f"  {passage}".index("tower"), "tower")]) for passage in PASSAGES]
    assert any("40 answers don't stand where their start says" in note for note in data.notes)


@pytest.mark.parametrize(
    ("answers", "more", "expected"),
    [
        ([["a tree"]] * 40, {}, "40 rows whose answers aren't in the passage, letter by letter"),
        ([{"text": ["tower"]}] * 40, {}, "40 rows with answers in 'answers' that can't be read"),
        ([{"text": ["tower"], "answer_start": []}] * 40, {}, "40 rows with answers in 'answers' that can't be read"),
        (["['tower']"] * 40, {}, "40 rows with answers that are a list or an object as text; write the answer alone"),
        ([["tower", ""]] * 40, {}, "40 rows with an empty answer among others"),
        ([[3]] * 40, {}, "40 rows with answers in 'answers' that can't be read"),
        ([[]] * 40, {}, "no question has an answer in 'answers'"),
        ([["tower"]] * 40, {"text_columns": ("context",)}, "needs two text columns, the question and the passage, in this order; 1 named"),
        ([["tower"]] * 40, {"metric": "accuracy"}, "choose one of: answer_f1, exact_match"),
        ([["tower"]] * 40, {"label_column": "answer"}, "there is no column 'answer' (did you mean 'answers'?)"),
        ([["tower"]] * 40, {"class_weights": "balanced"}, "whose examples aren't of one class each"),
    ],
)
def test_what_is_wrong_with_answers_is_said(tmp_path, answers, more, expected):
    path = rows(tmp_path / "train.jsonl", answers)
    with pytest.raises(PeltError) as caught:
        load_task(TaskSettings(train=path, kind="question-answering", **more))
    assert expected in str(caught.value)


def test_answers_of_a_test_file_need_not_stand_in_the_passage(tmp_path):
    train, test = rows(tmp_path / "train.jsonl", HUB), tmp_path / "test.jsonl"
    test.write_text("".join(json.dumps({"question": "How?", "context": f"No {i}.", "answers": ["eleven", "XI"]}) + "\n" for i in range(20)))
    data = load_task(TaskSettings(train=train, test=test, kind="question-answering"))
    assert {answer.text for label in data.report.labels for answer in answers_of(label)} == {"eleven", "XI"}
    assert any("20 rows whose answers aren't in the passage, so that none is exact" in note for note in data.notes)
