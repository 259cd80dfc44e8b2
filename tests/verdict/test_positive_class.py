"""Whose f1 it is: the statement, every form of the report, and recommendation.json say it."""

import json
from dataclasses import replace

import jsonschema
import pytest

from pelt_automl.log.events import DataDescribed, VerdictReached, of_kind
from pelt_automl.log.history import History
from pelt_automl.report import write_report
from pelt_automl.report.terminal import verdict_text
from pelt_automl.verdict.decision import decide
from pelt_automl.verdict.outcome import guess_of
from tests.report.test_schema import SCHEMA
from tests.verdict.conftest import save


@pytest.fixture(scope="module")
def of_fraud(events):
    about = {"metric": "f1", "labels": ["ok", "fraud"], "positive_class": "fraud"}
    told = [replace(event, **about) if isinstance(event, DataDescribed) else event for event in events]
    return [decide(History.of(told), 1.0, "params") if isinstance(event, VerdictReached) else event for event in told]


def test_statement_report_and_json_name_the_class(of_fraud, tmp_path):
    write_report(save(tmp_path / "out", of_fraud))
    assert "f1 of 'fraud' " in of_kind(of_fraud, VerdictReached)[-1].statement
    written = json.loads((tmp_path / "out" / "recommendation.json").read_text())
    assert written["positive_class"] == "fraud"
    jsonschema.validate(written, SCHEMA)
    for name, said in (("report.html", "f1 of &#39;fraud&#39; on report"), ("report.md", "f1 of 'fraud' on report")):
        assert said in (tmp_path / "out" / name).read_text()
    (head,) = [line for line in verdict_text(History.of(of_fraud)).splitlines() if "95 % interval  " in line and "finalist" in line]
    assert " f1 " in head


def test_without_one_nothing_is_said_of_it(events, tmp_path):
    write_report(save(tmp_path / "out", events))
    assert json.loads((tmp_path / "out" / "recommendation.json").read_text())["positive_class"] is None
    assert " of '" not in of_kind(events, VerdictReached)[-1].statement.partition("trainable")[0]


@pytest.mark.parametrize(("labels", "score"), [([1.0] + [0.0] * 9, 2 / 11), ([1.0, 1.0, 0.0], 0.8)])
def test_what_a_method_has_to_beat_is_always_naming_the_class(labels, score):
    data = DataDescribed("t", "classification", "f1", True, ["ok", "fraud"], 16, "strict", {}, {}, positive_class="fraud")
    assert guess_of(data, labels) == (1.0, f"always predicting 'fraud' ({100 * score:.1f})")
