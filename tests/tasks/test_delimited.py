"""Delimiters: found out from the rows, said by a first line or by the user; and whatever spreadsheets do to a CSV file."""

import csv

import pytest

from pelt_automl.errors import SettingsError, TaskError
from pelt_automl.tasks.files import Reading, read_table

ROWS = [["text", "label"], ["one, two; three | four\tfive", "x"], ['say "hi"', "y"], ["plain", "x"]]


def table_of(path, text, **reading):
    path.write_text(text, encoding="utf-8", newline="")
    return read_table(path, Reading(**reading))


def values(table):
    return [list(row.values()) for row in table.rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_every_delimiter_is_found_whatever_stands_in_quoted_cells(tmp_path, delimiter, ending, quoting):
    path = tmp_path / f"a{ending}"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, quoting=quoting).writerows(ROWS)
    table = read_table(path)
    assert (table.columns, values(table)) == (("text", "label"), ROWS[1:])
    usual = {".csv": ",", ".tsv": "\t"}[ending]
    assert len(table.notes) == (delimiter != usual)
    assert table.form.delimiter == delimiter


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("text;label\n2,5 stars, I say;good\nno, never;bad\n", ("text", "label"), [["2,5 stars, I say", "good"], ["no, never", "bad"]]),
        ("text,label\na; b; c,x\nd; e,y\n", ("text", "label"), [["a; b; c", "x"], ["d; e", "y"]]),
        ('"text; or words",label\na,x\nb,y\n', ("text; or words", "label"), [["a", "x"], ["b", "y"]]),
        ("text (a; b),label\nx;y,1\nz,2\n", ("text (a; b)", "label"), [["x;y", "1"], ["z", "2"]]),
        ("a|b;label|id\n1|2|3\n4|5|6\n", ("a", "b;label", "id"), [["1", "2", "3"], ["4", "5", "6"]]),
    ],
)  # fmt: skip
def test_the_delimiter_is_the_one_that_cuts_rows_as_it_cuts_the_header(tmp_path, text, columns, rows):
    table = table_of(tmp_path / "a.csv", text)
    assert (table.columns, values(table)) == (columns, rows)


def test_a_delimiter_that_gives_the_expected_columns_is_the_right_one(tmp_path):
    text = "id;text,label;note\n1;a,b;c\n2;d,e;f\n"
    assert table_of(tmp_path / "a.csv", text, columns=("text,label",)).columns == ("id", "text,label", "note")
    assert table_of(tmp_path / "a.csv", text, columns=("label;note",)).columns == ("id;text", "label;note")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("text\nHello, world\nsemi; colon\ttab|pipe\n", ["Hello, world", "semi; colon\ttab|pipe"]),
        ('text\n"Hello, world"\nplain\n', ["Hello, world", "plain"]),
        ('text\n"Hi", he said\nplain\n', ['"Hi", he said', "plain"]),
        ("text\n\na\n\n", ["", "a"]),
        ('"text"\n"two\nlines"\n', ["two\nlines"]),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_file_with_one_column_is_not_split(tmp_path, text, rows, ending):
    table = table_of(tmp_path / f"a{ending}", text)
    assert table.columns == ("text",)
    assert [row["text"] for row in table.rows] == rows


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=;\r"])
def test_excels_first_line_says_the_delimiter_and_lines_are_counted_with_it(tmp_path, first):
    table = table_of(tmp_path / "a.csv", f"{first}\ntext;label\na,b;x\n\nc;y\n")
    assert (table.columns, values(table), list(table.lines)) == (("text", "label"), [["a,b", "x"], ["c", "y"]], [3, 5])
    assert table.form.says_delimiter
    assert table_of(tmp_path / "b.csv", "sep=\t\ntext\tlabel\na,b\tx\n").columns == ("text", "label")
    with pytest.raises(TaskError, match="line 4 has 1 fields for 2 columns"):
        table_of(tmp_path / "c.csv", f"{first}\ntext;label\na;x\nbad\n")


@pytest.mark.parametrize(
    ("given", "text"),
    [("tab", "a\tb\n1\t2\n"), ("\\t", "a\tb\n1\t2\n"), (";", "a;b\n1;2\n"), ("~", "a~b\n1~2\n"), ("pipe", "sep=;\na|b\n1|2\n")],
)
def test_the_users_delimiter_overrides_everything(tmp_path, given, text):
    assert values(table_of(tmp_path / "a.csv", text, delimiter=given)) == [["1", "2"]]


@pytest.mark.parametrize("given", ["", "ab", '"', "\n"])
def test_what_can_not_be_a_delimiter_is_refused(tmp_path, given):
    with pytest.raises(SettingsError, match="it must be one character"):
        table_of(tmp_path / "a.csv", "a,b\n1,2\n", delimiter=given)


def test_cells_of_any_length_are_read_and_the_limit_of_the_csv_module_stays(tmp_path):
    before = csv.field_size_limit()
    long = "word " * 60_000
    table = table_of(tmp_path / "a.csv", f'text,label\n"{long}",x\n')
    assert table.rows[0]["text"] == long
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("text,label,,\na,x,,\nb,y,,\n", ("text", "label"), [["a", "x"], ["b", "y"]]),
        ("text,label\na,x,,\nb,y\n", ("text", "label"), [["a", "x"], ["b", "y"]]),
        (",text,label\n0,a,x\n1,b,y\n", ("", "text", "label"), [["0", "a", "x"], ["1", "b", "y"]]),
        ("\n,,\ntext,label\na,x\n\n   \nb,y\n", ("text", "label"), [["a", "x"], ["b", "y"]]),
        ("text,label\r\na,x\r\nb,y\r\n", ("text", "label"), [["a", "x"], ["b", "y"]]),
    ],
)
def test_empty_columns_and_lines_of_spreadsheets_do_no_harm(tmp_path, text, columns, rows):
    table = table_of(tmp_path / "a.csv", text)
    assert (table.columns, values(table)) == (columns, rows)


def test_two_columns_without_a_name_that_hold_something_are_refused(tmp_path):
    with pytest.raises(TaskError, match="column '' occurs twice"):
        table_of(tmp_path / "a.csv", "text,label,,\na,x,1,2\n")
    with pytest.raises(TaskError, match="line 2 has 3 fields for 2 columns"):
        table_of(tmp_path / "a.csv", "text,label\na,b,x\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stray_quote_in_a_file_with_tabs_swallows_no_row(tmp_path, end):
    table = table_of(tmp_path / "a.tsv", f'text\tlabel{end}"He said\tpos{end}yes"\tneg{end}z\tpos{end}')
    assert values(table) == [['"He said', "pos"], ['yes"', "neg"], ["z", "pos"]]


def test_a_quoted_cell_with_tabs_and_lines_is_one_cell_where_plain_rows_do_not_fit(tmp_path):
    table = table_of(tmp_path / "a.tsv", 'text\tlabel\n"a\tb\nc\td"\tpos\n"two\nlines"\tneg\n')
    assert values(table) == [["a\tb\nc\td", "pos"], ["two\nlines", "neg"]]
