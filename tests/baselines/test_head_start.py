"""Heads that start from the probe: what they predict before the first step, in every family, and what the training makes of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pelt_automl.baselines import HeadStarts
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.settings import TrainingSettings
from pelt_automl.tasks import METRICS
from pelt_automl.timing.schedule import make_plan
from pelt_automl.training import packing
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work
from tests.tiny import a_run, by_structure, learnable_tokens, tiny_backbone


def starts_of(family: str = "bert", outputs: int = 2) -> HeadStarts:
    return HeadStarts(FrozenFeatures(tiny_backbone(family)), outputs)


@pytest.mark.parametrize("family", by_structure())
def test_an_untouched_start_predicts_what_the_probe_says(family: str) -> None:
    """Of a family with a hidden layer in its head: the map of that layer's outputs, at its initialization."""
    starts, train = starts_of(family), learnable_tokens(24)
    features, seed = starts.features, 5
    head = starts.of(0, seed, train)
    pack = Pack(features.backbone, [PackTrial((), seed=1), PackTrial((), seed=seed, head=head)], outputs=2)
    logits = evaluate(pack, [train, train])[1].logits
    read = features.inside_head(features.of(train), seed)
    expected = read @ head["weight"].numpy().T + (head["bias"].numpy() if "bias" in head else 0.0)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert ("bias" in head) == ("bias" in pack.head.trained(0))
    drawn = Pack(features.backbone, [PackTrial((), seed=seed)], outputs=2)
    for name, tensor in drawn.head.trained(0).items():
        if name.startswith("dense"):  # the hidden layer keeps the trial's own initialization
            assert torch.equal(tensor, pack.head.trained(1)[name])


def test_families_with_a_hidden_layer_get_a_map_for_each_initialization_and_others_one() -> None:
    train = learnable_tokens(24)
    plain, dense = starts_of("bert"), starts_of("roberta")
    assert dense.features.backbone.shape.dense_head
    assert torch.equal(plain.of(0, 1, train)["weight"], plain.of(0, 2, train)["weight"])
    assert not torch.equal(dense.of(0, 1, train)["weight"], dense.of(0, 2, train)["weight"])


def run_of(method: str, starts: HeadStarts | None, seed: int = 0, **sizes: object) -> TrialRun:
    run = a_run(f"{method}-{seed}", METHODS[method].modifications(sizes), seed=seed)
    return run if starts is None else replace(run, head=starts.of(seed, run.seeds.initialization, run.train))


def work(steps: int = 12, family: str = "bert") -> Work:
    plan = make_plan(steps, (0.3,), 16, TrainingSettings(batch_size=8, min_steps=1, patience=50))
    return Work(tiny_backbone(family), plan, METRICS["accuracy"], outputs=2)


MIXED = [
    ("lora", {"rank": 4}),
    ("prefix", {"prefix_length": 3, "reparameterization": False}),
    ("bitfit", {}),
    ("prompt", {"prompt_length": 3}),
]


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_in_a_pack_a_probed_trial_ends_as_it_ends_alone_next_to_random_ones(family: str) -> None:
    starts = starts_of(family)
    chosen = [starts, None, starts, None]

    def runs() -> list[TrialRun]:
        return [run_of(method, own, index, **sizes) for index, ((method, sizes), own) in enumerate(zip(MIXED, chosen, strict=True))]

    together, alone, shared = runs(), runs(), work(family=family)
    packing.train(shared, together, until=11)
    for run in alone:
        packing.train(shared, [run], until=11)
    for packed, single, own in zip(together, alone, chosen, strict=True):
        assert [(p.step, p.select_score) for p in packed.progress.curve] == [(p.step, p.select_score) for p in single.progress.curve]
        assert (packed.progress.curve[0].step == 0) == (own is not None)
        for name, tensor in packed.progress.continuation.items():
            torch.testing.assert_close(tensor, single.progress.continuation[name], rtol=1e-4, atol=1e-5)


def test_step_zero_stands_on_the_curve_and_may_be_the_best() -> None:
    run, shared = replace(run_of("lora", starts_of()), learning_rate=1e3), work()  # at this rate every step does harm
    packing.train(shared, [run], until=12)
    first, *others = run.progress.curve
    assert (first.step, first.train_loss, first.learning_rate) == (0, None, 0.0)
    assert all(point.select_score < first.select_score for point in others)
    assert run.progress.best_score == first.select_score
    assert torch.equal(run.progress.best_weights["head.weight"], run.head["weight"])


def test_a_probed_head_is_better_before_the_first_step_than_a_random_one_after_some() -> None:
    starts = starts_of()
    probed, drawn, shared = run_of("head", starts), run_of("head", None), work(4)
    packing.train(shared, [probed], until=4)
    packing.train(shared, [drawn], until=4)
    assert probed.progress.curve[0].select_score > drawn.progress.curve[0].select_score


def test_a_start_that_gives_infinite_outputs_fails_alone() -> None:
    starts = starts_of()
    broken, sound = run_of("lora", starts, 0), run_of("lora", starts, 1)
    broken = replace(broken, head={name: torch.full_like(tensor, float("inf")) for name, tensor in broken.head.items()})
    packing.train(work(), [broken, sound], until=12)
    assert (broken.progress.state, broken.progress.cause) == ("failed", "loss or output is not finite by step 0")
    assert sound.progress.state == "completed"


def test_equal_texts_are_computed_once_and_all_examples_come_back_in_their_order() -> None:
    features = FrozenFeatures(tiny_backbone())
    train = learnable_tokens(10)
    whole = features.of(train)
    order = [3, 1, 3, 9]
    np.testing.assert_array_equal(features.of(train.take(order)), whole[order])
    np.testing.assert_allclose(FrozenFeatures(features.backbone).of(train.take([4])), whole[[4]], atol=1e-6)


def test_patience_counts_from_the_first_evaluation_after_a_step() -> None:
    """At a learning rate of next to nothing every score is that of the start; with a patience of 3 the third after the first ends it."""
    shared = work()
    plan = replace(shared.plan, evaluate_at=(2, 4, 6, 8, 10, 12), rungs=(), patience=3)
    run = replace(run_of("lora", starts_of()), learning_rate=1e-12)
    packing.train(replace(shared, plan=plan), [run], until=12)
    assert [point.step for point in run.progress.curve] == [0, 2, 4, 6, 8]
    assert len({point.select_score for point in run.progress.curve}) == 1
