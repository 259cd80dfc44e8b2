"""The recorder: what it writes of a training, that nothing is lost or done twice, and what it needs of the program."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pelt_automl.errors import SettingsError, TaskError
from pelt_automl.tasks import METRICS
from studies import table
from studies.table import TableFolder, chosen_tasks
from studies.table_files import load_table, write_table
from studies.table_grid import Configuration, Training
from tests.studies.table_world import QUICK, MadeUp, few, record_here

ROOT = Path(__file__).resolve().parents[2]


def recorded(folder):
    return dict(TableFolder(folder).records())


def process(world, folder, count):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "tests.studies.table_world", str(world.folder), str(folder), str(count)],
                            env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip


def begin(*processes):
    """All at the same time, once each has loaded what it needs."""
    assert [own.stdout.readline() for own in processes] == ["loaded\n"] * len(processes)
    for own in processes:
        own.stdin.write("\n")
        own.stdin.flush()


@pytest.fixture(scope="module")
def finished_folder(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    record_here(world.folder, folder, few(3))
    return folder


def test_a_record_says_what_was_trained_and_how_it_went(finished_folder):
    by_method = {record["method"]: record for record in recorded(finished_folder).values()}
    lora = by_method["lora"]
    assert {name: lora[name] for name in ("source", "task", "k", "configuration", "chosen", "head_start", "seed", "model")} == {
        "source": "made-up", "task": "reviews", "k": 60, "configuration": "default", "chosen": "default", "head_start": "probe", "seed": 0,
        "model": "model",
    }  # fmt: skip
    assert lora["hyper_parameters"] == {"learning_rate": 1e-3, "rank": 2}
    assert (lora["train_size"], lora["select_size"], lora["report_size"]) == (42, 18, 60)
    # 42 examples in batches of 8 are 6 steps an epoch: 24 in 4 epochs, which 4 evaluations divide; the rungs are a quarter and a half
    assert (lora["steps"], lora["rungs"], lora["curve"]["step"]) == (24, [6, 12], [0, 6, 12, 18, 24])
    assert set(lora["curve"]) == {"step", "score", "accuracy", "macro_f1", "log_loss", "train_loss"}
    assert all(len(column) == 5 for column in lora["curve"].values())
    assert list(lora["select"]) == ["6", "12", "24"]
    assert lora["failure"] == ""
    assert lora["tokens_computed"] >= lora["tokens_of_text"] > 0
    assert lora["processor_seconds"] > 0
    # weights and two moments of rank 2 on query and value of two layers of width 16, and of the head, in fp32
    assert lora["parameters"] == 2 * 2 * (2 * 16 * 2) + 2 * 16 + 2
    assert lora["state_bytes"] == 3 * 4 * lora["parameters"]


def test_the_outputs_have_the_scores_that_are_recorded(finished_folder):
    for record in recorded(finished_folder).values():
        score = METRICS[record["metric"]].value
        assert record["report_score"] == score(record["report"], record["report_labels"])
        assert record["select_score"] == score(record["select_best"], record["select_labels"])
        at = dict(zip(record["curve"]["step"], record["curve"]["score"], strict=True))
        assert record["select_score"] == max(at.values()) == at[record["best_step"]]
        for step, outputs in record["select"].items():
            assert score(outputs, record["select_labels"]) == at[int(step)]


def test_the_probe_is_the_untouched_start_of_a_training(finished_folder):
    by_method = {record["method"]: record for record in recorded(finished_folder).values()}
    probe, lora = by_method["probe"], by_method["lora"]
    assert (probe["head_start"], probe["steps"], probe["best_step"]) == ("none", 0, 0)
    for name in ("score", "accuracy", "macro_f1", "log_loss"):
        assert probe["curve"][name] == pytest.approx([lora["curve"][name][0]], abs=1e-5)
    assert probe["report"] != [probe["report"][0]] * 60


def test_the_log_loss_is_the_mean_surprise_in_nats():
    from studies.table_training import scores

    class Data:
        kind, metric = "classification", METRICS["accuracy"]

    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], np.float32)) + 7
    found = scores(Data, np.array([0.0, 1.0]), np.array([0.0, 2.0]), logits)
    assert found["log_loss"] == pytest.approx((np.log(2) + np.log(10)) / 2, abs=1e-6)
    assert found["accuracy"] == found["score"] == 0.5


def test_a_random_start_has_no_score_before_its_first_step(world, tmp_path):
    (own,) = [own for own in few(3) if own.configuration.method == "lora"]
    record_here(world.folder, tmp_path, [Training("reviews", 60, own.configuration, "random", 0, "second")])
    (record,) = recorded(tmp_path).values()
    assert record["curve"]["step"] == [6, 12, 18, 24]
    assert record["head_start"] == "random"


def test_a_failure_is_recorded_with_its_cause_and_does_not_end_the_recording(world, tmp_path):
    broken = Configuration("lora", "default", {"learning_rate": 1e30, "rank": 2})
    wanted = [Training("reviews", 60, broken, "probe", 0, "first"), *few(1)]
    assert record_here(world.folder, tmp_path, wanted) == 2
    failed = recorded(tmp_path)[wanted[0].key("model")]
    assert "not finite" in failed["failure"]
    assert (failed["report"], failed["report_score"]) == (None, None)


def test_a_task_that_cannot_be_loaded_is_left_out_and_said(world, tmp_path):
    said = []

    def load(task, k):
        raise TaskError("there is no folder sst2")

    assert record_here(world.folder, tmp_path, few(3), load=load, say=said.append) == 0
    assert said == ["reviews is left out: there is no folder sst2"]
    assert recorded(tmp_path) == {}


def test_no_score_is_told_on_the_way(world, tmp_path):
    """Some sources are sealed."""
    said = []
    record_here(world.folder, tmp_path, few(2), say=said.append)
    assert len(said) == 2
    for line, own in zip(said, (recorded(tmp_path)[own.key("model")] for own in few(2)), strict=True):
        assert f"{own['report_score']:.2f}" not in line


def test_what_is_done_is_not_done_again(world, tmp_path, finished_folder):
    assert record_here(world.folder, finished_folder, few(3)) == 0
    in_the_table = {few(3)[0].key("model")}
    assert record_here(world.folder, tmp_path, few(3), done=in_the_table) == 2
    assert in_the_table & recorded(tmp_path).keys() == set()


@pytest.mark.slow
def test_a_killed_process_loses_only_the_training_under_way(world, tmp_path):
    running = process(world, tmp_path, 12)
    begin(running)
    deadline = time.monotonic() + 60
    while len(TableFolder(tmp_path).keys()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "trainings").glob("*.json")}
    keys = [own.key("model") for own in few(12)]
    assert 3 <= len(before) < 12, "it was killed on its way"
    assert {path.stem for path in before} == set(keys[: len(before)])
    assert record_here(world.folder, tmp_path, few(12)) == 12 - len(before)
    assert recorded(tmp_path).keys() == set(keys)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_two_processes_share_the_work_and_double_none(world, tmp_path):
    both = [process(world, tmp_path, 12) for _ in range(2)]
    begin(*both)
    said = [own.communicate(timeout=120)[0].splitlines() for own in both]
    assert [own.returncode for own in both] == [0, 0]
    lines = [line.partition(", seed")[0] + line.split(", ")[-2] for own in said for line in own]
    assert len(lines) == len(set(lines)) == 12
    assert len(recorded(tmp_path)) == 12
    assert all(said), "both had a part"


def test_a_training_that_another_process_holds_is_left_to_it(world, tmp_path):
    held = few(2)[0].key("model")
    with TableFolder(tmp_path).make().claimed(held) as mine:
        assert mine
        assert record_here(world.folder, tmp_path, few(2)) == 1
    assert held not in recorded(tmp_path)


def test_the_time_limit_is_asked_before_each_training(world, tmp_path):
    assert record_here(world.folder, tmp_path, few(3), expired=lambda: len(TableFolder(tmp_path).keys()) >= 1) == 1


def test_a_training_is_the_same_whoever_records_it(world, tmp_path, finished_folder):
    record_here(world.folder, tmp_path, [few(3)[1]])
    (again,) = recorded(tmp_path).values()
    before = recorded(finished_folder)[again["key"]]
    measured = {"processor_seconds", "report_processor_seconds", "wall_seconds", "recorded"}
    assert {name: value for name, value in again.items() if name not in measured} == {
        name: value for name, value in before.items() if name not in measured
    }
    assert torch.get_num_threads() == 1


LOADED = """
import json, sys
import studies.table, studies.table_training
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.slow
def test_recording_needs_the_training_core_alone():
    ended = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(ended.stdout.splitlines()[-1]))
    assert "torch" in loaded
    assert {"optuna", "prefect", "mlflow", "datasets", "peft", "matplotlib"} & loaded == set()


