"""Recorded trainings replayed: by hand, through `drive`'s protocol, without torch."""

import subprocess
import sys
from dataclasses import replace
from itertools import count

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.execution.recorded import Recorded, RecordedPool, RecordedTraining
from pelt_automl.log.events import (
    Because,
    CurvePoint,
    FinalistScored,
    Released,
    ReportOpened,
    Seeds,
    Segment,
    SegmentEnded,
    Stage,
    Stopped,
    TrialEnded,
)  # fmt: skip
from pelt_automl.log.history import History
from pelt_automl.scheduling.actions import Fit, Score, Stop, Train

STEPS = 8


def recorded(method="lora", rate=1e-3, scores=(0.5, 0.6, 0.7, 0.65), seconds=8.0, **more):
    """Evaluated after every second step; predictions after the fourth and at the best."""
    points = tuple(CurvePoint(2 * (i + 1), 0.1, score, rate, 0.0) for i, score in enumerate(scores))
    own = {
        "steps": STEPS,
        "select_score": max(scores, default=None),
        "predictions": {4: (0.0, 1.0), STEPS: (1.0, 1.0)},
        "parameters": {"kept": 3},
    }
    return RecordedTraining(method, {"learning_rate": rate}, 7, STEPS, points=points, seconds=seconds, **own | more)


def segment(trial="lora-0000", start=0, end=STEPS, rate=1e-3, **more):
    method, _, number = trial.partition("-")
    own = Segment(trial, trial, method, {"learning_rate": rate}, Stage.SEARCH, int(number), False, Seeds(7, 7, 7), STEPS, start, end)
    return replace(own, **more)


class Driven:
    """An executor with the log that a driver would keep."""

    def __init__(self, *trainings, **more):
        self.history = History()
        self.executor = Recorded(RecordedPool(trainings or [recorded()]), self.history, **more)

    def start(self, *actions):
        for action in actions:
            event = Released(action.segment, action.because) if isinstance(action, Train) else Stopped(action.trial, action.because)
            self.history.apply(event)
        self.executor.start(actions)

    def train(self, *segments):
        self.start(*(Train(own, Because.FIRST) for own in segments))

    def wait(self, expired=lambda: False):
        events = self.executor.wait(expired)
        for event in events:
            self.history.apply(event)
        return events


def test_a_training_is_replayed_to_its_end_with_its_curve_scores_and_seconds():
    driven = Driven()
    driven.train(segment())
    assert [own.end for own in driven.executor.running()] == [STEPS]
    (ended,) = driven.wait()
    assert isinstance(ended, TrialEnded)
    assert (ended.state, ended.select_score, ended.steps, ended.seconds) == ("completed", 0.7, STEPS, 8.0)
    assert [(point.step, point.select_score) for point in ended.curve] == [(2, 0.5), (4, 0.6), (6, 0.7), (8, 0.65)]
    assert (ended.outputs, ended.constant_predictions, ended.parameters) == ("[1.0, 1.0]", True, {"kept": 3})
    assert driven.executor.seconds == 8.0
    assert driven.wait() == []
    assert list(driven.executor.running()) == []


def test_a_segment_brings_the_points_since_the_last_one_and_the_trial_keeps_its_place_if_it_goes_on():
    driven = Driven(recorded(), recorded(rate=1e-2), at_once=1)
    driven.train(segment(end=4), segment("lora-0001", rate=1e-2))
    (rung,) = driven.wait()
    assert isinstance(rung, SegmentEnded)
    assert (rung.reached, [point.step for point in rung.points], rung.seconds) == (4, [2, 4], 4.0)
    assert driven.executor.room().at == {"lora-0000": 4}
    driven.train(segment(start=4))
    (ended,) = driven.wait()
    assert (ended.trial, ended.steps, ended.seconds) == ("lora-0000", STEPS, 8.0)
    (other,) = driven.wait()
    assert other.trial == "lora-0001"


