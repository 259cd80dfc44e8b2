"""Trainings with lower layers that are computed once an example end as those that compute them in every pass."""

from dataclasses import replace

import pytest
import torch

from pelt_automl.methods import METHODS
from pelt_automl.modifications import LowerLayers
from pelt_automl.settings import TrainingSettings
from pelt_automl.tasks import METRICS
from pelt_automl.timing.schedule import make_plan
from pelt_automl.training import packing
from pelt_automl.training.work import Work
from tests.probing import lively_backbone
from tests.tiny import a_run

PACK = [
    ("top-layers", {"size": 3}, 3e-3),
    ("top-layers", {"form": "adapter", "size": 4}, 1e-2),
    ("head", {}, 1e-2),
    ("top-layers", {"size": 2, "targets": "all-linear", "alpha": 8.0}, 5e-3),
]


def runs_of(pack):
    return [
        a_run(f"{name}-{number}", METHODS[name].modifications(sizes), rate=rate, seed=number)
        for number, (name, sizes, rate) in enumerate(pack)
    ]


def trained(backbone, pack, lower):
    plan = replace(make_plan(12, (0.5,), 16, TrainingSettings(batch_size=8, min_steps=1, patience=50)), weight_decay=0.01)
    runs = runs_of(pack)
    packing.train(Work(backbone, plan, METRICS["accuracy"], outputs=2, lower=lower), runs, until=11)
    assert [run.progress.step for run in runs] == [11] * len(runs)
    return runs


@pytest.mark.parametrize("family", ["bert", "modernbert", "gpt2", "gemma2", "albert"])
def test_a_training_with_shared_lower_layers_ends_with_the_same_weights_and_scores(family):
    backbone = lively_backbone(family)
    lower = LowerLayers(backbone)
    for ours, theirs in zip(trained(backbone, PACK, lower), trained(backbone, PACK, None), strict=True):
        assert [point.select_score for point in ours.progress.curve] == [point.select_score for point in theirs.progress.curve]
        torch.testing.assert_close(ours.progress.continuation, theirs.progress.continuation, rtol=1e-3, atol=1e-5)
    assert len(lower) == (0 if family == "albert" else 2 * (24 + 16))  # each text of train and select once, for each of two depths


def test_a_trial_that_changes_the_lowest_layer_shares_nothing():
    backbone = lively_backbone()
    lower = LowerLayers(backbone)
    pack = [*PACK[:2], ("lora", {"rank": 3}, 3e-3)]
    for ours, theirs in zip(trained(backbone, pack, lower), trained(backbone, pack, None), strict=True):
        torch.testing.assert_close(ours.progress.continuation, theirs.progress.continuation, rtol=1e-3, atol=1e-5)
