"""A records file that is damaged, foreign or incomplete: one clear error, wherever it is read."""

import json
from dataclasses import MISSING, fields

import pytest

from pelt_automl.errors import PeltError, SelectionError
from pelt_automl.log.codec import from_json, read, to_json
from pelt_automl.log.events import KINDS
from pelt_automl.log.history import History
from pelt_automl.report import load_recommendation, verdict_text, write_report
from tests.tiny_world import sketched


@pytest.fixture(scope="module", autouse=True)
def _without_drawings(finished):
    """Figures are made, and not rendered: `finished` has its own."""
    with sketched():
        yield


@pytest.fixture
def lines(finished):
    """Of a whole selection."""
    return (finished.folder / "records.jsonl").read_text().splitlines(keepends=True)


def written(folder, lines):
    (folder / "records.jsonl").write_text("".join(lines))
    return folder / "records.jsonl"


def test_every_event_of_a_whole_selection_is_read_as_it_was_written(lines):
    for line in lines:
        assert json.loads(to_json(from_json(line))) == json.loads(line)


@pytest.mark.parametrize(
    "damage",
    [
        b"hello\n", b"{\n", b"[1, 2]\n", b'"text"\n', b"17\n", b"null\n", b"{}\n", b'{"event": "Unknown"}\n', b'{"event": 3}\n',
        b'{"event": ["TrialEnded"]}\n', b'{"event": "TrialEnded"}\n', b"\xff\xfe\x00\n", b"\0" * 300 + b"\n", b"[" * 100_000 + b"\n",
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_line_is_named_by_its_number(damage, lines, tmp_path):
    path = written(tmp_path, lines[:5])
    path.write_bytes(path.read_bytes() + damage + lines[5].encode())
    with pytest.raises(SelectionError, match=r"records\.jsonl is damaged, or was written by another version: line 6 can't be read"):
        list(read(path))


def test_empty_lines_and_the_line_ends_of_another_system_do_no_harm(lines, tmp_path):
    path = written(tmp_path, [*lines[:2], "\n", *lines[2:], "\n"])
    assert len(list(read(path))) == len(lines)
    path.write_text("".join(lines).replace("\n", "\r\n"), newline="")
    assert len(list(read(path))) == len(lines)


def test_every_field_is_needed_and_has_its_type(lines):
    of_each_kind = {json.loads(line)["event"]: json.loads(line) for line in lines}
    assert len(of_each_kind) > 10
    for name, whole in of_each_kind.items():
        for field in fields(KINDS[name]):
            if field.default is MISSING and field.default_factory is MISSING:
                less = {key: value for key, value in whole.items() if key != field.name}
                with pytest.raises(ValueError, match=rf"{name}: {field.name}: it is missing"):
                    from_json(json.dumps(less))
            for value in ({"not": ["this"]}, [{"not": "this"}], "a text"):
                text_may_be = field.type in (str, str | None) and value == "a text"
                if text_may_be or (isinstance(whole[field.name], dict) and isinstance(value, dict)):
                    continue
                with pytest.raises(ValueError, match=rf"{name}: {field.name}"):
                    from_json(json.dumps(whole | {field.name: value}))


@pytest.mark.parametrize(("place", "named"), [(("seeds", "order"), r"seeds\.order"), (("curve", 0, "step"), r"curve\[0\]\.step")])
def test_what_is_inside_of_a_field_is_checked_too(place, named, lines):
    whole = next(json.loads(line) for line in lines if json.loads(line)["event"] == "TrialEnded")
    inside = whole
    for step in place[:-1]:
        inside = inside[step]
    del inside[place[-1]]
    with pytest.raises(ValueError, match=f"TrialEnded: {named}: it is missing"):
        from_json(json.dumps(whole))


@pytest.mark.parametrize("kind", list(KINDS))
def test_records_that_lack_all_events_of_a_kind_give_a_report_or_one_error(kind, lines, tmp_path):
    written(tmp_path, [line for line in lines if json.loads(line)["event"] != kind])
    for what in (lambda: write_report(tmp_path), lambda: verdict_text(History.of(list(read(tmp_path / "records.jsonl"))))):
        try:
            what()
        except PeltError as error:
            assert str(error)  # noqa: PT017
    if kind in ("SelectionStarted", "DataDescribed", "TrialEnded", "VerdictReached"):
        with pytest.raises(SelectionError):
            write_report(tmp_path)


def test_records_without_any_one_line_give_a_report_or_one_error(lines, tmp_path):
    """What a person may do to them: the line that can't be read is deleted."""
    for left_out in range(0, len(lines), max(1, len(lines) // 12)):
        path = written(tmp_path, [line for number, line in enumerate(lines) if number != left_out])
        try:
            verdict_text(History.of(list(read(path))))
            from pelt_automl.report.summary import summarize

            summarize(History.of(list(read(path))), tmp_path)
        except PeltError as error:
            assert str(error)  # noqa: PT017


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[" * 100_000, b"3"])
def test_a_recommendation_that_isnt_text_or_json_is_one_error(content, tmp_path):
    (tmp_path / "recommendation.json").write_bytes(content)
    with pytest.raises(SelectionError, match=r"recommendation\.json"):
        load_recommendation(tmp_path)


def test_a_recommendation_with_other_types_in_it_is_one_error(finished, tmp_path):
    whole = json.loads((finished.folder / "recommendation.json").read_text())
    for name in whole:
        for value in ({"not": ["this"]}, [{"not": "this"}]):
            if isinstance(whole[name], dict) and isinstance(value, dict):
                continue
            (tmp_path / "recommendation.json").write_text(json.dumps(whole | {name: value}))
            with pytest.raises(SelectionError, match=r"recommendation\.json"):
                load_recommendation(tmp_path)
