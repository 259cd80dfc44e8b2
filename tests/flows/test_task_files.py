import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from flows.flow_parameters import checked_settings
from flows.reevaluate import asked_tag, file_tag, given_way, outcome, reevaluate, summary
from flows.select_pelt import select_pelt
from flows.task_files import due_announced, due_files, last_verdicts, read_task_file
from flows.verdict_changes import change_to, changes_table, in_words, tell_change
from pelt_automl import BEHAVIOUR
from pelt_automl.errors import SettingsError
from pelt_automl.home import home
from pelt_automl.log.codec import read, to_json
from pelt_automl.log.events import VerdictReached
from pelt_automl.log.history import History
from pelt_automl.report.schema import recommendation_from
from pelt_automl.selection import Selection
from tests.flows import selection_double
from tests.flows.answers import answer

pytestmark = pytest.mark.usefixtures("without_mlflow")

OWN = "train: train.csv\ntext_columns: [text]\nlabel_column: label\nmodel: minilm\nk: 16\n"
ASKED = {"train": "train.csv", "text_columns": ["text"], "label_column": "label", "model": "minilm", "k": 16}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a data folder, a folder of task files and the program's home."""
    for name in ("data", "tasks.d", "home"):
        (tmp_path / name).mkdir()
    write_data(tmp_path, "good")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PELT_AUTOML_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("PELT_AUTOML_DATA_ROOTS", raising=False)
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "home"))
    return tmp_path


