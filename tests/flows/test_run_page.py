import logging
from dataclasses import replace
from pathlib import Path

import pytest

from flows.run_display import LogDisplay, describe
from flows.run_page import leaderboard, place, run_tags, task_name
from pelt_automl.config import SelectionSettings, TaskSettings
from pelt_automl.records import Decision, Progress, ReportOpened, Seeds, SelectionEnded, TrialEnded, to_json
from tests.flows.selection_double import verdict


def failed_trial():
    counts = {"pelt": 1}
    return TrialEnded(
        "lora-0001", "lora-0001", "lora", "search", 1, "failed", False, {}, Seeds(1, 2, 3), counts, [], None, 7, 1.25, cause="out of memory"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Progress("search", 1, 2), None),
        (failed_trial(), "lora-0001 failed: no score, 7 steps, 1.2 s (out of memory)"),
        (Decision("promoted", "lora-0001", "best third"), "Promoted: lora-0001, best third"),
        (ReportOpened(1, 500, 1000, []), "Report split opened: 500 of 1000 examples"),
        (SelectionEnded("done", 61.4, {}), "Ended after 61 s: done"),
        (verdict(), "Verdict: Recommended: LoRA, 81.2 accuracy"),
    ],
)
def test_events_are_told_in_words(event, line):
    assert describe(event) == line


def test_a_percent_sign_in_an_event_is_no_format(caplog):
    with caplog.at_level(logging.INFO):
        LogDisplay(logging.getLogger("run")).record(Decision("stopped", "lora-0001", "below 95 % of the best, %s"))
    assert caplog.messages == ["Stopped: lora-0001, below 95 % of the best, %s"]


def test_the_leaderboard_is_the_verdicts_standings(tmp_path):
    (tmp_path / "records.jsonl").write_text(to_json(verdict()) + "\n")
    assert leaderboard(tmp_path) == [
        {
            "method": "lora (default)",
            "accuracy": "0.8125",
            "95 %": "0.7500 to 0.8750",
            "P(best)": "0.62",
            "tied": "yes",
            "parameters": "102,912",
            "latency ms": "",
            "memory GB": "",
            "seconds": "12.3",
            "candidate": "lora-0000",
        }
    ]


def test_measured_costs_stand_in_the_leaderboard(tmp_path):
    answer = verdict()
    measured = replace(answer.standings[0], served_latency_ms=3.456, memory_gb=1.25)
    (tmp_path / "records.jsonl").write_text(to_json(replace(answer, standings=[measured])) + "\n")
    (row,) = leaderboard(tmp_path)
    assert (row["latency ms"], row["memory GB"]) == ("3.46", "1.25")


def test_without_a_verdict_there_is_no_leaderboard(tmp_path):
    (tmp_path / "records.jsonl").write_text(to_json(Decision("stopped", "x", "y")) + "\n")
    assert leaderboard(tmp_path) == []


def test_tags_say_task_model_and_k():
    own = TaskSettings(train=Path("reviews.csv"), text_columns=("text",), label_column="label", k=16)
    assert run_tags(SelectionSettings(own)) == ["task:reviews", "model:minilm", "k:16"]
    assert run_tags(SelectionSettings(TaskSettings("qnli"), "bert")) == ["task:qnli", "model:bert", "k:full"]
    assert task_name(own) == "reviews"


def test_the_link_leads_to_mlflows_server_without_its_password_else_to_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://anna:secret@mlflow.example")
    assert place(tmp_path) == ("https://mlflow.example", "MLflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///x.db")
    assert place(tmp_path) == (f"file://{tmp_path}", str(tmp_path))
