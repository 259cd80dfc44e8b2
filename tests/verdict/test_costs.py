"""What a preference decides among the tied, written out by hand; and what costs look like in the report."""

import re
from dataclasses import replace

import pytest

from pelt_automl.log.codec import from_json, to_json
from pelt_automl.log.events import CostMeasured, Decision, Latency, SelectionStarted, VerdictReached
from pelt_automl.log.history import History
from pelt_automl.report import verdict_text, write_report
from pelt_automl.verdict.costs import NOT_MEASURED, as_counted
from pelt_automl.verdict.decision import decide
from tests.verdict.test_decision import finalist, selection


def latencies(one, many=100.0, merged=None):
    found = [Latency(1, False, one, 0.4, 25, 12.0), Latency(32, False, many, 4.0, 9, 12.5)]
    return found + ([Latency(1, True, merged, 0.2, 25, 12.0), Latency(32, True, many - 10, 2.0, 9, 12.5)] if merged else [])


def cost(candidate, one, merged=None, exportable=False, memory=0.42e9):
    method = candidate.rsplit("-", 1)[0]
    return CostMeasured(method, {}, latencies(one, merged=merged), memory, "cpu, 2 threads", candidate, [], exportable, time=5.0)


A = list(finalist("a-0001", [90, 90], kept=900, seconds=2.0))
B = list(finalist("b-0001", [89.5, 89.5], kept=10, seconds=50.0))
C = list(finalist("c-0001", [80, 80], kept=1, seconds=0.1))
"""c is cheaper than all, and not tied."""


@pytest.mark.parametrize(
    ("prefer", "costs", "winner", "words"),
    [
        ("params", [], "b-0001", "Of these it has the fewest trainable parameters."),
        ("time", [], "a-0001", "Of these it has the shortest training."),
        ("score", [], "a-0001", "Of these it has the best mean."),
        ("latency", [("a-0001", 8.0), ("b-0001", 9.0), ("c-0001", 1.0)], "a-0001", "Of these it has the lowest latency."),
        ("latency", [("a-0001", 9.0), ("b-0001", 8.0), ("c-0001", 1.0)], "b-0001", "Of these it has the lowest latency."),
        # the third digit doesn't count: equally fast, so the better score
        ("latency", [("a-0001", 9.01), ("b-0001", 8.99), ("c-0001", 1.0)], "a-0001", "Of these it has the lowest latency."),
        # merged counts only where the merged model can be handed over
        ("latency", [("a-0001", 9.0, 7.0, True), ("b-0001", 8.0), ("c-0001", 1.0)], "a-0001", "Of these it has the lowest latency."),
        ("latency", [("a-0001", 9.0, 7.0, False), ("b-0001", 8.0), ("c-0001", 1.0)], "b-0001", "Of these it has the lowest latency."),
    ],
)
def test_the_preference_decides_among_the_tied(prefer, costs, winner, words):
    verdict = decide(History.of([*selection(A, B, C), *(cost(*one) for one in costs)]), 1.0, prefer)
    assert verdict.candidate == winner
    assert words in verdict.statement
    assert NOT_MEASURED not in verdict.warnings


@pytest.mark.parametrize("costs", [[], [("a-0001", 1.0)]])
def test_without_latencies_of_all_tied_parameters_decide_and_the_verdict_says_so(costs):
    verdict = decide(History.of([*selection(A, B, C), *(cost(*one) for one in costs)]), 1.0, "latency")
    assert verdict.candidate == "b-0001"
    assert "Of these it has the fewest trainable parameters." in verdict.statement
    assert NOT_MEASURED in verdict.warnings


def test_a_lack_among_those_that_are_not_tied_changes_nothing():
    verdict = decide(History.of([*selection(A, B, C), cost("a-0001", 8.0), cost("b-0001", 9.0)]), 1.0, "latency")
    assert verdict.candidate == "a-0001"
    assert NOT_MEASURED not in verdict.warnings


