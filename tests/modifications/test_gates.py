"""Gates of every kind: in (0, 1), blind to padding, as their formulas say, and alone as in a pack."""

import functools
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site, count_all
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.modifications.gate import gate_values
from tests.probing import a_batch, lively_backbone, moved, widened, without_gradient

NETWORKS = ("linear", "mlp", "gru", "transformer")
PLACES = {
    "own": Gate(),
    "split": Gate(split=True),
    "group": Gate(group="all"),
    "softmax": Gate(group="all", squashing="softmax"),
    "central": Gate(group="all", squashing="central"),
}
KINDS = {
    f"{place} {network}{' across layers' * across}": replace(gate, network=network, across_layers=across, width=5)
    for place, gate in PLACES.items()
    for network in NETWORKS
    for across in (False, True)
}
"""By a name: one gate of every kind."""

every_family = pytest.mark.parametrize("family", ["bert", "albert", "modernbert", "llama", "gpt2", "bart", "t5"])


def union(gate):
    """Adapter, prefix and LoRA, each behind this kind of gate, as in UniPELT; only a prefix has something to split."""
    unsplit = replace(gate, split=False)
    return (
        Modification("adapter", Site.FFN, Form.RELU, Insertion.SEQUENTIAL, size=3, gate=unsplit),
        Modification("prefix", Site.HEADS, Form.SOFTMAX, size=2, gate=gate),
        *(Modification("lora", site, Form.LINEAR, size=2, gate=unsplit) for site in (Site.ATTENTION_QUERY, Site.ATTENTION_VALUE)),
    )


@functools.cache
def backbone_of(family):
    return lively_backbone(family)


@functools.cache
def every_kind(family="bert", **other):
    """One trial a kind of gate, all of them in one pack, as after some training."""
    trials = [PackTrial(union(replace(gate, **other)), seed=3) for gate in KINDS.values()]
    return moved(Pack(backbone_of(family), trials, outputs=3))


def gates_of(output, slot):
    """The gates of one trial of a pack, ``(B,)`` each."""
    return {key: values[slots.tolist().index(slot)] for key, (slots, values) in output.gates.items() if slot in slots.tolist()}


@every_family
def test_every_gate_lies_between_0_and_1_and_examples_differ(family):
    with torch.no_grad():
        output = every_kind(family)(*a_batch(len(KINDS)))
    for slot, name in enumerate(KINDS):
        values = torch.stack(list(gates_of(output, slot).values()))
        assert ((values > 0) & (values < 1)).all(), name
        assert values.std(dim=1).max() > 1e-5, f"{name}: a gate is per example"


@every_family
def test_gates_start_at_one_half_or_where_they_compete_at_an_equal_share(family):
    pack = Pack(backbone_of(family), [PackTrial(union(gate), seed=3) for gate in KINDS.values()], outputs=3)
    with torch.no_grad():
        output = pack(*a_batch(len(KINDS)))
    for slot, (name, gate) in enumerate(KINDS.items()):
        start = 1 / 3 if gate.competing else 0.5
        distance = max((values - start).abs().max() for values in gates_of(output, slot).values())
        assert distance < 0.1, f"{name}: {distance:.3f} away from {start:.3f}"


@every_family
def test_padding_on_the_right_moves_no_gate_of_any_kind(family):
    ids, mask = a_batch(len(KINDS))
    assert_blind_to_padding(every_kind(family), (ids, mask), widened(ids, mask, right=5))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_padding_on_the_left_moves_no_gate_of_a_decoder(family):
    ids, mask = a_batch(len(KINDS))
    assert_blind_to_padding(every_kind(family), (ids, mask), widened(ids, mask, left=4))


def assert_blind_to_padding(pack, narrow, wide):
    with torch.no_grad():
        one, other = pack(*narrow), pack(*wide)
    for slot, name in enumerate(KINDS):
        mine, padded = gates_of(one, slot), gates_of(other, slot)
        assert mine.keys() == padded.keys()
        distance = max((mine[key] - padded[key]).abs().max() for key in mine)
        assert distance < 1e-5, f"{name}: a gate moves by {distance:.1e}"
        torch.testing.assert_close(one.logits[slot], other.logits[slot], rtol=1e-4, atol=1e-5, msg=name)


