"""Tasks that have a name: the registry's entries, local folders, and the Hub with its cache."""

import json
import time

import pytest

from pelt_automl.errors import SettingsError, TaskError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import METRICS, TASKS, baselines, hub, load_task
from pelt_automl.tasks.benchmarks import BENCHMARKS
from pelt_automl.tasks.hub import parse_name


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch, tmp_path):
    monkeypatch.delenv("PELT_AUTOML_DATA_DIR", raising=False)
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "home"))


def write_task(folder, task, rows=40):
    """A data set in a benchmark's own columns, with labels as the Hub has them; the test split has none."""
    folder.mkdir(parents=True)
    classes = len(task.labels) or 5
    answers = task.info.kind == "question-answering"  # whose test splits aren't public
    for split, unlabeled in (("train", False), (task.validation, False), ("test", True))[: 2 if answers else 3]:
        lines = [
            {column: f"{split} {column} {i}" for column in (*task.text, *([task.target] if task.target else []))}
            | {"label": -1 if unlabeled else i % classes if task.labels else i / 10, "idx": i}
            | ({"answers": {"text": [split], "answer_start": [0]}} if answers else {})
            for i in range(rows)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("layout", [".", "glue"])
def test_every_benchmark_is_read_from_a_local_folder(tmp_path, monkeypatch, name, layout):
    task = BENCHMARKS[name]
    write_task(tmp_path / "data" / layout / name, task)
    monkeypatch.setenv("PELT_AUTOML_DATA_DIR", str(tmp_path / "data"))
    data = load_task(TaskSettings(task=name, k=16))
    assert data.sizes(0) in ({"train": 11, "select": 5, "report": 40}, {"train": 10, "select": 6, "report": 40}), "by whole passages"
    assert (data.name, data.kind, data.labels, data.metric.name) == (name, task.info.kind, task.labels, task.info.metric)
    assert data.report.texts[0][0].endswith(f"{task.validation} {task.text[0]} 0")
    assert data.outputs == (2 if task.info.kind == "question-answering" else len(task.labels) or 1)
    assert data.pair == (len(task.text) == 2)


@pytest.mark.parametrize(("name", "file"), [("squad", "v1.1.json"), ("squad_v2", "v2.0.json")])
def test_squads_own_files_are_found_by_their_names(tmp_path, name, file):
    for split, count in (("train", 30), ("dev", 20)):
        asked = [
            {"context": f"{split} passage {i}", "qas": [{"question": "What?", "id": "q", "answers": [{"text": str(i), "answer_start": 0}]}]}
            for i in range(count)
        ]
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"{split}-{file}").write_text(json.dumps({"data": [{"title": "t", "paragraphs": asked}]}))
    data = load_task(TaskSettings(task=name, data_dir=tmp_path))
    assert (len(data.pool), len(data.report), data.kind) == (30, 20, "question-answering")


def test_what_of_a_benchmark_has_no_answer_in_its_passage_is_left_out_with_a_note(tmp_path):
    write_task(tmp_path / "squad", BENCHMARKS["squad"])
    with (tmp_path / "squad" / "train.jsonl").open("a") as file:
        file.write(json.dumps({"question": "q", "context": "c", "answers": {"text": ["nowhere"], "answer_start": [0]}}) + "\n")
        file.write(json.dumps({"question": "q", "context": " ", "answers": {"text": [], "answer_start": []}}) + "\n")
    data = load_task(TaskSettings(task="squad", data_dir=tmp_path))
    assert len(data.pool) == 40
    assert any(note.startswith("1 row of") and "whose answers aren't in the passage were left out" in note for note in data.notes)
    assert any(note.startswith("1 row of") and note.endswith("without question or passage left out") for note in data.notes)


@pytest.mark.parametrize(
    ("name", "metric"),
    [("cola", "mcc"), ("mrpc", "f1"), ("qqp", "f1"), ("stsb", "spearman"), ("mnli", "accuracy"), ("cb", "accuracy_macro_f1")],
)
def test_benchmarks_have_their_official_metric(name, metric):
    assert TASKS[name].info.metric == metric


