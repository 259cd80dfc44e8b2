"""What a selection says while it runs: in the terminal, and in a flow's log."""

import logging
from dataclasses import replace

import pytest

from flows.run_display import LogDisplay
from pelt_automl.display import TerminalDisplay
from pelt_automl.log.events import Because, CostMeasured, DataDescribed, Decision, Released, Seeds, Segment, Stopped, What
from pelt_automl.verdict.describing import decision_of, describe

DATA = DataDescribed(
    "mails", "classification", "f1", True, ["ok", "fraud"], 16, "strict", {"train": 11, "select": 5}, {},
    ["mails.csv: it isn't UTF-8; read as windows-1252 (--encoding overrides it)", "in two\nlines"], positive_class="fraud",
)  # fmt: skip


def test_the_notes_on_the_data_and_the_class_of_f1_are_said_at_the_start(capsys):
    TerminalDisplay().record(DATA)
    lines = [line.partition("s  ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "mails: classification, f1 of 'fraud'; 11 train, 5 select examples (strict protocol)",
        "  note: mails.csv: it isn't UTF-8; read as windows-1252 (--encoding overrides it)",
        "  note: in two lines",
    ]


def test_a_flows_log_says_the_same(caplog):
    with caplog.at_level("INFO"):
        LogDisplay(logging.getLogger("run")).record(DATA)
    assert caplog.messages == [describe(DATA).replace("--encoding", "encoding")], "a flow has parameters, not options"


SEGMENT = Segment("lora-0002", "lora-0002", "lora", {}, "search", 2, False, Seeds(0, 0, 0), 40, 10, 20)


@pytest.mark.parametrize(
    ("event", "said", "line"),
    [
        (Released(replace(SEGMENT, start=0), Because.FIRST), None, ""),
        (Released(SEGMENT, Because.DEFAULT), "promoted: lora-0002: the published default is always trained in full", ""),
        (
            Released(SEGMENT, Because.QUOTA, {"share": 1 / 3, "compared": 6.0}),
            "promoted: lora-0002: among the best 33% of 6 of lora at step 10",
            "",
        ),
        (
            Released(replace(SEGMENT, start=0, attempt=1), Because.REPEATED),
            "started over: lora-0002: what it was to go on from is lost or damaged",
            "started over: lora-0002 (what it was to go on from is lost or damaged)",
        ),
        (Stopped("lora-0002", Because.METHOD_OUT), "stopped: lora-0002: its method has left the race", ""),
        (Stopped("lora-0002", Because.TIME), "stopped: lora-0002: time limit", ""),
        (Decision(What.LEFT_RACE, "lora", "far behind"), "left the race: lora: far behind", "left the race: lora (far behind)"),
    ],
)
def test_why_a_training_goes_on_or_stops_stands_in_the_report_and_only_what_is_rare_is_said_while_it_runs(event, said, line):
    made = decision_of(event)
    assert (None if made is None else f"{made.what}: {made.subject}: {made.why}") == said
    assert describe(event) == line


def test_a_finalist_that_there_was_no_time_to_measure_is_said_to_be_so(capsys):
    TerminalDisplay().record(CostMeasured("probe", {}, [], None, "cpu, 1 thread", "probe-0000"))
    assert capsys.readouterr().err.split("s  ")[1].split() == ["probe-0000", "not", "measured"]
