"""The command line as it is typed: what it prints, where, and the exit code."""

import csv
import errno
import json
import logging
import re
import shutil
import sys

import pytest
import transformers

import pelt_automl
from pelt_automl import cli
from pelt_automl.backbones import ARCHITECTURES
from pelt_automl.errors import SelectionError
from pelt_automl.log.folder import LOCK, exclusive
from pelt_automl.methods import METHODS, standard
from pelt_automl.modifications import pack
from pelt_automl.recorders import sending
from tests.tiny_world import CLASSES

COMMANDS = (
    "select",
    "methods",
    "tasks",
    "spaces",
    "report",
    "sync",
    "predict",
    "reproduce-unipelt",
    "export",
    "doctor",
    "worker",
    "certificates",
)


@pytest.fixture
def run(monkeypatch, capsys):
    """Types a command; its exit code, stdout and stderr."""

    def typed(*arguments):
        monkeypatch.setattr(sys, "argv", ["pelt-automl", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return typed


@pytest.fixture
def refused(run):
    """Types a command that can't be carried out; its one message."""

    def typed(*arguments):
        code, _, err = run(*arguments)
        assert code == 2
        assert "Traceback" not in err
        assert err.startswith("error: ")
        assert err.count("error: ") == 1
        return err

    return typed


# ---------------------------------------------------------------- baselines


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--baselines", "prob"], "unknown baseline 'prob' (did you mean probe?); there are probe, bag-of-words, neighbors, or none"),
        (["--methods", "probe"], "name it with --baselines probe"),
        (["--baselines", "lora"], "name it with --methods lora"),
    ],
)
def test_a_name_among_the_wrong_contenders_is_one_clear_message(refused, arguments, says):
    assert says in refused("select", "--task", "pydoc-topic", *arguments)


def test_methods_lists_the_baselines(run):
    code, out, _ = run("methods")
    assert code == 0
    assert re.search(r"^probe .*a regularized linear map", out, re.MULTILINE)
    assert re.search(r"^bag-of-words .*TF-IDF", out, re.MULTILINE)


# ---------------------------------------------------------------- help


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)


# ---------------------------------------------------------------- workers


def test_certificates_are_made_for_a_worker_and_what_it_lacks_is_one_message(run, refused, tmp_path, monkeypatch):
    monkeypatch.delenv("PELT_AUTOML_CERTIFICATES", raising=False)
    assert "workers on other machines need certificates" in refused("worker", "tls://127.0.0.1:1")
    assert "is no address of a selection's port" in refused("worker", "127.0.0.1")
    code, out, _ = run("certificates", str(tmp_path / "new"))
    assert (code, "--certificates DIR" in out) == (0, True)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"ca.pem", "cert.pem", "key.pem"}
    assert "isn't empty" in refused("certificates", str(tmp_path / "new"))


# ---------------------------------------------------------------- lists


def test_methods_as_json_count_as_the_paper_does(run):
    code, out, _ = run("methods", "--shape", "bert-base", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert {name: rows[name]["trainable_parameters"] for name in standard(())} == {
        "full": 109_482_240,
        "head": 0,
        "bitfit": 102_912,
        "lora": 294_912,
        "adapter": 894_528,
        "prefix": 184_320,
        "mam": 12 * (2 * 30 * 768 + 2 * 512 * 768 + 512 + 768),
        "unipelt-ap": 1_078_848,
        "unipelt-apl": 1_373_760,
    }
    assert {row["head_parameters"] for row in rows.values()} == {2 * 768 + 2}
    assert rows["unipelt-apl"]["gate_parameters"] == 12 * 4 * 769
    assert rows["lora"]["gate_parameters"] == 0
    assert rows["lora"]["defaults"] == {"learning_rate": 0.0005, "rank": 8, "alpha": 16.0, "targets": "query-value"}


def test_methods_in_a_table_and_an_unknown_shape(run, refused):
    code, out, _ = run("methods")
    assert code == 0
    assert "294,912" in out
    assert refused("methods", "--shape", "bert-huge").startswith("error: unknown shape 'bert-huge'; there are bert-base, ")


def test_methods_of_a_model_say_what_it_refuses_and_why_without_loading_it(run, refused, tmp_path, monkeypatch):
    config = transformers.LlamaConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, vocab_size=60)
    config.save_pretrained(tmp_path / "llama")  # no weights are there at all
    code, out, _ = run("methods", "--model", tmp_path / "llama")
    assert code == 0
    assert re.search(r"^bitfit +not possible: llama has no bias terms$", out, re.MULTILINE)
    assert re.search(r"^lora +4,096 ", out, re.MULTILINE)  # 2 layers, query and value, rank 8: 2 * 2 * 8 * (64 + 64)
    assert re.search(r"^  ffn.gate +yes$", out, re.MULTILINE)
    transformers.XLNetConfig().save_pretrained(tmp_path / "xlnet")
    assert refused("methods", "--model", tmp_path / "xlnet").startswith("error: no table for the architecture 'xlnet'; there are ")


