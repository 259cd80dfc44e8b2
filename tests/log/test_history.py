"""What the fold of a log says, event by event."""

from copy import copy
from dataclasses import replace

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import (
    LACK_OF_TIME,
    Because,
    CurvePoint,
    DataDescribed,
    Decision,
    FinalistScored,
    OutputsLost,
    Planned,
    Published,
    Reason,
    Released,
    ReportOpened,
    Seeds,
    Segment,
    SegmentEnded,
    SelectionEnded,
    Stage,
    State,
    StateLost,
    Stopped,
    TrialEnded,
    What,
)  # fmt: skip
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.log.outputs import Outputs

DATA = DataDescribed("t", "regression", "mae", False, [], 10, "strict", {}, {}, time=0.0)


def ended(name, method="lora", stage=Stage.SEARCH, state=State.COMPLETED, cause=""):
    return TrialEnded(
        name, name, method, stage, 0, state, False, {}, Seeds(0, 0, 0), {"kept": 1}, [], 0.5, 10, 1.0, cause=cause, time=0.0
    )  # fmt: skip


def decision(what, subject, why="as told"):
    return Decision(what, subject, why, time=0.0)


def test_of_several_the_last_counts_and_what_is_not_there_yet_is_said():
    history = History()
    assert (history.plan, history.opened, history.verdict, history.end, history.published) == (None, None, None, None, False)
    with pytest.raises(SelectionError, match="lack the description of the data"):
        _ = history.data
    plans, openings = [Planned(10, 3, 2, 1.0), Planned(20, 7, 2, 1.0)], [ReportOpened(1, 5, 9, "[]"), ReportOpened(2, 9, 9, "[]")]
    for event in (DATA, *plans, *openings, SelectionEnded(Reason.DONE, 1.0, {}), Published()):
        history.apply(event)
    assert (history.data.sign, history.plan, history.opened) == (-1, plans[1], openings[1])
    assert history.end.reason is Reason.DONE
    assert history.published


def test_decisions_are_found_by_what_and_subject_and_the_first_of_them_counts():
    first, again = decision(What.FINALIST, "lora-0001"), decision(What.FINALIST, "lora-0001", "once more")
    no_time = decision(What.NO_TIME_FOR_SEED, "seed 3")
    history = History.of([first, decision(What.LEFT_RACE, "head"), again, decision(What.LEFT_FINALS, "ia3-0000"), no_time])
    assert history.decided(What.FINALIST) == {"lora-0001": first}
    assert history.decided(What.FINALIST, What.LEFT_RACE).keys() == {"lora-0001", "head"}
    assert history.decided(*LACK_OF_TIME) == {"seed 3": no_time}
    assert (history.out_of_race, history.out_of_finals, history.decided(What.PROMOTED)) == ({"head"}, {"ia3-0000"}, {})


def test_what_was_taken_over_is_a_finalists_run_that_nobody_released_in_a_plan_without_fresh_seeds():
    fresh, short = Planned(10, 3, 2, 1.0), Planned(10, 3, 2, 1.0, fresh=False)
    taken, trained = ended("final-a-seed0", stage=Stage.FINALIST), ended("final-a-seed1", stage=Stage.FINALIST)
    fitted = replace(ended("final-probe-seed0", "probe", Stage.FINALIST), steps=0)
    segment = Segment("final-a-seed1", "a", "lora", {}, Stage.FINALIST, 1, False, Seeds(0, 0, 0), 10, 0, 10)
    events = [ended("a"), taken, Released(segment, Because.FIRST, time=0.0), trained, fitted]
    assert History.of([short, *events]).taken_over() == {"final-a-seed0"}
    assert History.of([fresh, *events]).taken_over() == set() == History.of(events).taken_over()


def test_trainings_are_told_apart_by_what_they_are_for_and_how_they_ended():
    search, failed = ended("lora-0001"), ended("lora-0002", state=State.FAILED, cause=Because.TIME)
    final, spoilt = ended("final-lora-0001-seed0", stage=Stage.FINALIST), ended("final-b", stage=Stage.FINALIST, state=State.FAILED)
    score = FinalistScored(final.trial, "lora-0001", "lora", 0, 0.5, "[]")
    history = History.of([search, failed, final, spoilt, score])
    assert history.ended() == [search, failed, final, spoilt]
    assert (history.ended(Stage.SEARCH), history.finals()) == ([search, failed], [final])
    assert list(history.scored) == [score]
    assert [trial.trial for trial in history.ended() if trial.out_of_time] == ["lora-0002"]


