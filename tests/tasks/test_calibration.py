"""The temperature of probabilities, and their calibration error, by hand."""

import numpy as np
import pytest

from pelt_automl.tasks.calibration import HIGHEST, best_temperature, calibration_error


def test_the_error_is_the_mean_gap_between_confidence_and_accuracy_over_bins():
    # four at 0.9, of which three are right; two at 0.6, of which one is: (4 * |0.75 - 0.9| + 2 * |0.5 - 0.6|) / 6
    chances = [[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2
    assert calibration_error(np.array(chances), np.array([0, 0, 0, 1, 1, 0])) == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)


def test_gaps_of_one_bin_cancel_and_those_of_two_do_not():
    # 15 bins: 0.94 and 0.95 are in the last one, from 14 / 15 = 0.933; 0.92 isn't
    one, two = np.array([[0.94, 0.06], [0.95, 0.05]]), np.array([[0.92, 0.08], [0.95, 0.05]])
    labels = np.array([0, 1])
    assert calibration_error(one, labels) == pytest.approx(abs(0.945 - 0.5))
    assert calibration_error(two, labels) == pytest.approx((0.08 + 0.95) / 2)


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_a_certainty_has_a_bin(certain):
    assert calibration_error(np.array([[certain, 1 - certain]]), np.array([0.0])) == pytest.approx(1 - certain)


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_the_temperature_takes_back_a_factor_on_the_logits(factor):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1)
    assert best_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.05)


def test_where_all_are_right_nothing_says_how_sure_to_be():
    assert best_temperature(np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([0, 1])) == 1.0


def test_it_has_bounds():
    assert best_temperature(np.array([[9.0, 0.0]] * 4), np.array([1, 1, 0, 1])) == pytest.approx(HIGHEST, rel=0.01)
