import math
from dataclasses import replace

from pelt_automl.log.events import FinalistScored, ReportOpened, Standing
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.verdict.finalists import finalists, with_failures
from tests.verdict.test_decision import finalist, search, selection


def reliability(events):
    """Trainings, of these failed and constant, by method."""
    history = History.of(events)
    methods = dict.fromkeys(trial.method for trial in history.ended())
    rows = [Standing(f"{name}-0", name, False, {}, 1, 1.0, 0.5, (0, 1), [0.5], 0.5, 0.5, 0.0, (0, 0), True, False) for name in methods]
    return {row.method: (row.trainings, row.failed, row.constant) for row in with_failures(rows, history, finalists(history))}


def scored(name, score, predictions):
    return FinalistScored(name, "lora-0001", "lora", 0, score, Outputs().put(predictions))


def test_failed_and_constant_trainings_of_search_and_finals_are_counted_by_method():
    events = [
        search("lora-0000", 0.7),
        search("lora-0001", 0.5, constant=True),
        search("lora-0002", None, "failed"),
        search("lora-0003", 0.5, "failed", constant=True),  # once, as failed
        search("head-0000", 0.7, "stopped"),
        *selection(finalist("lora-0001", [80, None, 82])),
    ]
    assert reliability(events) == {"lora": (7, 3, 1), "head": (1, 0, 0)}


def test_what_the_time_limit_cut_off_says_nothing_about_its_method():
    cut = replace(search("lora-0001", None, "failed"), cause="time limit")
    assert reliability([search("lora-0000", 0.7), cut]) == {"lora": (1, 0, 0)}


def test_report_scores_that_are_not_finite_and_constant_report_predictions_count():
    labels = ReportOpened(1, 2, 2, Outputs().put([0.0, 1.0]))
    trials = [replace(search(f"lora-000{i}", 0.7), trial=f"run{i}", stage="finalist") for i in range(3)]
    events = [labels, *trials, scored("run0", math.nan, [0.0, 1.0]), scored("run1", 0.5, [1.0, 1.0]), scored("run2", 0.5, [1.0, 0.0])]
    # of a candidate's runs on one seed the later counts, so each needs its own seed
    events = [replace(event, seed_index=int(event.trial[-1])) if isinstance(event, FinalistScored) else event for event in events]
    assert reliability(events) == {"lora": (3, 1, 1)}


def test_a_training_recorded_twice_after_a_restart_counts_once():
    assert reliability([search("lora-0000", None, "failed"), search("lora-0000", 0.7)]) == {"lora": (1, 0, 0)}