def test_sources_are_chosen_by_name_and_an_unknown_one_is_refused():
    tasks = {"reviews": MadeUp(Path()), "stsb": MadeUp(Path(), "stsb", "mrpc-stsb"), "mrpc": MadeUp(Path(), "mrpc", "mrpc-stsb")}
    assert list(chosen_tasks(tasks, ["mrpc-stsb"])) == ["stsb", "mrpc"]
    assert list(chosen_tasks(tasks, ["mrpc"])) == ["mrpc"]
    assert list(chosen_tasks(tasks)) == list(tasks)
    with pytest.raises(SettingsError, match="there is no source nothing; the sources are made-up, mrpc-stsb"):
        chosen_tasks(tasks, ["nothing", "mrpc"])


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "soon"])
def test_hours_that_are_none_are_refused(hours, capsys):
    with pytest.raises(SystemExit) as ended:
        table.main(["record", "--hours", hours])
    assert ended.value.code == 2
    assert "--hours" in capsys.readouterr().err


PRETENDED = """#!/bin/sh
echo "$OMP_NUM_THREADS $*" > "$(dirname "$0")/started-$$"
exit 2
"""


def test_record_starts_its_processes_on_one_thread_each_and_ends_as_the_worst_of_them(tmp_path, monkeypatch):
    pretended = tmp_path / "python"
    pretended.write_text(PRETENDED)
    pretended.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pretended))
    folder = tmp_path / "table"
    assert (
        table.main(["record", "--processes", "3", "--folder", str(folder), "--sources", "sst2", "--hours", "1.5", "--precision", "bf16"])
        == 2
    )
    started = [path.read_text() for path in tmp_path.glob("started-*")]
    assert started == [f"1 -u -m studies.table worker --folder {folder} --sources sst2 --model minilm --precision bf16 --hours 1.5\n"] * 3


