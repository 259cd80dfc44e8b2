"""What holds of every method on every architecture, before and after some training."""

import pytest
import torch

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Gate, count_all
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial, without_reparameterization
from pelt_automl.modifications.gate import gate_values
from tests.tiny import FAMILIES, random_ids, tiny_backbone

EXACT_IDENTITY = ("full", "head", "bitfit", "lora")
"""Methods whose papers start at the backbone's own output; an adapter starts near it, a prefix draws attention from the start."""

every_family = pytest.mark.parametrize("family", FAMILIES)
every_method = pytest.mark.parametrize("method", list(METHODS))


def pack_of(backbone: Backbone, *methods: str) -> Pack:
    trials = [PackTrial(METHODS[name].modifications({}), seed=3) for name in methods]
    return Pack(backbone, trials, outputs=3)


def perturbed(pack: Pack) -> Pack:
    """As after some training: nothing is at its neutral start."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in pack.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return pack


@every_family
@every_method
def test_a_method_starts_as_the_identity_where_its_paper_says_so(family: str, method: str) -> None:
    backbone, ids = tiny_backbone(family), random_ids(1, 5, 7)
    ours = pack_of(backbone, method)(ids, torch.ones_like(ids)).logits
    plain = pack_of(backbone, "head")(ids, torch.ones_like(ids)).logits
    distance = (ours - plain).abs().max()
    if method in EXACT_IDENTITY:
        assert distance < 1e-6
    else:
        assert 0 < distance < 0.2 * plain.abs().max()


@every_family
def test_without_modifications_the_output_is_transformers_own(family: str) -> None:
    backbone, ids = tiny_backbone(family), random_ids(1, 5, 7)
    mask = torch.ones_like(ids)
    mask[0, 2, 4:] = 0
    pack = pack_of(backbone, "head")
    output = backbone.model(input_ids=ids[0], attention_mask=mask[0])
    pooled = output.pooler_output if backbone.pooling == "pooler" else output.last_hidden_state[:, 0]
    torch.testing.assert_close(pack(ids, mask).logits[0], pack.head(pooled.unsqueeze(0))[0])


@every_family
@every_method
def test_padding_moves_neither_a_logit_nor_a_gate(family: str, method: str) -> None:
    pack, ids = perturbed(pack_of(tiny_backbone(family), method)), random_ids(1, 4, 9)
    mask = torch.ones_like(ids)
    mask[0, 1, 5:] = 0
    wide_ids, wide_mask = (torch.nn.functional.pad(tensor, (0, 6)) for tensor in (ids, mask))
    narrow, wide = pack(ids, mask), pack(wide_ids, wide_mask)
    torch.testing.assert_close(narrow.logits, wide.logits, rtol=1e-4, atol=1e-5)
    assert narrow.gates.keys() == wide.gates.keys()
    for key, (_, opened) in narrow.gates.items():
        torch.testing.assert_close(opened, wide.gates[key][1], rtol=1e-5, atol=1e-6)


def test_the_papers_token_mean_does_let_padding_move_a_gate() -> None:
    modifications = METHODS["unipelt-apl"].modifications({"token_mean": "paper"})
    pack = perturbed(Pack(tiny_backbone(), [PackTrial(modifications, seed=3)], outputs=2))
    ids = random_ids(1, 4, 9)
    wide_ids, wide_mask = (torch.nn.functional.pad(tensor, (0, 6)) for tensor in (ids, torch.ones_like(ids)))
    narrow, wide = pack(ids, torch.ones_like(ids)), pack(wide_ids, wide_mask)
    assert max((narrow.gates[key][1] - wide.gates[key][1]).abs().max() for key in narrow.gates) > 1e-3


@every_family
@every_method
def test_kept_weights_give_equal_logits_and_number_as_counted(family: str, method: str) -> None:
    backbone, ids = tiny_backbone(family), random_ids(1, 4, 9)
    pack = perturbed(pack_of(backbone, method))
    kept = pack.kept_weights(0)
    deployed = Pack(backbone, [PackTrial(without_reparameterization(pack.trials[0].modifications), seed=8)], outputs=3)
    deployed.load_weights(0, kept)
    torch.testing.assert_close(deployed(ids, torch.ones_like(ids)).logits, pack(ids, torch.ones_like(ids)).logits)
    counted = count_all(pack.trials[0].modifications, backbone.shape, outputs=3)
    assert sum(tensor.numel() for tensor in kept.values()) == counted.kept
    trained = sum(tensor.numel() for tensor in pack.trained_weights(0).values())
    prefixes = sum(
        m.size * 2 * 2 * 16 for m in pack.trials[0].modifications if m.reparameterization
    )  # 2 layers of keys and values, width 16
    assert trained == counted.kept - prefixes + counted.training_only


@every_family
def test_the_gates_of_apl_are_four_a_layer_and_start_near_one_half(family: str) -> None:
    ids = random_ids(1, 6, 8)
    output = pack_of(tiny_backbone(family), "unipelt-apl")(ids, torch.ones_like(ids))
    assert sorted(output.gates) == [
        (name, site, layer)
        for name, site in [("adapter", "ffn"), ("lora", "attention.query"), ("lora", "attention.value"), ("prefix", "heads")]
        for layer in (0, 1)
    ]
    for _, opened in output.gates.values():
        assert opened.shape == (1, 6)
        assert (opened - 0.5).abs().max() < 0.1


def test_a_gate_is_the_mean_of_sigmoids_over_the_tokens_that_count() -> None:
    states = torch.tensor([[[[0.0], [2.0], [100.0]]]])  # one trial, one example, three tokens of width 1, the last of them padding
    weights = {"gate_weight": torch.tensor([[[1.0]]]), "gate_bias": torch.tensor([[0.0]])}
    values = gate_values(Gate(), weights, states, torch.tensor([[[1, 1, 0]]]))
    assert values.item() == pytest.approx((0.5 + 0.880797) / 2, abs=1e-6)  # sigmoid(0), sigmoid(2)


def test_switching_every_submodule_off_gives_the_backbone_and_one_alone_does_not() -> None:
    backbone, ids = tiny_backbone(), random_ids(1, 4, 9)
    mask = torch.ones_like(ids)
    pack = perturbed(pack_of(backbone, "unipelt-apl"))
    head = pack_of(backbone, "head")
    head.load_weights(0, pack.trained_weights(0))
    everything = frozenset({"adapter", "prefix", "lora"})
    torch.testing.assert_close(pack(ids, mask, without=everything).logits, head(ids, mask).logits)
    for name in everything:
        assert not torch.allclose(pack(ids, mask, without=frozenset({name})).logits, pack(ids, mask).logits)


def test_gated_and_plain_prefixes_share_a_pack() -> None:
    backbone, ids = tiny_backbone(), random_ids(1, 4, 9)
    methods = ("prefix", "unipelt-ap", "unipelt-apl", "lora")
    together = pack_of(backbone, *methods)(ids.expand(4, -1, -1), torch.ones(4, 4, 9)).logits
    for slot, method in enumerate(methods):
        torch.testing.assert_close(together[slot], pack_of(backbone, method)(ids, torch.ones_like(ids)).logits[0])


def test_a_prefix_is_attention_over_its_keys_and_values_beside_the_layers_own() -> None:
    """Against the formula of Li and Liang written out for one layer: softmax(q [P_K; K]^T / sqrt(d)) [P_V; V]."""
    backbone, ids = tiny_backbone(), random_ids(1, 1, 5)
    modifications = METHODS["prefix"].modifications({"prefix_length": 2, "reparameterization": False})
    pack = perturbed(Pack(backbone, [PackTrial(modifications, seed=0)], outputs=2))
    attention = backbone.model.encoder.layer[0].attention.self
    seen = {}
    attention.register_forward_hook(lambda _, inputs, output: seen.update(states=inputs[0], output=output[0]))
    pack(ids, torch.ones_like(ids))
    kept = pack.kept_weights(0)
    states = seen["states"][0]
    heads = [part.view(-1, 4, 4).transpose(0, 1) for part in (attention.query(states), attention.key(states), attention.value(states))]
    query, key, value = heads
    key = torch.cat([kept["prefix.heads.key"][0].view(2, 4, 4).transpose(0, 1), key], dim=1)
    value = torch.cat([kept["prefix.heads.value"][0].view(2, 4, 4).transpose(0, 1), value], dim=1)
    expected = torch.softmax(query @ key.transpose(1, 2) / 2, dim=-1) @ value
    torch.testing.assert_close(seen["output"][0], expected.transpose(0, 1).reshape(5, 16))
