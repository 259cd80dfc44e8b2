import math
from dataclasses import replace

from pelt_automl.log.events import FinalistScored, ReportOpened
from pelt_automl.verdict.reliability import Reliability, reliability
from tests.verdict.test_decision import finalist, search, selection


def scored(name, score, predictions):
    return FinalistScored(name, "lora-0001", "lora", 0, score, predictions)


def test_failed_and_constant_trainings_of_search_and_finals_are_counted_by_method():
    events = [
        search("lora-0000", 0.7),
        search("lora-0001", 0.5, constant=True),
        search("lora-0002", None, "failed"),
        search("lora-0003", 0.5, "failed", constant=True),  # once, as failed
        search("head-0000", 0.7, "stopped"),
        *selection(finalist("lora-0001", [80, None, 82])),
    ]
    assert reliability(events) == {"lora": Reliability(7, failed=3, constant=1), "head": Reliability(1, 0, 0)}


def test_what_the_time_limit_cut_off_says_nothing_about_its_method():
    cut = replace(search("lora-0001", None, "failed"), cause="time limit")
    assert reliability([search("lora-0000", 0.7), cut]) == {"lora": Reliability(1, 0, 0)}


def test_report_scores_that_are_not_finite_and_constant_report_predictions_count():
    labels = ReportOpened(1, 2, 2, [0.0, 1.0])
    trials = [replace(search(f"lora-000{i}", 0.7), trial=f"run{i}", stage="finalist") for i in range(3)]
    events = [labels, *trials, scored("run0", math.nan, [0.0, 1.0]), scored("run1", 0.5, [1.0, 1.0]), scored("run2", 0.5, [1.0, 0.0])]
    # of a candidate's runs on one seed the later counts, so each needs its own seed
    events = [replace(event, seed_index=int(event.trial[-1])) if isinstance(event, FinalistScored) else event for event in events]
    assert reliability(events) == {"lora": Reliability(3, failed=1, constant=1)}


def test_a_training_recorded_twice_after_a_restart_counts_once():
    assert reliability([search("lora-0000", None, "failed"), search("lora-0000", 0.7)]) == {"lora": Reliability(1, 0, 0)}
