"""What goes wrong in one place stays there."""

import pytest

import pelt_automl
from pelt_automl.errors import BackboneError, NoTrialCompletedError, SelectionError, SettingsError, TaskError
from pelt_automl.log.events import SelectionEnded, TrialEnded, VerdictReached
from pelt_automl.log.folder import exclusive
from pelt_automl.modifications import pack
from pelt_automl.recorders import sending, sent_of
from tests.tiny_world import of, records_of

QUICK = {"trials": 2, "epochs": 4, "finalist_seeds": 1}


def failing(monkeypatch, *methods):
    """These methods raise whenever they are put into a pack, from the measurement of the speed on."""

    def broken(modifications, *_):
        if {modification.name for modification in modifications} & set(methods):
            raise ArithmeticError("made to fail")

    monkeypatch.setattr(pack, "check_supported", broken)


@pytest.mark.whole
@pytest.mark.usefixtures("without_mlflow")
def test_a_method_whose_every_trial_fails_does_not_end_the_selection(world, tmp_path, monkeypatch):
    failing(monkeypatch, "lora")
    found = pelt_automl.select(output=tmp_path / "out", **world.options(**QUICK, methods=["lora", "adapter", "head"]))
    events = records_of(tmp_path / "out")
    lora = [trial for trial in of(events, TrialEnded) if trial.method == "lora"]
    assert [(trial.state, trial.cause, trial.select_score) for trial in lora] == [("failed", "ArithmeticError: made to fail", None)] * 2
    assert all("in broken" in trial.traceback and "made to fail" in trial.traceback for trial in lora)
    others = [trial for trial in of(events, TrialEnded) if trial.method != "lora" and trial.stage == "search"]
    assert len(others) == 4
    assert {trial.traceback for trial in others} == {""}
    assert {trial.state for trial in others} <= {"completed", "stopped"}
    assert found.method in ("adapter", "head")
    assert "made to fail" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.usefixtures("without_mlflow")
def test_all_methods_failing_is_an_error_that_names_the_causes_and_leaves_the_records(world, tmp_path, monkeypatch):
    failing(monkeypatch, "lora", "adapter")
    with pytest.raises(NoTrialCompletedError, match=r"adapter: ArithmeticError: made to fail; lora: ArithmeticError: made to fail"):
        pelt_automl.select(output=tmp_path / "out", **world.options(**QUICK, methods=["lora", "adapter"]))
    events = records_of(tmp_path / "out")
    assert sorted(trial.trial for trial in of(events, TrialEnded)) == ["adapter-0000", "adapter-0001", "lora-0000", "lora-0001"]
    assert of(events, VerdictReached) == []


@pytest.mark.slow
def test_while_mlflow_is_away_nothing_is_lost_and_the_same_call_sends_it_once_it_is_back(world, tmp_path, monkeypatch, caplog):
    folder, call = tmp_path / "out", world.options(**QUICK, methods=["lora", "head"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:s3cret@127.0.0.1:9")
    found = pelt_automl.select(output=folder, **call)
    events = records_of(folder)
    assert len([trial for trial in of(events, TrialEnded) if trial.stage == "search"]) == 4
    assert len(of(events, VerdictReached)) == len(of(events, SelectionEnded)) == 1
    assert found.report_score is not None
    assert sent_of(folder).problem == "it can't be reached (connection refused)"
    assert f"pelt-automl sync {folder}" in caplog.text
    assert "s3cret" not in caplog.text
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert pelt_automl.select(output=folder, **call) == found
    sent = sent_of(folder)
    assert (sent.problem, sent.complete, sent.trainings, sent.version) == ("", True, len(of(events, TrialEnded)), "1")


@pytest.mark.slow
def test_a_recorder_of_mlflow_that_fails_in_an_unknown_way_does_not_end_the_selection(world, tmp_path, monkeypatch, caplog):
    def no_process(*_):
        raise OSError("too many processes")

    monkeypatch.setattr(sending, "send_folder", no_process)
    assert pelt_automl.select(output=tmp_path / "out", **world.options(**QUICK, methods=["head"])).method == "head"
    assert "OSError: too many processes" in caplog.text


@pytest.mark.usefixtures("without_mlflow")
def test_another_process_in_the_same_folder_is_refused(world, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    with exclusive(folder / "selection.lock"), pytest.raises(SelectionError, match="another process is working on this selection"):
        pelt_automl.select(output=folder, **world.options(**QUICK, methods=["head"]))


@pytest.mark.usefixtures("without_mlflow")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"methods": ["loar"]}, SettingsError, r"unknown method 'loar' \(did you mean lora\?\)"),
        ({"task": "qnli"}, SettingsError, "either a task's name or a train file"),
        ({"label_column": "class"}, TaskError, "there is no column 'class'; its columns are: text, label"),
        ({"k": "many"}, SettingsError, "k is 'many'; it must be a whole number, at least 16, or 'full'"),
        ({"k": 4}, SettingsError, "k is 4; it must be at least 16"),
        ({"k": 500}, SettingsError, "k is 500, but reviews has 120 labeled training examples"),
        ({"model": "/nowhere/bert"}, BackboneError, "neither a folder, nor a Hub name"),
        ({"no_such_option": 1}, SettingsError, "there is no option 'no_such_option'"),
        ({"k": "many", "methods": "loar", "trials": 0}, SettingsError, r"the command has 3 problems:\n"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(world, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        pelt_automl.select(output=tmp_path / "out", **world.options(**options))
    assert not (tmp_path / "out").exists()
