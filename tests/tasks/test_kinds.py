"""The kinds of tasks: what each does with labels and outputs, by hand and against torch; and that nothing else knows them by name."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from pelt_automl.tasks import METRICS
from pelt_automl.tasks.kinds import KINDS, LabelScale

CLASSES, NUMBERS = KINDS["classification"], KINDS["regression"]
PRODUCT = Path(__file__).parents[2] / "pelt_automl"


def test_the_registry_names_each_kind_as_it_names_itself():
    assert {name: kind.name for name, kind in KINDS.items()} == {name: name for name in tuple(KINDS)}
    assert tuple(KINDS) == ("classification", "regression", "multi-label", "question-answering")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_a_metric_by_default_that_fits_it(name):
    numbers, several, answers = [0.5, 1.5, 2.5, 3.5], [(0, 1), (1, 1)], ['[[0, "a"]]', "[]"]
    labels = {"classification": [0, 1, 1, 0], "regression": numbers, "multi-label": several, "question-answering": answers}[name]
    metric, note = KINDS[name].default_metric(labels, ("no", "yes"))
    assert METRICS[metric].fits(name, 2)
    assert note == ""


def test_heads_have_an_output_per_class_or_one_for_the_number():
    assert (CLASSES.outputs(("a", "b", "c")), NUMBERS.outputs(())) == (3, 1)


def test_classes_are_trained_by_cross_entropy():
    logits, labels = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([[0.0, 1, 2, 0, 1], [2, 2, 1, 0, 0]])
    found = CLASSES.losses(logits, labels, [LabelScale()] * 2)
    expected = [
        [functional.cross_entropy(row, label.long()) for row, label in zip(*pair, strict=True)] for pair in zip(logits, labels, strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_numbers_are_trained_in_units_of_their_deviation_each_trial_on_its_own_scale():
    logits, labels = torch.tensor([[[1.0], [0.0]], [[1.0], [0.0]]]), torch.tensor([[30.0, 10.0], [3.0, 1.0]])
    found = NUMBERS.losses(logits, labels, [LabelScale(10.0, 20.0), LabelScale(1.0, 4.0)])
    assert found.tolist() == [[0.0, 0.0], [0.25, 0.0]]


def test_labels_of_trials_with_fewer_examples_are_filled_up():
    assert CLASSES.collate([np.array([1.0, 0.0]), np.array([2.0])]).tolist() == [[1.0, 0.0], [2.0, 0.0]]
    rows = CLASSES.collate([np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]])])
    assert rows.tolist() == [[[1.0, 2.0], [0.0, 0.0]], [[3.0, 4.0], [5.0, 6.0]]]
    assert rows.dtype == np.float32


def test_outputs_become_class_indices_or_numbers_in_the_labels_unit():
    logits = np.array([[0.1, 0.7, 0.2], [3.0, -1.0, 2.0]], np.float32)
    assert CLASSES.predictions(logits, LabelScale()).tolist() == [1.0, 0.0]
    assert NUMBERS.predictions(logits[:, 2:], LabelScale(10.0, 2.0)).tolist() == pytest.approx([10.4, 14.0])
    assert CLASSES.answers(np.array([1.0, 0.0]), ("no", "yes")) == ["yes", "no"]
    assert NUMBERS.answers(np.array([1.5]), ()) == [1.5]


def test_classes_and_labels_have_probabilities():
    found = CLASSES.probabilities(np.array([[0.0, np.log(3.0)], [1000.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.25, 0.75], [1.0, 0.0]])
    assert NUMBERS.probabilities(np.zeros((2, 1))) is None


def test_a_metric_says_whether_it_reads_classes_or_probabilities():
    logits = np.log([[0.2, 0.8], [0.5, 0.5]])
    assert CLASSES.read_by(METRICS["accuracy"], logits, LabelScale()).tolist() == [1.0, 0.0]
    assert CLASSES.read_by(METRICS["log_loss"], logits, LabelScale()) == pytest.approx(np.array([[0.2, 0.8], [0.5, 0.5]]))


def test_the_constant_to_beat_is_the_most_frequent_class_or_the_mean():
    assert CLASSES.constant([2, 1, 1, 2, 0], METRICS["accuracy"]) == (2, "the most frequent class"), "of equals the first"
    for name in ("spearman", "pearson", "pearson_spearman", "r2", "rmse"):
        assert NUMBERS.constant([1.0, 2.0, 9.0], METRICS[name]) == (4.0, "the mean")
    assert NUMBERS.constant([1.0, 2.0, 9.0], METRICS["mae"]) == (2.0, "the median")


def test_numbers_have_ten_strata_at_most_and_four_examples_in_each():
    assert NUMBERS.strata([5.0, 1.0, 3.0, 2.0, 8.0, 7.0, 6.0, 4.0]) == [1, 0, 0, 0, 1, 1, 1, 0]
    assert set(NUMBERS.strata(list(range(1000)))) == set(range(10))
    assert CLASSES.strata([2.0, 0.0]) == [2, 0]


def test_predictions_are_constant_when_no_example_differs():
    assert CLASSES.is_constant(np.array([1.0, 1.0]))
    assert not CLASSES.is_constant(np.array([1.0, 0.0]))
    assert not CLASSES.is_constant(np.array([[1.0, 0.0], [1.0, 1.0]])), "rows: one label of two differs"
    assert CLASSES.is_constant(np.array([[1.0, 0.0], [1.0, 0.0]]))


def test_imbalanced_classes_call_for_macro_f1_with_a_note_that_says_why():
    metric, note = CLASSES.default_metric([0] * 7 + [1] * 2, ("ok", "fraud"))
    assert metric == "macro_f1"
    assert "class 'ok' has 7 of 9 examples, the other classes 2 on average" in note
    assert CLASSES.default_metric([0] * 6 + [1] * 2, ("ok", "fraud")) == ("accuracy", "")


READS_FILES = {"tasks/labels.py", "tasks/checks.py", "tasks/several.py", "tasks/benchmarks.py"}
"""They say what kind a source of examples is."""


def test_nothing_but_the_reading_of_files_asks_for_a_kind_by_its_name():
    name = r"[\"'](classification|regression|multi-label)[\"']"
    asks = re.compile(rf"[!=]= {name}|if [^\n]* else {name}")
    found = {str(path.relative_to(PRODUCT)) for path in PRODUCT.rglob("*.py") if asks.search(path.read_text())}
    assert found == READS_FILES
