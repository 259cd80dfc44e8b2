"""What the search does with what its rules decide: the race, and promotion from rungs."""

import pytest

import pelt_automl
from pelt_automl.log.events import Because, Decision, Planned, Released, TrialEnded, What
from pelt_automl.scheduling import search as policy
from pelt_automl.training import pack_training
from tests.tiny_world import losses, of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")


def searched(events, method):
    return [trial for trial in of(events, TrialEnded) if trial.stage == "search" and trial.method == method]


@pytest.mark.whole
def test_a_method_that_leaves_the_race_gets_no_finalist_and_its_trials_go_to_those_left(world, tmp_path, monkeypatch):
    seen = []

    def leaving(trials, labels, metric, out, slow, over, stopping, *, greater_is_better):
        seen.append((len(labels), metric, greater_is_better))
        ended = [trial for trial in trials if trial.method == "head" and trial.state == "completed"]
        assert all(len(trial.select_predictions) == len(labels) for trial in ended), "what the race is judged by"
        return [Decision(What.LEFT_RACE, "head", "as told")] if ended and "head" not in out else []

    monkeypatch.setattr(policy, "leaving", leaving)
    pelt_automl.select(output=tmp_path / "out", **world.options(methods=["head", "lora"], trials=4, finalist_seeds=1, pack_size=1))
    events = records_of(tmp_path / "out")
    assert set(seen) == {(18, "accuracy", True)}
    assert [trial.trial for trial in searched(events, "head")] == ["head-0000"]
    assert len(searched(events, "lora")) == 7  # its own four, and the three that head had still to come
    assert {trial.method for trial in of(events, TrialEnded) if trial.stage == "finalist"} == {"lora"}
    assert "left the race" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.slow
def test_trials_under_way_of_a_method_that_leaves_end_at_their_next_rung(world, tmp_path, monkeypatch):
    told = []

    def leaving(trials, labels, metric, out, slow, over, stopping, *, greater_is_better):
        return [Decision(What.LEFT_RACE, "lora", "as told")] if trials and not told and not told.append(1) else []

    monkeypatch.setattr(policy, "leaving", leaving)
    pelt_automl.select(output=tmp_path / "out", **world.options(methods=["head", "lora"], trials=2, finalist_seeds=1, pack_size=2))
    events = records_of(tmp_path / "out")
    assert {trial.cause for trial in searched(events, "lora")} == {Because.METHOD_OUT}


def test_no_method_leaves_while_a_trial_that_has_come_to_a_rung_may_go_on(world, tmp_path, monkeypatch):
    def leaving(trials, labels, metric, out, slow, over, stopping, *, greater_is_better):
        ended = [trial for trial in trials if trial.method == "lora"]
        return [Decision(What.LEFT_RACE, "lora", "as told")] if len(ended) >= 2 and "lora" not in out else []

    monkeypatch.setattr(policy, "leaving", leaving)
    options = world.options(methods=["head", "lora"], trials=5, finalist_seeds=1, pack_size=3, patience=100)
    pelt_automl.select(output=tmp_path / "out", **options)
    events = records_of(tmp_path / "out")
    left = next(place for place, event in enumerate(events) if isinstance(event, Decision) and event.what == What.LEFT_RACE)
    before = [trial for trial in of(events[:left], TrialEnded) if trial.method == "lora"]
    went_on = {event.segment.trial for event in of(events[:left], Released) if event.segment.start and event.segment.method == "lora"}
    assert len(before) == 5, "told to leave after its second, it stayed until its best had come to their ends"
    assert went_on <= {trial.trial for trial in before}


@pytest.mark.whole
def test_drawn_configurations_that_are_not_promoted_end_at_their_rung_judged_by_those_before_them(world, tmp_path, monkeypatch):
    judged = []

    def nobody(new, earlier, share, *, always=frozenset(), greater_is_better):
        judged.append((*new, len(earlier)))
        return set(always)

    monkeypatch.setattr(policy, "promoted", nobody)
    options = world.options(methods=["lora"], trials=3, finalist_seeds=1, pack_size=4, portfolio=False)
    pelt_automl.select(output=tmp_path / "out", **options)
    events = records_of(tmp_path / "out")
    (plan,) = of(events, Planned)
    default, *others = sorted(searched(events, "lora"), key=lambda trial: trial.number)
    assert (default.is_default, default.state) == (True, "completed")
    assert [(trial.state, trial.steps) for trial in others] == [("stopped", plan.rungs[0])] * 2
    assert sorted(judged) == [("lora-0001", 1), ("lora-0002", 2)], "the default goes on unasked"


