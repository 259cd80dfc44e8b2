"""What share of the hidden states each change is: as its formula says, blind to padding, alone as in a pack, and only when asked for."""

import functools

import pytest
import torch

from pelt_automl.design_space import WHOLE_SITES, Form, Gate, Insertion, Modification, Site
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.modifications.observed import contribution
from pelt_automl.modifications.support import why_not
from tests.probing import a_batch, lively_backbone, moved, widened

UNION = METHODS["unipelt"].modifications({"bottleneck": 3, "prefix_length": 2, "rank": 2, "reparameterization": False})
NO_GATE = METHODS["unipelt"].modifications({"gates": False, "bottleneck": 4, "prefix_length": 3, "rank": 1, "reparameterization": False})
ADDED = (
    Modification("heads", Site.HEADS, Form.RELU, size=2),
    Modification("scaled", Site.FFN_DOWN, Form.SCALE, Insertion.SEQUENTIAL),
    Modification("prefix", Site.HEADS, Form.SOFTMAX, size=4),
    Modification("second", Site.HEADS, Form.SOFTMAX, size=1),
)
TRIALS = (UNION, NO_GATE, ADDED)

every_family = pytest.mark.parametrize("family", ["bert", "albert", "modernbert", "gpt2", "llama", "bart", "t5"])


@functools.cache
def backbone_of(family):
    return lively_backbone(family)


@functools.cache
def mixed(family="bert"):
    """All trials in one pack, as after some training."""
    return moved(Pack(backbone_of(family), [PackTrial(own, seed=3) for own in TRIALS], outputs=3))


@torch.no_grad()
def measured(pack, ids, mask, **more):
    return pack(ids, mask, measure=True, **more)


def shares_of(output, slot):
    return {key: values[slots.tolist().index(slot)] for key, (slots, values) in output.contributions.items() if slot in slots.tolist()}


def test_the_share_is_the_mean_over_tokens_of_one_norm_over_another():
    change = torch.tensor([[[[3.0, 4.0], [0.0, 1.0], [9.0, 9.0]]]])  # norms 5, 1, and padding
    states = torch.tensor([[[[0.0, 10.0], [4.0, 0.0], [1.0, 1.0]]]])  # norms 10, 4
    torch.testing.assert_close(contribution(change, states, torch.tensor([[[1, 1, 0]]])), torch.tensor([[(0.5 + 0.25) / 2]]))


def expected_share(change, states, mask):
    """Token by token."""
    shares = change.norm(dim=-1) / states.norm(dim=-1)
    return torch.stack([own[counted.bool()].mean() for own, counted in zip(shares, mask, strict=True)])


@torch.no_grad()
def test_lora_and_adapter_contribute_what_their_formulas_say():
    pack = moved(Pack(backbone_of("bert"), [PackTrial(UNION, seed=3)], outputs=2))
    layer, seen = pack.backbone.model.encoder.layer[0], {}
    handles = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0].clone()}))
        for name, module in (("x", layer.attention.self.query), ("s", layer.output.LayerNorm))
    ]
    ids, mask = a_batch(1)
    output = measured(pack, ids, mask)
    for handle in handles:
        handle.remove()
    w = {name: own[0] for name, own in pack.trained_weights(0).items() if not name.startswith("head")}
    opened = {place: values[0][:, None, None] for place, (_, values) in output.gates.items()}

    low = seen["x"] @ w["lora.attention.query.down"].T @ w["lora.attention.query.up"].T
    expected = expected_share(opened["lora", "attention.query", 0] * low, layer.attention.self.query(seen["x"]), mask[0])
    torch.testing.assert_close(shares_of(output, 0)["lora", "attention.query", 0], expected)

    inner = torch.relu(layer.output.LayerNorm(seen["s"]) @ w["adapter.ffn.down"].T + w["adapter.ffn.down_bias"])
    change = opened["adapter", "ffn", 0] * (inner @ w["adapter.ffn.up"].T + w["adapter.ffn.up_bias"])
    torch.testing.assert_close(shares_of(output, 0)["adapter", "ffn", 0], expected_share(change, seen["s"], mask[0]))


@torch.no_grad()
@pytest.mark.parametrize("modifications", TRIALS)
def test_a_prefix_contributes_the_change_of_the_heads_output_against_attention_without_it(modifications):
    pack = moved(Pack(backbone_of("bert"), [PackTrial(modifications, seed=3)], outputs=2))
    seen, (ids, mask) = [], a_batch(1)
    reader = pack.backbone.model.encoder.layer[0].attention.output.dense
    handle = reader.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    found = shares_of(measured(pack, ids, mask), 0)
    others = frozenset({"heads"})  # what is added to the heads' output isn't a part of it
    for name in {m.name for m in modifications if m.form is Form.SOFTMAX}:
        for off in (others, others | {name}):
            pack(ids, mask, without=off)
        torch.testing.assert_close(found[name, "heads", 0], expected_share(seen[-2] - seen[-1], seen[-1], mask[0]))
    handle.remove()


