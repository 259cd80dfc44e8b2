"""On a SQLite file a test, made once and copied: creating MLflow's tables takes over a second."""

import dataclasses
import logging
import os
import shutil
import subprocess
import sys

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.recorders import RECORDERS, MlflowRecorder, default_tracking_uri, printable_uri
from pelt_automl.recorders.mlflow_server import artifact_location, make_client, slug
from pelt_automl.records import Decision, FinalistScored, SelectionEnded, TrialEnded, read
from tests.recorders.selection_double import STARTED, events, trial, write_folder

FINAL = "final-lora-0000-seed0"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    make_client(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def uri(empty_database, tmp_path):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def record_all(recorder, some_events):
    for event in some_events:
        recorder.record(event)


def runs(uri):
    """The runs of the toy task by name, as MLflow shows them."""
    client = make_client(uri)
    experiment = client.get_experiment_by_name("toy-task")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    assert len({run.info.run_name for run in found}) == len(found), "a run was recorded twice"
    return {run.info.run_name: run for run in found}


def test_a_selection_is_one_parent_run_and_a_child_a_training(uri):
    recorder = MlflowRecorder(uri)
    record_all(recorder, events())
    recorder.close()
    found = runs(uri)
    parent = found.pop(STARTED.selection)
    assert set(found) == {"lora-0000", "lora-0001", "adapter-0000", FINAL}
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    assert {name: run.info.status for name, run in found.items()} == {
        "lora-0000": "FINISHED", "lora-0001": "FINISHED", "adapter-0000": "FAILED", FINAL: "FINISHED",
    }  # fmt: skip
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time - parent.info.start_time == 45_000


def test_each_child_carries_the_tags_that_filters_need(uri):
    record_all(MlflowRecorder(uri), events())
    client = make_client(uri)
    experiment = client.get_experiment_by_name("toy-task").experiment_id
    condition = "tags.task = 'toy-task' and tags.model = 'toy-model' and tags.k = '16' and tags.stage = 'finalist' and tags.method = 'lora'"
    assert [run.info.run_name for run in client.search_runs([experiment], condition)] == [FINAL]
    found = runs(uri)
    assert found["lora-0001"].data.tags["state"] == "stopped"
    rungs = {name: run.data.tags.get("rung") for name, run in found.items()}
    assert rungs == {STARTED.selection: None, "lora-0000": "1", "lora-0001": "0", "adapter-0000": "1", FINAL: None}
    assert found["lora-0001"].data.tags["is_default"] == "false"
    assert found["lora-0000"].data.tags["seed"] == "1-2-3"
    assert found["adapter-0000"].data.tags["cause"] == "ValueError: loss is not finite"


def test_a_childs_curve_has_the_optimizer_steps_and_leaves_out_what_is_not_finite(uri):
    record_all(MlflowRecorder(uri), events())
    client, run_id = make_client(uri), runs(uri)["lora-0000"].info.run_id
    curve = client.get_metric_history(run_id, "select_score")
    assert [(point.step, point.value, point.timestamp) for point in curve] == [(10, 0.5, 1_017_000), (20, 0.75, 1_019_000)]
    assert [point.step for point in client.get_metric_history(run_id, "train_loss")] == [10]
    assert runs(uri)["lora-0000"].data.params == {"rank": "8", "learning_rate": "0.001"}


def test_scores_and_evidence_are_added_to_the_finalists_run_and_the_verdict_to_the_parent(uri):
    record_all(MlflowRecorder(uri), events())
    found = runs(uri)
    finalist, parent = found[FINAL].data, found[STARTED.selection].data
    assert finalist.metrics["report_score"] == 0.8
    assert finalist.metrics["gate_drift/lora.attention.query"] == pytest.approx(0.12)
    assert finalist.metrics["select_score_without/lora"] == 0.6
    assert "report_score" not in found["lora-0000"].data.metrics
    assert parent.metrics["report_score"] == 0.8
    assert parent.metrics["bill/search"] == 20.0
    assert parent.tags["verdict.method"] == "lora"
    assert parent.tags["mlflow.note.content"] == "LoRA, by a little."
    assert parent.tags["hash.data"] == "d" * 64
    assert parent.tags["environment.versions.torch"] == "2.13.0"
    assert parent.params["task.k"] == "16"


def test_publish_twice_sends_the_folder_and_registers_the_winner_once(uri, tmp_path):
    folder = write_folder(tmp_path / "selection")
    for _ in range(2):
        recorder = MlflowRecorder(uri)
        recorder.publish(folder)
        recorder.close()
    client, parent = make_client(uri), runs(uri)[STARTED.selection]
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"records.jsonl", "report.md", "winner"}
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "winner")] == ["winner/config.json"]
    versions = client.search_model_versions("name = 'pelt-toy-task'")
    assert [version.run_id for version in versions] == [parent.info.run_id]
    champion = client.get_model_version_by_alias("pelt-toy-task", "champion")
    assert champion.source.endswith("/artifacts/winner")
    assert champion.tags["report_score"] == "0.8"
    assert (tmp_path / "mlartifacts" / "toy-task").is_dir()


