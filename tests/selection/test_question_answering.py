"""Questions on passages go through a whole selection, from search to prediction and export, kills included."""

import json

import numpy as np
import pytest

import pelt_automl
from pelt_automl.errors import BackboneError
from pelt_automl.export import export_winner
from pelt_automl.log.events import DataDescribed, FinalistScored, ReportOpened, TrialEnded, VerdictReached
from pelt_automl.predicting import predict_file
from pelt_automl.tasks.answers import answers_of
from pelt_automl.tasks.files import read_table
from tests.tiny import tiny_model
from tests.tiny_world import FILLERS, SIGNALS, Killed, Watcher, of, outputs_of, records_of, word_tokenizer


def questions(count, seed=0):
    """Which signal word is in the passage? Of every fourth passage none; passages of up to 40 words."""
    random, rows = np.random.default_rng(seed), []
    for number in range(count):
        words = list(random.choice(FILLERS, random.integers(5, 40)))
        there = number % 4 != 0
        if there:
            words.insert(int(random.integers(len(words))), SIGNALS[number % 3])
        text = " ".join(words)
        start = [word in SIGNALS for word in words].index(True) if there else 0
        answers = [{"text": words[start], "answer_start": len(" ".join(words[:start])) + bool(start)}] if there else []
        rows.append({"question": "word1 word2", "context": text, "answers": answers})
    return rows


@pytest.fixture(autouse=True)
def without_server(without_mlflow):
    """No recorder."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked")
    for name, count, seed in (("train", 160, 0), ("test", 60, 1)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions(count, seed)))
    return folder


def call(world, asked, **more):
    own = {"train": asked / "train.jsonl", "test": asked / "test.jsonl", "text_columns": None, "label_column": None, "k": 120}
    few = {"kind": "question-answering", "methods": ["lora", "head"], "trials": 2, "epochs": 12, "finalist_seeds": 2, "max_length": 24}
    return world.options(**own | few | {"most_seeds": 2, "rungs": ()} | more)


def f1_of_one_word(said, true):
    return 2 * (true[0] in said.split()) / (1 + len(said.split())) if true else said == ""


@pytest.mark.whole
def test_questions_go_through_a_selection_from_search_to_prediction_and_export(world, asked, tmp_path):
    out = tmp_path / "out"
    found = pelt_automl.select(output=out, **call(world, asked))
    events = records_of(out)
    (data,) = of(events, DataDescribed)
    assert (data.kind, data.metric, data.labels) == ("question-answering", "answer_f1", [])
    (opened,) = of(events, ReportOpened)
    true = [[answer.text for answer in answers_of(label)] for label in outputs_of(out, opened)]
    runs = of(events, FinalistScored)
    for run in runs:
        said = outputs_of(out, run)
        # all answers are one word
        right = [
            2 * (own[0] in text.split()) / (1 + len(text.split())) if own else text == "" for text, own in zip(said, true, strict=True)
        ]
        assert run.report_score == pytest.approx(np.mean(right))
    assert found.report_score > 0.5, "the constant, no answer, scores 0.25; the seeds of the finals differ by the folder's name"
    assert {row.method for row in found.leaderboard} == {"lora", "head"}
    assert "answer f1" in (out / "report.md").read_text()
    predictor = pelt_automl.load(out)
    rows = questions(60, 1)
    texts = [(row["question"], row["context"]) for row in rows]
    answers = predictor.predict(texts)
    assert (
        np.mean([answer == (row["answers"][0]["text"] if row["answers"] else "") for answer, row in zip(answers, rows, strict=True)]) > 0.5
    )
    assert all(answer in row["context"] for answer, row in zip(answers, rows, strict=True))
    assert any(len(row["context"].split()) > 24 and answer in SIGNALS for answer, row in zip(answers, rows, strict=True)), "in a window"
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({k: row[k] for k in ("question", "context")}) + "\n" for row in rows))
    predict_file(out, tmp_path / "in.jsonl", tmp_path / "said.csv")
    assert [row["prediction"] or "" for row in read_table(tmp_path / "said.csv").rows] == answers
    (verdict,) = of(events, VerdictReached)
    assert verdict.candidate == found.candidate
    written = export_winner(out, tmp_path / "merged", merged=True, peft=False)
    assert "AutoModelForQuestionAnswering.from_pretrained" in written.described()
    assert written.difference < 1e-4


def of_whole(events):
    trials = [(t.trial, t.state, t.select_score, t.outputs, t.threshold) for t in of(events, TrialEnded)]
    scored = [(s.trial, s.report_score, s.outputs) for s in of(events, FinalistScored)]
    (verdict,) = of(events, VerdictReached)
    return sorted(trials), sorted(scored), verdict.candidate, verdict.report_score, verdict.outcome, verdict.p_best


@pytest.mark.slow
def test_killed_in_the_search_and_in_the_finals_it_finds_the_same(world, asked, tmp_path):
    quick, out = call(world, asked, epochs=2), tmp_path / "out"
    pelt_automl.select(output=tmp_path / "whole", **quick)
    known = dict.fromkeys((TrialEnded, FinalistScored), 0)
    for kind, kills_at in ((TrialEnded, 2), (FinalistScored, 2)):
        more = kills_at - known[kind]
        with pytest.raises(Killed):
            pelt_automl.select(output=out, display=Watcher(kill=lambda w, kind=kind, more=more: len(of(w.events, kind)) >= more), **quick)
        known = {kind: len(of(records_of(out), kind)) for kind in known}
    pelt_automl.select(output=out, **quick)
    assert of_whole(records_of(out)) == of_whole(records_of(tmp_path / "whole"))


@pytest.mark.slow
def test_two_workers_find_what_one_process_does(world, asked, tmp_path):
    quick = call(world, asked, epochs=2, race=False)
    one = pelt_automl.select(output=tmp_path / "one", **quick)
    two = pelt_automl.select(output=tmp_path / "two", workers=2, **quick)
    assert {t.trial: t.select_score for t in of(records_of(tmp_path / "one"), TrialEnded)} == pytest.approx(
        {t.trial: t.select_score for t in of(records_of(tmp_path / "two"), TrialEnded)}, abs=1e-6
    )
    assert (one.candidate, one.report_score) == (two.candidate, pytest.approx(two.report_score))


def test_a_decoder_is_refused_before_anything_is_trained(world, asked, tmp_path):
    tiny_model("gpt2").save_pretrained(tmp_path / "gpt2")
    word_tokenizer().save_pretrained(tmp_path / "gpt2")
    with pytest.raises(BackboneError, match="answers are found in a passage by encoders"):
        pelt_automl.select(output=tmp_path / "out", **call(world, asked, model=str(tmp_path / "gpt2"), methods=["lora"]))
    assert not (tmp_path / "out").exists()
