"""A limit too short for fresh seeds: the search's own trainings are scored as they are, and what is handed over is the best of them."""

import csv
import json

import pytest

import pelt_automl
from chaos import checker
from pelt_automl.log.events import FinalistScored, Planned, Released, ReportOpened, SelectionEnded, Stage, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.scheduling.finals import Finals
from pelt_automl.selection import baseline_phase
from pelt_automl.selection import selection as selection_module
from pelt_automl.selection.search_phase import weights_of_method
from pelt_automl.timing.pack_speed import PackSpeed
from tests.tiny_world import of, records_of

pytestmark = [pytest.mark.usefixtures("without_mlflow"), pytest.mark.whole]
OPTIONS = {"seconds": 30, "methods": ["lora", "head", "bitfit"], "epochs": 4, "trials": 2, "finalist_seeds": 1, "most_seeds": 1}


@pytest.fixture
def slow(monkeypatch):
    """A machine that is said to be too slow for finals on fresh seeds."""
    monkeypatch.setattr(selection_module, "pack_speed", lambda *_: (PackSpeed({1: 0.5}, 0.01, 1.0), "measured"))


def test_trainings_of_the_search_are_scored_with_their_own_weights_and_the_verdict_says_so(world, tmp_path, slow, capsys):
    found = pelt_automl.select(output=tmp_path / "out", **world.options(**OPTIONS))
    events = records_of(tmp_path / "out")
    history = History.of(events)
    (plan,) = of(events, Planned)
    assert not plan.fresh
    assert "no finalist on fresh seeds" in plan.message
    first = [trial for trial in history.finals() if trial.number == 0 and trial.method in OPTIONS["methods"]]
    assert len(first) >= 2
    for run in first:
        tried = history.trials[run.candidate].ended
        assert (run.stage, run.seeds, run.curve, run.select_score, run.steps) == (
            Stage.FINALIST, tried.seeds, tried.curve, tried.select_score, tried.steps,
        )  # fmt: skip
        assert run.time >= tried.time
        best = max(trial.select_score for trial in history.ended(Stage.SEARCH) if trial.method == run.method)
        assert run.select_score == best, "the best of its method"
    assert {event.segment.number for event in of(events, Released) if event.segment.stage == Stage.FINALIST}.isdisjoint({0})
    scored = {event.candidate: event.report_score for event in of(events, FinalistScored) if event.seed_index == 0}
    assert found.candidate in scored
    assert any("no time to train finalists on fresh seeds" in warning for warning in found.warnings)
    assert of(events, ReportOpened)[0].openings == 1
    for row in found.leaderboard:
        assert row.trainings == sum(trial.method == row.method for trial in history.ended(Stage.SEARCH)), "none is counted twice"
        assert row.training_seconds == pytest.approx(history.trials[row.candidate].ended.seconds)
    rows = list(csv.DictReader(world.test.open(encoding="utf-8")))
    said = pelt_automl.load(tmp_path / "out").predict([row["text"] for row in rows])
    right = sum(one == row["label"] for one, row in zip(said, rows, strict=True)) / len(rows)
    assert right == pytest.approx(scored[found.candidate]), "the weights that were scored are handed over"
    assert of(events, SelectionEnded)
    # what checks selections after kills knows that such a run was never released, and that it has to be the search's
    assert checker.main([str(tmp_path / "out")]) == 0
    records = tmp_path / "out" / "records.jsonl"
    lines = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    of_run = next(line for line in lines if line["event"] == "TrialEnded" and line["trial"] == run.trial)
    of_run["steps"] -= 1
    records.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert checker.main([str(tmp_path / "out")]) == 1
    assert f"{run.trial} has ended after {run.steps - 1} steps and was never released" in capsys.readouterr().out


def test_a_second_look_adds_examples_to_those_that_were_scored(world, tmp_path, slow, monkeypatch):
    monkeypatch.setattr(Finals, "examples", lambda _, history, *__: history.opened.examples if history.opened else 7)
    found = pelt_automl.select(output=tmp_path / "out", **world.options(**OPTIONS | {"baselines": "probe"}))
    history, rows = History.of(records_of(tmp_path / "out")), list(csv.DictReader(world.test.open(encoding="utf-8")))
    assert [opened.examples for opened in history.of_kind(ReportOpened)] == [7, len(rows)]
    said = pelt_automl.load(tmp_path / "out").predict([row["text"] for row in rows])
    right = sum(one == row["label"] for one, row in zip(said, rows, strict=True)) / len(rows)
    assert right == pytest.approx(next(scored.report_score for scored in history.scored if scored.candidate == found.candidate))
    assert "probe" in {scored.method for scored in history.scored}
    assert not any("was opened" in warning or "examples were scored" in warning for warning in found.warnings)
    assert checker.main([str(tmp_path / "out")]) == 0


def test_one_whose_weights_are_damaged_is_left_out(world, tmp_path, slow, monkeypatch):
    confirm = selection_module.confirm

    def damage(question, machine, log, clock):
        path = weights_of_method(machine.folder, "lora")
        path.write_bytes(path.read_bytes()[:-5] + b"\0\0\0\0\0")
        confirm(question, machine, log, clock)

    monkeypatch.setattr(selection_module, "confirm", damage)
    found = pelt_automl.select(output=tmp_path / "out", **world.options(**OPTIONS | {"methods": ["lora", "head"]}))
    runs = [trial for trial in of(records_of(tmp_path / "out"), TrialEnded) if trial.trial.startswith("final-lora") and trial.number == 0]
    assert [run.state for run in runs] == ["failed"]
    assert "damaged" in runs[0].cause
    assert found.report_score is not None


def test_a_baseline_is_the_searchs_own_too_and_is_not_fitted_twice(world, tmp_path, slow, monkeypatch):
    fitted, fit = [], baseline_phase.fit_baseline

    def counted(method, *data):
        fitted.append(method)
        return fit(method, *data)

    monkeypatch.setattr(baseline_phase, "fit_baseline", counted)
    options = OPTIONS | {"baselines": ["bag-of-words"], "methods": ["lora", "head"]}
    found = pelt_automl.select(output=tmp_path / "out", **world.options(**options))
    events = records_of(tmp_path / "out")
    searched, final = (trial for trial in of(events, TrialEnded) if trial.method == "bag-of-words")
    assert (final.trial, final.stage, final.number) == ("final-bag-of-words-0000-seed0", Stage.FINALIST, 0)
    assert (final.seeds, final.seconds, final.select_score) == (searched.seeds, searched.seconds, searched.select_score)
    assert fitted == ["bag-of-words"]
    assert {row.method for row in found.leaderboard} >= {"bag-of-words"}
