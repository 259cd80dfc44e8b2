from dataclasses import replace

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import FinalistScored, GateMeasured, ReportOpened, VerdictReached
from pelt_automl.log.history import History
from pelt_automl.report import verdict_text
from pelt_automl.verdict.decision import decide


def test_the_terminal_shows_statement_leaderboard_gates_bill_and_warnings(events):
    text = verdict_text(History.of(events))
    lines = text.splitlines()
    assert lines[0].startswith("The published default would do: lora (default) is tied and costs the same. Recommended: lora #3")
    assert sum(line.startswith("> lora #3 ") for line in lines) == 1
    assert "Gates of unipelt-apl #4, mean (drift): lora 0.68 (+0.18), adapter 0.55 (+0.05), prefix 0.33 (-0.17)." in text
    assert "48 trials of 8 methods, 3 failed; 9 min 6 s: data 2.1 s" in text
    assert "The search trained on 238,720 examples, 80 % of every trial in full; padding: 12 % of the tokens." in lines
    assert "! 1 finalist run of prefix #2 failed: loss is not finite." in lines


def test_it_fits_a_terminal_whatever_there_is_to_say(events):
    (verdict,) = [event for event in events if isinstance(event, VerdictReached)]
    crowded = replace(verdict, statement="word " * 200, warnings=[f"warning {i}" for i in range(40)], standings=verdict.standings * 4)
    for some in (events, [*events, crowded]):
        lines = verdict_text(History.of(some)).splitlines()
        assert len(lines) <= 30
        assert max(map(len, lines)) <= 100
    assert any(line.startswith(">") for line in lines)
    assert "more in the report" in "\n".join(lines)
    assert lines[-1] == "! more warnings in the report (40 in all)"


def test_text_from_data_cannot_steer_the_terminal(events):
    (verdict,) = [event for event in events if isinstance(event, VerdictReached)]
    text = verdict_text(History.of([*events, replace(verdict, statement="a\x1b[2Jb", warnings=["\x07"])]))
    assert "\x1b" not in text
    assert "\x07" not in text


def test_without_finalists_there_is_no_table(events):
    kept = [event for event in events if not isinstance(event, (VerdictReached, FinalistScored, ReportOpened, GateMeasured))]
    text = verdict_text(History.of([*kept, decide(History.of(kept), 1.0, "params")]))
    assert text.startswith("Not confirmed")
    assert "P(best)" not in text


def test_without_a_verdict_there_is_nothing_to_print(events):
    with pytest.raises(SelectionError, match="isn't finished"):
        verdict_text(History.of([event for event in events if not isinstance(event, VerdictReached)]))