def test_a_trial_that_is_not_released_leaves_its_place_and_can_go_on_or_be_stopped_later():
    driven = Driven(recorded(), recorded(rate=1e-2), recorded(rate=1e-1), at_once=1)
    driven.train(segment(end=4), segment("lora-0001", rate=1e-2, end=4), segment("lora-0002", rate=1e-1))
    assert [event.trial for _ in range(2) for event in driven.wait()] == ["lora-0000", "lora-0001"]
    driven.start(Stop("lora-0000", Because.NOT_PROMOTED))
    (stopped,) = driven.wait()
    assert (stopped.state, stopped.cause, stopped.steps, stopped.select_score) == ("stopped", "not promoted from its rung", 4, 0.6)
    assert (stopped.outputs, stopped.seconds) == ("[0.0, 1.0]", 4.0)
    driven.train(segment("lora-0001", rate=1e-2, start=4))
    assert {event.trial for _ in range(2) for event in driven.wait()} == {"lora-0001", "lora-0002"}
    assert driven.executor.seconds == 4.0 + 4.0 + 4.0 + 8.0


def test_packs_hold_trials_of_one_kind_and_take_the_seconds_of_all_of_them():
    driven = Driven(recorded(), recorded(rate=1e-2, seconds=16.0), recorded("prompt"), at_once=2, kind=lambda own: own.method)
    driven.train(segment("prompt-0000"), segment(end=4), segment("lora-0001", rate=1e-2))
    room = driven.executor.room()
    assert (room.kind, room.free, room.waiting) == (None, 2, {"prompt-0000": "prompt", "lora-0000": "lora", "lora-0001": "lora"})
    (rung,) = driven.wait()
    assert rung.trial == "lora-0000", "the kind that waits most is packed first"
    room = driven.executor.room()
    assert (room.kind, room.free, dict(room.at), room.waiting) == ("lora", 0, {"lora-0000": 4, "lora-0001": 4}, {"prompt-0000": "prompt"})
    assert driven.executor.seconds == 4 * (1.0 + 2.0)
    assert [event.trial for _ in range(2) for event in driven.wait()] == ["lora-0001", "prompt-0000"]


def test_packs_may_save_time_and_every_trial_has_its_share_of_it():
    driven = Driven(recorded(), recorded(rate=1e-2, seconds=24.0), at_once=2, together=max)
    driven.train(segment(), segment("lora-0001", rate=1e-2))
    events = driven.wait()
    assert driven.executor.seconds == 24.0
    assert [event.seconds for event in events] == [pytest.approx(6.0), pytest.approx(18.0)]


def test_the_time_is_asked_for_before_every_step():
    driven, asked = Driven(), count()
    driven.train(segment())
    assert driven.wait(lambda: next(asked) == 3) == []
    assert driven.executor.room().at == {"lora-0000": 3}
    driven.start(Stop("lora-0000", Because.TIME))
    (stopped,) = driven.wait()
    assert (stopped.steps, stopped.select_score, stopped.cause) == (3, 0.5, "time limit")


def test_a_recorded_failure_stays_one():
    broken = recorded(scores=(0.5,), failure="a loss is not finite", steps=3, seconds=3.0, select_score=None)
    driven = Driven(broken)
    driven.train(segment(end=4))
    (failed,) = driven.wait()
    assert (failed.state, failed.cause, failed.steps, failed.seconds) == ("failed", "a loss is not finite", 3, pytest.approx(3.0))
    at_once = Driven(recorded(scores=(), failure="can't be built", steps=0, seconds=0.0, select_score=None))
    at_once.train(segment(end=4))
    assert [(event.state, event.cause) for event in at_once.wait()] == [("failed", "can't be built")]


