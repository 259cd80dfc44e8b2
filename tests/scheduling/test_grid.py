"""The finals' trainings: all of them, as far as there are places and time."""

from pelt_automl.log.events import Because, Released, SegmentEnded, Stopped
from pelt_automl.log.history import History
from pelt_automl.scheduling.actions import Budget, Finish, Room, Stop, Train
from pelt_automl.scheduling.grid import Grid
from tests.scheduling.test_drive import Obeys, driven, ended, segment

SEGMENTS = [segment(name, 0, 6) for name in "abcd"]
GRID = Grid(SEGMENTS, least=10.0)
LONG, UP = Budget(100.0, 20.0), Budget(100.0, 90.0)


def released(*segments):
    return History.of(Released(one, Because.FIRST) for one in segments)


def begun(actions):
    assert all(isinstance(action, Train) for action in actions)
    return [action.segment.trial for action in actions]


def test_as_many_begin_as_have_places_in_their_order():
    assert begun(GRID.actions(History(), Room(2), LONG)) == ["a", "b"]
    assert begun(GRID.actions(released(*SEGMENTS[:2]), Room(0, "kind", {}, {"a": 2, "b": 2}), LONG)) == []


def test_the_place_of_one_that_has_ended_is_free_and_one_that_waits_for_a_place_has_it():
    history = released(*SEGMENTS[:2])
    history.apply(ended(SEGMENTS[0]))
    assert begun(GRID.actions(history, Room(0, "kind", {}, {"a": 6, "b": 6}), LONG)) == ["c"]
    history.apply(Released(SEGMENTS[2], Because.FIRST))
    assert begun(GRID.actions(history, Room(0, "kind", {"c": "kind"}, {"a": 6, "b": 6}), LONG)) == []


def test_where_nothing_is_under_way_one_begins_whatever_the_room():
    assert begun(GRID.actions(History(), Room(0), LONG)) == ["a"]


def test_when_the_time_is_up_what_is_under_way_is_cut_off_and_what_has_not_begun_has_a_record_too():
    history = released(*SEGMENTS[:2])
    history.apply(ended(SEGMENTS[0]))
    actions = GRID.actions(history, Room(1, "kind", {}, {"b": 2}), UP)
    assert begun([action for action in actions if isinstance(action, Train)]) == ["c", "d"]
    assert [action for action in actions if not isinstance(action, Train)] == [Stop(name, Because.TIME) for name in "bcd"]
    assert GRID.deadline(history, Room(1), UP) == 10.0


def test_it_says_nothing_twice_and_finishes_when_all_have_ended():
    history = released(*SEGMENTS)
    for one in SEGMENTS:
        history.apply(Stopped(one.trial, Because.TIME))
    assert GRID.actions(history, Room(2), UP) == []
    for one in SEGMENTS:
        history.apply(ended(one, "stopped"))
    assert GRID.actions(history, Room(2), UP) == [Finish()]


def test_driven_all_are_trained_once_also_after_a_kill_at_any_point():
    whole = driven(History(), Obeys(), Grid(SEGMENTS))
    assert [event.segment.trial for event in whole.of_kind(Released)] == list("abcd")
    assert not whole.of_kind(SegmentEnded)
    for kept in range(len(whole.events) + 1):
        again = driven(History.of(whole.events[:kept]), Obeys(), Grid(SEGMENTS))
        assert sorted(event.segment.trial for event in again.of_kind(Released)) == list("abcd")
        assert all(trial.ended for trial in again.trials.values())


def test_driven_without_time_all_have_a_record():
    history = driven(History(), Obeys(), Grid(SEGMENTS, least=10.0), limit=5.0)
    assert {name: trial.ended.state for name, trial in history.trials.items()} == dict.fromkeys("abcd", "stopped")