def test_the_papers_token_mean_lets_padding_move_gates_of_every_kind():
    pack, (ids, mask) = every_kind(token_mean="paper"), a_batch(len(KINDS))
    with torch.no_grad():
        one, other = pack(ids, mask), pack(*widened(ids, mask, right=5))
    for slot, name in enumerate(KINDS):
        mine, padded = gates_of(one, slot), gates_of(other, slot)
        assert max((mine[key] - padded[key]).abs().max() for key in mine) > 1e-4, name


@every_family
def test_competing_gates_of_a_layer_add_up_to_1_and_others_do_not(family):
    with torch.no_grad():
        output = every_kind(family)(*a_batch(len(KINDS)))
    for slot, (name, gate) in enumerate(KINDS.items()):
        mine = gates_of(output, slot)
        total = mine["adapter", "ffn", 0] + mine["lora", "attention.query", 0]
        total = total + (mine["prefix", "heads.key", 0] if gate.split else mine["prefix", "heads", 0])
        assert torch.allclose(total, torch.ones(()), atol=1e-5) is gate.competing, f"{name}: {total.tolist()}"


def test_gates_of_a_group_are_one_gate_and_own_gates_differ():
    with torch.no_grad():
        output = every_kind()(*a_batch(len(KINDS)))
    shared, own = (gates_of(output, list(KINDS).index(name)) for name in ("group linear", "own linear"))
    assert torch.equal(shared["adapter", "ffn", 1], shared["prefix", "heads", 1])
    assert torch.equal(shared["lora", "attention.query", 1], shared["lora", "attention.value", 1])
    assert not torch.allclose(own["lora", "attention.query", 1], own["lora", "attention.value", 1])


def test_a_split_prefix_gate_has_a_value_for_keys_and_one_for_values():
    with torch.no_grad():
        output = every_kind()(*a_batch(len(KINDS)))
    mine = gates_of(output, list(KINDS).index("split gru"))
    assert {site for name, site, _ in mine if name == "prefix"} == {"heads.key", "heads.value"}
    assert not torch.allclose(mine["prefix", "heads.key", 0], mine["prefix", "heads.value", 0])


@every_family
def test_a_trial_with_any_gate_computes_alone_what_it_computes_beside_all_others(family):
    pack, (ids, mask) = every_kind(family), a_batch(len(KINDS))
    with torch.no_grad():
        together = pack(ids, mask)
        for slot, (name, gate) in enumerate(KINDS.items()):
            single = Pack(backbone_of(family), [PackTrial(union(gate), seed=3)], outputs=3)
            single.load_weights(0, pack.trained_weights(slot))
            alone = single(ids[:1], mask[:1])
            torch.testing.assert_close(together.logits[slot], alone.logits[0], rtol=1e-4, atol=1e-5, msg=name)
            mine, theirs = gates_of(together, slot), gates_of(alone, 0)
            assert mine.keys() == theirs.keys(), name
            assert all(torch.allclose(mine[key], theirs[key], atol=1e-6) for key in mine), name


@every_family
def test_every_weight_of_every_gate_gets_a_gradient(family):
    trials = [PackTrial(union(gate), seed=3) for gate in KINDS.values()]
    assert without_gradient(moved(Pack(backbone_of(family), trials, outputs=3))) == []


@every_family
def test_gate_parameters_are_as_many_as_counted_and_one_set_serves_all_layers(family):
    pack, shape = every_kind(family), backbone_of(family).shape
    for slot, (name, gate) in enumerate(KINDS.items()):
        weights = pack.trained_weights(slot)
        gates = {key: own for key, own in weights.items() if ".gate_" in key}
        counted = count_all(union(gate), shape, outputs=3)
        assert sum(own.numel() for own in gates.values()) == counted.gates, name
        assert sum(own.numel() for own in weights.values()) == counted.kept, name
        layers = {len(own) for own in gates.values()}
        assert layers == {1} if gate.across_layers else min(layers) >= shape.layers, name