def test_every_listed_task_has_a_metric_that_fits_and_its_own_name():
    infos = [task.info for task in TASKS.values()]
    assert [info.name for info in infos] == list(TASKS)
    assert len(infos) == 17
    for info in infos:
        assert METRICS[info.metric].kind == info.kind
        assert info.description
        assert info.source


def test_a_labeled_test_file_is_reported_on(tmp_path):
    write_task(tmp_path / "qnli", BENCHMARKS["qnli"])
    rows = [{"question": f"q {i}", "sentence": "s", "label": "not_entailment"} for i in range(7)]
    (tmp_path / "qnli" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = load_task(TaskSettings(task="qnli", data_dir=tmp_path))
    assert data.report.labels == (1,) * 7


def test_the_word_in_question_stands_before_the_first_text(tmp_path):
    write_task(tmp_path / "wic", BENCHMARKS["wic"])
    data = load_task(TaskSettings(task="wic", data_dir=tmp_path))
    assert data.report.texts[3] == ("validation word 3: validation sentence1 3", "validation sentence2 3")


def test_a_label_that_the_benchmark_does_not_have_is_refused(tmp_path):
    write_task(tmp_path / "rte", BENCHMARKS["rte"])
    with (tmp_path / "rte" / "train.jsonl").open("a") as file:
        file.write('{"sentence1": "a", "sentence2": "b", "label": 2}\n')
    with pytest.raises(TaskError, match=r"1 row with labels '2': must be one of entailment, not_entailment \(line 41\)"):
        load_task(TaskSettings(task="rte", data_dir=tmp_path))


def test_rows_without_text_are_left_out_of_a_benchmark_with_a_note(tmp_path):
    write_task(tmp_path / "sst2", BENCHMARKS["sst2"])
    with (tmp_path / "sst2" / "train.jsonl").open("a") as file:
        file.write('{"sentence": " ", "label": 1}\n')
    data = load_task(TaskSettings(task="sst2", data_dir=tmp_path))
    assert len(data.pool) == 40
    assert any(note.startswith("1 rows of") for note in data.notes)


def test_an_unknown_task_gets_near_names():
    with pytest.raises(TaskError, match=r"no task 'qnil'; did you mean qnli.*Known tasks: pydoc-match, .*hf:owner/name"):
        load_task(TaskSettings(task="qnil"))


def test_a_missing_data_folder_and_contradictory_settings_are_refused(tmp_path):
    with pytest.raises(TaskError, match="is not a folder"):
        load_task(TaskSettings(task="qnli", data_dir=tmp_path / "none"))
    with pytest.raises(SettingsError, match="qnli is a classification task; leave kind out"):
        load_task(TaskSettings(task="qnli", kind="regression"))


@pytest.mark.parametrize(
    "name",
    [
        "hf:name",
        "hf:../etc/passwd",
        "hf:/etc/passwd",
        "hf:a/../b",
        "hf:https://x.org/a",
        "hf:a/b/c",
        "hf:a/b:../c",
        "hf:a/b:",
        "hf:a\n/b",
        "hf:.a/b",
    ],
)
def test_paths_and_urls_are_not_names_of_hub_data_sets(name):
    with pytest.raises(TaskError, match="is not the name of a Hub data set; write hf:owner/name"):
        parse_name(name)


def test_names_of_hub_data_sets_are_taken_apart():
    assert (parse_name("hf:nyu-mll/glue:qnli").repo, parse_name("hf:nyu-mll/glue:qnli").config) == ("nyu-mll/glue", "qnli")
    assert parse_name("hf:a/b_c.d").config is None


@pytest.fixture
def hub_is_away(monkeypatch, tmp_path):
    """The Hub refuses connections, and both of its caches are new folders."""
    datasets = pytest.importorskip("datasets")
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    return tmp_path / "hub"


@pytest.mark.parametrize("task", ["qqp", "hf:owner/none"])
def test_an_unreachable_hub_is_said_within_seconds_with_what_to_set(hub_is_away, task):
    start = time.monotonic()
    columns = {"text_columns": ("text",), "label_column": "label"} if task.startswith("hf:") else {}
    with pytest.raises(TaskError, match=r"can't be reached; set --data-dir \(or PELT_AUTOML_DATA_DIR\).*HF_HUB_CACHE"):
        load_task(TaskSettings(task=task, **columns))
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("online", [False, True])
def test_no_error_of_the_hub_shows_a_password(hub_is_away, monkeypatch, online):
    monkeypatch.setenv("HF_ENDPOINT", "http://user:secret@127.0.0.1:9")
    monkeypatch.setattr("pelt_automl.tasks.hub.is_reachable", lambda: online)

    def broken(*_, **__):
        raise ConnectionError("404 for http://user:secret@127.0.0.1:9/api")

    monkeypatch.setattr("datasets.load_dataset", broken)
    with pytest.raises(TaskError) as found:
        load_task(TaskSettings(task="hf:owner/none", text_columns=("text",), label_column="label"))
    assert "http://127.0.0.1:9" in str(found.value)
    assert "secret" not in str(found.value)


def test_a_data_set_in_the_hubs_cache_is_read_without_the_hub(hub_is_away):
    """A snapshot as the Hub's client leaves it behind; its label -1 means no label."""
    repo = hub_is_away / "datasets--owner--reviews"
    snapshot = repo / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    for split, size in (("train", 60), ("validation", 20)):
        lines = [json.dumps({"text": f"{split} {i}", "label": "ab"[i % 2]}) for i in range(size)]
        (snapshot / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = load_task(TaskSettings(task="hf:owner/reviews", text_columns=("text",), label_column="label", k=20))
    assert data.sizes(0) == {"train": 14, "select": 6, "report": 20}
    assert (data.name, data.labels) == ("hf:owner/reviews", ("a", "b"))


def test_class_indices_of_the_hub_become_names_and_unlabeled_splits_are_not_reported_on(monkeypatch):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"]))

    def split(name, labels):
        return datasets.Dataset.from_dict({"text": [f"{name} {i}" for i in range(len(labels))], "label": labels}, features=features)

    loaded = datasets.DatasetDict(
        train=split("train", [0, 1] * 20 + [-1]), test=split("test", [-1] * 5), validation=split("validation", [0, 1] * 4)
    )
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    monkeypatch.setattr("datasets.load_dataset", lambda *_: loaded)
    data = load_task(TaskSettings(task="hf:owner/x", text_columns=("text",), label_column="label"))
    assert data.labels == ("neg", "pos")
    assert data.sizes(0) == {"train": 28, "select": 12, "report": 8}
    with pytest.raises(TaskError, match=r"no column 'lable' \(did you mean 'label'\?\); its columns are: text, label"):
        load_task(TaskSettings(task="hf:owner/x", text_columns=("text",), label_column="lable"))


def test_baselines_see_words_and_nothing_else(tmp_path):
    pytest.importorskip("sklearn")
    write_task(tmp_path / "sst2", BENCHMARKS["sst2"])
    for split, counts in (("train", (30, 10)), ("validation", (3, 5))):
        rows = [{"sentence": f"{word} {split} {i}", "label": c} for c, word in enumerate(("bad", "good")) for i in range(counts[c])]
        (tmp_path / "sst2" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    # The majority is bad: 3 of the 8 reviews of report.
    assert baselines(load_task(TaskSettings(task="sst2", data_dir=tmp_path))) == {"majority": 3 / 8, "bag of words": 1.0}


def test_baselines_of_a_regression_are_scored_too(tmp_path):
    pytest.importorskip("sklearn")
    write_task(tmp_path / "stsb", BENCHMARKS["stsb"])
    assert baselines(load_task(TaskSettings(task="stsb", data_dir=tmp_path)))["majority"] == 0.0
    # Labels are 0, 0.1, ..., 3.9 in train and in report: the median 1.95 is 1.0 away on average.
    scores = baselines(load_task(TaskSettings(task="stsb", data_dir=tmp_path, metric="mae")))
    assert scores["majority"] == pytest.approx(1.0)
