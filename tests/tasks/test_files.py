"""Readers: every format gives the same rows, and every broken line is named."""

import json
from pathlib import Path

import pytest

from pelt_automl.errors import SettingsError, TaskError
from pelt_automl.tasks.files import READERS, Reading, check_reading, positions, read_table

ROWS = [{"text": 'a "quoted", text', "label": "x"}, {"text": "two\nlines", "label": "y"}, {"text": "plain", "label": "x"}]


def write(folder, ending):
    path = folder / f"data{ending}"
    if ending in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    elif ending == ".json":
        path.write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
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


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_half_an_emoji_is_a_question_mark_with_a_note(tmp_path, name):
    rows = ['{"text": "whole \\ud83d\\ude00", "label": 1}', '{"text": "half \\ud83d", "label": [2, "\\ude00"]}']
    (tmp_path / name).write_text("\n".join(rows) if name == "a.jsonl" else f"[{','.join(rows)}]", encoding="utf-8")
    table = read_table(tmp_path / name)
    assert [row["text"] for row in table.rows] == ["whole \U0001f600", "half ?"]
    assert table.rows[1]["label"] == [2, "?"]
    unit = "line" if name == "a.jsonl" else "record"
    assert table.notes == (f"{tmp_path / name}: half characters (an emoji that was cut in two) are read as ? ({unit} 2)",)


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
        ("a.csv", b"text,label\n", r"has no rows"),
        ("a.csv", b"", r"has no rows"),
        (
            "a.jsonl",
            b'{"text": 1}\n{"text": \n[1]\n',
            r"(?s)2 problems.*line 2 is not JSON.*line 3 is not an object with columns, but an array",
        ),
        ("a.jsonl", b"[" * 100_000, r"line 1 is not JSON"),
        ("a.parquet", b"not parquet", r"is not a Parquet file"),
        ("a.json", b"", r"is not JSON .*an array of objects is expected"),
        ("a.json", b"[1, 2]", r"records 1, 2 are no object, but a number; an array of objects"),
        ("a.json", b"[[" * 50_000, r"is nested too deeply|is not JSON"),
        ("a.json", b'"text"', r"holds a text; an array of objects"),
        ("a.json", b'{"data": [{"text": "a", "label": 1}]}', r"stand under 'data': .*jq '\.data' a\.json > a-data\.json"),
        ("a.json", b'{"text": {"0": "a"}, "label": {"0": 1}}', r"holds one object; .*orient='records'"),
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


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("a.xlsx", r"save the sheet as CSV .*pandas\.read_excel\('a\.xlsx'\)\.to_csv\('a\.csv', index=False\)"),
        ("a.XLS", r"pandas\.read_excel\('a\.XLS'\)"),
        ("a.feather", r"pandas\.read_feather\('a\.feather'\)"),
        ("a.csv.gz", r"unpack it first"),
        ("a.txt", r"rename it to \.csv"),
        ("a", r"rename it to \.csv"),
        ("a.pkl", r"a pickle can run any code"),
        ("a.docx", r"must end in \.csv, \.tsv, \.jsonl, \.ndjson, \.json, \.parquet$"),
    ],
)
def test_another_kind_of_file_is_refused_with_a_way_to_convert_it(tmp_path, name, way_out):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(TaskError, match=rf"unknown ending .*{way_out}"):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"PK\x03\x04", r"an Excel file or another zip archive, though its ending is \.csv; save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0", r"an old Excel file, though"),
        (b"\x1f\x8b\x08", r"a gzip archive, though its ending is \.csv; unpack it first"),
        (b"PAR1", r"a Parquet file, though its ending is \.csv; rename it to \.parquet"),
    ],
)
def test_a_file_with_the_wrong_ending_is_called_what_it_is(tmp_path, start, message):
    (tmp_path / "a.csv").write_bytes(start + bytes(range(256)))
    with pytest.raises(TaskError, match=message):
        read_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('[{"text": "a", "label": 1},\n {"text": "b", "label": null, "id": 7}]', 2),
        ('{"text": "a", "label": 1}\n{"text": "b", "label": null, "id": 7}\n', 2),
        ('{"text": "a", "label": 1, "id": 3}', 1),
    ],
)
def test_json_is_an_array_or_lines_whatever_it_is_called(tmp_path, text, rows):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    table = read_table(tmp_path / "a.json")
    assert table.columns == ("text", "label", "id")
    assert len(table.rows) == rows


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.csv", "text,label\na,1\n,\nb,2\n,\n , \n\n", 3),
        ("a.tsv", "text\tlabel\na\t1\n\t\n", 1),
    ],
)
def test_empty_rows_at_the_end_are_skipped_with_a_note(tmp_path, name, content, rows):
    (tmp_path / name).write_text(content, encoding="utf-8")
    table = read_table(tmp_path / name)
    assert len(table.rows) == len(table.lines) == rows
    assert len(table.notes) == 1
    assert "without any content at the end" in table.notes[0]


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".ndjson", ".parquet"])
def test_records_without_content_are_kept_where_no_spreadsheet_wrote_them(tmp_path, ending):
    records = [{"text": "a"}, {"text": ""}, {"text": None}]
    path = tmp_path / f"a{ending}"
    if ending == ".parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text(json.dumps(records) if ending == ".json" else "\n".join(map(json.dumps, records)))
    table = read_table(path)
    assert list(table.rows) == records
    assert table.notes == ()


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ending", [".jsonl", ".ndjson"])
def test_an_array_that_is_called_lines_is_read_with_a_note(tmp_path, ending, indent):
    path = tmp_path / f"a{ending}"
    path.write_text(json.dumps(ROWS, indent=indent) + "\n")
    table = read_table(path)
    assert list(table.rows) == ROWS
    assert table.notes == (f"{path}: it is one JSON array, and is read as such",)


@pytest.mark.parametrize(
    ("value", "word"),
    [("null", "null"), ("1", "a number"), ("1.5", "a number"), ("true", "true or false"), ('"a"', "a text"), ("[]", "an array")],
)
def test_what_is_no_record_is_called_as_json_calls_it(tmp_path, value, word):
    (tmp_path / "a.json").write_text(f'[{{"text": "a"}}, {value}]')
    (tmp_path / "a.jsonl").write_text(f'{{"text": "a"}}\n{value}\n')
    with pytest.raises(TaskError, match=f"record 2 is no object, but {word};"):
        read_table(tmp_path / "a.json")
    with pytest.raises(TaskError, match=f"line 2 is not an object with columns, but {word}$"):
        read_table(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("names", "reading", "message"),
    [
        (["a.csv"], Reading(delimiter="ab", encoding="foo"), r"(?s)2 problems.*there is no encoding 'foo'.*it must be one character"),
        (["a.jsonl"], Reading(delimiter=";"), "no file ends in .csv or .tsv"),
        (["a.parquet"], Reading(encoding="cp1252", delimiter=";"), r"(?s)2 problems.*delimiter is ';'.*encoding is 'cp1252'"),
    ],
)
def test_an_option_that_no_file_can_have_is_refused(names, reading, message):
    with pytest.raises(SettingsError, match=message):
        check_reading([Path(name) for name in names], reading)
    if reading.encoding != "foo":
        check_reading([Path("a.csv"), *map(Path, names)], reading)


def test_many_lines_are_cut_short():
    assert positions([3]) == "line 3"
    assert positions([1, 2, 3, 4, 5, 6, 7], "row") == "rows 1, 2, 3, 4, 5 and 2 more"
