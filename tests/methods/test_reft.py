"""LoReFT's maths: `h + R^T (W h + b - R h)` at the first and last tokens of a text, with orthonormal rows of `R`."""

import torch

from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from tests.tiny import random_ids, tiny_backbone


def trained_pack(family: str, positions: int) -> Pack:
    pack = Pack(tiny_backbone(family), [PackTrial(METHODS["reft"].build(rank=2, positions=positions), seed=0)], outputs=2)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in pack.stacks.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return pack


def test_the_last_layers_states_are_those_of_the_formula_at_both_ends_of_the_text_and_untouched_between() -> None:
    pack, ids = trained_pack("bert", positions=2), random_ids(1, 4, 7)
    seen: list[torch.Tensor] = []
    norm = pack.backbone.layers()[-1].module.get_submodule("output.LayerNorm")
    before = norm.register_forward_hook(lambda _, __, output: seen.append(output))  # hooks first, so it sees what reft is going to change
    pack.backbone.model.register_forward_hook(lambda _, __, output: seen.append(output.last_hidden_state))
    pack(ids, torch.ones_like(ids))
    before.remove()
    [module] = pack.stacks
    weights = {name: parameter.detach()[0, -1] for name, parameter in module.named_parameters()}
    basis, _ = torch.linalg.qr(weights["basis"].T)
    states, result = seen[0], seen[1]
    expected = states + (states @ weights["source"].T + weights["source_bias"] - states @ basis) @ basis.T
    for ends in (slice(0, 2), slice(5, 7)):
        torch.testing.assert_close(result[:, ends], expected[:, ends])
        assert not torch.allclose(result[:, ends], states[:, ends])
    torch.testing.assert_close(result[:, 2:5], states[:, 2:5])


def test_the_rows_of_the_rotation_are_orthonormal_for_every_trial_whatever_its_rank() -> None:
    trials = [PackTrial(METHODS["reft"].build(rank=rank), seed=rank) for rank in (1, 3)]
    [module] = Pack(tiny_backbone(), trials, outputs=2).stacks
    for row, rank in enumerate((1, 3)):
        for rotation in module.rotation()[row]:
            torch.testing.assert_close(rotation[:rank] @ rotation[:rank].T, torch.eye(rank))
            assert rotation[rank:].abs().sum() == 0


def test_the_ends_are_those_of_the_text_on_whichever_side_it_is_padded() -> None:
    pack, ids = trained_pack("llama", positions=2), random_ids(1, 4, 6)
    right_ids, left_ids = torch.nn.functional.pad(ids, (0, 3)), torch.nn.functional.pad(ids, (3, 0))
    mask = torch.ones_like(ids)
    right = pack(right_ids, torch.nn.functional.pad(mask, (0, 3))).logits
    left = pack(left_ids, torch.nn.functional.pad(mask, (3, 0))).logits
    torch.testing.assert_close(right, left, rtol=1e-4, atol=1e-5)