@pytest.mark.slow
def test_the_matrix_has_every_method_and_family_with_a_reason_for_each_gap(run):
    code, out, _ = run("methods", "--matrix")
    assert code == 0
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if line.split(maxsplit=1)[:1] and line.split()[0] in METHODS)
    assert set(rows) == set(METHODS)
    assert {len(marks.split()) for marks in rows.values()} == {len(ARCHITECTURES)}
    letters = {mark for marks in rows.values() for mark in marks.split()} - {"+"}
    assert letters
    assert all(re.search(rf"^{letter}: \w+", out, re.MULTILINE) for letter in letters)
    families = list(ARCHITECTURES)
    assert rows["bitfit"].split()[families.index("llama")] != "+"
    assert set(rows["lora"].split()) == {"+"}


def test_tasks_are_listed_with_their_metric(run):
    code, out, _ = run("tasks")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert {"pydoc-match", "pydoc-topic", "qnli", "sst2", "cola", "stsb", "boolq", "cb", "wic"} <= lines.keys()
    assert "mcc" in lines["cola"]
    assert "embedded" in lines["pydoc-topic"]
    code, out, _ = run("tasks", "--json")
    assert {row["name"] for row in json.loads(out)} == lines.keys()


def test_an_embedded_task_is_shown_with_its_sizes_and_two_baselines(run):
    code, out, _ = run("tasks", "pydoc-topic", "--k", "100")
    assert code == 0
    sizes = re.search(r"^examples: 70 train, 30 select, (\d+) report$", out, re.MULTILINE)
    assert sizes
    assert int(sizes[1]) > 100
    scores = dict(re.findall(r"^(majority|bag of words) +(0\.\d{3}) accuracy", out, re.MULTILINE))
    assert 0 < float(scores["majority"]) < float(scores["bag of words"]) < 0.9


def test_the_search_spaces_are_printed_with_their_defaults(run, refused, tmp_path):
    code, out, _ = run("spaces")
    assert code == 0
    assert "unipelt-apl (version 1)" in out
    assert any(line.split()[0] == "rank" and line.endswith("default 8") for line in out.splitlines() if line.strip())
    (tmp_path / "lora.yaml").write_text("method: lora\nversion: 1\nhyper_parameters:\n  learning_rate: {type: float, low: 1, high: 0}\n")
    assert "lora.yaml" in refused("spaces", "--spaces", tmp_path)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "qnlii"], "there is no task 'qnlii'; did you mean qnli"),
        (["--task", "pydoc-topic", "--methods", "lora,adaptor"], "unknown method 'adaptor' (did you mean adapter?)"),
        (["--task", "pydoc-topic", "--train", "TRAIN"], "give either a task's name or a train file"),
        ([], "give either a task's name or a train file"),
        (
            ["--train", "TRAIN", "--text-columns", "sentence", "--label-column", "label"],
            "there is no column 'sentence'; its columns are: text",
        ),
        (["--train", "TRAIN", "--label-column", "label"], "name one or two text columns (--text-columns a,b)"),
        (["--train", "nowhere.csv", "--text-columns", "text", "--label-column", "label"], "nowhere.csv: there is no such file"),
        (["--task", "pydoc-topic", "--k", "lots"], "k is 'lots'; it must be a whole number, at least 16, or 'full'"),
        (["--task", "pydoc-topic", "--k", "3"], "k is 3; it must be at least 16"),
        (["--task", "pydoc-topic", "--k", "50,3"], "k has 3; each must be at least 16, or 'full'"),
        (["--task", "pydoc-topic", "--k", "50,99999"], "k is 99999, but pydoc-topic has "),
        (["--task", "pydoc-topic", "--k", "64", "--model", "/no/such/model"], "'/no/such/model' is neither a folder, nor a Hub name"),
        (["--task", "pydoc-topic", "--seconds", "-5"], "seconds is -5.0; it must be above 0"),
        (["--task", "pydoc-topic", "--precision", "fp8"], "precision is 'fp8'; it must be auto, bf16 or fp32"),
        (["--task", "pydoc-topic", "--trials", "many"], "trials is 'many'; it must be a whole number, from 1 to 100000 trials"),
        (["--task", "pydoc-topic", "--trials", "0", "--methods", "hed", "--rungs", "2"], "the command has 3 problems:"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, world, tmp_path, arguments, message):
    typed = [str(world.train) if argument == "TRAIN" else argument for argument in arguments]
    said = refused("select", *typed, "--output", tmp_path / "out")
    assert message in said
    assert not (tmp_path / "out").exists()


