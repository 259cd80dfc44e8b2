import json
import logging
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flows.run_display import LogDisplay
from flows.run_page import leaderboard, mlflow_links, run_tags, task_name, where
from pelt_automl.log.codec import to_json
from pelt_automl.log.events import Decision, Progress, ReportOpened, Seeds, SelectionEnded, TrialEnded
from pelt_automl.recorders import Sent
from pelt_automl.settings import SelectionSettings, TaskSettings
from tests.flows.selection_double import verdict


def failed_trial():
    counts = {"pelt": 1}
    return TrialEnded(
        "lora-0001", "lora-0001", "lora", "search", 1, "failed", False, {}, Seeds(1, 2, 3), counts, [], None, 7, 1.25, cause="out of memory"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Progress("search", 1, 2), []),
        (failed_trial(), ["lora-0001                    failed    no score, 7 steps, 1.2 s (out of memory)"]),
        (Decision("left the race", "lora", "far behind"), ["left the race: lora (far behind)"]),
        (ReportOpened(1, 500, 1000, "[]"), ["report split opened: 500 of 1000 examples"]),
        (SelectionEnded("done", 61.4, {}), ["ended after 61 s: done"]),
        (verdict(), ["verdict: Recommended: LoRA, 81.2 accuracy"]),
    ],
)
def test_events_are_told_in_words(event, line, caplog):
    with caplog.at_level(logging.INFO):
        LogDisplay(logging.getLogger("run")).record(event)
    assert caplog.messages == line


def test_a_percent_sign_in_an_event_is_no_format(caplog):
    with caplog.at_level(logging.INFO):
        LogDisplay(logging.getLogger("run")).record(Decision("left the race", "lora", "below 95 % of the best, %s"))
    assert caplog.messages == ["left the race: lora (below 95 % of the best, %s)"]


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


def write_sent(folder, **more):
    folder.mkdir(parents=True, exist_ok=True)
    sent = Sent("http://127.0.0.1:5000", complete=True, experiment="7", run="abc", trainings=3, model="pelt-toy", version="2")
    (folder / "mlflow.json").write_text(json.dumps(asdict(replace(sent, **more))))


def test_links_lead_to_this_run_its_report_and_its_version(tmp_path):
    write_sent(tmp_path)
    assert [(what, address) for what, (address, _) in mlflow_links(tmp_path).items()] == [
        ("run", "http://127.0.0.1:5000/#/experiments/7/runs/abc"),
        ("report", "http://127.0.0.1:5000/#/experiments/7/runs/abc/artifacts/report.html"),
        ("version", "http://127.0.0.1:5000/#/models/pelt-toy/versions/2"),
    ]
    assert where(tmp_path, "report.html").splitlines()[0] == f"Report: {tmp_path}/report.html"
    assert len(where(tmp_path, "report.html").splitlines()) == 4


@pytest.mark.parametrize("more", [{"uri": "sqlite:///x.db"}, {"run": "", "version": "", "problem": "it is away"}])
def test_there_is_no_link_to_a_server_that_has_nothing(tmp_path, more):
    write_sent(tmp_path, **more)
    assert mlflow_links(tmp_path) == {}
    assert mlflow_links(tmp_path / "nowhere") == {}


def test_a_curves_links_lead_to_each_of_its_selections(tmp_path):
    write_sent(tmp_path / "k-50", run="fifty")
    write_sent(tmp_path / "k-full", run="full", version="")
    assert list(mlflow_links(tmp_path)) == ["run-k-50", "report-k-50", "version-k-50", "run-k-full", "report-k-full"]
