"""The recordings can be read, hang together, hold nothing of this machine, and are what README.md here says of them."""

import gzip
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from pelt_automl.log.events import Decision, SelectionStarted, TrialEnded
from tests.recorded.reading import FOLDER, PATHS, SchedulerCalled, read
from tests.tiny_world import of

TABLE = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (FOLDER / "README.md").read_text(encoding="utf-8").split("## The rules")[1].split("## ")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| rule")
]
"""Rule, place, what it says, and four numbers."""
recordings = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.partition(".")[0])


@cache
def events_of(path: Path):
    return tuple(read(path))


def test_all_are_there_and_small():
    assert len(PATHS) == 85
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
        assert set(call.rules) <= {rule for rule, *_ in TABLE}
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
    found, fired_in = Counter(), Counter()
    for path in PATHS:
        calls = of(events_of(path), SchedulerCalled)
        levels = [(rule, level) for call in calls for rule, level in call.rules.items()]
        found.update(levels)
        fired_in.update({rule for rule, level in levels if level == "fired"})
    for rule, _, _, *numbers in TABLE:
        consulted, contested, fired = (found[rule, level] for level in ("consulted", "contested", "fired"))
        assert (rule, *map(int, numbers)) == (rule, consulted + contested + fired, contested + fired, fired, fired_in[rule])