def test_a_model_that_the_hub_would_have_is_said_how_to_get(run, world, tmp_path):
    columns = ["--text-columns", "text", "--label-column", "label"]
    code, _, err = run("select", "--train", world.train, *columns, "--model", "nobody/no-such-bert", "--output", tmp_path / "out")
    assert code == 2
    assert "Traceback" not in err
    *_, last = err.splitlines()  # behind what the display says of the data
    assert last.startswith("error: the model 'nobody/no-such-bert' can't be loaded")
    assert "Give a local folder (--model /path/to/model)" in last


def test_a_wrong_option_is_clicks_own_message(run):
    code, _, err = run("select", "--tsak", "qnli")
    assert code == 2
    assert "No such option" in err
    assert "Traceback" not in err


# ---------------------------------------------------------------- select, report


@pytest.mark.whole
def test_select_prints_the_verdict_and_where_everything_is(run, world, tmp_path, without_mlflow, monkeypatch):
    columns = ["--text-columns", "text", "--label-column", "label"]
    few = ["--k", "60", "--methods", "lora,head", "--trials", "1", "--epochs", "4", "--finalist-seeds", "1", "--precision", "fp32"]
    command = ["select", "--train", world.train, "--test", world.test, *columns, "--model", world.model, *few, "--output", tmp_path / "out"]
    code, out, _ = run(*command)
    assert code == 0
    answer = json.loads((tmp_path / "out" / "recommendation.json").read_text())
    assert answer["method"] in out
    assert f"Report:   {tmp_path / 'out' / 'report.html'}" in out
    assert "MLflow" not in out, "nothing was sent"
    code, again, _ = run(*command)
    assert code == 0
    assert "has finished before" in again
    assert answer["statement"].split(":")[0] in " ".join(again.split())


# ---------------------------------------------------------------- sync


def test_the_end_says_where_mlflow_shows_the_selection_and_what_became_of_the_champion(run, finished):
    code, out, _ = run("report", finished.folder)
    assert code == 0
    assert f"MLflow:   mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///{finished.home / 'mlflow.db'}\n" in out
    assert "Model:    pelt-reviews, version 1; version 1 is the champion (accuracy " in out


def test_what_an_outage_kept_back_is_sent_by_sync_and_no_address_is_named_that_did_not_answer(run, finished, tmp_path, monkeypatch):
    folder = finished.copy(tmp_path / "out")
    with monkeypatch.context() as away:  # a real outage is in tests/recorders/test_sending.py
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        answer = json.dumps({"problem": "it can't be reached (connection refused)"})
        away.setattr(sending, "COMMAND", (sys.executable, "-S", "-c", f"print({answer!r})"))
        code, out, err = run("sync", folder)
    assert (code, out) == (2, "")
    assert err == f"error: MLflow at http://127.0.0.1:9: {folder}: it can't be reached (connection refused)\n"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, out, _ = run("report", folder)
    assert f"MLflow:   not all there: it can't be reached (connection refused). Once it is back: pelt-automl sync {folder}" in out
    assert "127.0.0.1:9" not in out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    first, second = run("sync", folder), run("sync", folder)
    assert first[0] == 0
    assert first[1].startswith(f"Sent out to sqlite:///{tmp_path / 'mlflow.db'} (")
    assert "Model:    pelt-reviews, version 1; version 1 is the champion (accuracy " in first[1]
    assert second == first


