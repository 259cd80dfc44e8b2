"""A curve rebuilt from the records of made-up selections: what is read off them, and the report."""

import json
import re
import sys
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree as ET

import pytest

from pelt_automl import cli
from pelt_automl.curve.report import curve_text, write_curve_report
from pelt_automl.curve.result import read_curve, rebuilt_curve
from pelt_automl.curve.warm_start import best_configurations
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import DataDescribed, FinalistScored, SelectionEnded, TrialEnded, VerdictReached
from pelt_automl.log.history import History
from pelt_automl.verdict.decision import decide
from tests.verdict import conftest
from tests.verdict.conftest import save

selection = cache(conftest.selection)


def with_k(events, k):
    return [replace(event, k=k) if isinstance(event, DataDescribed) else event for event in events]


@pytest.fixture(scope="module")
def curve_folder(tmp_path_factory):
    """Verdicts at 50 and 100, a selection under way at 200, none at full."""
    folder = tmp_path_factory.mktemp("curve")
    save(folder / "k-50", with_k(selection(), 50))
    save(folder / "k-100", with_k(selection(seed=8), 100))
    under_way = [event for event in selection() if not isinstance(event, (VerdictReached, SelectionEnded, FinalistScored))]
    save(folder / "k-200", with_k(under_way, 200))
    return folder


KS = [50, 100, 200, None]


@pytest.fixture(scope="module")
def curve(curve_folder):
    return read_curve(curve_folder, KS, {"full": "no trial got anywhere"})


def test_the_points_are_the_verdicts_of_the_selections(curve, curve_folder):
    assert [(point.k, point.examples, point.folder) for point in curve.points] == [(50, 50, "k-50"), (100, 100, "k-100")]
    assert curve.missing == {"200": "not run yet", "full": "no trial got anywhere"}
    for point, events in zip(curve.points, (selection(), selection(seed=8)), strict=True):
        (verdict,) = [event for event in events if isinstance(event, VerdictReached)]
        assert (point.method, point.score, point.p_best) == (verdict.method, verdict.report_score, verdict.p_best)
        assert sorted(lead.value for lead in point.margins.values()) == pytest.approx(sorted(verdict.margins.values()))
        assert (point.seeds, point.report_examples) == (3, 800)
        best = {row.method: row for row in reversed(verdict.standings)}
        assert {row.method for row in point.methods} == set(best)
        for row in point.methods:
            assert (row.lead is None) == (row.method == point.method)
            if row.lead is None:
                continue
            assert row.score == best[row.method].report_score
            assert row.lead.distinguishable == (frozenset((row.method, point.method)) in point.verdict().told_apart)
            if row.method != "prefix":  # which lacks a seed: its lead is over those that it has
                assert row.lead.value == pytest.approx(verdict.report_score - row.score)
        assert frozenset(("head", "adapter")) in point.verdict().told_apart
        assert frozenset(("unipelt-ap", "unipelt-apl")) not in point.verdict().told_apart


def test_the_answer_is_the_rules(curve):
    assert curve.answer.reigns[0].method == curve.points[0].method
    assert curve.answer.reigns[0].since == "50"
    assert f"{curve.points[0].method} at every K from 50 to 100." in curve.statement


