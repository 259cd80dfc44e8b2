"""What is asked for with several K, and everything that can be wrong with it."""

import pytest

from pelt_automl.curve.settings import curve_settings
from pelt_automl.curve.time_shares import expected_cost, next_share
from pelt_automl.errors import SettingsError
from pelt_automl.selection import settings_from
from pelt_automl.settings import SelectionSettings, TaskSettings, TrainingSettings, is_curve


@pytest.mark.parametrize(
    ("k", "several"),
    [
        ("100", False),
        ("full", False),
        (100, False),
        (None, False),
        ([100], False),
        ("50,100", True),
        ([50, 100], True),
        ((50, "full"), True),
    ],
)
def test_two_k_are_a_curve_and_one_is_a_selection(k, several):
    assert is_curve(k) == several


@pytest.mark.parametrize("k", ["200, 50,100,FULL", [200, 50, "100", "full"], (50, 100, 200, "full")])
def test_k_are_sorted_and_all_there_are_comes_last(k):
    assert curve_settings(k, task="pydoc-topic").ks == (50, 100, 200, None)


def test_each_selection_has_its_own_k_and_limit_and_shares_the_rest():
    settings = curve_settings("50,100", task="pydoc-topic", methods="lora,head", seconds=60, seed=3)
    at = settings.at(50, 20.0)
    assert at == settings_from(task="pydoc-topic", methods="lora,head", seconds=20, seed=3, k=50)
    assert settings.at(None, None) == settings_from(task="pydoc-topic", methods="lora,head", seed=3)


def test_everything_wrong_is_said_at_once():
    with pytest.raises(SettingsError) as found:
        curve_settings("50,3,lots,50", task="pydoc-topic", methods="lora,hed", trials=0)
    assert str(found.value).splitlines()[:4] == [
        "the command has 5 problems:",
        "  - k has 3; each must be at least 16, or 'full'",
        "  - k has 'lots'; each must be a whole number, at least 16, or 'full'",
        "  - k names 50 more than once",
    ]
    assert "  - unknown method 'hed' (did you mean head?)" in str(found.value)
    assert "  - trials is 0; it must be from 1 to 100000 trials" in str(found.value)
    with pytest.raises(SettingsError, match=r"^a curve needs at least two K, such as 50,100,200$"):
        curve_settings("50,", task="pydoc-topic")


def test_a_single_selection_takes_no_list_and_says_what_does():
    with pytest.raises(SettingsError, match=r"k is \[50, 100\]: a selection has one K; .* pelt_automl.k_curve"):
        settings_from(task="pydoc-topic", k=[50, 100])


@pytest.mark.parametrize(
    ("left", "costs", "seconds"), [(60.0, [1, 2, 3], 10.0), (50.0, [2, 3], 20.0), (30.0, [3], 30.0), (-4.0, [1, 1], 1.0)]
)
def test_a_selection_gets_its_share_of_the_time_that_is_left(left, costs, seconds):
    assert next_share(left, costs) == seconds


def test_the_expected_cost_counts_trainings_evaluations_and_reports_in_examples():
    training = TrainingSettings(epochs=8, batch_size=10, min_steps=1)
    settings = SelectionSettings(TaskSettings("pydoc-topic"), training=training)
    # 8 epochs of 8 batches: 64 steps, 640 examples; 8 evaluations of 20 examples at half the cost: 80; together 720.
    # Search: 2 methods, each one default and 5 trials of 0.25 + 0.34 * 0.25 + 0.34^2 * 0.5 = 0.3928 trainings: 5.928 trainings.
    # Finalists: 2 and the fixed default lora, on 3 seeds: 9 of 720 + 0.5 * 500 (of 2,000) report examples.
    found = expected_cost({"train": 80, "select": 20, "report": 2000}, ("lora", "head"), settings)
    assert found == pytest.approx(5.928 * 720 + 9 * 970, rel=1e-3)
