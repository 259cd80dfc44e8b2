"""Whether there is anything to learn, on features made by hand."""

import numpy as np
import pytest

from studies.sources.learnability import Learnability, _folds, gain


def features_of(labels, told, seed=0):
    """Noise in 20 features; where it is told, one of them follows the label."""
    found = np.random.default_rng(seed).normal(size=(len(labels), 20))
    found[:, 0] += 4 * told * np.asarray(labels)
    return found


def judged(features, labels, classes, groups=None):
    labels = np.asarray(labels, dtype=float)
    found = [gain(features, labels, classes, np.arange(len(labels)) if groups is None else groups, seed) for seed in range(5)]
    return Learnability(*np.mean(found, axis=0))


CLASSES = [i % 3 // 2 for i in range(90)]  # two thirds of one class
NUMBERS = np.linspace(-1, 1, 90)


@pytest.mark.parametrize(("labels", "classes", "constant"), [(CLASSES, 2, 2 / 3), (NUMBERS, 1, 0.0)])
def test_a_label_that_the_features_tell_is_learnable_and_one_that_they_do_not_is_not(labels, classes, constant):
    told, untold = (judged(features_of(labels, told), labels, classes) for told in (True, False))
    assert told.constant == untold.constant == pytest.approx(constant)
    assert told.learnable
    assert told.score > 0.85
    assert not untold.learnable


def test_the_standard_error_is_that_of_paired_differences():
    labels = np.asarray(CLASSES, dtype=float)
    score, constant, error = gain(features_of(CLASSES, True), labels, 2, np.arange(90), 0)
    assert constant == pytest.approx(60 / 90)
    assert score - constant > 5 * error > 0
    assert gain(features_of(NUMBERS, True), NUMBERS, 1, np.arange(90), 0)[2] == pytest.approx(1 / np.sqrt(89))


def test_equal_texts_are_in_one_fold():
    """Each text stands there twice with the same random label: to have seen the other one would be to know it."""
    labels = np.repeat(np.random.default_rng(1).integers(0, 2, 60), 2).astype(float)
    features = np.repeat(np.random.default_rng(2).normal(size=(60, 100)), 2, axis=0)
    groups = np.repeat(np.arange(60), 2)
    assert not judged(features, labels, 2, groups).learnable
    assert judged(features, labels, 2).learnable
    folds = _folds(labels, 2, groups, 0)
    assert (folds[::2] == folds[1::2]).all()


def test_folds_share_the_examples_and_the_classes():
    folds = _folds(np.asarray(CLASSES, dtype=float), 2, np.arange(90), 0)
    for value, each in ((0, 12), (1, 6)):
        assert np.bincount(folds[np.asarray(CLASSES) == value]).tolist() == [each] * 5
    assert (folds != _folds(np.asarray(CLASSES, dtype=float), 2, np.arange(90), 1)).any()