def test_the_report_is_written_whole_and_rebuilt_from_the_records(curve, curve_folder):
    written = {path.name: path.read_text(encoding="utf-8") for path in write_curve_report(curve)}
    assert sorted(written) == ["k-curve.html", "k-curve.json", "k-curve.md", "k-curve.svg"]
    data = json.loads(written["k-curve.json"])
    assert (data["schema_version"], data["ks"], data["statement"]) == (1, KS, curve.statement)
    assert data["points"][0]["methods"][0].keys() == {"method", "finalist", "score", "interval", "tied", "lead"}
    assert rebuilt_curve(curve_folder) == curve
    for name in ("k-curve.html", "k-curve.md"):
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", written[name]))
        for words in (
            curve.points[0].finalist.partition(" ")[0],
            "K = full",
            "no trial got anywhere",
            "9 min 6 s",
            "The rule: the method",
            "800",
        ):
            assert words in text, words
    page = written["k-curve.html"]
    assert not re.search(r"<script|<link|<img|@import|\ssrc=|href=\"http", page)
    assert '<a href="k-50/report.html">50</a>' in page
    for table in re.findall(r"(?:^\|.*\n)+", written["k-curve.md"], re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_the_plot_has_every_method_at_its_k_and_full_as_a_reference(curve):
    (svg,) = [path.read_text() for path in write_curve_report(curve) if path.suffix == ".svg"]
    assert ET.fromstring(svg).tag.endswith("svg")
    for words in ("unipelt-apl", "lora", "full (reference)", "labeled examples (K)", "accuracy on report", ">50<", ">100<"):
        assert words in svg, words
    assert ">200<" not in svg


def test_the_terminal_has_the_answer_and_a_row_for_each_k(curve):
    lines = curve_text(curve).splitlines()
    assert all(len(line) <= 100 for line in lines)
    table = lines[lines.index("") + 1 :]
    assert table[0].split()[:3] == ["K", "recommended", "accuracy"]
    assert [line.split()[0] for line in table if re.match(r" *(\d+|full) ", line)] == ["50", "100", "200", "full"]


def test_without_a_verdict_there_is_no_curve(tmp_path):
    assert read_curve(tmp_path, KS, {}) is None
    (tmp_path / "k-curve.json").write_text(json.dumps({"ks": KS, "missing": {}}))
    with pytest.raises(SelectionError, match="has no verdict at any K yet"):
        rebuilt_curve(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"", b"\xff", b"[]", b"3", b"{}", b'{"ks": [20]}', b'{"ks": 20, "missing": {}}', b'{"ks": ["../x"], "missing": {}}',
        b'{"ks": [[20]], "missing": {}}', b'{"ks": [20], "missing": []}', b'{"ks": [20], "missing": {"20": 3}}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_another_file_under_a_curves_name_is_one_error(content, tmp_path):
    (tmp_path / "k-curve.json").write_bytes(content)
    with pytest.raises(SelectionError, match="can't be read as a curve"):
        rebuilt_curve(tmp_path)


def test_a_k_without_a_scored_finalist_is_passed_over(tmp_path):
    events = with_k(selection(), 50)
    (verdict,) = [event for event in events if isinstance(event, VerdictReached)]
    bare = [event for event in events if not isinstance(event, (FinalistScored, VerdictReached, SelectionEnded))]
    save(tmp_path / "k-50", [*bare, replace(verdict, standings=[], report_score=None, p_best=None, margins={})])
    save(tmp_path / "k-100", with_k(selection(), 100))
    curve = read_curve(tmp_path, [50, 100], {})
    assert curve.answer.unconfirmed == ("50",)
    assert curve.answer.reigns[0].since == "100"
    assert "At K = 50 no finalist was scored in time" in curve.statement
    write_curve_report(curve)
    assert curve_text(curve)


def changed(events, kind, change):
    return [change(event) if isinstance(event, kind) else event for event in events]


def of_one_seed(events):
    """What a time limit leaves: the runs on the first seed alone, and the verdict on them."""
    kept = [
        event
        for event in events
        if not (isinstance(event, (FinalistScored, TrialEnded)) and "-seed" in event.trial and not event.trial.endswith("-seed0"))
    ]
    return decided_again(kept)


def decided_again(events):
    before = [event for event in events if not isinstance(event, (VerdictReached, SelectionEnded))]
    return [*before, decide(History.of(before), 1.0, "params"), *[event for event in events if isinstance(event, SelectionEnded)]]


def one_run_left(events):
    """All runs but those on the first seed failed."""
    lost = [getattr(event, "trial", "-seed0") for event in events]
    lost = {name for name in lost if "-seed" in name and not name.endswith("-seed0")}
    kept = [event for event in events if not isinstance(event, FinalistScored) or event.trial not in lost]
    return decided_again(
        changed(kept, TrialEnded, lambda run: replace(run, state="failed", cause="loss is not finite") if run.trial in lost else run)
    )


def at_chance(events):
    return changed(events, VerdictReached, lambda verdict: replace(verdict, outcome="nothing-learned"))


def open_still(events):
    return changed(events, VerdictReached, lambda verdict: replace(verdict, outcome="tentative"))


def cut_off(events):
    (verdict,) = [event for event in events if isinstance(event, VerdictReached)]
    own = f"final-{verdict.candidate}-seed1"
    return changed(events, TrialEnded, lambda trial: replace(trial, state="stopped") if trial.trial == own else trial)


@pytest.mark.parametrize(
    ("spoil", "doubts"),
    [
        (lambda events: events, []),
        (of_one_seed, ["the recommended one was scored on one seed only"]),
        (one_run_left, ["the recommended one was scored on one seed only, since runs of it failed"]),
        (at_chance, ["nothing was learned"]),
        (open_still, ["it is open whether anything is better than a guess"]),
        (cut_off, ["the recommended method's training was cut off"]),
    ],
    ids=["sound", "one seed", "one run left", "nothing learned", "tentative", "cut off"],
)
def test_an_answer_rests_on_no_verdict_that_does_not_carry(spoil, doubts, tmp_path):
    for number, k in enumerate((50, 100)):
        save(tmp_path / f"k-{k}", spoil(with_k(selection(seed=7 + number), k)))
    curve = read_curve(tmp_path, [50, 100], {})
    assert [point.doubts for point in curve.points] == [doubts, doubts]
    assert bool(curve.answer.reigns) == (not doubts)
    said = "at every K from 50 to 100." if not doubts else "Which method from which K on is open: no verdict carries."
    assert said in curve.statement
    assert ("%" in curve_text(curve).split("tied", 1)[1]) == (not doubts), "no probability stands behind one that doesn't"
    written = {path.name: path.read_text(encoding="utf-8") for path in write_curve_report(curve)}
    for name in ("k-curve.md", "k-curve.html"):
        assert all(doubt.replace("'", "&#39;" if name.endswith("html") else "'") in written[name] for doubt in doubts)
    assert [point["doubts"] for point in json.loads(written["k-curve.json"])["points"]] == [doubts, doubts]


def test_the_next_k_starts_from_the_best_configuration_of_each_method_but_not_from_its_default():
    events = selection()
    found = best_configurations(History.of(events))
    trials = {trial.trial: trial for trial in events if isinstance(trial, TrialEnded)}
    lora = [trial for name, trial in trials.items() if trial.method == "lora" and trial.stage == "search" and trial.state == "completed"]
    best = max(lora, key=lambda trial: trial.select_score)
    assert not best.is_default
    assert found["lora"] == [best.hyper_parameters]
    poor = [replace(e, select_score=0.1) if isinstance(e, TrialEnded) and not e.is_default else e for e in events]
    assert best_configurations(History.of(poor)) == {}
    assert best_configurations(History()) == {}


def test_the_report_command_builds_a_curves_report_anew(curve, curve_folder, monkeypatch, capsys):
    write_curve_report(curve)
    (curve_folder / "k-curve.md").unlink()
    monkeypatch.setattr(sys, "argv", ["pelt-automl", "report", str(curve_folder)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(curve_text(curve))
    assert f"K = 50      {curve_folder / 'k-50'}" in said
    assert (curve_folder / "k-curve.md").is_file()
