"""The table's files: stable, merged, without text, and closed where they are sealed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pelt_automl.errors import SelectionError
from studies import table
from studies.table import TableFolder, expected_seconds, status_text
from studies.table_files import OUTPUTS, SCHEMA, done_keys, load_table, seconds_seen, write_table
from tests.studies.table_world import few, record_here


@pytest.fixture(scope="module")
def records(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    about = {"machine": "m", "device": "cpu", "versions": "python 3.11", "commit": "abc", "behaviour": 2}
    record_here(world.folder, folder, few(4), about=about)
    return list(TableFolder(folder).records().values())


def made(seed=0, source="a", kind="classification", **more):
    """A record without a training."""
    outputs = [0, 2, 1] if kind == "classification" else [0.5, -1.25, 3.0]
    return {
        "key": f"minilm.{source}.seed{seed}", "model": "minilm", "source": source, "task": source, "kind": kind, "metric": "accuracy",
        "k": 100, "method": "lora", "configuration": "default", "chosen": "default", "head_start": "probe", "seed": seed, "failure": "",
        "hyper_parameters": {"rank": 8, "learning_rate": 5e-4}, "rungs": [24, 48], "steps": 96, "select_best": outputs, "report": outputs,
        "select": {"24": outputs, "48": outputs, "96": outputs}, "select_labels": outputs, "report_labels": outputs, "report_score": 1.0,
        "curve": {"step": [0, 24, 48, 96], "score": [0.1, 0.2, 0.3, 0.4], "train_loss": [None, 3.0, 2.0, 1.0]},
        "processor_seconds": 10.0, "report_processor_seconds": 2.0, "wall_seconds": 13.0,
    } | more  # fmt: skip


def test_what_is_read_is_what_was_recorded(records, tmp_path):
    assert write_table(records, (), tmp_path) == {"made-up": 4}
    frame = load_table(model="model", folder=tmp_path, sealed=()).set_index("key")
    assert len(frame) == 4
    for record in records:
        row = frame.loc[record["key"]]
        for name in ("task", "k", "method", "head_start", "seed", "data_hash", "above_chance", "steps", "failure", "commit", "behaviour"):
            assert row[name] == record[name], name
        assert row["report_score"] == record["report_score"]
        assert row["hyper_parameters"] == record["hyper_parameters"]
        assert row["report"].tolist() == record["report"]
        assert row["report"].dtype == np.int8
        assert row["select_labels"].tolist() == record["select_labels"]
        assert row["curve_step"].tolist() == record["curve"]["step"]
        np.testing.assert_allclose(row["curve_log_loss"], record["curve"]["log_loss"], rtol=1e-6)
        assert row["curve_spearman"] is None
        rungs = [row[name] for name in ("select_rung_1", "select_rung_2", "select_end")]
        assert [None if own is None else own.tolist() for own in rungs] == (list(record["select"].values()) or [None] * 3)


def test_numbers_are_kept_as_float16(tmp_path):
    write_table([made(kind="regression")], (), tmp_path)
    (row,) = load_table(folder=tmp_path, sealed=()).to_dict("records")
    assert row["report"].dtype == np.float16
    assert row["report"].tolist() == [0.5, -1.25, 3.0]
    assert len(pq.read_table(tmp_path / "a.parquet")["report"][0].as_py()) == 6


def test_the_same_trainings_make_the_same_bytes_in_whatever_order_they_come(tmp_path):
    own = [made(seed) for seed in range(5)]
    write_table(own, (), tmp_path / "one")
    write_table(own[::-1], (), tmp_path / "two")
    write_table(own[3:], (), tmp_path / "three")
    assert write_table(own, (), tmp_path / "three") == {"a": 3}, "what is there already isn't new"
    contents = {(tmp_path / name / "a.parquet").read_bytes() for name in ("one", "two", "three")}
    assert len(contents) == 1
    before = (tmp_path / "one" / "a.parquet").stat().st_mtime_ns
    assert write_table(own, (), tmp_path / "one") == {"a": 0}
    assert (tmp_path / "one" / "a.parquet").stat().st_mtime_ns == before


def test_what_is_in_a_file_stays_as_it_is(tmp_path):
    write_table([made(report_score=0.5)], (), tmp_path)
    assert write_table([made(report_score=0.9), made(1)], (), tmp_path) == {"a": 1}
    assert load_table(folder=tmp_path, sealed=())["report_score"].tolist() == [0.5, 1.0]
    assert done_keys(tmp_path) == {"minilm.a.seed0", "minilm.a.seed1"}


def test_a_source_has_one_file_with_its_tasks_and_the_schema_is_always_the_same(tmp_path):
    numbers = made(source="b", kind="regression", failure="loss is not finite", report=None, report_score=None)
    write_table([made(), made(task="other", key="minilm.other"), numbers], (), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]
    found = [pq.read_schema(path) for path in sorted(tmp_path.iterdir())]
    assert all(own.equals(SCHEMA) for own in found)
    assert {own.metadata[b"table_version"] for own in found} == {b"1"}


def test_a_file_of_another_version_is_refused(tmp_path):
    pq.write_table(pa.Table.from_pylist([], SCHEMA.with_metadata({"table_version": "7"})), tmp_path / "a.parquet")
    with pytest.raises(SelectionError, match="has the version 7 of the table; this program reads 1"):
        load_table(folder=tmp_path, sealed=())
    with pytest.raises(SelectionError, match="has the version 7"):
        write_table([made()], (), tmp_path)


def test_sealed_sources_are_not_even_opened_unless_it_is_asked_for(tmp_path):
    write_table([made(), made(source="secret"), made(source="later")], {"secret"}, tmp_path)
    assert load_table(folder=tmp_path, sealed={"later"})["source"].tolist() == ["a"], "by name, or as the file says"
    assert set(load_table(folder=tmp_path, sealed={"later"}, include_sealed=True)["source"]) == {"a", "secret", "later"}
    (tmp_path / "later.parquet").write_bytes(b"not Parquet")
    assert load_table(folder=tmp_path, sealed={"later"})["source"].tolist() == ["a"]


def test_the_committed_seals_are_used_where_nothing_else_is_said(tmp_path):
    sealed = json.loads((Path(table.__file__).parent / "sources" / "sources.json").read_text())["sealed"]
    assert len(sealed) == 4
    write_table([made(), *(made(source=name) for name in sealed)], (), tmp_path)
    assert load_table(folder=tmp_path)["source"].tolist() == ["a"]


def test_no_text_enters_the_files(records, world, tmp_path):
    write_table(records, (), tmp_path)
    words = {word for path in (world.train, world.test) for word in path.read_text().replace(",", " ").split()} - {"text", "label"}
    assert len(words) > 50
    strings = [str(row[name]) for path in tmp_path.iterdir() for row in pq.read_table(path).to_pylist() for name in SCHEMA.names
               if SCHEMA.field(name).type == pa.string()]  # fmt: skip
    assert not words & {word for own in strings for word in own.replace('"', " ").split()}
    assert {SCHEMA.field(name).type for name in OUTPUTS} == {pa.binary()}


def test_equal_labels_are_stored_once(tmp_path):
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 1000).tolist()
    write_table([made(seed, report_labels=labels) for seed in range(50)], (), tmp_path)
    assert (tmp_path / "a.parquet").stat().st_size < 50_000


# ------------------------------------------------------------ status


def test_the_hours_left_follow_method_task_and_k():
    rows = [
        {"method": method, "task": task, "k": 100, "processor_seconds": seconds, "report_processor_seconds": 0.0}
        for method, task, seconds in [("lora", "a", 10.0), ("full", "a", 30.0), ("lora", "b", 20.0), ("full", "b", 60.0)]
    ]
    rows = pd.DataFrame(rows)
    by_method = {own.configuration.method: own for own in few(3)}
    training = by_method["lora"]
    # the mean is 30, LoRA's 15, task a's 20: 30 * 15 / 30 * 20 / 30; K = 60 of the made-up training in proportion
    expected = expected_seconds(rows, type(training)("a", 100, training.configuration, "probe", 7, "first"))
    assert expected == pytest.approx(10.0)
    assert expected_seconds(rows, type(training)("a", 300, training.configuration, "probe", 7, "first")) == pytest.approx(30.0)


def test_the_status_counts_by_round_and_source():
    wanted = few(6)
    done = {own.key("model") for own in wanted[:4]}
    rows = [{"method": "lora", "task": "reviews", "k": 60, "processor_seconds": 1800.0, "report_processor_seconds": 0.0}]
    rows = pd.DataFrame(rows)
    text = status_text(wanted, done, "model", {"reviews": "made-up"}, rows)
    assert "4 of 6 trainings are recorded" in text
    assert "made-up         4   6" in text
    assert "The rest takes about 1.0 processor hours, by 1 trainings seen." in text
    assert "isn't known yet" in status_text(wanted, set(), "model", {"reviews": "made-up"}, pd.DataFrame())
    assert "rest" not in status_text(wanted[:4], done, "model", {"reviews": "made-up"}, rows)


def test_seconds_are_read_without_scores(tmp_path):
    write_table([made()], {"a"}, tmp_path)
    (row,) = seconds_seen(tmp_path)
    assert set(row) == {"key", "task", "k", "method", "processor_seconds", "report_processor_seconds", "wall_seconds"}


def test_write_puts_the_working_folder_into_the_table_and_status_counts_both(tmp_path, capsys):
    from studies.sources import SOURCES
    from studies.table_grid import committed_configurations, trainings

    own = next(trainings(["sst2"], committed_configurations()))
    folder = TableFolder(tmp_path / "work").make()
    record = made(source=SOURCES["sst2"].source, task="sst2", key=own.key("minilm"))
    folder.add(own.key("minilm"), record)
    folder.add("minilm.of-an-older-grid", made(key="minilm.of-an-older-grid"))
    arguments = ["--folder", str(tmp_path / "work"), "--sources", "sst2"]
    assert table.main(["write", *arguments, "--table", str(tmp_path / "table")]) == 0
    printed = capsys.readouterr().out
    assert "sst2.parquet: 1 new trainings" in printed
    assert "1 files of the working folder aren't in the grid" in printed
    assert done_keys(tmp_path / "table") == {own.key("minilm")}
    assert table.main(["status", *arguments, "--table", str(tmp_path / "table")]) == 0
    assert "1 of 560 trainings are recorded" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "[]", '{"key": "another"}'])
def test_a_damaged_file_of_the_working_folder_is_said_without_a_traceback(content, tmp_path, capsys):
    folder = TableFolder(tmp_path).make()
    (folder.path / "trainings" / "x.json").write_text(content)
    assert table.main(["write", "--folder", str(tmp_path), "--table", str(tmp_path / "table")]) == 2
    assert "x.json can't be read" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_said_without_a_traceback(tmp_path, capsys):
    from studies.table_grid import committed_configurations, trainings

    key = next(trainings(["sst2"], committed_configurations())).key("minilm")
    TableFolder(tmp_path).make().add(key, made(source="sst2", task="sst2", key=key))
    (tmp_path / "file").write_text("")
    assert table.main(["write", "--folder", str(tmp_path), "--sources", "sst2", "--table", str(tmp_path / "file")]) == 2
    assert "can't be written or read" in capsys.readouterr().err


def test_that_nothing_is_recorded_is_said(tmp_path, capsys):
    assert table.main(["write", "--folder", str(tmp_path / "none"), "--table", str(tmp_path / "table")]) == 0
    assert capsys.readouterr().out == f"nothing is recorded in {tmp_path / 'none'}\n"


def test_more_classes_than_a_byte_holds_are_refused(tmp_path):
    with pytest.raises(SelectionError, match="up to 128 classes, here is class 128"):
        write_table([made(report=[127, 128])], (), tmp_path)
    assert write_table([made(report=[127, 0])], (), tmp_path) == {"a": 1}


def test_an_unknown_source_is_refused_without_a_traceback(capsys):
    assert table.main(["status", "--sources", "nothing"]) == 2
    assert "there is no source nothing; the sources are pydoc" in capsys.readouterr().err
