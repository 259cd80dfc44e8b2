import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import FinalistScored, ReportOpened, VerdictReached
from pelt_automl.log.history import History
from pelt_automl.report import Recommendation, load_recommendation, write_report
from pelt_automl.report.schema import recommendation_from
from pelt_automl.verdict.decision import decide

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "recommendation.schema.json").read_text())


@pytest.fixture(scope="module")
def recommendation(events):
    return recommendation_from(History.of(events), Path("/selections/qnli"))


def unconfirmed(events):
    kept = [event for event in events if not isinstance(event, (VerdictReached, FinalistScored, ReportOpened))]
    return [*kept, decide(History.of(kept), 1.0, "params")]


def test_a_written_recommendation_fits_the_documented_schema(folder):
    write_report(folder)
    written = json.loads((folder / "recommendation.json").read_text())
    assert [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(written)] == []


def test_one_without_finalists_fits_the_schema_too(events):
    recommendation = recommendation_from(History.of(unconfirmed(events)), Path("x"))
    assert (recommendation.report_score, recommendation.report_interval, recommendation.p_best) == (None, None, None)
    jsonschema.validate(json.loads(recommendation.to_json()), SCHEMA)


def test_the_schema_documents_every_field_and_refuses_a_missing_one(recommendation):
    data = json.loads(recommendation.to_json())
    assert set(data) == set(SCHEMA["properties"])
    assert set(data["leaderboard"][0]) == set(SCHEMA["$defs"]["standing"]["properties"])
    del data["method"]
    with pytest.raises(jsonschema.ValidationError, match="'method' is a required property"):
        jsonschema.validate(data, SCHEMA)


def test_a_recommendation_survives_the_round_trip(recommendation):
    assert Recommendation.from_json(recommendation.to_json(), recommendation.folder) == recommendation


def test_the_folder_is_where_the_file_lies_and_absolute(folder):
    write_report(folder)
    loaded = load_recommendation(folder)
    assert loaded.folder == folder.absolute()
    assert "folder" not in json.loads((folder / "recommendation.json").read_text())


def test_the_answer_stands_at_the_top(recommendation):
    assert (recommendation.method, recommendation.candidate) == ("lora", "lora-0003")
    assert recommendation.report_metric == "accuracy"
    (row,) = [row for row in recommendation.leaderboard if row.candidate == "lora-0003"]
    assert (recommendation.report_score, recommendation.hyper_parameters) == (row.report_score, row.hyper_parameters)
    assert recommendation.candidate in recommendation.tied
    assert (recommendation.task, recommendation.k, recommendation.protocol, recommendation.seconds) == ("qnli", 100, "paper", 546.5)
    assert recommendation.hyper_parameters["rank"] == 8
    assert recommendation.data_hash == "ab" * 32


def test_fields_of_a_later_version_are_left_out(recommendation):
    data = json.loads(recommendation.to_json()) | {"new": 1}
    data["leaderboard"][0]["new"] = 2
    assert Recommendation.from_json(json.dumps(data), recommendation.folder) == recommendation


def test_a_file_of_before_issue_5_is_read(recommendation):
    data = json.loads(recommendation.to_json())
    del data["against"]
    for row in data["leaderboard"]:
        for name in ("worst_seed", "trainings", "failed", "constant"):
            del row[name]
    old = Recommendation.from_json(json.dumps(data), recommendation.folder)
    assert (old.against, old.leaderboard[0].worst_seed, old.leaderboard[0].trainings) == ([], None, 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": 9}, "schema_version is 9; this program reads 1"),
        ({"winner": "../../etc"}, "a folder inside the selection is expected"),
        ({"leaderboard": [{"method": "lora"}]}, "each with the fields of a Standing"),
        ({"against": [{"candidate": "lora-0000"}]}, "against: a list of objects, each with the fields of a Against"),
        ({"winner": "/x", "schema_version": 0}, "has 2 problems"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(recommendation, change, problem):
    data = json.loads(recommendation.to_json()) | change
    with pytest.raises(SelectionError, match=problem):
        Recommendation.from_json(json.dumps(data), recommendation.folder)


@pytest.mark.parametrize(
    ("text", "problem"), [("{", "isn't JSON"), ("[]", "a JSON object is expected"), ("{}", "these fields are missing: method")]
)
def test_a_file_that_is_something_else_is_refused(tmp_path, text, problem):
    (tmp_path / "recommendation.json").write_text(text)
    with pytest.raises(SelectionError, match=problem):
        load_recommendation(tmp_path)


def test_folders_without_a_recommendation_say_what_they_are(tmp_path):
    with pytest.raises(SelectionError, match="isn't a selection"):
        load_recommendation(tmp_path)
    (tmp_path / "k100").mkdir()
    (tmp_path / "k100" / "recommendation.json").write_text("{}")
    with pytest.raises(SelectionError, match=r"holds several selections, .* name one of them: .*k100"):
        load_recommendation(tmp_path)
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(SelectionError, match="isn't finished; run the same command again"):
        load_recommendation(tmp_path)


def test_a_recommendation_can_be_replaced_but_not_changed(recommendation):
    assert replace(recommendation, method="x").method == "x"
    with pytest.raises(AttributeError):
        recommendation.method = "x"
