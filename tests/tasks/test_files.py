"""Readers: every format gives the same rows, and every broken line is named."""

import json

import pytest

from pelt_automl.errors import TaskError
from pelt_automl.tasks.files import READERS, positions, read_table

ROWS = [{"text": 'a "quoted", text', "label": "x"}, {"text": "two\nlines", "label": "y"}, {"text": "plain", "label": "x"}]


def write(folder, ending):
    path = folder / f"data{ending}"
    if ending == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    elif ending == ".parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        d = {".csv": ",", ".tsv": "\t"}[ending]
        path.write_text(f'text{d}label\n"a ""quoted"", text"{d}x\n"two\nlines"{d}y\nplain{d}x\n', encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("ending", READERS)
def test_every_format_gives_the_same_rows(tmp_path, ending):
    table = read_table(write(tmp_path, ending))
    assert list(table.rows) == ROWS
    assert table.columns == ("text", "label")


def test_rows_know_the_line_they_begin_on_when_a_field_has_several(tmp_path):
    assert list(read_table(write(tmp_path, ".csv")).lines) == [2, 3, 5]


def test_quotes_in_a_tsv_that_never_quotes_are_plain_characters(tmp_path):
    path = tmp_path / "glue.tsv"
    path.write_text('text\tlabel\n"open but never closed\t1\nnext\t0\n', encoding="utf-8")
    assert [row["text"] for row in read_table(path).rows] == ['"open but never closed', "next"]


def test_a_json_line_may_hold_a_line_separator(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one\u2028two", "label": 1}\n\n{"text": "b", "label": 2}\n', encoding="utf-8")
    assert [row["text"] for row in read_table(path).rows] == ["one\u2028two", "b"]
    assert list(read_table(path).lines) == [1, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            b"text,label\ngood,1\nbad\nworse,1,2,3\n",
            r"(?s)2 problems.*line 3 has 1 fields for 2 columns.*line 4 has 4 fields",
        ),
        ("a.csv", b'text,label\n"never closed,1\n', r"line 2 can't be read"),
        ("a.csv", b"text,text\na,b\n", r"column 'text' occurs twice"),
        ("a.csv", b"text,label\n\xe9t\xe9,1\n", r"line 2 is not UTF-8 text \(byte 0xe9\).*iconv"),
        ("a.csv", b"text,label\n", r"has no rows"),
        ("a.csv", b"", r"has no rows"),
        (
            "a.jsonl",
            b'{"text": 1}\n{"text": \n[1]\n',
            r"(?s)2 problems.*line 2 is not JSON.*line 3 is not an object with columns, but list",
        ),
        ("a.jsonl", b"[" * 100_000, r"line 1 is not JSON"),
        ("a.parquet", b"not parquet", r"is not a Parquet file"),
        ("a.xlsx", b"", r"unknown ending '.xlsx'; a file must end in .csv, .tsv, .jsonl, .parquet"),
        ("a.json", b"", r"rename JSON lines to .jsonl"),
    ],
)
def test_a_broken_file_is_named_with_its_lines(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TaskError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(TaskError, match="there is no such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TaskError, match="is a folder, not a file"):
        read_table(tmp_path / "folder.csv")


def test_many_lines_are_cut_short():
    assert positions([3]) == "line 3"
    assert positions([1, 2, 3, 4, 5, 6, 7], "row") == "rows 1, 2, 3, 4, 5 and 2 more"