def test_publish_sends_what_a_server_missed_and_repeats_nothing(uri, tmp_path):
    missed = {"lora-0001", FINAL}
    recorder = MlflowRecorder(uri)
    record_all(recorder, [event for event in events() if getattr(event, "trial", None) not in missed])
    before = runs(uri)
    assert not missed & set(before)
    recorder.publish(write_folder(tmp_path / "selection"))
    recorder.close()
    after = runs(uri)
    assert missed <= set(after)
    assert after[FINAL].data.metrics["report_score"] == 0.8
    assert {name: run.info.run_id for name, run in before.items()}.items() <= {name: run.info.run_id for name, run in after.items()}.items()
    curve = make_client(uri).get_metric_history(after["lora-0000"].info.run_id, "select_score")
    assert [point.step for point in curve] == [10, 20]


def test_a_server_that_was_away_all_the_time_gets_everything_at_the_end(uri, tmp_path):
    MlflowRecorder(uri).publish(write_folder(tmp_path / "selection"))
    assert set(runs(uri)) == {STARTED.selection, "lora-0000", "lora-0001", "adapter-0000", FINAL}
    assert runs(uri)[STARTED.selection].info.status == "FINISHED"


def test_a_killed_selection_goes_on_in_its_old_runs(uri, tmp_path):
    first, resumed = MlflowRecorder(uri), MlflowRecorder(uri)
    record_all(first, events()[:4])
    first.close()
    assert runs(uri)[STARTED.selection].info.status == "KILLED"
    taken_up = dataclasses.replace(STARTED, resumed=True, time=2000.0)
    record_all(resumed, [taken_up, trial("lora-0000"), trial("lora-0002", time=2020.0)])
    found = runs(uri)
    assert set(found) == {STARTED.selection, "lora-0000", "lora-0002"}
    assert found[STARTED.selection].info.status == "RUNNING"
    resumed.publish(write_folder(tmp_path / "selection", [*events()[:4], taken_up, trial("lora-0002", time=2020.0)]))
    assert set(runs(uri)) == set(found)


def test_a_selection_that_starts_afresh_with_the_same_key_gets_runs_of_its_own(uri):
    afresh = dataclasses.replace(STARTED, selection="again", time=3000.0)
    record_all(MlflowRecorder(uri), [STARTED, trial("lora-0000")])
    record_all(MlflowRecorder(uri), [afresh, trial("lora-0001", time=3010.0)])
    found = runs(uri)
    assert found["lora-0001"].data.tags["mlflow.parentRunId"] == found["again"].info.run_id
    assert found["lora-0000"].data.tags["mlflow.parentRunId"] == found[STARTED.selection].info.run_id


def test_a_trial_that_went_on_after_its_rung_is_recorded_anew(uri):
    recorder = MlflowRecorder(uri)
    record_all(recorder, [STARTED, trial("lora-0000", "stopped", time=1010.0), trial("lora-0000", "completed", time=1020.0)])
    assert runs(uri)["lora-0000"].data.tags["state"] == "completed"


def test_a_missed_start_is_made_up_for_by_the_next_event(uri):
    recorder = MlflowRecorder(uri)
    recorder._runs = lambda: (_ for _ in ()).throw(ConnectionError("away"))
    with pytest.raises(ConnectionError, match="away"):
        recorder.record(STARTED)
    del recorder._runs
    recorder.record(trial("lora-0000"))
    assert set(runs(uri)) == {STARTED.selection, "lora-0000"}