def test_a_copy_goes_on_by_itself():
    segment = Segment("a-0000", "a-0000", "a", {}, Stage.SEARCH, 0, True, Seeds(0, 0, 0), 20, 0, 10)
    history = History.of([Released(segment, Because.FIRST), decision(What.LEFT_RACE, "b")])
    other = copy(history)
    for event in (SegmentEnded("a-0000", 0, 10, [CurvePoint(10, 0.1, 0.5, 0.1, 1.0)], 1.0, "x"), Stopped("a-0000", Because.TIME)):
        other.apply(event)
    other.apply(decision(What.LEFT_RACE, "c"))
    assert (history.trials["a-0000"].reached, history.trials["a-0000"].stopped, history.out_of_race) == (0, None, {"b"})
    assert (other.trials["a-0000"].reached, other.out_of_race, len(other.events), len(history.events)) == (10, {"b", "c"}, 5, 2)
    assert history == History.of(history.events)


def test_a_decision_is_written_once_in_a_selection_also_when_it_was_made_by_an_earlier_start():
    class Kept:
        def __init__(self):
            self.events = []

        def record(self, event):
            self.events.append(event)

    file, shown = Kept(), Kept()
    record = Log([decision(What.METHOD_OVER, "mam")], [file], shown)
    for _ in range(2):
        record.once(decision(What.METHOD_OVER, "mam"))
        record.once(decision(What.METHOD_OVER, "full"))
        record.once(decision(What.DEFAULT_OVER, "mam"))
    said = [(What.METHOD_OVER, "full"), (What.DEFAULT_OVER, "mam")]
    assert [(event.what, event.subject) for event in file.events] == said
    assert shown.events == file.events == record.history.events[1:]


def test_what_is_said_of_a_training_whose_release_was_lost_changes_nothing():
    lost = [SegmentEnded("lora-0001", 0, 5, [], 1.0, "state"), StateLost("lora-0001", 0, "gone"), Stopped("lora-0001", Because.TIME)]
    history = History.of(lost)
    assert history.trials == {}
    assert history.open() == []
    assert history.events == lost


def test_what_was_scored_on_fewer_examples_does_not_count_once_more_are_open():
    runs = [FinalistScored(name, "lora-0001", "lora", index, 0.5, "[]") for index, name in enumerate("ab")]
    history = History.of([ReportOpened(1, 5, 9, "[]"), *runs, ReportOpened(2, 5, 9, "[]")])
    assert history.scored == runs, "after a restart it is opened again"
    history.apply(ReportOpened(3, 9, 9, "[]"))
    assert history.scored == []
    history.apply(runs[1])
    assert copy(history).scored == runs[1:]


def test_outputs_that_are_lost_are_scored_again_and_count_when_they_are_there(tmp_path):
    outputs = Outputs(tmp_path)
    labels, one, other = outputs.put([0.0, 1.0]), outputs.put([1.0, 1.0]), outputs.put([0.0, 0.0])
    opened = ReportOpened(1, 2, 2, labels)
    runs = [FinalistScored("a", "lora-0001", "lora", 0, 0.5, one), FinalistScored("b", "lora-0001", "lora", 1, 0.5, other)]
    history = History.of([opened, *runs], Outputs(tmp_path))
    assert (history.scored, history.unreadable()) == (runs, [])
    (tmp_path / one).write_bytes(b"spoilt")
    history = History.of(history.events, Outputs(tmp_path))
    assert history.unreadable() == [one]
    history.apply(OutputsLost(one))
    assert (history.scored, history.unreadable()) == (runs[1:], [])
    history.apply(runs[0])
    assert [run.trial for run in history.scored] == ["a", "b"]
    history.apply(OutputsLost(labels))
    assert history.scored == [], "without the labels nothing of it can be used"
    history.apply(opened)
    assert len(history.scored) == 2
