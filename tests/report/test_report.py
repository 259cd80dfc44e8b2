import re
from dataclasses import replace
from statistics import fmean
from xml.etree import ElementTree as ET

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import (
    DataDescribed,
    Decision,
    FinalistScored,
    GateMeasured,
    KnockedOut,
    ReportOpened,
    SelectionEnded,
    SelectionStarted,
    TrialEnded,
    VerdictReached,
)
from pelt_automl.log.history import History
from pelt_automl.report import load_recommendation, write_report
from pelt_automl.report.report import escape_markdown
from pelt_automl.verdict.decision import decide

NASTY = "<script>alert(1)</script> | *x* `y` [z](javascript:a) $e^x$"


@pytest.fixture(scope="module")
def written(folder):
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in write_report(folder)}


def without(events, *kinds):
    return [event for event in events if not isinstance(event, kinds)]


def test_all_files_are_written_and_nothing_else_is_left_behind(folder, written):
    assert sorted(written) == [
        "plots/expected-best.svg",
        "plots/front.svg",
        "plots/gates-0.svg",
        "plots/learning-curves.svg",
        "recommendation.json",
        "report.html",
        "report.md",
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["plots", "recommendation.json", "records.jsonl", "report.html", "report.md"]


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_report_shows_verdict_finalists_search_gates_bill_failures_and_data(written, name):
    text = written[name]
    for words in (
        "unipelt-apl #4", "Of 10 finalists", "evidence", "lora (default)", "OutOfMemoryError", "22,713,986", "9 min 6 s", "301.0",
        "its select score at the rung is not among the best third", "3 exact duplicates", "batch size 16", "2.13.0", "abab",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_report_says_what_the_search_saved(written, name):
    # 33 trials of 400 steps in full, 13 stopped at 120, 2 failed at 80, of 16 examples each.
    text = re.sub(r"<[^>]+>|\|", " ", written[name])
    assert "trained on 238,720 examples; training every trial in full would have taken 296,960: 80 % of it was done" in text
    assert "Stopping trials at rungs saved 58,240, methods that left the race 0," in text
    assert "12 % of the tokens computed were padding" in text
    assert re.search(r"rung at 80 steps +trials +rung at 120 steps +trials", text)
    assert re.search(r"unipelt-apl +-?[01]\.\d\d +6 +-?[01]\.\d\d +6\s", text)  # all six were trained in full
    assert re.search(r"prefix +-?[01]\.\d\d +3 +-?[01]\.\d\d +3\s", text)


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_report_says_what_fewer_trials_would_have_found(written, events, name):
    text = re.sub(r"<[^>]+>|\|", " ", written[name])
    assert re.search(r"seconds a trial +best of 1 +best of 2 +best of 4 +best of 6\s", text)
    scores = [
        trial.select_score for trial in events if isinstance(trial, TrialEnded) and trial.stage == "search" and trial.method == "lora"
    ]
    assert len(scores) == 6
    assert re.search(rf"lora +\d+\.\d +{100 * sum(scores) / 6:.1f} ± \d\.\d ", text), "the best of one is the mean"
    assert re.search(r"prefix( +\d+\.\d)( +\d+\.\d ± \d\.\d){3} +[^ ]\s", text), "five of its six trials have a score"
    assert "A trial that was stopped at a rung counts with its best score up to there" in text


def test_the_page_needs_no_other_file_and_no_script(written):
    page = written["report.html"]
    assert not re.search(r"<script|<link|<img|@import|@font-face|\ssrc=|href=\"http", page)
    assert page.count("<svg") == 10 + 4


def test_the_plots_are_wellformed_and_their_ids_are_unique_on_the_page(written):
    ids = re.findall(r'\sid="([^"]+)"', written["report.html"])
    assert len(ids) == len(set(ids)) > 100
    references = set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', written["report.html"]))
    assert references
    assert references <= set(ids)
    for name in ("plots/expected-best.svg", "plots/front.svg", "plots/gates-0.svg", "plots/learning-curves.svg"):
        assert ET.fromstring(written[name]).tag.endswith("svg")
        assert "currentColor" not in written[name]
        assert "mathdefault" not in written[name]


def poisoned(event):
    if isinstance(event, TrialEnded):
        return replace(event, hyper_parameters=event.hyper_parameters | {"act": NASTY}, cause=event.cause and NASTY)
    if isinstance(event, DataDescribed):
        return replace(event, labels=[NASTY, "no"], notes=[NASTY])
    if isinstance(event, SelectionStarted):
        return replace(event, task=NASTY, settings=event.settings | {NASTY: NASTY}, environment={"processor": NASTY})
    if isinstance(event, (GateMeasured, KnockedOut)):
        return replace(event, submodule=NASTY)
    return replace(event, why=NASTY) if isinstance(event, Decision) else event


def test_text_from_data_is_escaped_everywhere(events, save_selection):
    events = [poisoned(event) for event in without(events, VerdictReached)]
    folder = save_selection([*events, decide(History.of(events), 1.0, "params")])
    write_report(folder)
    page, markdown = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") > 20
    assert not re.search(r"(?<!\\)<", markdown)
    assert "\\<script\\>alert(1)\\</script\\> \\| \\*x\\* \\`y\\` \\[z\\](javascript:a) \\$e^x\\$" in markdown


def test_markdown_tables_have_as_many_cells_in_every_row_whatever_the_data(events, save_selection):
    events = [poisoned(event) for event in without(events, VerdictReached)]
    folder = save_selection([*events, decide(History.of(events), 1.0, "params")])
    write_report(folder)
    tables = re.findall(r"(?:^\|.*\n)+", (folder / "report.md").read_text(), re.MULTILINE)
    assert len(tables) == 11
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_markdown_stays_on_one_line():
    assert escape_markdown("a\n\n# b") == "a # b"


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ((GateMeasured, KnockedOut), "No finalist of several submodules was measured."),
        ((GateMeasured,), "it has no gates, or none was measured."),
        ((FinalistScored, ReportOpened, GateMeasured, KnockedOut), "No finalist was scored on the report split."),
        ((SelectionEnded, Decision, KnockedOut), "no knock-out of"),
    ],
)
def test_a_selection_that_lacks_something_still_gives_a_report(events, save_selection, missing, words):
    events = without(events, VerdictReached, *missing)
    folder = save_selection([*events, decide(History.of(events), 1.0, "params")])
    write_report(folder)
    assert words in (folder / "report.html").read_text()
    assert words in (folder / "report.md").read_text()
    assert load_recommendation(folder).method