def test_an_experiment_in_the_trash_is_restored(uri):
    record_all(MlflowRecorder(uri), [STARTED])
    client = make_client(uri)
    client.delete_experiment(client.get_experiment_by_name("toy-task").experiment_id)
    record_all(MlflowRecorder(uri), [dataclasses.replace(STARTED, selection="later", time=3000.0)])
    assert "later" in runs(uri)


def test_an_event_without_its_selection_is_a_clear_error(uri, tmp_path):
    with pytest.raises(SelectionError, match="before SelectionStarted"):
        MlflowRecorder(uri).record(SelectionEnded("done", 1.0, {}))
    with pytest.raises(SelectionError, match="is this a selection's folder"):
        MlflowRecorder(uri).publish(write_folder(tmp_path / "selection", [Decision("promoted", "x", "y")]))


def test_the_default_is_the_usual_variable_else_a_file_in_the_programs_home(monkeypatch, tmp_path):
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_tracking_uri() == f"sqlite:///{tmp_path}/home/mlflow.db"
    assert artifact_location(default_tracking_uri(), "hf:own er/x") == f"file://{tmp_path}/home/mlartifacts/hf-own-er-x"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert default_tracking_uri() == "http://server:5000"
    assert artifact_location("http://server:5000", "qnli") is None


@pytest.mark.parametrize(
    ("uri", "printed"),
    [
        ("https://anna:s3cret@mlflow.example/x?y=1", "https://mlflow.example/x?y=1"),
        ("postgresql://anna:a@b@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_a_printed_uri_has_no_password(uri, printed):
    assert printable_uri(uri) == printed


@pytest.mark.parametrize(("name", "expected"), [("qnli", "qnli"), ("hf:owner/name:config", "hf-owner-name-config"), ("../..", "task")])
def test_names_become_safe_for_folders_and_registered_models(name, expected):
    assert slug(name) == expected


def test_the_first_use_of_a_new_home_prints_nothing(tmp_path):
    program = """
import sys
from pathlib import Path
from pelt_automl.recorders import RECORDERS
recorder = RECORDERS["mlflow"](Path(sys.argv[1]))
assert "mlflow" not in sys.modules
recorder.publish(Path(sys.argv[1]))
recorder.close()
assert not recorder.problems, recorder.problems
"""
    folder = write_folder(tmp_path / "selection")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {"PELT_AUTOML_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program, str(folder)], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (tmp_path / "home" / "mlflow.db").is_file()


@pytest.mark.parametrize("name", RECORDERS)
def test_every_registered_recorder_takes_a_whole_selection(name, tmp_path, uri, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    folder = write_folder(tmp_path / "selection", [])
    keeper, recorder = RECORDERS["jsonl"](folder), RECORDERS[name](folder)
    with caplog.at_level(logging.WARNING, logger="pelt_automl"):
        for event in events():
            if name != "jsonl":
                keeper.record(event)
            recorder.record(event)
        recorder.publish(folder)
        recorder.close()
    assert caplog.messages == []
    kept = list(read(folder / "records.jsonl"))
    assert len(kept) == len(events()) - 1
    assert [type(event) for event in kept].count(TrialEnded) == 4
    assert [event.report_score for event in kept if isinstance(event, FinalistScored)] == [0.8]


@pytest.mark.parametrize("killed", [True, False])
def test_a_kill_while_mlflow_makes_its_tables_leaves_no_half_made_database(tmp_path, monkeypatch, killed):
    """MLflow refuses a database with half of its tables for good."""

    class Client:
        def __init__(self, tracking_uri, registry_uri):
            self.file = tmp_path / tracking_uri.rpartition("/")[2]

        def search_experiments(self, max_results):
            self.file.write_bytes(b"half")
            if killed:
                raise KeyboardInterrupt
            self.file.write_bytes(b"all")

    monkeypatch.setattr("mlflow.MlflowClient", Client)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if killed:
        with pytest.raises(KeyboardInterrupt):
            make_client(uri)
        assert not (tmp_path / "mlflow.db").exists()
    else:
        make_client(uri)
        assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
        assert (tmp_path / "mlflow.db").read_bytes() == b"all"
