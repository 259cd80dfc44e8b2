"""How flows behave as runs; with a real server and real kills: test_end_to_end."""

import errno
import logging
import threading
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows import dead_runs, run_page, sqlite_workers
from flows.clear_failures import clear_failure
from flows.conduct import warnings_in_log
from flows.dead_runs import Again
from flows.life_signs import left, lock_file
from pelt_automl.recorders import sending
from tests.flows.answers import answer


def test_the_programs_warnings_reach_the_runs_log_from_its_threads_too_and_only_inside(caplog):
    log = logging.getLogger("run")
    program = logging.getLogger(sending.__name__)

    def warn(text):
        program.warning("%s is away", text)

    with caplog.at_level(logging.INFO, logger="run"):
        with warnings_in_log(log):
            warn("MLflow")
            thread = threading.Thread(target=warn, args=("Its thread",))
            thread.start()
            thread.join()
            program.info("no warning")
        warn("Later")
    assert [record.getMessage() for record in caplog.records if record.name == "run"] == ["MLflow is away", "Its thread is away"]


def test_what_is_only_shown_fails_no_run(monkeypatch, tmp_path, caplog):
    def broken(*arguments, **named):
        raise ConnectionError("no server")

    monkeypatch.setattr(run_page, "create_markdown_artifact", broken)
    (tmp_path / "report.md").write_text("# It")
    run_page.leave_artifacts(tmp_path, "toy")
    assert "The run's page in Prefect's UI is incomplete (ConnectionError: no server)" in caplog.text


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"task": "qnli", "k": 100, "seed": 3}, "select-qnli-k100-seed3"),
        ({"task": "qnli"}, "select-qnli-kfull-seed0"),
        ({"train": "a/reviews.csv", "k": [50, "full"]}, "select-reviews-k50,full-seed0"),
    ],
)
def test_a_runs_name_has_task_k_and_seed(parameters, name):
    assert run_page.name_for(parameters) == name


@pytest.mark.parametrize(
    ("workers", "sqlite", "warned"),
    [(["pelt-1"], True, False), (["pelt-1", "b"], True, True), (["pelt-1", "b"], False, False), ([], True, False)],
)
def test_a_second_worker_on_a_sqlite_file_is_warned_of(monkeypatch, workers, sqlite, warned):
    monkeypatch.setattr(sqlite_workers, "workers_at_work", lambda client: workers)
    monkeypatch.setattr(sqlite_workers, "is_sqlite", lambda: sqlite)
    warning = sqlite_workers.warning_of_workers(None)
    assert bool(warning) is warned
    assert not warned or ("2 workers (b, pelt-1)" in warning and "PELT_AUTOML_DATABASE=postgresql" in warning)


@pytest.mark.parametrize(
    ("state", "tags", "name", "more"),
    [
        ("Interrupted", ["task:a"], "started", ["started-again:1", "task:a"]),
        ("Interrupted", ["started-again:2"], "started", ["started-again:3"]),
        ("Interrupted", ["started-again:3"], None, None),
        ("Stopped", ["started-again:3"], "started", ["started-again:3"]),
        ("Stopped", [], "started", []),
    ],
)
def test_a_run_that_is_killed_each_time_is_started_again_three_times_and_one_that_make_down_stops_always(state, tags, name, more):
    made, states = [], []
    client = SimpleNamespace(
        create_flow_run_from_deployment=lambda deployment, **named: made.append(named) or SimpleNamespace(name="started"),
        set_flow_run_state=lambda run_id, state, force: states.append(state),
    )
    run = SimpleNamespace(
        id="1", name="a", tags=tags, state_name=state, state=None, deployment_id="d", parameters={}, work_queue_name=None, job_variables={}
    )
    again = dead_runs._start_again(client, run)
    assert isinstance(again, Again)
    assert (again.started.name if again.started else None) == name
    assert [call["tags"] for call in made] == ([] if more is None else [more])
    assert [(found.type, found.name) for found in states] == [("CRASHED", "Started again" if name else "Crashed")]
    assert name or "it isn't started again: it was killed 4 times" in str(again)


@pytest.mark.parametrize(("status", "final"), [(409, True), (503, False)])
def test_a_run_that_the_server_does_not_start_again_keeps_no_other_from_it(status, final):
    states = {}

    def create(deployment, **named):
        if named["name"] == "old":  # its deployment's parameters are others by now
            raise answer(status, "Validation failed for field 'methods'")
        return SimpleNamespace(name="started")

    common = {"tags": [], "state_name": "Interrupted", "state": None, "deployment_id": "d", "parameters": {}, "work_queue_name": None}
    runs = [SimpleNamespace(id=name, name=name, created=None, job_variables={}, **common) for name in ("old", "other")]
    client = SimpleNamespace(
        read_flow_runs=lambda flow_run_filter, limit, offset: runs[offset:],
        create_flow_run_from_deployment=create,
        set_flow_run_state=lambda run_id, state, force: states.update({run_id: state}),
    )
    if not final:  # the next call tries it again
        with pytest.raises(PrefectHTTPStatusError):
            dead_runs.start_again(client)
        return
    refused, started = dead_runs.start_again(client)
    assert str(refused) == "old was killed; it isn't started again: Prefect's server refuses it: Validation failed for field 'methods'"
    assert started.started is not None
    assert {name: state.name for name, state in states.items()} == {"old": "Crashed", "other": "Started again"}


def test_a_run_that_its_worker_reports_as_crashed_is_found_by_the_lock_that_it_left_or_by_the_report_once():
    key = {name: str(uuid4()) for name in ("left", "reported", "cancelled", "told", "other", "gone")}
    states = {"left": "", "reported": "", "told": "its process was killed; it isn't started again: it was killed 4 times", "other": ""}
    runs = {
        key[name]: SimpleNamespace(
            id=key[name],
            flow_id="reevaluate-tasks" if name == "other" else "select-pelt",
            state_type="CANCELLED" if name == "cancelled" else "CRASHED",
            state_name="Cancelled" if name == "cancelled" else "Crashed",
            state=SimpleNamespace(message=states.get(name, ""), is_final=lambda: True),
        )
        for name in key
        if name != "gone"
    }

    def read_flow_run(run_id):
        if str(run_id) not in runs:
            raise ObjectNotFound(KeyError())
        return runs[str(run_id)]

    client = SimpleNamespace(read_flow_run=read_flow_run, read_flow=lambda flow: SimpleNamespace(name=flow))
    for name in ("left", "cancelled", "told", "other"):
        lock_file(key[name]).parent.mkdir(parents=True, exist_ok=True)
        lock_file(key[name]).write_text("1 a")

    def found(reported=""):
        return {run.id for run in dead_runs._crashed(client, reported)}

    assert found(key["reported"]) == {key["left"], key["reported"]}
    assert left() == [key["left"]], "the others' are taken away"
    for reported in ("", "nonsense", key["gone"], key["told"], key["cancelled"]):
        assert found(reported) == {key["left"]}


def test_a_full_disk_fails_a_run_in_one_sentence_and_another_error_of_the_system_keeps_its_traceback():
    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "/data/records.jsonl")

    def refused():
        raise PermissionError(errno.EACCES, "Permission denied", "/data")

    state = clear_failure(full)()
    assert state.is_failed()
    assert state.message == "the disk is full (/data/records.jsonl); free some space, then run the same command again"
    with pytest.raises(PermissionError):
        clear_failure(refused)()
