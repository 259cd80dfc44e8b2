from dataclasses import replace

import pytest

from pelt_automl.recorders import verdict_changes
from pelt_automl.recorders.mlflow_server import make_client
from pelt_automl.recorders.verdict_changes import EXPERIMENT, VerdictChange, record, send_changes

FLIP = VerdictChange("qnli", "accuracy", "head", "lora", 0.75, 0.8125, 0.0625, 0.02, "/home/a", "/home/b", 1.8e9)


def test_each_change_is_one_finished_run_however_often_it_is_sent(uri):
    same = replace(FLIP, after="head", before_score=None, moved=None, lead=None, before_folder="/home/it's")
    for _ in range(2):
        record([FLIP, same], uri)
    client = make_client(uri)
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert sorted((run.info.run_name, run.info.status) for run in runs) == [
        ("qnli: head to head", "FINISHED"), ("qnli: head to lora", "FINISHED"),
    ]  # fmt: skip
    metrics = {run.data.tags["flipped"]: run.data.metrics for run in runs}
    assert metrics == {
        "true": {"flipped": 1.0, "score_before": 0.75, "score_after": 0.8125, "moved": 0.0625, "lead_over_before": 0.02},
        "false": {"flipped": 0.0, "score_after": 0.8125},
    }


@pytest.mark.slow
def test_sending_takes_a_process_of_its_own_and_says_what_kept_it(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert send_changes([FLIP]) == ""
    client = make_client(uri)
    assert len(client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert "127.0.0.1" in send_changes([FLIP])
    monkeypatch.setattr(verdict_changes, "START_SECONDS", 0.0)
    monkeypatch.setattr(verdict_changes, "MOST_SECONDS", 0.01)
    assert send_changes([FLIP]).startswith("it didn't answer for")
