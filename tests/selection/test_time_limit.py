"""--seconds holds, and there is an answer whenever a single trial was scored."""

import time

import pytest

import pelt_automl
from pelt_automl.errors import NoTrialCompletedError
from pelt_automl.log.events import LACK_OF_TIME, Decision, Planned, SelectionEnded, TrialEnded
from pelt_automl.methods import METHODS
from pelt_automl.selection import selection as selection_module
from pelt_automl.timing.pack_speed import PackSpeed
from pelt_automl.training.trials import TrialRun
from tests.tiny_world import of, records_of

GRACE = 20.0
"""Seconds that a selection may take beyond its limit, on a slow machine with other work: plots, report and MLflow come after it."""


def timed(world, folder, **options):
    start = time.monotonic()
    found = pelt_automl.select(output=folder, **world.options(**options))
    return found, time.monotonic() - start


@pytest.mark.slow
def test_a_selection_with_far_more_work_than_time_ends_by_its_limit_with_a_verdict(world, tmp_path):
    found, seconds = timed(world, tmp_path / "out", seconds=20, epochs=300, trials=50, methods=["lora", "adapter", "unipelt-apl", "head"])
    assert seconds < 20 + GRACE
    assert seconds > 8, "the time that was given is used"
    assert found.report_score is not None
    assert len(found.leaderboard) >= 2 or "There was no time to confirm a second contender" in found.statement
    events = records_of(tmp_path / "out")
    (ended,) = of(events, SelectionEnded)
    assert ended.reason == "time limit"
    assert ended.seconds < 12 + GRACE
    assert pelt_automl.load(tmp_path / "out").predict(["good word1"])


@pytest.mark.whole
@pytest.mark.usefixtures("without_mlflow")
def test_no_finalist_in_time_still_gives_a_recommendation_with_a_warning_and_the_weights_that_belong_to_it(world, tmp_path, monkeypatch):
    """The search has its trials, then the clock jumps: the time for the finalists is gone."""
    confirm = selection_module.confirm

    def too_late(question, machine, log, clock):
        object.__setattr__(clock, "used", clock.used + 1000)
        confirm(question, machine, log, clock)

    monkeypatch.setattr(selection_module, "confirm", too_late)
    found, _ = timed(world, tmp_path / "out", seconds=60, methods=["lora", "head"], epochs=8)
    assert found.report_score is None
    assert found.p_best is None
    assert found.leaderboard == []
    assert any("No finalist was scored" in warning for warning in found.warnings)
    events = records_of(tmp_path / "out")
    finalists = [trial for trial in of(events, TrialEnded) if trial.stage == "finalist"]
    assert finalists
    assert {(trial.state, trial.cause) for trial in finalists} == {("failed", "time limit")}
    predictor = pelt_automl.load(tmp_path / "out")
    assert predictor.config.hyper_parameters == found.hyper_parameters
    assert len(predictor.predict(["good word1", "bad word2"])) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
@pytest.mark.usefixtures("nothing_learned")
def test_the_weights_kept_for_that_case_are_those_of_the_trial_that_would_be_recommended(world, tmp_path, monkeypatch):
    """What is known best is recommended, whether it was trained in full or cut off."""
    monkeypatch.setattr(selection_module, "confirm", lambda *_: None)
    end = TrialRun.end

    def cut_off(run, state, cause=""):
        run.progress.best_score = 0.9 if run.name == "lora-0001" else 0.5
        end(run, "completed" if run.name == "lora-0000" else "stopped", cause)

    monkeypatch.setattr(TrialRun, "end", cut_off)
    found, _ = timed(world, tmp_path / "out", methods=["lora"], trials=3, epochs=4)
    assert found.candidate == "lora-0001"
    assert found.outcome != "recommended", "nothing was confirmed"
    assert pelt_automl.load(tmp_path / "out").config.hyper_parameters == found.hyper_parameters != METHODS["lora"].defaults


@pytest.mark.usefixtures("without_mlflow")
def test_too_little_time_for_a_single_evaluation_is_said_so(world, tmp_path):
    with pytest.raises(
        NoTrialCompletedError, match=r"no trial got as far as its first evaluation.*Give it more time \(about .*: --seconds \d+\)"
    ):
        timed(world, tmp_path / "out", seconds=0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_a_slow_machine_gets_shorter_trainings_and_says_so(world, tmp_path, monkeypatch):
    monkeypatch.setattr(selection_module, "pack_speed", lambda *_: (PackSpeed({1: 0.05}, 0.001, 1.0), "measured"))
    found, _ = timed(world, tmp_path / "out", seconds=20, epochs=40, methods=["lora", "head"], trials=2)
    events = records_of(tmp_path / "out")
    (planned,) = of(events, Planned)
    assert planned.steps < 240
    assert "steps" in planned.message
    assert "instead of 240" in planned.message
    assert found.report_score is not None
    assert not [decision for decision in of(events, Decision) if decision.what in LACK_OF_TIME], "what was planned fitted"


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_where_the_search_has_to_be_short_finalists_are_trained_longer(world, tmp_path, monkeypatch):
    monkeypatch.setattr(selection_module, "pack_speed", lambda *_: (PackSpeed({1: 0.05}, 0.001, 1.0), "measured"))
    options = {"seconds": 72, "finalist_share": 0.8, "epochs": 40, "methods": ["lora", "head"], "trials": 2, "patience": 1000}
    timed(world, tmp_path / "out", **options)
    events = records_of(tmp_path / "out")
    (planned,) = of(events, Planned)
    assert planned.fresh
    assert planned.steps < planned.final_steps == 240
    assert f"trainings of {planned.steps} instead of 240 steps in the search, all 240 for the finalists" in planned.message
    ended = of(events, TrialEnded)
    assert {trial.steps for trial in ended if trial.stage == "search" and trial.is_default} == {planned.steps}
    assert {trial.steps for trial in ended if trial.stage == "finalist"} == {planned.final_steps}
