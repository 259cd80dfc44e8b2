"""Deciding and doing: what is decided is logged before it is done, and done once, whatever is killed in between."""

from dataclasses import dataclass, field, replace

import pytest

from pelt_automl.log.events import Because, Released, Seeds, Segment, SegmentEnded, StateLost, Stopped, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.scheduling.actions import Budget, Finish, Room, Stop, Train
from pelt_automl.scheduling.drive import drive


def segment(name, start=0, end=3, attempt=0):
    return Segment(name, name, "lora", {}, "search", 0, False, Seeds(0, 0, 0), 6, start, end, attempt)


def ended(of, state="completed"):
    return TrialEnded(
        of.trial, of.trial, "lora", "search", 0, state, False, {}, of.seeds, {}, [], 0.5, of.end, 1.0
    )  # fmt: skip


@dataclass
class Obeys:
    """Ends each segment as it comes, and loses the states that it is told to lose."""

    lose: set = field(default_factory=set)
    open: list = field(default_factory=list)
    events: list = field(default_factory=list)
    started: list = field(default_factory=list)

    def room(self):
        return Room(2 - len(self.open))

    def running(self):
        return self.open

    def start(self, actions):
        self.started += actions
        for action in actions:
            if isinstance(action, Stop):
                self.events.append(ended(segment(action.trial), "stopped"))
            elif (action.segment.trial, action.segment.start, action.segment.attempt) in self.lose:
                self.events.append(StateLost(action.segment.trial, action.segment.attempt, "damaged"))
            else:
                self.open.append(action.segment)

    def wait(self, expired):
        events, self.events = self.events, []
        if not events and self.open and not expired():
            of = self.open.pop(0)
            whole = of.end == of.steps
            events = [ended(of) if whole else SegmentEnded(of.trial, of.attempt, of.end, [], 1.0, f"{of.trial}-{of.end}")]
        return events

    def stop(self):
        pass


class Halves:
    """Trains a and b to step 3; a goes on to step 6, b is stopped."""

    def actions(self, history, room, budget):
        missing = [name for name in ("a", "b") if name not in history.trials]
        if missing and room.free:
            return [Train(segment(missing[0]), Because.FIRST)]
        waiting = [trial for trial in history.trials.values() if trial.undecided]
        if waiting:
            name = waiting[0].name
            return [Train(segment(name, 3, 6), Because.QUOTA) if name == "a" else Stop(name, Because.NOT_PROMOTED)]
        return [Finish()] if all(trial.ended for trial in history.trials.values()) else []

    def deadline(self, history, room, budget):
        return float("-inf")


@dataclass
class Kept:
    """A log in memory."""

    history: History

    def append(self, event):
        self.history.apply(event)


def driven(history, executor, scheduler=None, limit=None):
    drive(scheduler or Halves(), executor, Kept(history), lambda: Budget(limit))
    return history


def kinds(history):
    return [type(event).__name__ for event in history.events]


WHOLE = ["Released", "SegmentEnded", "Released", "SegmentEnded", "Released", "TrialEnded", "Stopped", "TrialEnded"]


def test_decisions_are_logged_before_they_are_carried_out_once():
    history = driven(History(), Obeys())
    assert kinds(history) == WHOLE
    assert [(event.segment.trial, event.because) for event in history.of_kind(Released)] == [
        ("a", Because.FIRST), ("b", Because.FIRST), ("a", Because.QUOTA),
    ]  # fmt: skip
    assert history.trials["a"].ended.state == "completed"
    assert history.trials["b"].ended.state == "stopped"


def test_what_is_done_stands_in_the_log_already():
    """Else a kill in between would decide it once more."""
    history, unlogged = History(), []

    class Looks(Obeys):
        def start(self, actions):
            for action in actions:
                if isinstance(action, Stop):
                    unlogged.extend([] if history.trials[action.trial].stopped else [action])
                else:
                    of = action.segment
                    unlogged.extend([] if of.trial in history.trials and history.trials[of.trial].segment == of else [action])
            super().start(actions)

    driven(history, Looks())
    assert kinds(history) == WHOLE
    assert unlogged == []


@pytest.mark.parametrize("kept", range(len(WHOLE) + 1))
def test_a_kill_after_any_line_of_the_log_changes_nothing(kept):
    """Those that end are the same, and what was decided before the kill isn't decided again."""
    whole = driven(History(), Obeys())
    cut = History.of(whole.events[:kept])
    open_before = {trial.name for trial in cut.open()}
    executor = Obeys()
    driven(cut, executor)
    of = [action.trial if isinstance(action, Stop) else action.segment.trial for action in executor.started[: len(open_before)]]
    assert set(of) == open_before
    assert sorted(kinds(cut)) == sorted(WHOLE)
    assert {name: trial.ended.state for name, trial in cut.trials.items()} == {"a": "completed", "b": "stopped"}


@pytest.mark.parametrize("killed_after", [None, "StateLost", "Released"])
def test_a_lost_state_makes_a_trial_start_over_under_a_new_attempt(killed_after):
    executor = Obeys(lose={("a", 3, 0)})
    history = driven(History(), executor)
    if killed_after:
        last = max(place for place, event in enumerate(history.events) if isinstance(event, StateLost))
        history = History.of(history.events[: last + (1 if killed_after == "StateLost" else 2)])
        driven(history, Obeys())
    again = [event for event in history.of_kind(Released) if event.because is Because.REPEATED]
    assert [event.segment for event in again] == [segment("a", 0, 6, attempt=1)]
    assert history.trials["a"].ended.state == "completed"
    assert len(history.of_kind(TrialEnded)) == 2


def test_a_trial_whose_state_is_lost_can_be_stopped():
    events = [Released(segment("a"), Because.FIRST), SegmentEnded("a", 0, 3, [], 1.0, "a-3"), Released(segment("a", 3, 6), Because.QUOTA)]
    history = History.of([*events, StateLost("a", 0, "damaged"), Stopped("a", Because.TIME)])
    assert not history.lost()
    assert [trial.name for trial in history.open()] == ["a"]


def test_what_an_older_attempt_reports_is_refused():
    history = History.of([Released(segment("a"), Because.FIRST), Released(segment("a", 0, 6, 1), Because.REPEATED)])
    history.apply(SegmentEnded("a", 0, 3, [], 1.0, "old"))
    history.apply(StateLost("a", 0, "damaged"))
    assert (history.trials["a"].reached, history.trials["a"].lost) == (0, None)


def test_one_that_waits_for_events_which_never_come_is_an_error_and_no_endless_loop():
    class Silent(Halves):
        def actions(self, history, room, budget):
            return []

    with pytest.raises(RuntimeError, match="nothing to say, and the executor nothing to train"):
        driven(History(), Obeys(), Silent())

    class Late(Silent):
        def deadline(self, history, room, budget):
            return 10.0

    busy = Obeys()
    busy.open = [replace(segment("a"))]
    with pytest.raises(RuntimeError, match="nothing to say, and the executor nothing to train"):
        driven(History(), busy, Late(), limit=5.0)
