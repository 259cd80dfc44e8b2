"""The checker finds what is planted in a real selection's folder, in its MLflow and in a Prefect server, and nothing where nothing is."""

import ast
import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chaos import checker
from chaos.checker import checked, main


def lines_of(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def write(folder, events, after=""):
    (folder / "records.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + after)


def of(events, kind, **fields):
    """The first event of a kind with these values."""
    return next(one for one in events if one["event"] == kind and fields.items() <= one.items())


def after(events, event, *more):
    """Put `more` after `event`."""
    place = events.index(event) + 1
    events[place:place] = more


def goes_on(events):
    """The release of a trial that has come to its first rung, and where that is."""
    return next((one, one["segment"]["start"]) for one in events if one["event"] == "Released" and one["segment"]["start"])


@pytest.fixture
def folder(finished, tmp_path):
    return finished.copy(tmp_path / "selection")


# Each damage changes the list of events in place, or the folder, and says what the checker has to find.


def lost_outcome(events, folder):
    events.remove(of(events, "SegmentEnded"))
    return "is released twice in attempt 0: nothing came of the first time"


def lost_end(events, folder):
    events.remove(of(events, "TrialEnded", stage="search"))
    return "was released and has never ended, though the selection has"


def doubled_end(events, folder):
    end = of(events, "TrialEnded", stage="finalist")
    after(events, end, end)
    return f"{end['trial']} has ended twice"


def second_outcome(events, folder):
    ended = of(events, "SegmentEnded")
    after(events, ended, ended)
    return "a second outcome of its segment to step 16"


def late_result(events, folder):
    ended = of(events, "SegmentEnded")
    after(events, ended, ended | {"attempt": 1})
    return "in attempt 1, while attempt 0 is under way"


def released_again(events, folder):
    end = of(events, "TrialEnded", stage="search")
    release = next(one for one in events if one["event"] == "Released" and one["segment"]["trial"] == end["trial"])
    after(events, end, release)
    return f"{end['trial']} had ended and is released again"


def gap_in_steps(events, folder):
    release, start = goes_on(events)
    release["segment"] |= {"start": start + 4}
    return f"had come to step {start} and goes on at step {start + 4}"


def overlap_of_steps(events, folder):
    release, start = goes_on(events)
    release["segment"] |= {"start": start - 4}
    return f"had come to step {start} and goes on at step {start - 4}"


def short_segment(events, folder):
    ended = of(events, "SegmentEnded")
    ended["reached"] -= 1
    return "was to come to step 16 and came to step 15: its steps have a gap"


def lost_point(events, folder):
    del of(events, "SegmentEnded")["points"][-1]
    return "has ended with another curve than its segments have"


def new_attempt(events, folder):
    release, _ = goes_on(events)
    release["segment"] |= {"start": 0, "attempt": 1}
    return "is released in attempt 1, and the log doesn't say that attempt 0 is lost"


def other_training(events, folder):
    release, _ = goes_on(events)
    release["segment"] |= {"seeds": {"split": 9, "initialization": 9, "order": 9}}
    return "goes on as another training: another seeds"


def same_training_twice(events, folder):
    for event in events:
        own = event.get("segment", event)
        if own.get("trial") == "lora-0001":
            own |= {"candidate": "lora-0000", "number": 0}
    return "training search lora-0000 0 is there 2 times"


def twice_scored(events, folder):
    score = of(events, "FinalistScored")
    after(events, score, score)
    return f"{score['trial']} is scored on the report split twice, and nothing of it was lost"


def opened_again(events, folder):
    opening = of(events, "ReportOpened")
    after(events, opening, opening | {"openings": 2})
    return "the report split is opened twice in one start"


def search_after_report(events, folder):
    opening = of(events, "ReportOpened")
    release = of(events, "Released")
    after(events, opening, release | {"segment": release["segment"] | {"trial": "lora-0099", "candidate": "lora-0099"}})
    return "the search goes on after the report split was opened"


def verdict_of_another(events, folder):
    verdict = of(events, "VerdictReached")
    verdict["candidate"] = next(row["candidate"] for row in verdict["standings"] if row["method"] != verdict["method"])
    return f"the verdict calls {verdict['candidate']} {verdict['method']}"


def verdict_of_nobody(events, folder):
    of(events, "VerdictReached")["candidate"] = "lora-0099"
    return "the verdict is lora-0099, which is no finalist of this log"


def lost_finalist(events, folder):
    verdict = of(events, "VerdictReached")
    verdict["standings"].pop()
    return f"the verdict's finalists are {sorted(row['candidate'] for row in verdict['standings'])}; scored were "


def other_scores(events, folder):
    of(events, "VerdictReached")["standings"][0]["seed_scores"][0] = 0.25
    return "the verdict's scores of"


def other_answer(events, folder):
    path = folder / "recommendation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"candidate": "lora-0001"}))
    return "recommendation.json has another candidate than the log: 'lora-0001'"


def other_winner(events, folder):
    path = folder / "winner" / "pelt_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hyper_parameters": {"learning_rate": 7.0}}))
    return "winner/ has the weights of another configuration"