def test_after_a_kill_another_executor_goes_on_from_the_last_segment():
    driven = Driven()
    driven.train(segment(end=4))
    driven.wait()
    driven.train(segment(start=4))
    driven.executor = Recorded(driven.executor.pool, driven.history)  # what was begun since is lost
    driven.executor.start([Train(own.segment, Because.QUOTA) for own in driven.history.open()])
    (ended,) = driven.wait()
    assert (ended.state, ended.select_score, ended.seconds, driven.executor.seconds) == ("completed", 0.7, 8.0, 4.0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (segment(rate=0.5), "lora with {'learning_rate': 0.5} on the seeds \\[7\\] isn't recorded; of this method there are 1 config"),
        (segment(seeds=Seeds(1, 1, 1)), "on the seeds \\[1\\] isn't recorded"),
        (segment(seeds=Seeds(7, 7, 8)), "on the seeds \\[7, 8\\] isn't recorded"),
        (segment(steps=16), "a schedule of 16 steps; it was recorded with one of 8"),
    ],
)
def test_what_is_not_recorded_is_one_clear_error(asked, message):
    with pytest.raises(SelectionError, match=message):
        Driven().train(asked)


def test_a_proposal_becomes_the_configuration_that_is_most_like_it():
    own = [
        {"learning_rate": rate, "rank": rank, "targets": where} for rate, rank, where in ((1e-4, 4, "a"), (1e-3, 16, "b"), (1e-2, 4, "b"))
    ]
    pool = RecordedPool(replace(recorded(), hyper_parameters=values) for values in own)
    assert pool.configurations("lora") == own
    assert pool.nearest("lora", {"learning_rate": 2e-4, "rank": 4, "targets": "a"}) == own[0]
    assert pool.nearest("lora", {"learning_rate": 9e-3, "rank": 16, "targets": "b"}) == own[2], "a factor of 4 in rank, of 9 in the rate"
    taken = {'{"learning_rate": 0.01, "rank": 4, "targets": "b"}'}
    assert pool.nearest("lora", {"learning_rate": 9e-3, "rank": 16, "targets": "b"}, taken) == own[1]
    with pytest.raises(SelectionError, match="no recorded configuration of adapter"):
        pool.nearest("adapter", {})


def test_it_needs_no_torch():
    program = "import sys; sys.modules['torch'] = None; import pelt_automl.execution.recorded"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_finals_are_scored_on_the_first_examples_of_report_and_what_trains_nothing_is_fitted_as_it_was():
    probe = replace(recorded("probe", scores=(), seconds=2.0, select_score=0.4), hyper_parameters={}, planned=0, steps=0, report_score=0.5,
                    report=(0.0, 1.0), predictions={0: (1.0, 0.0)})  # fmt: skip
    lora = recorded(report_score=0.75, report=(1.0, 1.0, 0.0, 1.0))
    driven = Driven(lora, probe, example=0.25)
    driven.executor.pool.score = lambda said: sum(said) / len(said)
    driven.history.apply(driven.executor.fitted("probe-0000", "probe", Stage.SEARCH, 0, Seeds(7, 7, 7)))
    assert (driven.history.ended(Stage.SEARCH)[0].select_score, driven.executor.seconds) == (0.4, 2.0)
    driven.train(segment("lora-0001", stage=Stage.FINALIST))
    driven.executor.start([Fit("probe", 1, Seeds(7, 7, 7))])
    assert [event.trial for _ in range(2) for event in driven.wait()] == ["final-probe-0000-seed1", "lora-0001"]
    driven.executor.start([Score(["lora-0001", "final-probe-0000-seed1"], 2)])
    opened, *scored = driven.wait()
    assert isinstance(opened, ReportOpened)
    assert (opened.examples, opened.of) == (2, 4)
    assert all(isinstance(event, FinalistScored) for event in scored)
    assert [(event.candidate, event.seed_index, event.report_score) for event in scored] == [
        ("lora-0001", 1, 1.0), ("probe-0000", 1, 0.5),
    ]  # fmt: skip
    assert driven.executor.seconds == 2.0 + 8.0 + 2 * 2 * 0.25, "on the search's seeds the fit is taken as it is"
    driven.executor.start([Score(["lora-0001"], 4)])
    opened, scored = driven.wait()
    assert (opened.examples, scored.report_score) == (4, 0.75), "a second look"
    assert driven.executor.seconds == 2.0 + 8.0 + (2 * 2 + 2) * 0.25, "of which the new examples alone are computed"
