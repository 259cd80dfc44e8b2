"""Balanced class weights: every class counts the same in the loss, in a pack as alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import recall_score
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy

from pelt_automl.errors import PeltError
from pelt_automl.log.events import Seeds
from pelt_automl.methods import METHODS
from pelt_automl.options import settings_from
from pelt_automl.selection import Selection
from pelt_automl.selection.environment import question_of
from pelt_automl.selection.question import plans_of
from pelt_automl.settings import SelectionSettings, TaskSettings
from pelt_automl.tasks import load_task
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.training import packing
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.pack_training import PackTraining
from pelt_automl.training.tokens import Tokens
from pelt_automl.training.trials import TrialRun
from tests.tiny import VOCABULARY, a_run
from tests.tiny_world import sentences, write_csv
from tests.training.test_packing import assert_close, final_weights, work

CLASSES = KINDS["classification"]
NAMES = ("often", "rarely")


def rare(count: int, seed: int) -> Tokens:
    """One of eight examples is of the second class; its first token is that of a fifth of the others, too, which are more."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 8 == 0).astype(np.float64)
    told = [int(label or random.random() < 0.2) for label in labels]
    return Tokens([[5 + token, *random.integers(10, VOCABULARY, random.integers(3, 8)).tolist()] for token in told], None, labels)


def run_of(seed: int = 0, *, balanced: bool = True, name: str = "lora") -> TrialRun:
    run = a_run(f"{name}-{seed}", METHODS[name].modifications({}), seed=seed)
    train = rare(24, seed)
    weights = CLASSES.class_weights(train.labels, NAMES) if balanced else None
    return replace(run, train=train, select=rare(32, 9), class_weights=weights)


def test_weights_are_those_of_scikit_learn_and_1_on_average_and_absent_classes_do_no_harm() -> None:
    labels = np.array([0.0, 0, 0, 0, 0, 1, 2, 2])
    found = CLASSES.class_weights(labels, ("a", "b", "c", "d"))
    assert found is not None
    assert found[:3] == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=labels))
    assert found[labels.astype(int)].mean() == pytest.approx(1)
    assert np.isfinite(found).all()
    assert KINDS["regression"].class_weights(labels, ()) is None


@pytest.mark.parametrize("balanced", [True, False])
def test_the_loss_of_a_step_is_the_weighted_sum_of_cross_entropies_by_the_batchs_size(balanced: bool) -> None:
    run = run_of(balanced=balanced)
    training = PackTraining(work(), [run])
    part = run.train.take(run.order.batch(0))
    logits = torch.from_numpy(evaluate(training.pack, [part])[0].logits)
    weight = torch.from_numpy(run.class_weights) if run.class_weights is not None else None
    expected = cross_entropy(logits, torch.from_numpy(part.labels).long(), weight=weight, reduction="sum") / len(part)
    training._one_step()
    assert training.losses.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_balanced_trial_ends_in_a_pack_with_others_as_it_ends_alone() -> None:
    together, alone = [run_of(seed, name=name) for seed, name in enumerate(("lora", "bitfit"))], run_of(1, name="bitfit")
    packing.train(work(), together, 6)
    packing.train(work(), [alone], 6)
    assert_close(final_weights(together[1]), final_weights(alone))


def test_the_rare_class_is_found_more_often() -> None:
    found = {}
    for balanced in (True, False):
        training = PackTraining(work(60), [run := replace(run_of(), train=rare(80, 3))])
        training.class_weights = training.class_weights if balanced else None
        for _ in range(60):
            training._one_step()
        found[balanced] = recall_score(run.select.labels, evaluate(training.pack, [run.select])[0].logits.argmax(1))
    assert found[True] > found[False] + 0.5


def test_a_selection_gives_its_trainings_the_weights_of_their_own_train_part(world, without_mlflow, tmp_path) -> None:
    for how, weighted in (("balanced", True), ("none", False)):
        with Selection.open(settings_from(**world.options(class_weights=how, methods=["head"])), tmp_path / how) as selection:
            selection.prepare()
            run = selection.machine.run(
                "a", "head", METHODS["head"].defaults, Seeds(1, 0, 0), plans_of(selection.question, selection.log.history).search
            )
        expected = CLASSES.class_weights(run.train.labels, selection.question.data.labels) if weighted else None
        assert (run.class_weights is None) == (not weighted)
        assert not weighted or run.class_weights == pytest.approx(expected)


def settings_of(tmp_path, **more: object) -> TaskSettings:
    rows = [(text, NAMES[label]) for text, label in sentences(60, seed=1)]
    train = write_csv(tmp_path / "own.csv", ["text", "label"], rows)
    return TaskSettings(**{"train": train, "text_columns": ("text",), "label_column": "label", "class_weights": "balanced"} | more)


def test_they_are_asked_for_by_name_and_change_the_question_and_numbers_have_none(tmp_path) -> None:
    data = load_task(settings_of(tmp_path))
    assert data.balanced
    assert any(note.startswith("each class counts the same in the loss of trainings") for note in data.notes)
    weighted, plain = (SelectionSettings(task=settings_of(tmp_path, class_weights=how)) for how in ("balanced", "none"))
    assert question_of(weighted, "data") != question_of(plain, "data")
    with pytest.raises(
        PeltError, match=r"class_weights is 'balanced', and .* is a regression task, whose examples aren't of one class each"
    ):
        load_task(settings_of(tmp_path, train=write_csv(tmp_path / "n.csv", ["text", "label"], [(f"a {i}", i / 3) for i in range(60)])))


def test_a_selection_without_them_asks_what_it_asked_before_there_were_any(tmp_path, monkeypatch) -> None:
    settings = SelectionSettings(task=TaskSettings(task="pydoc-topic"))
    monkeypatch.setattr("pelt_automl.selection.environment.BEHAVIOUR", 11)
    assert question_of(settings, "data") == "8273a68065262ed2"