def no_winner(events, folder):
    shutil.rmtree(folder / "winner")
    return "winner/pelt_config.json can't be read"


def damaged_outputs(events, folder):
    path = folder / "outputs" / of(events, "FinalistScored")["outputs"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return f"outputs/{path.name} is damaged"


def missing_outputs(events, folder):
    path = folder / "outputs" / of(events, "ReportOpened")["outputs"]
    path.unlink()
    return f"outputs/{path.name}, which the log refers to, can't be read"


def missing_texts(events, folder):
    shutil.rmtree(folder / "texts")
    return "which the log refers to, can't be read"


def left_over(events, folder):
    (folder / "work" / "checkpoints").mkdir(parents=True)
    return "work/checkpoints is left over"


def two_selections(events, folder):
    after(events, of(events, "Planned"), events[0])
    return "a later start doesn't say that it resumes: two selections share the log"


def another_question(events, folder):
    after(events, of(events, "Planned"), events[0] | {"resumed": True, "question": "0" * 16})
    return "a later start has another question"


def lost_beginning(events, folder):
    events[0]["resumed"] = True
    return "the first start says that it resumes another"


def more_after_the_end(events, folder):
    events.append(of(events, "Planned"))
    return "Planned comes after the selection's end"


def never_published(events, folder):
    events.remove(of(events, "Published"))
    return "the selection has ended, and its results aren't handed on yet"


def never_ended(events, folder):
    del events[events.index(of(events, "VerdictReached")) :]
    return "the selection hasn't come to its end"


def worker_left_open(events, folder):
    worker_lost(events)
    events.remove([one for one in events if one["event"] == "WorkerLeft"][-1])
    return "workers never left, though the selection has ended: ['worker-2']"


def lost_segment_from_its_start(events, folder):
    worker_lost(events)
    release = next(one for one in events if one["event"] == "Released" and one["segment"]["attempt"])
    start = release["segment"]["start"]
    release["segment"] |= {"start": 0}
    return f"had come to step {start} and begins attempt 1 at step 0"


def ended_twice(events, folder):
    events.append(of(events, "SelectionEnded"))
    return "SelectionEnded is there 2 times"


def decided_twice(events, folder):
    decision = of(events, "Decision", what="finalist")
    after(events, decision, decision)
    return f"the decision finalist {decision['subject']} is there 2 times"


def evidence_twice(events, folder):
    knocked = of(events, "KnockedOut")
    after(events, knocked, knocked)
    return f"KnockedOut {knocked['trial']} {knocked['submodule']} is there 2 times"


DAMAGES = [
    lost_outcome, lost_end, doubled_end, second_outcome, late_result, released_again, gap_in_steps, overlap_of_steps, short_segment,
    lost_point, new_attempt, other_training, same_training_twice, twice_scored, opened_again, search_after_report, verdict_of_another,
    verdict_of_nobody, lost_finalist, other_scores, other_answer, other_winner, no_winner, damaged_outputs, missing_outputs, missing_texts,
    left_over, two_selections, another_question, lost_beginning, more_after_the_end, never_published, never_ended, ended_twice,
    worker_left_open, lost_segment_from_its_start, decided_twice, evidence_twice,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_whatever_is_planted_is_found_and_said(folder, damage):
    events = lines_of(folder)
    expected = damage(events, folder)
    write(folder, events)
    assert [problem for problem in checked(folder).problems if expected in problem]


def test_an_undamaged_selection_passes_and_what_was_checked_is_counted(folder, capsys):
    assert main([str(folder)]) == 0
    said, events = capsys.readouterr().out, lines_of(folder)
    trainings = len([one for one in events if one["event"] == "TrialEnded"])
    assert said.startswith(f"Nothing is lost, doubled or left open: {len(events)} events, 1 starts, ")
    assert f", {trainings} trainings, " in said


def test_lines_that_are_no_events_and_half_a_line_after_the_end_are_found(folder):
    lines = (folder / "records.jsonl").read_text().splitlines()
    write(folder, lines_of(folder), after='{"event": "Pub')
    assert checked(folder).problems == ["half a line follows the log's last event"]
    (folder / "records.jsonl").write_text("\n".join([*lines[:5], lines[5][:40], *lines[6:], ""]))
    assert checked(folder).problems[0].startswith("line 6 of the log is no event: ")
    events = [json.loads(line) for line in lines]
    del of(events, "SegmentEnded")["points"]
    write(folder, events)
    assert "an event isn't whole (KeyError: 'points')" in " ".join(checked(folder).problems)


def resumed(events):
    return events[0] | {"resumed": True}


def killed_in_a_line(events):
    """Nothing of the line counts, and the next start goes on."""
    del events[events.index(of(events, "SegmentEnded")) :]
    return '{"event": "SegmentEn'


def killed_after_the_verdict(events):
    verdict = of(events, "VerdictReached")
    after(events, verdict, resumed(events), verdict | {"time": 9e9})


def outputs_lost(events):
    score, end = of(events, "FinalistScored"), of(events, "VerdictReached")
    place = events.index(end)
    opening = of(events, "ReportOpened") | {"openings": 2}
    events[place:place] = [resumed(events), {"event": "OutputsLost", "time": 1.0, "outputs": score["outputs"]}, opening, score]


def state_lost(events):
    """It starts over under another attempt, and comes to the same."""
    release, _ = goes_on(events)
    name, lost = release["segment"]["trial"], {"event": "StateLost", "time": 1.0, "attempt": 0, "cause": "damaged"}
    ends = [one for one in events if one["event"] == "SegmentEnded" and one["trial"] == name]
    assert [one["reached"] for one in ends] == [16, 32]
    for later in events[events.index(release) + 1 :]:
        own = later.get("segment", later)
        if own.get("trial") == name and "attempt" in own:
            own["attempt"] = 1
    ends[1]["points"] = ends[0]["points"] + ends[1]["points"]
    repeated = release | {"segment": release["segment"] | {"start": 0, "attempt": 1}, "because": "repeated"}
    after(events, release, lost | {"trial": name}, repeated)


WORKER = {"device": "cpu, 1 thread", "host": "here", "environment": {}, "time": 1.0}


def worker_joins(events):
    after(events, of(events, "Planned"), {"event": "WorkerJoined", "worker": "worker-1"} | WORKER)


def worker_lost(events):
    """Its segment is trained again under another attempt, from where it was; another worker leaves in the end."""
    release, _ = goes_on(events)
    name, worker = release["segment"]["trial"], WORKER
    again = release | {"segment": release["segment"] | {"attempt": 1}, "because": "its worker was lost"}
    lost = {"event": "SegmentLost", "time": 1.0, "trial": name, "attempt": 0, "worker": "worker-1", "cause": "it is gone"}
    for later in events[events.index(release) + 1 :]:
        own = later.get("segment", later)
        if own.get("trial") == name and "attempt" in own:
            own["attempt"] = 1
    joined = [{"event": "WorkerJoined", "worker": f"worker-{number}"} | worker for number in (1, 2)]
    left = [{"event": "WorkerLeft", "worker": f"worker-{number}", "why": "", "seconds": 1.0} | worker for number in (1, 2)]
    after(events, of(events, "Planned"), *joined)
    after(events, release, left[0], lost, again)
    after(events, of(events, "VerdictReached"), left[1])


@pytest.mark.parametrize(
    ("happened", "unfinished"),
    [(killed_in_a_line, True), (killed_after_the_verdict, False), (outputs_lost, False), (state_lost, False), (worker_lost, False)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_the_program_may_do_after_a_kill_or_a_damage_is_fine(folder, happened, unfinished):
    events = lines_of(folder)
    write(folder, events, after=happened(events) or "")
    if happened is killed_in_a_line:
        shutil.rmtree(folder / "winner")
    assert checked(folder, unfinished=unfinished).problems == []


def test_a_state_that_a_training_goes_on_from_has_to_be_there_until_it_has_ended(folder):
    events = lines_of(folder)
    ended = of(events, "SegmentEnded")
    del events[events.index(ended) + 1 :]
    write(folder, events)
    (problem,) = checked(folder, unfinished=True).problems
    assert problem.startswith(f"work/checkpoints/{ended['state']}, which the log refers to, can't be read")


@pytest.mark.parametrize(("holder", "missing"), [("", 1), ("worker-1", 0)])
def test_with_workers_a_state_may_be_missing_only_where_the_log_says_that_it_is_too_large_to_travel(folder, holder, missing):
    events = lines_of(folder)
    ended = of(events, "SegmentEnded")
    ended["holder"] = holder
    del events[events.index(ended) + 1 :]
    worker_joins(events)
    write(folder, events)
    problems = checked(folder, unfinished=True).problems
    assert [ended["state"] in problem for problem in problems] == [True] * missing


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path, "records.jsonl can't be read (No such file or directory); name the folder of a selection"),
        (lambda path: path.mkdir(), "records.jsonl can't be read"),
        (lambda path: (path.mkdir(), (path / "records.jsonl").write_text("a,b\n1,2\n")), "doesn't begin as a selection's log does"),
        (lambda path: (path.mkdir(), write(path, [{"event": "SelectionStarted", "behaviour": 3}])), "is of behavior 3 of the program"),
    ],
)
def test_what_is_no_selection_can_t_be_checked(tmp_path, capsys, make, said):
    make(tmp_path / "other")
    assert main([str(tmp_path / "other")]) == 2
    assert said in capsys.readouterr().err


def test_a_selection_that_is_being_worked_on_is_not_judged(folder, capsys):
    import fcntl

    with (folder / "selection.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main([str(folder)]) == 2
    assert "a process works on the selection" in capsys.readouterr().err


def test_the_checker_needs_nothing_of_the_program():
    tree = ast.parse(Path(checker.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"mlflow"}


# -------------------------------------------------------------------- MLflow


@pytest.fixture
def mlflow(finished, tmp_path):
    """A copy of the selection's MLflow to plant damages in: its client, its address, and the selection's run."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{shutil.copy(finished.home / 'mlflow.db', tmp_path / 'mlflow.db')}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return client, uri, client.get_run(json.loads((finished.folder / "mlflow.json").read_text())["run"])


def a_training(client, parent):
    name = "final-lora-0000-seed0"
    condition = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and attributes.run_name = '{name}'"
    (run,) = client.search_runs([parent.info.experiment_id], condition)
    return run


def run_left_running(client, parent):
    client.update_run(a_training(client, parent).info.run_id, status="RUNNING")
    return "in MLflow the run of final-lora-0000-seed0 is RUNNING, and should be FINISHED"


def parent_left_running(client, parent):
    client.update_run(parent.info.run_id, status="RUNNING")
    return "in MLflow the selection's run is RUNNING, and should be FINISHED"


def doubled_run(client, parent):
    run = a_training(client, parent)
    tags = {name: run.data.tags[name] for name in ("pelt.key", "mlflow.parentRunId")}
    client.create_run(parent.info.experiment_id, tags=tags, run_name="final-lora-0000-seed0")
    return "MLflow has 2 runs of final-lora-0000-seed0, and should have one"


def doubled_parent(client, parent):
    tags = {name: parent.data.tags[name] for name in ("pelt.key", "pelt.started")}
    client.create_run(parent.info.experiment_id, tags=tags)
    return "MLflow has 2 runs of this selection, and should have one"


def missing_run(client, parent):
    client.delete_run(a_training(client, parent).info.run_id)
    return "MLflow has 0 runs of final-lora-0000-seed0, and should have one"


def unknown_run(client, parent):
    client.create_run(parent.info.experiment_id, tags={"mlflow.parentRunId": parent.info.run_id}, run_name="lora-0099")
    return "MLflow has a run of lora-0099 (RUNNING), which hasn't ended in the log"


def other_score(client, parent):
    client.log_metric(a_training(client, parent).info.run_id, "report_score", 0.125)
    return "in MLflow the run of final-lora-0000-seed0 has the report_score 0.125; the log has 1.0"


def missing_version(client, parent):
    (version,) = client.search_model_versions(f"run_id = '{parent.info.run_id}'")
    client.delete_model_version(version.name, version.version)
    return "MLflow has 0 versions of this selection's winner, and should have one"


@pytest.mark.parametrize(
    "damage",
    [run_left_running, parent_left_running, doubled_run, doubled_parent, missing_run, unknown_run, other_score, missing_version],
    ids=lambda damage: damage.__name__,
)
def test_what_is_planted_in_mlflow_is_found(finished, mlflow, damage):
    client, uri, parent = mlflow
    expected = damage(client, parent)
    assert expected in checked(finished.folder, uri).problems


def test_an_undamaged_mlflow_passes_and_one_that_is_away_can_t_be_checked(finished, mlflow, tmp_path, capsys):
    assert checked(finished.folder, mlflow[1]).problems == []
    for away, why in ((f"sqlite:///{tmp_path}/none.db", "there is no such file"), ("http://127.0.0.1:1", "can't be asked")):
        assert main([str(finished.folder), "--mlflow", away]) == 2
        assert f"MLflow at {away}" in (said := capsys.readouterr().err)
        assert why in said
    assert not (tmp_path / "none.db").exists()


# -------------------------------------------------------------------- Prefect; a real server's answers: tests/flows/test_end_to_end.py


@pytest.fixture
def prefect():
    """Answers as Prefect's API does, and what it answers: flow runs, and steps."""
    answers, asked = {"/api/flow_runs/filter": [], "/api/task_runs/filter": []}, []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = json.dumps(answers[self.path][asked[-1]["offset"] :]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api", answers, asked
    server.shutdown()
    server.server_close()


def run_of(name, state):
    return {"name": name, "state_type": state.upper(), "state_name": state}


@pytest.mark.parametrize("state", ["Running", "Cancelling", "Pending"])
def test_a_flow_run_that_seems_to_work_on_an_ended_selection_is_found(finished, prefect, state):
    url, answers, asked = prefect
    answers["/api/flow_runs/filter"] = [run_of("select-reviews", "Completed"), run_of("pelt-worker-2", state)]
    answers["/api/task_runs/filter"] = [run_of("search-0", "Completed"), run_of("confirm-0", state)]
    assert checked(finished.folder, prefect=url).problems == [
        f"in Prefect {name} is still {state}, though the selection has ended" for name in ("pelt-worker-2", "confirm-0")
    ]
    key = lines_of(finished.folder)[0]["key"]
    assert asked[0]["flow_runs"] == {"tags": {"all_": [f"selection:{key}"]}}


def test_flow_runs_that_are_over_pass_and_a_server_without_any_or_that_is_away_can_t_be_checked(finished, prefect, capsys):
    url, answers, _ = prefect
    assert main([str(finished.folder), "--prefect", url]) == 2
    assert "has no flow run with the tag selection:" in capsys.readouterr().err
    answers["/api/flow_runs/filter"] = [run_of("select-reviews", "Completed"), run_of("select-reviews", "Crashed")]
    assert main([str(finished.folder), "--prefect", url]) == 0
    assert main([str(finished.folder), "--prefect", "http://127.0.0.1:1/api"]) == 2
    assert "can't be asked" in capsys.readouterr().err
