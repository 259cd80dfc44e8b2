"""What a selection says while it runs: in the terminal, and in a flow's log."""

from flows.run_display import describe
from pelt_automl.display import TerminalDisplay
from pelt_automl.log.events import CostMeasured, DataDescribed

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


def test_a_flows_log_says_them_too():
    said = describe(DATA)
    assert said.splitlines()[0] == "Data: 11 train, 5 select examples, metric f1 of 'fraud'"
    assert "Note: mails.csv: it isn't UTF-8" in said


def test_a_finalist_that_there_was_no_time_to_measure_is_said_to_be_so(capsys):
    TerminalDisplay().record(CostMeasured("probe", {}, [], None, "cpu, 1 thread", "probe-0000"))
    assert capsys.readouterr().err.split("s  ")[1].split() == ["probe-0000", "not", "measured"]