def test_a_worker_trains_in_the_precision_that_was_asked_for_and_says_so_in_the_record(world, tmp_path, monkeypatch):
    monkeypatch.setattr("studies.table._tasks", lambda _: {"reviews": MadeUp(world.folder)})
    monkeypatch.setattr("studies.table._wanted", lambda _: few(2))
    monkeypatch.setattr("studies.table_training.SETTINGS", QUICK)
    monkeypatch.setattr("studies.table.os.nice", lambda _: 0)
    asked = ["worker", "--folder", str(tmp_path), "--model", str(world.folder / "model"), "--precision", "bf16"]
    assert table.main(asked) == 0
    assert {own["precision"] for own in recorded(tmp_path).values()} == {"bf16"}
    assert len(recorded(tmp_path)) == 2


def test_a_folder_that_cannot_be_made_is_said_without_a_traceback(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert table.main(["record", "--folder", str(tmp_path / "file")]) == 2
    assert "can't be made" in capsys.readouterr().err


def test_what_cannot_be_fitted_is_a_failure_and_does_not_end_the_recording(world, tmp_path, monkeypatch):
    def fails(*_):
        raise ValueError("no convergence")

    monkeypatch.setattr("studies.table_training.fit_baseline", fails)
    wanted = few(2)
    assert record_here(world.folder, tmp_path, wanted) == 2
    failed = recorded(tmp_path)[wanted[0].key("model")]
    assert (failed["failure"], failed["method"]) == ("ValueError: no convergence", "probe")
    write_table(recorded(tmp_path).values(), (), tmp_path / "table")
    frame = load_table(model="model", folder=tmp_path / "table", sealed=()).set_index("method")
    assert frame["failure"].to_dict() == {"probe": "ValueError: no convergence", "lora": ""}
    assert frame.loc["probe", "report"] is None