def test_a_regression_is_shown_in_the_labels_unit(events, save_selection):
    described = [
        replace(e, kind="regression", metric="rmse", greater_is_better=False, labels=[]) if isinstance(e, DataDescribed) else e
        for e in events
    ]
    events = without(described, VerdictReached)
    folder = save_selection([*events, decide(History.of(events), 1.0, "params")])
    write_report(folder)
    assert "in the labels' own unit; smaller is better" in (folder / "report.md").read_text()


def test_the_report_of_an_unfinished_selection_is_an_error_that_says_what_to_do(events, save_selection, tmp_path):
    with pytest.raises(SelectionError, match="isn't finished; run the same command again"):
        write_report(save_selection(without(events, VerdictReached)))
    with pytest.raises(SelectionError, match=r"isn't a selection: a folder with records\.jsonl"):
        write_report(tmp_path / "nowhere")


def test_the_gap_is_about_the_runs_that_the_select_score_is_of(events, save_selection):
    """Not about a report score that is adjusted for seeds which it lacks."""

    def adjusted(row):
        return replace(row, report_score=row.report_score - 0.05) if row.candidate == "prefix-0002" else row

    told = [replace(e, standings=[adjusted(row) for row in e.standings]) if isinstance(e, VerdictReached) else e for e in events]
    folder = save_selection(told)
    write_report(folder)
    row = next(row for row in load_recommendation(folder).leaderboard if row.candidate == "prefix-0002")
    lines = (folder / "report.md").read_text(encoding="utf-8").splitlines()
    header = next(line for line in lines if line.startswith("| finalist |")).split("|")
    cells = next(line for line in lines if line.startswith("| prefix #2 |")).split("|")
    gap = 100 * (row.select_score - fmean(row.seed_scores))
    assert float(cells[header.index(" gap ")]) == pytest.approx(gap, abs=0.051)