# ---------------------------------------------------------------- formulas


def states_and_mask(width=4):
    """One trial, three examples of up to five tokens: two, five and three count."""
    states = torch.randn(1, 3, 5, width, generator=torch.Generator().manual_seed(0))
    return states, torch.tensor([[[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]])


def weights_of(gate, wide_in=4, outputs=2):
    """Weights of one network of this kind, from a pack's own initialization, moved."""
    from pelt_automl.modifications.gate import add_gate
    from pelt_automl.modifications.stacked import Member, StackedModule

    module = StackedModule("gate", [Member(0, Modification("x", Site.FFN, Form.LINEAR), seed=0)])
    add_gate(module, gate, 1, wide_in, outputs)
    generator = torch.Generator().manual_seed(5)
    return {name: own.detach()[:, 0] + torch.randn(own[:, 0].shape, generator=generator) for name, own in module.named_parameters()}


SCORES = {"gate_weight": torch.tensor([[[1.0], [0.0]]]), "gate_bias": torch.tensor([[0.0, 2.0]])}
"""Two outputs that read a state of width 1: the state itself, and 2."""

TWO_TOKENS = torch.tensor([[[[0.0], [2.0], [100.0]]]]), torch.tensor([[[1, 1, 0]]])
"""Tokens 0 and 2, and padding."""


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (Gate(), [0.690399, 0.880797]),  # (s(0) + s(2)) / 2 = (0.5 + 0.880797) / 2; s(2)
        (Gate(temperature=2.0), [0.615529, 0.731059]),  # (s(0) + s(1)) / 2 = (0.5 + 0.731059) / 2; s(1)
        (Gate(squashing="softmax", group="g"), [0.309601, 0.690399]),  # (s(0 - 2) + s(2 - 2)) / 2 = (0.119203 + 0.5) / 2; the rest
        (Gate(squashing="softmax", group="g", temperature=0.5), [0.258993, 0.741007]),  # (s(-4) + s(0)) / 2; the rest
        (Gate(squashing="central", group="g"), [0.268941, 0.731059]),  # means of relu: (0 + 2) / 2 = 1, 2; s(-1), s(1)
        (Gate(token_mean="paper"), [0.793599, 0.880797]),  # (0.5 + 0.880797 + 1) / 3
    ],
    ids=str,
)
def test_gates_are_as_computed_by_hand(gate, expected):
    torch.testing.assert_close(gate_values(gate, SCORES, *TWO_TOKENS), torch.tensor([[expected]]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [0.119203, 0.880797]), (2.0, [0.268941, 0.731059])],  # means of relu: 1 and 3; s(-2), s(-1)
)
def test_the_central_gate_divides_the_mean_by_the_temperature(temperature, expected):
    weights = {"gate_weight": torch.tensor([[[-1.0], [0.0]]]), "gate_bias": torch.tensor([[2.0, 3.0]])}  # relu(2 - x): 2, 0; 3
    values = gate_values(Gate(squashing="central", group="g", temperature=temperature), weights, *TWO_TOKENS)
    torch.testing.assert_close(values, torch.tensor([[expected]]), rtol=0, atol=1e-6)


