"""Reports, turns, fresh processes and kept results; and that every study says what it is."""

import argparse
import json
import subprocess
import sys

import pytest

from studies import calibration, deep_slice, gates, quality, rungs, short_limits, speed, time_to_answer
from studies.harness import (
    ROOT,
    Kept,
    ProcessError,
    Report,
    TimeLimit,
    add_selection_options,
    fresh_process,
    in_turn,
    markdown,
    ratios,
    selection_options,
    shown_spread,
    spread,
)  # fmt: skip

STUDIES = (calibration, deep_slice, gates, quality, rungs, short_limits, speed, time_to_answer)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.__name__)
def test_every_study_says_what_it_does(study, capsys):
    with pytest.raises(SystemExit, match="0"):
        study.main(["--help"])
    assert study.__doc__.splitlines()[0] in capsys.readouterr().out


@pytest.mark.slow
def test_a_study_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "studies.speed", "packing", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "python -m studies.speed packing" in done.stdout
    assert "--reference" in done.stdout


class Clock:
    """Seconds that pass only when told."""

    time = 0.0

    def __call__(self):
        return self.time


def test_a_spread_is_the_median_with_the_extremes():
    assert spread([3.0, 1.0, 8.0, 4.0], "s") == {"s": 3.5, "lowest": 1.0, "highest": 8.0}
    assert shown_spread([2.0, 1.0, 4.0]) == "2 (1 to 4)"


def test_ratios_are_taken_turn_by_turn_so_that_a_slow_moment_of_the_machine_cancels():
    assert ratios([10.0, 5.0, 10.0], [2.0, 1.0, 4.0]) == [5.0, 5.0, 2.5]  # the machine was slow in the second turn, for both
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("limit", "turns"), [(35.0, 3), (29.0, 2), (5.0, 1)])
def test_measurements_take_turns_and_one_that_would_not_end_in_time_is_not_begun_but_one_is_always_taken(limit, turns):
    clock, order = Clock(), []

    def measure(name):
        order.append(name)
        clock.time += 5
        return clock.time

    found = in_turn({name: lambda name=name: measure(name) for name in "ab"}, 3, TimeLimit(limit, started=0.0, now=clock))
    assert order == ["a", "b"] * turns
    assert found == {"a": [5.0, 15.0, 25.0][:turns], "b": [10.0, 20.0, 30.0][:turns]}


def test_a_table_is_aligned_and_prints_a_dash_for_what_is_missing():
    assert markdown([{"who": "ours", "seconds": 1234.5678}, {"who": "a peer"}]).splitlines() == [
        "| who    | seconds |", "| ------ | ------- |", "| ours   | 1235    |", "| a peer | -       |",
    ]  # fmt: skip


def test_a_report_is_printed_and_written_with_its_machine_and_what_was_left_out(tmp_path, capsys):
    report = Report("speed", argparse.Namespace(steps=2, output=tmp_path / "new"))
    report.leave_out("bert-base", "the time limit\nand more")
    report.add("Speed", who="ours")
    report.write()
    written = json.loads((tmp_path / "new" / "speed.json").read_text())
    assert (written["left_out"], written["options"]["steps"]) == (["bert-base: the time limit"], "2")
    assert "torch" in written["environment"]["versions"]
    text = (tmp_path / "new" / "speed.md").read_text()
    assert "- bert-base: the time limit" in text
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        (["--k", "100"], {"task": "pydoc-match", "k": "100"}),
        (["--train", "/x/a.csv", "--trials", "3"], {"train": "/x/a.csv", "trials": 3}),
    ],
)
def test_an_own_file_takes_the_place_of_the_default_task(typed, given):
    parser = argparse.ArgumentParser()
    add_selection_options(parser, task="pydoc-match")
    assert selection_options(parser.parse_args(typed)) == given


@pytest.mark.slow
def test_a_fresh_process_tells_its_seconds_its_memory_and_what_came_out(tmp_path):
    ended = fresh_process("studies.data_sets:find", tmp_path, folders=[], names=["rte"])
    assert ended.seconds > 0
    assert 10e6 < ended.peak_bytes < 2e9
    assert "rte" in str(ended.result)


def test_a_process_that_fails_says_how_and_what_it_printed_last():
    with pytest.raises(ProcessError, match=r"(?s)ended with exit code 1: TypeError.*nothing_such"):
        fresh_process("studies.harness:names", nothing_such=1)
    with pytest.raises(ProcessError, match="subprocess isn't a module of the studies"):
        fresh_process("subprocess:run", args=["true"])


def test_results_are_kept_by_what_they_are_results_of_whatever_the_order_of_the_key(tmp_path):
    kept = Kept(tmp_path / "cache")
    assert kept.get(a=1, b={"x": 1, "y": 2}) is None
    assert kept.put({"score": 0.5}, a=1, b={"x": 1, "y": 2}) == {"score": 0.5}
    assert Kept(tmp_path / "cache").get(b={"y": 2, "x": 1}, a=1) == {"score": 0.5}
    assert kept.get(a=2, b={"x": 1, "y": 2}) is None