def test_a_selection_under_way_is_not_sent_and_a_folder_without_one_is_refused(refused, tmp_path):
    assert "there is no records.jsonl in it" in refused("sync", tmp_path)
    (tmp_path / "records.jsonl").write_text("")
    with exclusive(tmp_path / LOCK):
        assert "the selection is under way; it is sent when it ends" in refused("sync", tmp_path)


def test_a_command_that_is_interrupted_ends_with_130_and_its_line(run, finished, tmp_path, monkeypatch):
    """The rest of it, with a real signal, is in test_interrupt.py."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pelt_automl.predicting.predict_file", interrupt)
    code, _, err = run("predict", finished.folder, "--input", "a.csv", "--output", tmp_path / "b.csv")
    assert (code, err) == (130, "\nInterrupted.\n")


# ---------------------------------------------------------------- damaged files


def test_damaged_records_are_one_message(refused, finished, tmp_path):
    folder = finished.copy(tmp_path / "out")
    with (folder / "records.jsonl").open("a") as file:
        file.write('{"event": "TrialEnded", "trial": "x"}\n')
    assert "records.jsonl is damaged, or was written by another version: line" in refused("report", folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.safetensors", b"", "isn't a readable safetensors file"),
        ("weights.safetensors", None, "isn't a readable safetensors file"),
        ("pelt_config.json", b"{}", "isn't a file that this version has written: it lacks 'modifications'"),
        ("pelt_config.json", b"\xff", "isn't a file that this version has written"),
        ("tokenizer/tokenizer.json", b"{", "the tokenizer in"),
    ],
)
def test_a_damaged_winner_is_one_message(refused, finished, tmp_path, name, content, message):
    folder = finished.copy(tmp_path / "out")
    path = folder / "winner" / name
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    assert message in refused("predict", folder, "--input", finished.world.test, "--output", tmp_path / "b.csv")
    assert message in refused("export", folder, "--peft", "--output", tmp_path / "peft")
    with pytest.raises(SelectionError, match=re.escape(message)):
        pelt_automl.load(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_verbose_prints_the_tracebacks_of_trainings_that_failed(run, finished, tmp_path):
    folder = tmp_path / "selection"
    shutil.copytree(finished.folder, folder)
    records = folder / "records.jsonl"
    lines = records.read_text().splitlines()
    failed = next(index for index, line in enumerate(lines) if json.loads(line)["event"] == "TrialEnded")
    trial = json.loads(lines[failed]) | {"traceback": "Traceback (most recent call last):\n  at a place\nKeyError: 'rank'\n"}
    records.write_text("\n".join([*lines[:failed], json.dumps(trial), *lines[failed + 1 :]]) + "\n")
    assert "at a place" not in run("report", folder)[1]
    code, out, _ = run("report", folder, "--verbose")
    assert code == 0
    assert f"{trial['trial']} failed in {folder}\nTraceback (most recent call last):\n  at a place\nKeyError: 'rank'\n" in out


@pytest.mark.usefixtures("without_mlflow")
def test_verbose_selections_print_tracebacks_as_they_come(world, run, tmp_path, monkeypatch, caplog):
    def broken(modifications, *_):
        if {modification.name for modification in modifications} & {"adapter"}:
            raise ArithmeticError("made to fail")

    monkeypatch.setattr(pack, "check_supported", broken)
    monkeypatch.setattr(logging.getLogger("pelt_automl"), "level", logging.WARNING)
    files = ["--train", world.train, "--test", world.test, "--text-columns", "text", "--label-column", "label", "--model", world.model]
    quick = ["--methods", "head,adapter", "--trials", 1, "--epochs", 2, "--finalist-seeds", 1, "--most-seeds", 1, "--precision", "fp32"]
    assert run("select", *files, *quick, "--output", tmp_path / "out", "--verbose")[0] == 0
    assert "adapter-0000 failed\nTraceback (most recent call last):" in caplog.text


def test_report_builds_everything_anew_from_the_records_alone(run, finished, tmp_path):
    folder = tmp_path / "moved"
    folder.mkdir()
    (folder / "records.jsonl").write_bytes((finished.folder / "records.jsonl").read_bytes())
    code, out, _ = run("report", folder)
    assert code == 0
    assert finished.recommendation.method in out
    for name in ("recommendation.json", "report.md"):
        assert (folder / name).read_text() == (finished.folder / name).read_text().replace(str(finished.folder), str(folder)), name
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_selection_in_the_programs_home_is_found_by_its_name_alone(run, finished, monkeypatch):
    monkeypatch.setenv("PELT_AUTOML_HOME", str(finished.home))
    before = (finished.folder / "recommendation.json").read_text()
    code, out, _ = run("report", "reviews")
    assert code == 0
    assert str(finished.folder / "report.html") in out
    assert (finished.folder / "recommendation.json").read_text() == before


@pytest.mark.parametrize("name", ["../selections/reviews", "..", "no-such", "reviews/../reviews", "./../reviews"])
def test_a_selections_name_never_leaves_the_home(refused, finished, monkeypatch, name, tmp_path):
    monkeypatch.setenv("PELT_AUTOML_HOME", str(finished.home))
    monkeypatch.chdir(tmp_path)
    if name == "..":
        assert "isn't a selection" in refused("report", name), "a folder, but not a selection's"
        return
    said = refused("report", name)
    assert f"there is no selection '{name}': give its folder or its name" in said
    assert said.rstrip().endswith("there are reviews")


def test_an_unfinished_selection_has_no_report(refused, finished, tmp_path):
    lines = (finished.folder / "records.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "records.jsonl").write_text("".join(lines[:6]))
    assert "isn't finished; run the same command again" in refused("report", tmp_path)


# ---------------------------------------------------------------- predict


def test_predict_writes_all_columns_and_the_prediction(run, finished, tmp_path):
    code, out, _ = run("predict", finished.folder, "--input", finished.world.test, "--output", tmp_path / "out.csv")
    assert code == 0
    assert out == f"60 predictions written to {tmp_path / 'out.csv'}\n"
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["text", "label", "prediction"]
    assert {row["prediction"] for row in rows} <= set(CLASSES)
    right = sum(row["label"] == row["prediction"] for row in rows) / len(rows)
    assert right > 0.7


def test_predict_takes_columns_by_other_names_and_says_what_is_missing(run, refused, finished, tmp_path):
    (tmp_path / "in.csv").write_text("id,review\n1,good word1\n2,bad word2\n")
    said = refused("predict", finished.folder, "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv")
    assert "has no column text; it has id, review" in said
    assert "--text-columns" in said
    assert not (tmp_path / "out.csv").exists()
    code, _, _ = run(
        "predict", finished.folder, "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv", "--text-columns", "review"
    )
    assert code == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


def test_a_full_disk_is_one_error_that_says_what_to_do(monkeypatch, capsys):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "/data/records.jsonl")

    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    told = "error: the disk is full (/data/records.jsonl); free some space, then run the same command again\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/data/a.csv"), "/data/a.csv: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (ConnectionError("no answer\nfrom http://me:secret@host"), "no answer from http://host"),
        (TimeoutError(), "TimeoutError"),
    ],
)
@pytest.mark.parametrize("verbose", [False, True])
def test_what_the_system_refuses_is_one_line(monkeypatch, capsys, error, told, verbose):
    def refused():
        raise error

    monkeypatch.setattr(cli, "app", refused)
    monkeypatch.setattr(sys, "argv", ["pelt-automl", "report", "a", *["--verbose"] * verbose])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    said = capsys.readouterr().err
    assert said.endswith(f"error: {told}\n")
    assert ("Traceback" in said) == verbose
    assert verbose or said.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["report", "~nosuchuser/x"],
        ["sync", "~nosuchuser/x"],
        ["methods", "--model", "~nosuchuser/x"],
        ["tasks", "sst2", "--data-dir", "~nosuchuser/x"],
        ["select", "--train", "~nosuchuser/x.csv"],
        ["select", "--task", "pydoc-kind", "--model", "minilm", "--output", "~nosuchuser/x"],
        ["select", "--task", "pydoc-kind", "--model", "minilm", "--k", "50,100", "--output", "~nosuchuser/x"],
        ["reproduce-unipelt", "--model", "minilm", "--output", "~nosuchuser/x"],
    ],
)
def test_a_user_who_is_not_there_is_one_error(refused, command):
    assert "there is no user 'nosuchuser'" in refused(*command)


def test_a_home_of_a_user_who_is_not_there_is_one_error(refused, monkeypatch):
    monkeypatch.setenv("PELT_AUTOML_HOME", "~nosuchuser/x")
    assert "there is no user 'nosuchuser'" in refused("report", "a-name")