@pytest.mark.parametrize("pack_size", [1, 3])
def test_of_configurations_known_beforehand_the_best_go_on_when_all_have_come_to_a_rung(world, tmp_path, pack_size):
    options = world.options(methods=["lora"], trials=6, finalist_seeds=1, pack_size=pack_size, patience=100)
    pelt_automl.select(output=tmp_path / "out", **options)
    events = records_of(tmp_path / "out")
    (plan,) = of(events, Planned)
    default, *others = sorted(searched(events, "lora"), key=lambda trial: trial.number)
    assert (default.state, default.steps) == ("completed", plan.steps)
    first, second = plan.rungs
    assert sorted(trial.steps for trial in others) == [first, first, first, second, plan.steps]
    assert all(trial.cause == Because.NOT_PROMOTED for trial in others if trial.steps < plan.steps)

    def score(trial, rung):
        return max(point.select_score for point in trial.curve if point.step <= rung)

    for rung in plan.rungs:
        here = [trial for trial in others if trial.steps >= rung]
        went_on = [score(trial, rung) for trial in here if trial.steps > rung]
        stayed = [score(trial, rung) for trial in here if trial.steps == rung]
        assert min(went_on) >= max(stayed)
    promoted = [event for event in of(events, Released) if event.because == Because.QUOTA]
    assert [event.numbers["rung"] for event in promoted] == [first, first, second]


@pytest.mark.slow
def test_a_trial_that_waits_at_its_rung_loses_nothing(world, tmp_path):
    options = world.options(methods=["lora"], trials=3, finalist_seeds=1, patience=100)
    pelt_automl.select(output=tmp_path / "rungs", **options)
    pelt_automl.select(output=tmp_path / "through", **options, rungs="none")
    (went_on,) = [t for t in searched(records_of(tmp_path / "rungs"), "lora") if not t.is_default and t.state == "completed"]
    (without,) = [t for t in searched(records_of(tmp_path / "through"), "lora") if t.trial == went_on.trial]
    assert [point.step for point in went_on.curve] == [point.step for point in without.curve]
    assert losses(went_on) == pytest.approx(losses(without), rel=1e-3)


def test_a_single_method_fills_its_packs(world, tmp_path, monkeypatch):
    sizes, pack_of = [], pack_training.Pack

    def counted(backbone, trials, outputs, lower=None):
        sizes.append(len(trials))
        return pack_of(backbone, trials, outputs, lower)

    monkeypatch.setattr(pack_training, "Pack", counted)
    pelt_automl.select(output=tmp_path / "out", **world.options(methods=["lora"], trials=4, finalist_seeds=1, pack_size=4))
    assert 4 in sizes


def test_without_a_race_nobody_is_asked_who_leaves(world, tmp_path, monkeypatch):
    monkeypatch.setattr(policy, "leaving", lambda *_, **__: [Decision(What.LEFT_RACE, "lora", "must not be")])
    pelt_automl.select(output=tmp_path / "out", **world.options(methods=["head", "lora"], trials=2, finalist_seeds=1, race=False))
    assert not [decision for decision in of(records_of(tmp_path / "out"), Decision) if decision.what == What.LEFT_RACE]


@pytest.mark.slow
@pytest.mark.parametrize(("portfolio", "expected"), [(True, [2e-3, 1e-3]), (False, None)])
def test_few_trials_are_the_portfolios(world, tmp_path, portfolio, expected):
    pelt_automl.select(output=tmp_path / "out", **world.options(methods=["lora"], trials=3, finalist_seeds=1, portfolio=portfolio))
    trials = sorted(searched(records_of(tmp_path / "out"), "lora"), key=lambda trial: trial.number)
    rates = [trial.hyper_parameters["learning_rate"] for trial in trials]
    assert rates[0] == 5e-4
    assert (rates[1:] == expected) is portfolio


@pytest.mark.slow
@pytest.mark.parametrize("rungs", ["none", "0.5"])
def test_rungs_as_typed(world, tmp_path, rungs):
    options = world.options(methods=["head"], trials=3, finalist_seeds=1, rungs=rungs, patience=100)
    pelt_automl.select(output=tmp_path / "out", **options)
    events = records_of(tmp_path / "out")
    (plan,) = of(events, Planned)
    assert plan.rungs == ([] if rungs == "none" else [plan.steps // 2])
    if rungs == "none":
        assert {trial.steps for trial in searched(events, "head")} == {plan.steps}
