"""A metric that reads probabilities decides from the search to the recommendation."""

import json

import numpy as np
import pytest
from sklearn import metrics as sklearn

import pelt_automl
from pelt_automl.log.events import DataDescribed, FinalistScored, ReportOpened, TrialEnded
from tests.tiny_world import of, outputs_of, records_of


@pytest.mark.whole
def test_log_loss_decides_a_selection_with_baselines(world, tmp_path, without_mlflow):
    baselines = ["probe", "neighbors", "bag-of-words"]
    own = {"metric": "log_loss", "methods": ["lora", "head"], "trials": 2, "finalist_seeds": 2, "most_seeds": 2, "baselines": baselines}
    found, out = pelt_automl.select(output=tmp_path / "out", **world.options(**own)), tmp_path / "out"
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
    best = min(row.report_score for row in found.leaderboard)
    assert (found.report_metric, found.greater_is_better) == ("log_loss", False)
    assert found.report_score <= best + 0.01
    (data,) = of(events, DataDescribed)
    assert data.guess_on_select == pytest.approx(np.log(2), abs=0.05)
    assert f"log loss {found.report_score:.3g}" in found.statement
    assert json.loads((out / "recommendation.json").read_text())["report_metric"] == "log_loss"
    assert "Scores are in nats; smaller is better." in (out / "report.md").read_text()
    assert set(pelt_automl.load(out).predict(["a text", "another"])) <= set(data.labels)
