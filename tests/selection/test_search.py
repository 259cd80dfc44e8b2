"""What the search does with what its rules decide: the race, and promotion from rungs."""

from types import SimpleNamespace

import pytest
import torch

import pelt_automl
from pelt_automl.log.events import Because, Decision, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.scheduling import search as policy
from pelt_automl.selection import search_phase
from pelt_automl.tasks import METRICS
from pelt_automl.training.checkpoints import load_tensors
from pelt_automl.verdict.decision import best_by_select_score
from tests.scheduling.test_finals import searched as ended
from tests.tiny_world import losses, of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")


def searched(events, method):
    return [trial for trial in of(events, TrialEnded) if trial.stage == "search" and trial.method == method]


@pytest.mark.slow
def test_a_method_that_leaves_the_race_gets_no_finalist_and_its_trials_go_to_those_left(world, tmp_path, monkeypatch):
    seen = []

    def leaving(trials, outputs, labels, metric, out, slow, over, stopping, *, greater_is_better):
        seen.append((len(labels), metric, greater_is_better))
        ended = [trial for trial in trials if trial.method == "head" and trial.state == "completed"]
        assert all(len(outputs.get(trial.outputs)) == len(labels) for trial in ended), "what the race is judged by"
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

    def leaving(trials, outputs, labels, metric, out, slow, over, stopping, *, greater_is_better):
        return [Decision(What.LEFT_RACE, "lora", "as told")] if trials and not told and not told.append(1) else []

    monkeypatch.setattr(policy, "leaving", leaving)
    pelt_automl.select(
        output=tmp_path / "out", **world.options(methods=["head", "lora"], trials=2, finalist_seeds=1, pack_size=2, portfolio=False)
    )
    events = records_of(tmp_path / "out")
    assert {trial.cause for trial in searched(events, "lora")} == {Because.METHOD_OUT}


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_learned")
def test_a_trial_that_waits_at_its_rung_loses_nothing(world, tmp_path):
    options = world.options(methods=["lora"], trials=3, finalist_seeds=1, patience=100)
    pelt_automl.select(output=tmp_path / "rungs", **options)
    pelt_automl.select(output=tmp_path / "through", **options, rungs="none")
    (went_on,) = [t for t in searched(records_of(tmp_path / "rungs"), "lora") if not t.is_default and t.state == "completed"]
    (without,) = [t for t in searched(records_of(tmp_path / "through"), "lora") if t.trial == went_on.trial]
    assert [point.step for point in went_on.curve] == [point.step for point in without.curve]
    assert losses(went_on) == pytest.approx(losses(without), rel=1e-3)


@pytest.mark.parametrize("scores", [(0.9, 0.5), (0.5, 0.9), (0.7, 0.7)])
def test_of_trials_that_end_together_the_best_ones_weights_are_kept(tmp_path, scores):
    """The log has the end of neither when their weights are handed over."""
    machine = SimpleNamespace(folder=tmp_path, data=SimpleNamespace(metric=METRICS["accuracy"]))
    keep, ends = search_phase._keeper(machine, History()), [ended("lora", score, number) for number, score in enumerate(scores)]
    for number, end in enumerate(ends):
        keep(end, {"weight": torch.full((2,), float(number))})
    tensors, about = load_tensors(search_phase.weights_of_method(tmp_path, "lora"))
    best = best_by_select_score(ends, greater_is_better=True)
    assert about["trial"] == best.trial
    assert tensors["weight"].tolist() == [float(best.number)] * 2
