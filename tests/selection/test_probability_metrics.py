"""A metric that reads probabilities decides from the search to the recommendation, and the winner's probabilities are calibrated."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sklearn

import pelt_automl
from pelt_automl.log.events import Calibrated, DataDescribed, FinalistScored, ReportOpened, Seeds, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.recorders.run_tree import run_tree
from pelt_automl.selection import calibration_phase
from pelt_automl.tasks.calibration import calibration_error
from pelt_automl.tasks.files import read_table
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.timing.clock import Clock
from tests.tiny_world import CLASSES, Killed, Watcher, of, outputs_of, records_of, sentences, write_csv


@pytest.fixture
def noisy(world, tmp_path):
    """The world with a fifth of its labels changed: no model can be sure."""
    rows = [(text, CLASSES[label if number % 5 else 1 - label]) for number, (text, label) in enumerate(sentences(180))]
    train, test = (write_csv(tmp_path / name, ["text", "label"], part) for name, part in (("a.csv", rows[:120]), ("b.csv", rows[120:])))
    return replace(world, train=train, test=test)


@pytest.mark.whole
def test_log_loss_decides_a_selection_with_baselines_and_the_winner_is_calibrated(noisy, tmp_path, without_mlflow):
    baselines, out = ["probe", "neighbors", "bag-of-words"], tmp_path / "out"
    few = {"methods": ["lora", "head"], "trials": 2, "finalist_seeds": 2, "most_seeds": 2, "baselines": baselines, "k": 120}
    asked = {"output": out} | noisy.options(metric="log_loss", **few)
    with pytest.raises(Killed):
        pelt_automl.select(display=Watcher(kill=lambda seen: bool(of(seen.events, Calibrated))), **asked)
    found = pelt_automl.select(**asked)
    events = records_of(out)
    (opened,), runs, trials = of(events, ReportOpened), of(events, FinalistScored), of(events, TrialEnded)
    labels = outputs_of(out, opened)
    assert {run.candidate.removesuffix("-0000") for run in runs} >= set(baselines)
    for run in runs:
        chances = np.asarray(outputs_of(out, run))
        assert chances.shape == (len(labels), 2)
        assert run.report_score == pytest.approx(sklearn.log_loss(labels, chances), abs=1e-12)
    for trial in trials:
        if trial.select_score is not None and len(trial.curve) > 1:
            assert trial.select_score == min(point.select_score for point in trial.curve), "the checkpoint with the smallest loss is kept"
    assert (found.report_metric, found.greater_is_better) == ("log_loss", False)
    assert found.report_score <= min(row.report_score for row in found.leaderboard) + 0.01
    (data,) = of(events, DataDescribed)
    assert data.guess_on_select == pytest.approx(np.log(2), abs=0.05)
    assert f"log loss {found.report_score:.3g}" in found.statement
    report = (out / "report.md").read_text()
    assert "Scores are in nats; smaller is better." in report

    (calibrated,) = of(events, Calibrated)  # the start after the kill takes up what was found
    predictor, own = pelt_automl.load(out), found.calibration
    assert (own.temperature, own.report_examples) == (calibrated.temperature, len(labels))
    assert predictor.config.temperature == own.temperature != 1.0
    texts = [row["text"] for row in read_table(noisy.test).rows]
    logits = predictor.logits(texts).astype(np.float64)
    assert predictor.probabilities(texts) == pytest.approx(softmax(logits / own.temperature, axis=1))
    for error, temperature in ((own.error_before, 1.0), (own.error_after, own.temperature)):
        assert error == pytest.approx(calibration_error(softmax(logits / temperature, axis=1), np.asarray(labels)), abs=1e-3)
    assert f"temperature {own.temperature:.3g}, fitted on" in report
    assert json.loads((out / "recommendation.json").read_text())["calibration"]["temperature"] == own.temperature
    sent = {point.name: point.value for point in run_tree(History.of(events)).parent.points}
    assert (sent["temperature"], sent["calibration_error/after"]) == (own.temperature, own.error_after)
    answers = predictor.predict(texts, abstain_below=0.6)
    assert [answer is None for answer in answers] == (predictor.probabilities(texts).max(axis=1) < 0.6).tolist()


def test_without_time_the_winner_stays_as_it_is_and_that_is_said(monkeypatch, tmp_path):
    costs = SimpleNamespace(example=lambda _: 0.1)
    monkeypatch.setattr(calibration_phase, "costs_of", lambda *_: costs)
    data = SimpleNamespace(task_kind=KINDS["classification"], split=lambda _: ([], range(20)))
    told = []
    log = SimpleNamespace(history=SimpleNamespace(of_kind=lambda _: []), once=told.append)
    trial = SimpleNamespace(trial="lora-0000", candidate="lora-0000", seeds=Seeds(0, 0, 0))
    clock = Clock(limit=10.0, now=lambda: 8.5)
    calibration_phase.calibrate(SimpleNamespace(data=data), None, log, clock, tmp_path, trial)
    (decision,) = told
    assert (decision.what, decision.subject) == (What.NO_TIME_FOR_CALIBRATION, "lora-0000")
    data.task_kind = KINDS["regression"]
    calibration_phase.calibrate(SimpleNamespace(data=data), None, log, clock, tmp_path, trial)
    assert len(told) == 1, "numbers have no probabilities"