@torch.no_grad()
@pytest.mark.parametrize("insertion", list(Insertion))
def test_norm_first_an_adapters_share_is_of_the_residual_stream(insertion):
    backbone = backbone_of("llama")
    last = backbone.shape.layers - 1
    adapter = Modification("adapter", Site.FFN, Form.RELU, insertion, size=3, scale=2.0, layers=(last,))
    pack, (ids, mask), seen = moved(Pack(backbone, [PackTrial((adapter,), seed=0)], outputs=2)), a_batch(1), []
    handle = backbone.model.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    found = shares_of(measured(pack, ids, mask), 0)
    pack(ids, mask, without=frozenset({"adapter"}))
    handle.remove()
    torch.testing.assert_close(found["adapter", "ffn", last], expected_share(seen[0] - seen[1], seen[1], mask[0]), rtol=1e-4, atol=1e-6)


@every_family
def test_measuring_changes_nothing_and_costs_nothing_when_nobody_asks(family):
    pack, (ids, mask) = mixed(family), a_batch(len(TRIALS))
    with torch.no_grad():
        plain = pack(ids, mask)
    asked = measured(pack, ids, mask)
    assert plain.contributions == {}
    assert torch.equal(plain.logits, asked.logits)
    assert plain.gates.keys() == asked.gates.keys()
    for slot, modifications in enumerate(TRIALS):
        shares = shares_of(asked, slot)
        assert {(name, site) for name, site, _ in shares} == {(m.name, m.site.value) for m in modifications}
        assert all((own > 0).all() and own.isfinite().all() for own in shares.values())


@every_family
def test_padding_moves_no_contribution(family):
    pack, (ids, mask) = mixed(family), a_batch(len(TRIALS))
    narrow, wide = measured(pack, ids, mask), measured(pack, *widened(ids, mask, right=5))
    for slot in range(len(TRIALS)):
        mine, padded = shares_of(narrow, slot), shares_of(wide, slot)
        assert mine.keys() == padded.keys()
        assert all(torch.allclose(mine[key], padded[key], rtol=1e-3, atol=1e-5) for key in mine)


@every_family
def test_a_trial_contributes_alone_what_it_contributes_beside_others(family):
    pack, (ids, mask) = mixed(family), a_batch(len(TRIALS))
    together = measured(pack, ids, mask)
    for slot, modifications in enumerate(TRIALS):
        single = Pack(backbone_of(family), [PackTrial(modifications, seed=3)], outputs=3)
        single.load_weights(0, pack.trained_weights(slot))
        mine, alone = shares_of(together, slot), shares_of(measured(single, ids[:1], mask[:1]), 0)
        assert mine.keys() == alone.keys()
        assert all(torch.allclose(mine[key], alone[key], rtol=1e-3, atol=1e-5) for key in mine)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_that_changes_single_layers_tells_what_each_change_contributes(name):
    backbone, modifications = backbone_of("bert"), METHODS[name].build()
    if any(why_not(m, backbone.architecture, backbone.shape) for m in modifications):
        pytest.skip("not on BERT")
    output = measured(moved(Pack(backbone, [PackTrial(modifications, seed=0)], outputs=2)), *a_batch(1))
    assert {(submodule, site) for submodule, site, _ in output.contributions} == {
        (m.name, m.site.value) for m in modifications if m.form not in WHOLE_SITES
    }


def test_what_is_switched_off_or_has_not_left_its_start_contributes_nothing():
    lora = [Modification("lora", site, Form.LINEAR, size=2, gate=Gate()) for site in (Site.ATTENTION_QUERY, Site.ATTENTION_VALUE)]
    fresh = Pack(backbone_of("bert"), [PackTrial(tuple(lora), seed=0)], outputs=2)
    assert all((own == 0).all() for own in shares_of(measured(fresh, *a_batch(1)), 0).values())
    without = measured(mixed(), *a_batch(len(TRIALS)), without=frozenset({"lora"}))
    assert not {place for place in without.contributions if place[0] == "lora"}


def test_one_example_alone_on_deberta_is_measured_too():
    lora = METHODS["lora"].modifications({"rank": 2})
    pack = moved(Pack(backbone_of("deberta-v3"), [PackTrial(lora, seed=0)], outputs=2))
    ids, mask = a_batch(1)
    alone, beside = measured(pack, ids[:, :1], mask[:, :1]), measured(pack, ids, mask)
    place = ("lora", "attention.query", 0)
    assert alone.contributions[place][1].shape == (1, 1)
    torch.testing.assert_close(alone.contributions[place][1][0], beside.contributions[place][1][0, :1])
