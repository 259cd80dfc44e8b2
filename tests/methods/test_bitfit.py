"""BitFit's maths: every bias `b` of the backbone is `b + d`, and nothing else changes."""

import copy

import torch

from pelt_automl.backbones.loading import wrap
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from tests.tiny import FakeTokenizer, random_ids, tiny_backbone


def test_bitfit_is_the_backbone_with_its_biases_shifted() -> None:
    backbone, ids = tiny_backbone(), random_ids(1, 5, 7)
    trained = Pack(backbone, [PackTrial(METHODS["bitfit"].build(), seed=0)], outputs=2)
    shifted = copy.deepcopy(backbone.model)
    generator = torch.Generator().manual_seed(1)
    shifts = {name: tensor for name, tensor in trained.trained_weights(0).items() if name.startswith("bitfit.biases.")}
    for name, shift in shifts.items():
        shift.normal_(std=0.5, generator=generator)
        shifted.get_submodule(name.removeprefix("bitfit.biases.").replace("__", ".")).bias.data += shift
    assert len(shifts) == sum(name.endswith("bias") for name, _ in backbone.model.named_parameters())

    plain = Pack(wrap(shifted, FakeTokenizer(), name="shifted"), [PackTrial((), seed=0)], outputs=2)
    plain.load_weights(0, trained.trained_weights(0))  # the same head
    torch.testing.assert_close(trained(ids, torch.ones_like(ids)).logits, plain(ids, torch.ones_like(ids)).logits)
