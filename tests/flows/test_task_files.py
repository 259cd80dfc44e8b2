import json

import pytest

from flows.reevaluate import outcome, question, summary
from flows.task_files import due_files, read_task_file
from pelt_automl.errors import SettingsError

OWN = "train: train.csv\ntext_columns: [text]\nlabel_column: label\nmodel: minilm\nk: 16\n"


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


def give_verdict(place, name="train-1", **fields):
    folder = place / "home" / "selections" / name
    folder.mkdir(parents=True)
    (folder / "recommendation.json").write_text(json.dumps({"method": "lora", "model": "minilm", "k": 16} | fields))


def states(place):
    return {due.name: due.what for due in due_files("tasks.d")}


def test_a_file_is_new_until_there_is_a_verdict_on_its_data_and_again_when_the_data_changed(place):
    file = read_task_file(write(place, "own.yaml", OWN))
    assert states(place) == {"own": "new"}
    give_verdict(place, task=file.settings.task.task, data_hash=file.data_hash)
    assert states(place) == {"own": "up to date"}
    write_data(place, "other")
    assert states(place) == {"own": "changed"}


@pytest.mark.parametrize("name", ["own.yml", "own.YAML"])
def test_a_task_file_may_have_any_of_yamls_endings(place, name):
    write(place, name, OWN)
    assert states(place) == {"own": "new"}


@pytest.mark.parametrize("other", [{"model": "bert"}, {"k": None}, {"k": 32}])
def test_a_verdict_for_another_model_or_another_number_of_examples_does_not_count(place, other):
    file = read_task_file(write(place, "own.yaml", OWN))
    give_verdict(place, task=file.settings.task.task, data_hash=file.data_hash, **other)
    assert states(place) == {"own": "new"}


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
        ("task: qnli\nseeds: 3", "unknown field 'seeds'; there are data_dir, delimiter, encoding"),
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
        read_task_file(write(place, "x.yaml", "task: a b\nseeds: 3\nrungs: 2\nmethods: [../x]"))
    message = str(caught.value)
    assert [word for word in ("'seeds'", "'rungs'", "'a b'", "'../x'") if word in message] == ["'seeds'", "'rungs'", "'a b'", "'../x'"]


def test_numbers_that_yaml_reads_as_strings_are_numbers_all_the_same(place):
    file = read_task_file(write(place, "own.yaml", OWN + "seconds: 1e3\n"))
    assert file.settings.search.seconds == 1000.0


@pytest.mark.parametrize("folder", ["nowhere", "../elsewhere", "/etc"])
def test_a_folder_that_is_missing_or_outside_is_a_clear_error(place, folder):
    with pytest.raises(SettingsError, match=r"there is no folder|lies outside"):
        due_files(folder)


def test_the_question_changes_with_the_data_and_the_parameters_only(place):
    asked = question(read_task_file(write(place, "own.yaml", OWN)))
    assert question(read_task_file(write(place, "again.yaml", OWN))) == asked
    assert question(read_task_file(write(place, "own.yaml", OWN + "seconds: 60\n"))) != asked
    write_data(place, "other")
    assert question(read_task_file(write(place, "again.yaml", OWN))) != asked


def test_what_is_up_to_date_or_wrong_starts_nothing(place, monkeypatch):
    monkeypatch.setattr("flows.reevaluate.run_deployment", lambda *arguments, **named: pytest.fail("started"))
    write(place, "bad.yaml", "task: a b")
    file = read_task_file(write(place, "own.yaml", OWN))
    give_verdict(place, data_hash=file.data_hash)
    outcomes = {due.name: outcome(due, dry_run=False) for due in due_files("tasks.d")}
    assert "isn't a task's name" in outcomes["bad"]
    assert outcomes["own"] == f"lora, in {place}/home/selections/train-1"


@pytest.mark.parametrize(
    ("under_way", "dry_run", "expected"), [(True, False, "under way"), (True, True, "under way"), (False, True, "would be started")]
)
def test_what_is_under_way_or_a_dry_run_starts_nothing(place, monkeypatch, under_way, dry_run, expected):
    monkeypatch.setattr("flows.reevaluate.run_deployment", lambda *arguments, **named: pytest.fail("started"))
    monkeypatch.setattr("flows.reevaluate.is_under_way", lambda tag: under_way)
    write(place, "own.yaml", OWN)
    assert expected in outcome(due_files("tasks.d")[0], dry_run=dry_run)


def test_the_summary_is_a_markdown_table_whatever_stands_in_the_messages():
    rows = [{"name": "bad", "what": "problem", "outcome": "two\nlines | and a bar"}]
    assert summary(rows).splitlines() == ["| task file | state | outcome |", "|---|---|---|", "| bad | problem | two lines \\| and a bar |"]
    assert "no task file" in summary([])