def write_data(place, word):
    rows = [f"{word} sentence number {number},{'yes' if number % 2 else 'no'}" for number in range(60)]
    (place / "data" / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")


def write(place, name, text):
    path = place / "tasks.d" / name
    path.write_text(text)
    return path


def give_verdict(days=0.0, folder=None, method="lora", score=0.8125, **parameters):
    """Starts a selection as the flow does, and lets it end as if it had been trained, so many days ago: names and hashes are the program's
    own.
    """
    with Selection.open(checked_settings(**parameters), folder) as selection:
        data, folder = selection.question.data, selection.folder
    _, described, *ended = selection_double.events()
    described = replace(described, task=data.name, k=data.k, protocol=data.protocol, hashes={"data": data.data_hash})
    with (folder / "records.jsonl").open("a") as file:
        file.writelines(to_json(aged(event, days, method, score)) + "\n" for event in (described, *ended))
    recommendation = recommendation_from(History.of(read(folder / "records.jsonl")), folder)
    (folder / "recommendation.json").write_text(recommendation.to_json())
    return folder


def aged(event, days, method, score):
    event = replace(event, time=time.time() - 86_400 * days)
    if isinstance(event, VerdictReached):
        standings = [replace(row, method=method, report_score=score) for row in event.standings]
        return replace(event, method=method, report_score=score, standings=standings)
    return event


def states(place):
    return {due.name: due.what for due in due_files("tasks.d")}


def why(place, name="own"):
    return next(due.why for due in due_files("tasks.d") if due.name == name)


def test_a_file_is_new_until_there_is_a_verdict_on_its_data_and_changed_when_the_data_is(place):
    write(place, "own.yaml", OWN)
    assert states(place) == {"own": "new"}
    give_verdict(**ASKED)
    assert states(place) == {"own": "up to date"}
    write_data(place, "other")
    assert states(place) == {"own": "changed"}
    assert why(place) == "its data changed since its last verdict"
    give_verdict(**ASKED)
    assert states(place) == {"own": "up to date"}
    write_data(place, "good")
    assert states(place) == {"own": "up to date"}, "the old data have their verdict"


def test_where_the_data_lie_and_what_the_file_is_called_does_not_matter(place):
    give_verdict(**ASKED)
    (place / "data" / "train.csv").rename(place / "data" / "reviews.csv")
    write(place, "renamed.yaml", OWN.replace("train.csv", "reviews.csv"))
    assert states(place) == {"renamed": "up to date"}


@pytest.mark.parametrize(
    ("field", "what", "said"),
    [
        ("methods: [lora]", "changed", "another effort than its last verdict (methods lora, was not given)"),
        ("trials: 3", "changed", "(trials 3, was 6)"),
        ("seconds: 60", "changed", "(seconds 60.0, was not given)"),
        ("protocol: paper", "new", "no verdict on this question yet (protocol paper, was strict)"),
        ("metric: accuracy", "new", "(metric accuracy, was not given)"),
        ("seed: 1", "new", "(seed 1, was 0)"),
        ("max_latency_ms: 5", "new", "(max_latency_ms 5.0, was not given)"),
        ("max_trainable: 100000", "new", "(max_trainable 100000, was not given)"),
        ("equivalence: 2", "new", "(equivalence 2.0, was 1.0)"),
        ("prefer: latency", "new", "(prefer latency, was params)"),
        ("k: 32", "new", "(k 32, was 16)"),
        ("k: full", "new", "(k full, was 16)"),
    ],
)
def test_another_question_or_another_effort_is_due_and_the_difference_is_said(place, field, what, said):
    give_verdict(**ASKED)
    own = "\n".join(line for line in OWN.splitlines() if line.split(":")[0] != field.split(":")[0])
    write(place, "own.yaml", f"{own}\n{field}\n")
    assert states(place) == {"own": what}
    assert said in why(place)


def test_a_verdict_of_an_earlier_program_or_one_whose_records_are_damaged_is_said(place, monkeypatch):
    folder = give_verdict(**ASKED)
    write(place, "own.yaml", OWN)
    for module in ("pelt_automl.selection.environment", "flows.task_files"):
        monkeypatch.setattr(f"{module}.BEHAVIOUR", -1)
    assert states(place) == {"own": "new"}
    assert f"another version of the program: behavior -1, was {BEHAVIOUR}" in why(place)
    (folder / "records.jsonl").write_text("{\n")
    assert "other settings, or another version of the program" in why(place)


def test_one_bad_file_does_not_stop_the_others_and_unreadable_verdicts_are_left_out(place):
    write(place, "bad.yaml", "task: [unclosed")
    write(place, "own.yaml", OWN)
    write(place, "notes.txt", "not a task file")
    (place / "home" / "selections" / "broken").mkdir(parents=True)
    (place / "home" / "selections" / "broken" / "recommendation.json").write_text("{")
    assert states(place) == {"bad": "problem", "own": "new"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [unclosed", r"task file x.yaml can't be read as YAML: .*line 1"),
        ("- task: qnli", "must hold lines 'name: value'.*it holds list"),
        ("", "it holds NoneType"),
        ("!!python/object/apply:os.system ['true']", "can't be read as YAML"),
        ("task: qnli\nseeds: 3", r"there is no option 'seeds' \(did you mean seed\?\)"),
        ("task: qnli\nk: many", "task file x.yaml: .*k"),
        ("task: ../qnli", "isn't a task's name"),
        ("task: qnli\ndata_dir: /etc", "lies outside"),
        ("task: qnli\nk: 3", "it must be at least 16"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(place, text, message):
    with pytest.raises(SettingsError, match=rf"(?s)task file x.yaml.*{message}" if "x.yaml" not in message else rf"(?s){message}"):
        read_task_file(write(place, "x.yaml", text))


def test_everything_wrong_with_a_file_is_said_at_once(place):
    with pytest.raises(SettingsError) as caught:
        read_task_file(write(place, "x.yaml", "task: a b\nseeds: 3\nrungs: [2]\nmethods: [../x]\nepochs: 0\ndata_dir: /etc"))
    message = str(caught.value)
    wrong = ("'seeds'", "rungs has 2.0", "'a b'", "'../x'", "epochs is 0.0", "data_dir '/etc'")
    assert [word for word in wrong if word not in message] == []
    assert message.startswith("task file x.yaml has 6 problems:")


def test_numbers_that_yaml_reads_as_strings_are_numbers_all_the_same(place):
    file = read_task_file(write(place, "own.yaml", OWN + "seconds: 1e3\n"))
    assert file.asked.settings.search.seconds == 1000.0
    assert file.parameters["seconds"] == 1000.0, "the deployment's schema wants a number"


def test_a_file_may_say_lists_and_words_as_the_command_line_does_and_the_deployment_gets_what_its_schema_has(place):
    more = "methods: lora, head\nbaselines: none\nrungs: none\nepochs: 3\nrace: false\n"
    file = read_task_file(write(place, "own.yaml", OWN.replace("k: 16", "k: full") + more))
    search = file.asked.settings.search
    assert (search.methods, search.baselines, search.rungs, search.race) == (("lora", "head"), (), (), False)
    jsonschema.validate(file.parameters, select_pelt.parameters.model_dump())
    assert (file.parameters["k"], file.parameters["train"], file.parameters["methods"]) == ("full", "train.csv", ["lora", "head"])
    assert checked_settings(**file.parameters) == file.asked.settings


@pytest.mark.parametrize("folder", ["nowhere", "../elsewhere", "/etc"])
def test_a_folder_that_is_missing_or_outside_is_a_clear_error(place, folder):
    with pytest.raises(SettingsError, match=r"there is no folder|lies outside"):
        due_files(folder)


@pytest.mark.usefixtures("place")
def test_a_missing_folder_is_answered_with_a_page_and_a_section_that_are_there():
    with pytest.raises(SettingsError, match="there is no folder") as caught:
        due_files("nowhere")
    page, section = re.search(r"\((\S+), '(.+)'\)", str(caught.value)).groups()
    assert f"## {section}\n" in (Path(__file__).resolve().parents[2] / page).read_text()


def test_the_tag_of_a_run_changes_with_the_data_and_the_parameters_only(place):
    asked = asked_tag(read_task_file(write(place, "own.yaml", OWN)))
    assert asked_tag(read_task_file(write(place, "again.yaml", OWN))) == asked
    assert asked_tag(read_task_file(write(place, "own.yaml", OWN + "seconds: 60\n"))) != asked
    write_data(place, "other")
    assert asked_tag(read_task_file(write(place, "again.yaml", OWN))) != asked


def test_what_is_up_to_date_or_wrong_starts_nothing(place, monkeypatch):
    monkeypatch.setattr("flows.reevaluate.run_deployment", lambda *arguments, **named: pytest.fail("started"))
    write(place, "bad.yaml", "task: a b")
    write(place, "own.yaml", OWN)
    folder = give_verdict(**ASKED)
    outcomes = {due.name: outcome(due, dry_run=False) for due in due_files("tasks.d")}
    assert "isn't a task's name" in outcomes["bad"]
    assert outcomes["own"] == f"lora, in {folder}"


@pytest.mark.parametrize(
    ("running", "dry_run", "expected"), [(True, False, "under way"), (True, True, "under way"), (False, True, "would be")]
)
def test_what_is_under_way_or_a_dry_run_starts_nothing(place, monkeypatch, running, dry_run, expected):
    run = SimpleNamespace(name="select-own", state_name="Running")
    monkeypatch.setattr("flows.reevaluate.run_deployment", lambda *arguments, **named: pytest.fail("started"))
    monkeypatch.setattr("flows.reevaluate.under_way", lambda *tags: (run if running else None, "none"))
    write(place, "own.yaml", OWN)
    assert expected in outcome(due_files("tasks.d")[0], dry_run=dry_run)


@pytest.mark.parametrize(("final", "said"), [(False, "started as select-own: it has no verdict yet"), (True, "ended as Cancelled")])
def test_only_what_was_started_now_is_said_to_be_started(place, monkeypatch, final, said):
    state = SimpleNamespace(is_final=lambda: final)
    run = SimpleNamespace(name="select-own", state=state, state_name="Cancelled" if final else "Scheduled")
    monkeypatch.setattr("flows.reevaluate.under_way", lambda *tags: (None, "none"))
    monkeypatch.setattr("flows.reevaluate.run_deployment", lambda *arguments, **named: run)
    monkeypatch.setattr("flows.reevaluate.given_way", lambda *_: None)
    write(place, "own.yaml", OWN)
    told = outcome(due_files("tasks.d")[0], dry_run=False)
    assert said in told
    assert told.startswith("started as") is not final


class TwoAtOnce:
    """Prefect's server, once two runs of `reevaluate-tasks` have seen nobody, and have both started a selection."""

    def __init__(self, older, younger):
        self.runs = [
            SimpleNamespace(id=number, name=name, created=datetime(2026, 12, 1, 3, 0, second, tzinfo=UTC), tags=tags)
            for number, (name, second, tags) in enumerate((younger, older))
        ]
        self.cancelled = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read_flow_runs(self, flow_run_filter, **_):
        wanted = set(flow_run_filter.tags.all_)
        return [run for run in self.runs if wanted <= set(run.tags)]

    def set_flow_run_state(self, run, state):
        self.cancelled.append((run, state.type.value, state.message))


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (("asked:b", "task-file:own"), ("asked:a", "task-file:own")),  # one task, of which two contents were announced
        (("asked:a", "task-file:other"), ("asked:a", "task-file:own")),  # one content, as a file and announced
    ],
)
def test_of_two_that_are_started_for_one_task_at_once_the_younger_gives_way(monkeypatch, mine, theirs):
    server = TwoAtOnce(("select-older", 1, theirs), ("select-younger", 2, mine))
    monkeypatch.setattr("flows.reevaluate.get_client", lambda sync_client: server)
    monkeypatch.setattr("flows.reevaluate.is_dead", lambda _client, run: False)
    younger, older = server.runs
    assert given_way(older, *theirs) is None
    assert server.cancelled == []
    assert given_way(younger, *mine) is older
    assert server.cancelled == [(younger.id, "CANCELLED", "select-older had been started for the same task just before")]
    monkeypatch.setattr("flows.reevaluate.is_dead", lambda _client, run: run is older)
    assert given_way(younger, *mine) is None


def test_a_run_that_gives_way_is_said_and_not_called_started(place, monkeypatch):
    monkeypatch.setattr("flows.reevaluate.under_way", lambda *tags: (None, "none"))
    monkeypatch.setattr("flows.reevaluate.run_deployment", lambda *_, **__: SimpleNamespace(name="select-own", state=None))
    monkeypatch.setattr("flows.reevaluate.given_way", lambda *_: SimpleNamespace(name="select-older"))
    write(place, "own.yaml", OWN)
    assert outcome(due_files("tasks.d")[0], dry_run=False) == "a selection of it was started at the same time, by another run: select-older"


def test_a_file_whose_data_are_missing_or_whose_check_breaks_is_named_and_the_others_go_on(place, monkeypatch):
    write(place, "gone.yaml", OWN.replace("train.csv", "gone.csv"))
    write(place, "own.yaml", OWN)
    assert states(place) == {"gone": "problem", "own": "new"}
    assert why(place, "gone").startswith("task file gone.yaml: ")
    monkeypatch.setattr("flows.task_files.asked_of", lambda settings: {}["x"])
    assert why(place) == "task file own.yaml can't be checked: KeyError: 'x'"


def test_the_summary_is_a_markdown_table_whatever_stands_in_the_messages():
    rows = [{"name": "bad", "what": "problem", "outcome": "two\nlines | and a bar"}]
    assert summary(rows).splitlines() == ["| task file | state | outcome |", "|---|---|---|", "| bad | problem | two lines \\| and a bar |"]
    assert "no task file" in summary([])


# -------------------------------------------------------------------- old verdicts


def test_a_verdict_is_old_by_when_it_was_reached_and_not_by_when_its_report_was_written(place):
    write(place, "own.yaml", OWN)
    give_verdict(days=10.0, **ASKED)
    for max_age, what in ((None, "up to date"), (11.0, "up to date"), (9.0, "old")):
        (due,) = due_files("tasks.d", max_age)
        assert due.what == what
    assert due.why == "its last verdict is 10.0 days old, and may be 9"
    give_verdict(days=1.0, folder=home() / "selections" / "again", **ASKED)
    assert [due.what for due in due_files("tasks.d", 9.0)] == ["up to date"], "the newest counts"


def test_an_old_verdict_is_found_again_in_another_folder_and_two_that_look_at_once_start_one_run(place, monkeypatch):
    asked = []
    run = SimpleNamespace(name="select-own", state=None)
    monkeypatch.setattr("flows.reevaluate.under_way", lambda *tags: (None, "the-newest"))
    monkeypatch.setattr("flows.reevaluate.run_deployment", lambda *arguments, **named: asked.append(named) or run)
    monkeypatch.setattr("flows.reevaluate.given_way", lambda *_: None)
    write(place, "own.yaml", OWN)
    first = give_verdict(days=10.0, **ASKED)
    for _ in range(2):
        (due,) = due_files("tasks.d", 9.0)
        assert outcome(due, dry_run=False).startswith("started as select-own: its last verdict is 10.0 days old")
    keys = {named["idempotency_key"] for named in asked}
    assert keys == {f"{asked_tag(due.file)}-after-the-newest"}
    assert asked[0]["tags"] == ["reevaluate-tasks", asked_tag(due.file), file_tag("own")]
    output = asked[0]["parameters"].pop("output")
    assert re.fullmatch(r"data-train-[0-9a-f]{8}-\d{8}-\d{4}", output)
    assert output != first.name
    assert asked[0]["parameters"] == due.file.parameters
    jsonschema.validate(due.file.parameters | {"output": output}, select_pelt.parameters.model_dump())


# -------------------------------------------------------------------- tasks that an event announces


def test_an_announced_task_is_checked_and_due_as_a_file_with_its_content_is(place):
    assert due_announced({"name": "own", "fields": ASKED}).what == "new"
    give_verdict(**ASKED)
    assert due_announced({"name": "own", "fields": ASKED}).what == "up to date"
    for announced, said in (
        ({"name": "own", "fields": {"task": "../x"}}, "announced task own: task '../x' isn't a task's name"),
        ({"name": "own", "fields": ASKED | {"train": "/etc/passwd"}}, "lies outside"),
        ({"name": "own", "fields": "task: qnli"}, "must hold lines 'name: value'"),
        ({"name": "../own", "fields": ASKED}, "the announced task's name is '../own'"),
        ({}, "the announced task's name is None"),
    ):
        due = due_announced(announced)
        assert (due.what, said in due.why) == ("problem", True), due.why


@pytest.mark.parametrize(("status", "said"), [(409, "refuses it: no such parameter"), (404, "isn't deployed; `make up` deploys it")])
def test_a_task_that_the_server_does_not_start_is_one_problem_and_the_others_go_on(place, monkeypatch, status, said):
    started, pages = [], {}

    def run_deployment(_name, tags, **_):
        if file_tag("bad") in tags:
            raise answer(status, "no such parameter")
        started.append(tags[-1])
        return SimpleNamespace(name="select-own", state=None)

    monkeypatch.setattr("flows.reevaluate.recover", lambda: None)
    monkeypatch.setattr("flows.reevaluate.under_way", lambda *tags: (None, "none"))
    monkeypatch.setattr("flows.reevaluate.create_markdown_artifact", lambda page, key, **_: pages.update({key: page}))
    monkeypatch.setattr("flows.reevaluate.run_deployment", run_deployment)
    monkeypatch.setattr("flows.reevaluate.given_way", lambda *_: None)
    for name in ("bad", "own"):
        write(place, f"{name}.yaml", OWN)
    with pytest.raises(SettingsError, match=f"^bad isn't started.*{said}$"):
        reevaluate.fn.__wrapped__()
    assert started == [file_tag("own")]
    assert "| bad | problem |" in pages["reevaluated-tasks"]


def test_the_flow_looks_at_the_announced_task_alone(place, monkeypatch):
    pages = {}
    monkeypatch.setattr("flows.reevaluate.recover", lambda: None)
    monkeypatch.setattr("flows.reevaluate.create_markdown_artifact", lambda page, key, **_: pages.update({key: page}))
    monkeypatch.setattr("flows.reevaluate.outcome", lambda due, dry_run: due.why)
    write(place, "other.yaml", "task: qnli")
    rows = reevaluate.fn.__wrapped__(announced={"name": "own", "fields": ASKED})
    assert [(row["name"], row["what"]) for row in rows] == [("own", "new")]
    assert "No task has a second verdict yet" in pages["changed-verdicts"]


# -------------------------------------------------------------------- what a new verdict changes


def test_a_flip_is_told_with_how_much_the_score_moved_and_the_lead_over_what_was_recommended(place):
    give_verdict(days=3.0, method="head", score=0.75, **ASKED)
    give_verdict(days=2.0, method="bitfit", score=0.5, **(ASKED | {"k": 32}))
    after = give_verdict(days=1.0, folder=home() / "selections" / "again", method="lora", score=0.8125, **ASKED)
    verdicts = list(last_verdicts())
    assert [one.answer["method"] for one in verdicts] == ["head", "bitfit", "lora"]
    change = change_to(verdicts[-1], verdicts)
    assert (change.before, change.after, change.flipped, change.moved) == ("head", "lora", True, 0.0625)
    assert change.after_folder == str(after)
    assert in_words(change) == "flipped from head to lora: accuracy 0.7500, then 0.8125 (+0.0625; positive is better)"
    assert "| data-train | flipped | flipped from head to lora: " in changes_table([change])
    assert change_to(verdicts[0], verdicts) is None
    assert change_to(verdicts[1], verdicts) is None, "another K is another question"
    rows = [{"candidate": "a", "method": "lora", "difference": 0.01}, {"candidate": "b", "method": "head", "difference": 0.05}]
    verdicts[-1].answer.update(candidate="a", leaderboard=[*rows, {"candidate": "c", "method": "head", "difference": 0.03}])
    change = change_to(verdicts[-1], verdicts)
    assert in_words(change).endswith("; in the new verdict it leads head by +0.0200")


def test_a_selection_that_has_ended_tells_what_its_verdict_changes_as_artifact_and_mlflow_run(place, monkeypatch):
    pages, sent = {}, []
    monkeypatch.setattr("flows.verdict_changes.create_markdown_artifact", lambda page, key, **_: pages.update({key: page}))
    monkeypatch.setattr("flows.verdict_changes.send_changes", lambda changes: sent.extend(changes) or "")
    tell_change(give_verdict(days=3.0, method="head", score=0.75, **ASKED))
    assert (pages, sent) == ({}, []), "the first verdict changes nothing"
    tell_change(give_verdict(days=1.0, folder=home() / "selections" / "again", **ASKED))
    assert list(pages) == ["verdict-change-data-train"]
    assert "flipped from head to lora" in pages["verdict-change-data-train"]
    assert [(change.before, change.after, change.moved) for change in sent] == [("head", "lora", 0.0625)]


def test_of_an_error_less_is_better_and_the_same_method_is_no_flip(place):
    give_verdict(days=3.0, score=0.75, **ASKED)
    give_verdict(days=1.0, folder=home() / "selections" / "again", score=0.5, **ASKED)
    verdicts = list(last_verdicts())
    verdicts[-1].answer["greater_is_better"] = False
    change = change_to(verdicts[-1], verdicts)
    assert (change.flipped, change.moved) == (False, 0.25)
    assert in_words(change).startswith("stayed lora: accuracy 0.7500, then 0.5000 (+0.2500")
    verdicts[-1].answer["report_score"] = None
    assert in_words(change_to(verdicts[-1], verdicts)) == "stayed lora: without a report score in both verdicts"
