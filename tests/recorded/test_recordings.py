"""The recordings can be read, hang together, hold nothing of this machine, and are what README.md here says of them."""

import gzip
from functools import cache
from pathlib import Path

import pytest

from pelt_automl.log.events import Decision, SchedulerCalled, SelectionStarted, TrialEnded
from tests.recorded.make import FOLDER, RECORDED, files, read, table
from tests.recorded.rules import RULES
from tests.tiny_world import of

PATHS = sorted(FOLDER.glob("*.jsonl.gz"))
recordings = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.partition(".")[0])


@cache
def events_of(path: Path):
    return tuple(read(path))


def test_every_selection_is_recorded_and_nothing_else_and_all_are_small():
    assert {path.name for path in PATHS} == {file for name in RECORDED for file in files(name)}
    assert sum(path.stat().st_size for path in PATHS) < 3_000_000


@recordings
def test_the_trials_of_each_call_are_those_that_were_given(path):
    events, given = events_of(path), set()
    calls = of(events, SchedulerCalled)
    assert {"start", "next", "ended"} <= {call.call for call in calls}
    for call in calls:
        if call.call == "start":
            given |= {run[0] for run in call.about.get("runs", ())}
            given |= {trial.trial for trial in call.under_way}
        named = {trial.trial for trial in call.under_way} | set(call.waiting) | ({call.trial} - {""})
        resumed = {event.subject for event in of(events, Decision) if event.what == "resumed"}
        assert named <= given | resumed
        assert set(call.rules) <= set(RULES)
        if call.call == "next":
            assert call.why
            given |= {call.given} - {None}
        for comparison in call.comparisons:
            assert set(comparison.promoted) <= set(comparison.scores)
            assert set(comparison.scores) | set(comparison.others) <= given | resumed
    fitted = {"probe", "bag-of-words", "neighbors"}
    assert {trial.trial for trial in of(events, TrialEnded) if trial.method not in fitted} <= given | resumed


@recordings
def test_every_promotion_and_every_departure_lies_in_a_call_or_was_cut_off_by_a_kill(path):
    events = events_of(path)
    calls = of(events, SchedulerCalled)
    for what, told in (
        ("promoted", [name for call in calls for name in call.promoted]),
        ("left the race", [name for call in calls for name in call.left_race]),
    ):
        decided = [event.subject for event in of(events, Decision) if event.what == what]
        lives = len(of(events, SelectionStarted))
        assert len(decided) - 8 * (lives - 1) <= len(told) <= len(decided)
        assert set(told) <= set(decided)


@recordings
def test_no_place_on_a_machine_and_no_user_is_in_it(path):
    text = gzip.decompress(path.read_bytes()).decode()
    assert not [word for word in ("/tmp", "/work", "/home", "/root", "Traceback") if word in text]


def test_the_readme_says_what_the_recordings_hold():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert table() in readme, "write its table again: python -m tests.recorded.make --table"
