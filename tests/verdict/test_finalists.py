from dataclasses import replace

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import CurvePoint, FinalistScored, ReportOpened, Seeds, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.verdict.finalists import finalists


def trained(trial, candidate="lora-0001", stage="finalist", seconds=2.0, select=0.8, kept=100):
    curve = [CurvePoint(1, 0.5, 0.8, 1e-4, 1.0)]
    return TrialEnded(
        trial, candidate, "lora", stage, 1, "completed", False, {"rank": 8}, Seeds(0, 0, 0), {"kept": kept}, curve, select, 10, seconds
    )


def scored(trial, seed, score=0.5, predictions=(0.0, 1.0)):
    return FinalistScored(trial, "lora-0001", "lora", seed, score, Outputs().put(list(predictions)))


OPENED = ReportOpened(1, 2, 2, Outputs().put([0.0, 0.0]))


def test_costs_and_select_scores_are_means_over_the_finalists_own_runs():
    events = [
        OPENED, trained("lora-0001", stage="search", seconds=90.0, select=0.99), trained("a", seconds=2.0, select=0.7),
        trained("b", seconds=4.0, select=0.9), scored("b", 1), scored("a", 0),
    ]  # fmt: skip
    (found,) = finalists(History.of(events))
    assert (found.training_seconds, found.select_score, found.parameters) == (3.0, pytest.approx(0.8), 100)
    assert list(found.runs) == [0, 1]


@pytest.mark.parametrize(
    ("method", "fitted"), [("probe", True), ("bag-of-words", True), ("neighbors", True), ("head", False), ("lora", False), ("full", False)]
)
def test_baselines_are_fitted_and_methods_are_trained(method, fitted):
    events = [OPENED, replace(trained("a"), method=method), replace(scored("a", 0), method=method)]
    (found,) = finalists(History.of(events))
    assert found.fitted is fitted


def test_a_run_scored_again_after_a_restart_counts_once_and_one_that_is_not_finite_never():
    events = [
        OPENED,
        trained("a"),
        scored("a", 0, 0.5),
        scored("a", 0, 1.0),
        scored("b", 1, float("nan")),
        scored("c", 2, 0.5, (0, float("inf"))),
    ]
    (found,) = finalists(History.of(events))
    assert {seed: run.report_score for seed, run in found.runs.items()} == {0: 1.0}


def test_contradictory_records_are_reported_all_at_once():
    events = [OPENED, scored("a", 0, predictions=[0.0]), scored("b", 1)]
    with pytest.raises(SelectionError, match=r"(?s)2 problems.*a has 1 predictions for 2 report labels.*no record of its training"):
        finalists(History.of(events))