def test_the_mlp_gate_has_one_hidden_layer():
    gate, (states, mask) = Gate(network="mlp", width=3), states_and_mask()
    w = {name: own[0] for name, own in weights_of(gate).items()}
    scores = torch.tanh(states[0] @ w["gate_hidden"].T + w["gate_hidden_bias"]) @ w["gate_weight"].T + w["gate_bias"]
    expected = torch.stack([torch.sigmoid(own[: int(counted.sum())]).mean(0) for own, counted in zip(scores, mask[0], strict=True)])
    torch.testing.assert_close(gate_values(gate, weights_of(gate), states, mask)[0], expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_recurrent_gate_is_torchs_gru_on_the_text_without_its_padding(side):
    gate, (states, mask) = Gate(network="gru", width=3), states_and_mask()
    weights = weights_of(gate)
    gru = torch.nn.GRU(4, 3, batch_first=True)
    theirs = {"weight_ih_l0": "input", "bias_ih_l0": "input_bias", "weight_hh_l0": "state", "bias_hh_l0": "state_bias"}
    gru.load_state_dict({name: weights[f"gate_{ours}"][0] for name, ours in theirs.items()})
    if side == "left":
        states, mask = states.flip(2), mask.flip(2)
    expected = []
    for own, counted in zip(states[0], mask[0].bool(), strict=True):
        text, _ = gru(own[counted].unsqueeze(0))
        expected.append(torch.sigmoid(text[0] @ weights["gate_weight"][0].T + weights["gate_bias"][0]).mean(0))
    torch.testing.assert_close(gate_values(gate, weights, states, mask)[0], torch.stack(expected))


def test_the_transformer_gate_is_torchs_attention_over_the_tokens_that_count():
    gate, (states, mask) = Gate(network="transformer", width=3), states_and_mask()
    weights = weights_of(gate)
    w = {name.removeprefix("gate_"): own[0] for name, own in weights.items()}
    hidden = torch.tanh(states[0] @ w["hidden"].T + w["hidden_bias"])
    query, key, value = (hidden @ w[name].T + w[f"{name}_bias"] for name in ("query", "key", "value"))
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask[0].bool()[:, None, :])
    scores = (hidden + mixed @ w["output"].T + w["output_bias"]) @ w["weight"].T + w["bias"]
    expected = torch.stack([torch.sigmoid(own[: int(counted.sum())]).mean(0) for own, counted in zip(scores, mask[0], strict=True)])
    torch.testing.assert_close(gate_values(gate, weights, states, mask)[0], expected)


def test_a_network_across_layers_opens_each_layers_gate_from_that_layers_states():
    """One set of weights, read off the pack, and the states that the adapters of both layers see."""
    backbone, gate = backbone_of("bert"), Gate(across_layers=True)
    adapter = Modification("adapter", Site.FFN, Form.RELU, Insertion.PARALLEL, size=3, gate=gate)
    pack, seen = moved(Pack(backbone, [PackTrial((adapter,), seed=3)], outputs=2)), []
    handles = [
        layer.intermediate.dense.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for layer in backbone.model.encoder.layer
    ]
    with torch.no_grad():
        output = pack(*a_batch(1))
    for handle in handles:
        handle.remove()
    weights, mask = pack.trained_weights(0), a_batch(1)[1][0]
    assert weights["adapter.ffn.gate_weight"].shape == (1, 1, 16)
    for layer, states in enumerate(seen):
        opened = torch.sigmoid(states @ weights["adapter.ffn.gate_weight"][0, 0] + weights["adapter.ffn.gate_bias"][0, 0])
        torch.testing.assert_close(output.gates["adapter", "ffn", layer][1][0], (opened * mask).sum(1) / mask.sum(1))


@pytest.mark.parametrize("family", ["deberta-v3", "deberta-v2-conv", "mpnet"])
def test_every_kind_of_gate_is_blind_to_padding_where_heads_cannot_be_changed_and_positions_go_through_the_query(family):
    ids, mask = a_batch(1)
    for name, gate in KINDS.items():
        if gate.split:
            continue
        modifications = tuple(m for m in union(gate) if m.form is not Form.SOFTMAX)
        pack = moved(Pack(backbone_of(family), [PackTrial(modifications, seed=3)], outputs=3))
        with torch.no_grad():
            output, wide, ungated = pack(ids, mask), pack(*widened(ids, mask, right=4)), pack(ids, mask, without=frozenset({"lora"}))
        torch.testing.assert_close(output.logits, wide.logits, rtol=1e-4, atol=1e-5, msg=name)
        assert (output.logits - ungated.logits).abs().max() > 1e-4, name
        assert output.gates.keys() == wide.gates.keys()
        for place, values in gates_of(output, 0).items():
            torch.testing.assert_close(values, gates_of(wide, 0)[place], rtol=1e-4, atol=1e-5, msg=f"{name} {place}")
