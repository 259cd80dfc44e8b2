"""The stacked optimizer against torch's own."""

import pytest
import torch
from torch import nn

from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.training.optimizer import PackedAdamW
from tests.tiny import random_ids, tiny_backbone

RATES = [3e-3, 1e-2, 5e-3]
TRIALS = [("lora", {"rank": 4}), ("adapter", {"bottleneck": 6}), ("unipelt-apl", {"bottleneck": 3, "prefix_length": 5, "rank": 3})]
STEPS = 6

with_and_without_decay = pytest.mark.parametrize("decay", [0.0, 0.1])


def pack_of(*indices):
    trials = [PackTrial(METHODS[TRIALS[i][0]].modifications(TRIALS[i][1]), seed=i) for i in indices]
    return Pack(tiny_backbone(), trials, outputs=2)


def backward(pack, indices, step):
    """Each trial's gradient of a loss on its own examples; trial 1's is large, so that clipping matters."""
    pack.train()
    ids = torch.stack([random_ids(4, 7, seed=100 * step + i) for i in indices])
    logits = pack(ids, torch.ones_like(ids)).logits
    weights = torch.tensor([[1.0, 40.0, 0.01][i] for i in indices])
    labels = torch.arange(4).remainder(2).expand(len(indices), -1)
    losses = nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)
    (losses * weights).sum().backward()


def packed(indices, decay, clip=0.5):
    pack = pack_of(*indices)
    optimizer, norms = PackedAdamW(pack, decay), []
    for step in range(STEPS):
        backward(pack, indices, step)
        rates = torch.tensor([RATES[i] * (1 - step / STEPS) for i in indices])
        norms.append(optimizer.step(rates, clip))
    return pack, norms


def assert_close(own, other, name):
    """As whole tensors: Adam blows the rounding of single gradients near 0 up."""
    distance = float((own - other).norm() / other.norm().clamp_min(1e-2))
    assert distance < 5e-5, f"{name}: {distance:.1e}"


def is_bias(name):
    return name.endswith("bias")


@with_and_without_decay
@pytest.mark.parametrize("index", range(len(TRIALS)))
def test_for_one_trial_it_is_torchs_adamw_after_clipping(index, decay):
    ours, norms = packed([index], decay)
    pack = pack_of(index)
    named = dict(pack.named_parameters())
    groups = [
        {"params": [p for name, p in named.items() if is_bias(name)], "weight_decay": 0.0},
        {"params": [p for name, p in named.items() if not is_bias(name)], "weight_decay": decay},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATES[index])
    for step in range(STEPS):
        backward(pack, [index], step)
        norm = nn.utils.clip_grad_norm_(pack.parameters(), 0.5)
        torch.testing.assert_close(norms[step][0], norm)
        for group in optimizer.param_groups:
            group["lr"] = RATES[index] * (1 - step / STEPS)
        optimizer.step()
        optimizer.zero_grad()
    for name, own in ours.trained_weights(0).items():
        assert_close(own, pack.trained_weights(0)[name], name)


def test_the_trials_of_these_tests_are_clipped_and_not_clipped():
    """Else the tests above would say nothing about clipping a trial by its own norm."""
    _, norms = packed([0, 1, 2], 0.0)
    assert norms[0][1] > 0.5 > norms[0][2]


@with_and_without_decay
def test_a_trial_in_a_pack_is_updated_as_if_it_were_alone(decay):
    together, norms = packed([0, 1, 2], decay)
    for index in range(3):
        alone, own_norms = packed([index], decay)
        torch.testing.assert_close(torch.stack(norms)[:, index], torch.stack(own_norms)[:, 0], rtol=1e-4, atol=1e-6)
        for name, own in together.trained_weights(index).items():
            assert_close(own, alone.trained_weights(0)[name], name)


def test_full_fine_tuning_decays_matrices_and_neither_biases_nor_layer_norms():
    pack = Pack(tiny_backbone(), [PackTrial(METHODS["full"].modifications({}), seed=0)], outputs=2)
    before = {name: own.clone() for name, own in pack.trained_weights(0).items()}
    optimizer = PackedAdamW(pack, weight_decay=0.5)
    for parameter in pack.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(torch.tensor([0.1]), clip=1.0)
    for name, own in pack.trained_weights(0).items():
        spared = is_bias(name) or "LayerNorm" in name
        torch.testing.assert_close(own, before[name] * (1.0 if spared else 0.95), msg=name)


def test_a_trial_that_moves_to_another_pack_takes_its_moments_and_step_count_along():
    through, _ = packed([2], 0.0)
    first = pack_of(0, 2)
    optimizer = PackedAdamW(first, 0.0)
    for step in range(3):
        backward(first, [0, 2], step)
        optimizer.step(torch.tensor([RATES[i] * (1 - step / STEPS) for i in (0, 2)]), 0.5)
    kept = {name: tensor.clone() for name, tensor in (first.trained_weights(1) | optimizer.moments_of(1)).items()}
    second = pack_of(2)
    second.load_weights(0, kept)
    optimizer = PackedAdamW(second, 0.0)
    optimizer.load(0, 3, kept)
    for step in range(3, STEPS):
        backward(second, [2], step)
        optimizer.step(torch.tensor([RATES[2] * (1 - step / STEPS)]), 0.5)
    for name, own in second.trained_weights(0).items():
        assert_close(own, through.trained_weights(0)[name], name)


def test_without_a_gradient_nothing_moves():
    pack = pack_of(0)
    before = {name: own.clone() for name, own in pack.trained_weights(0).items()}
    norms = PackedAdamW(pack, 0.1).step(torch.tensor([1.0]), clip=1.0)
    assert norms.tolist() == [0.0]
    assert all(torch.equal(own, before[name]) for name, own in pack.trained_weights(0).items())