@pytest.mark.parametrize(
    ("prefer", "ours", "default", "first"),
    [
        ("score", 8.0, 8.0, "The published default would do: lora (default) is tied and scores the same."),
        ("latency", 8.0, 7.99, "The published default would do: lora (default) is tied and costs the same."),
        ("latency", 8.0, 9.0, "The published default would do, at a higher cost: lora (default) is tied."),
    ],
)
def test_a_default_that_costs_the_same_by_the_users_preference_is_said_first(prefer, ours, default, first):
    events = selection(finalist("head-0001", [80, 80], kept=10), finalist("lora-0000", [80, 80], kept=50))
    verdict = decide(History.of([*events, cost("head-0001", ours), cost("lora-0000", default)]), 1.0, prefer)
    assert verdict.candidate == "head-0001"
    assert verdict.statement.startswith(first)


def test_standings_carry_what_was_measured():
    verdict = decide(History.of([*selection(A, B, C), cost("b-0001", 8.0, 7.0)]), 1.0, "params")
    a, b, _ = verdict.standings
    assert (b.latency_ms, b.latency_ms_32, b.merged_latency_ms, b.merged_latency_ms_32) == (8.0, 100.0, 7.0, 90.0)
    assert (b.served_latency_ms, b.memory_gb) == (8.0, 0.42)
    assert (a.latency_ms, a.served_latency_ms, a.memory_gb) == (None, None, None)
    assert [row.pareto for row in verdict.standings] == [True, True, True]


@pytest.mark.parametrize(("latency", "counted"), [(10.43, 10.0), (9.98, 10.0), (9.94, 9.9), (141.0, 140.0), (0.0456, 0.046)])
def test_two_digits_of_a_latency_count(latency, counted):
    assert as_counted(latency) == counted


def test_a_record_of_costs_can_be_read_again():
    event = cost("b-0001", 8.0, 7.0)
    assert from_json(to_json(event)) == event


def test_a_standing_of_before_costs_can_be_read():
    verdict = decide(History.of(selection(A, B)), 1.0, "params")
    line = re.sub(r'"(latency_ms|latency_ms_32|merged_\w+|served_\w+|memory_gb|pareto)": [^,}]+,? ?', "", to_json(verdict)).replace(
        ", }", "}"
    )
    assert "latency" not in line
    again = from_json(line)
    assert isinstance(again, VerdictReached)
    assert (again.standings[0].latency_ms, again.standings[0].pareto) == (None, False)


@pytest.fixture
def measured(events):
    (old,) = [event for event in events if isinstance(event, VerdictReached)]
    costs = [cost(row.candidate, 8.0 + n, 7.5 if n % 2 else None) for n, row in enumerate(old.standings)]
    decisions = [
        Decision("default over a limit", "mam", "it has 10,005,504 trainable parameters, more than the 5,000,000 of --max-trainable")
    ]
    events = [event for event in events if not isinstance(event, VerdictReached)]
    return [*events, *costs, *decisions, decide(History.of([*events, *costs, *decisions]), 1.0, "params")]


def test_the_report_has_latencies_memory_the_front_and_defaults_over_the_limit(measured, save_selection):
    folder = save_selection(measured)
    write_report(folder)
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    for words in (
        "Not dominated in mean score, trainable parameters and latency: head #2",
        "The published default of mam is over the limit",
    ):
        assert words in page
        assert words in text
    assert "<small>merged 7.50</small>" in page
    assert "| 9.00 | 7.50 | 100 | 90.0 | 0.42 |" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 12
    assert all(len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1 for table in tables)


def test_the_terminal_shows_latencies_to_those_who_ask_for_them_and_stays_narrow(measured):
    assert "seconds  tied" in verdict_text(History.of(measured))
    asking = [replace(e, settings={"search": {"max_latency_ms": 20.0}}) if isinstance(e, SelectionStarted) else e for e in measured]
    text = verdict_text(History.of(asking))
    assert "ms a text  tied" in text
    assert re.search(r"lora \(default\) .*\d+\.\d+  yes", text)
    assert max(map(len, text.splitlines())) <= 100
