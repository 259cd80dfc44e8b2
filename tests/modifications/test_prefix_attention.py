"""A prefix against the formula of Li and Liang written out for one attention: softmax(q [P_K; K]^T / sqrt(d)) [P_V; V]."""

import pytest
import torch
from torch.nn.functional import pad
from transformers.models.gemma2.modeling_gemma2 import apply_rotary_pos_emb as rotate_gemma
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as rotate_llama

from pelt_automl.backbones.loading import wrap
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from tests.tiny import FakeTokenizer, random_ids, scattered, tiny_backbone, tiny_model

LENGTH, TOKENS, HEADS = 2, 5, 4
CAUSAL = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()


class Seen:
    """A pack with a prefix of two at every attention, and what went through some modules when it read one text of five tokens."""

    def __init__(self, family, **paths):
        self.backbone = wrap(scattered(tiny_model(family)), FakeTokenizer(), name=family)
        modifications = METHODS["prefix"].modifications({"prefix_length": LENGTH, "reparameterization": False})
        pack, ids = Pack(self.backbone, [PackTrial(modifications, seed=0)], outputs=2), random_ids(1, 1, TOKENS)
        with torch.no_grad():
            for weights in pack.trained_weights(0).values():
                weights.mul_(20.0)
        self.inputs, self.kept = {name: [] for name in paths}, pack.kept_weights(0)
        handles = [
            self.module(path).register_forward_pre_hook(lambda _, inputs, name=name: self.inputs[name].append(inputs[0][0]))
            for name, path in paths.items()
        ]
        with torch.no_grad():
            pack(ids, torch.ones_like(ids))
        for handle in handles:
            handle.remove()

    def module(self, path):
        return self.backbone.model.get_submodule(path)

    def prefix(self, layer, heads):
        return [split(self.kept[f"prefix.heads.{name}"][layer], heads) for name in ("key", "value")]


def split(states, heads):
    """``(T, heads * w)`` as ``(heads, T, w)``."""
    return states.view(len(states), heads, -1).transpose(0, 1)


def attended(query, keys_values, prefix, scaling, *, bias=None, cap=None, mask=None):
    """``(T, heads * w)``: attention of ``(heads, T, w)`` queries over the prefix and the layer's own keys and values."""
    groups = len(query) // len(prefix[0])
    (prefix_key, prefix_value), (key, value) = ([part.repeat_interleave(groups, dim=0) for part in pair] for pair in (prefix, keys_values))
    scores = query @ torch.cat([prefix_key, key], dim=1).transpose(1, 2) * scaling
    scores = cap * torch.tanh(scores / cap) if cap else scores
    scores = scores if bias is None else scores + pad(bias, (LENGTH, 0))
    scores = scores if mask is None else scores.masked_fill(~pad(mask, (LENGTH, 0), value=True), -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    assert (weights.max(dim=-1).values - weights.mean(dim=-1)).mean() > 0.05  # uneven, so that a wrong score shows
    return (weights @ torch.cat([prefix_value, value], dim=1)).transpose(0, 1).flatten(1)


def assert_reaches(seen, output, expected):
    torch.testing.assert_close(seen.inputs[output][-1], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_berts_attention_reads_the_prefix_before_its_own_keys_and_values():
    path = "encoder.layer.1.attention.self"
    seen = Seen("bert", states=f"{path}.query", output="encoder.layer.1.attention.output.dense")
    attention, [states] = seen.module(path), seen.inputs["states"]
    query, key, value = (split(part(states), HEADS) for part in (attention.query, attention.key, attention.value))
    assert_reaches(seen, "output", attended(query, (key, value), seen.prefix(1, HEADS), 1 / 2))


@torch.no_grad()
@pytest.mark.parametrize("family", ["albert", "albert-two-groups"])
def test_albert_gets_the_layers_own_prefix_each_time_that_a_shared_layer_is_applied(family):
    for layer, applications in enumerate({"albert": [4], "albert-two-groups": [2, 2]}[family]):
        path = f"encoder.albert_layer_groups.{layer}.albert_layers.0.attention"
        seen = Seen(family, states=f"{path}.query", output=f"{path}.dense")
        attention = seen.module(path)
        assert len(seen.inputs["output"]) == applications
        for states, output in zip(seen.inputs["states"], seen.inputs["output"], strict=True):
            query, key, value = (split(part(states), HEADS) for part in (attention.query, attention.key, attention.value))
            torch.testing.assert_close(output, attended(query, (key, value), seen.prefix(layer, HEADS), 1 / 2), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("family", "rotate", "width", "cap"), [("llama", rotate_llama, 4, None), ("gemma2", rotate_gemma, 6, 0.5)])
def test_query_heads_that_share_a_key_head_share_its_prefix_which_has_no_position(family, rotate, width, cap):
    path = "layers.1.self_attn"
    seen = Seen(family, states=f"{path}.q_proj", output=f"{path}.o_proj")
    attention, [states] = seen.module(path), seen.inputs["states"]
    query, key = split(attention.q_proj(states), HEADS), split(attention.k_proj(states), 2)
    cos, sin = seen.backbone.model.rotary_emb(states[None], torch.arange(TOKENS)[None])
    query, key = (part[0] for part in rotate(query[None], key[None], cos, sin))
    value = split(attention.v_proj(states), 2)
    assert_reaches(seen, "output", attended(query, (key, value), seen.prefix(1, 2), width**-0.5, cap=cap, mask=CAUSAL))


def t5_parts(seen, path, read_keys):
    attention, [states] = seen.module(path), seen.inputs["states"]
    return split(attention.q(states), HEADS), (split(attention.k(read_keys), HEADS), split(attention.v(read_keys), HEADS))


@torch.no_grad()
@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("family", ["t5", "umt5"])
def test_t5s_position_bias_is_widened_by_zeros(family, block):
    path = f"encoder.block.{block}.layer.0.SelfAttention"
    seen = Seen(family, states=f"{path}.q", output=f"{path}.o")
    bias = seen.module("encoder.block.0.layer.0.SelfAttention" if family == "t5" else path).compute_bias(TOKENS, TOKENS)[0]
    assert bias.std() > 0.1
    query, keys_values = t5_parts(seen, path, seen.inputs["states"][0])
    assert_reaches(seen, "output", attended(query, keys_values, seen.prefix(block, HEADS), 1.0, bias=bias))


@torch.no_grad()
def test_t5s_decoder_sees_its_prefix_and_no_later_token():
    path = "decoder.block.1.layer.0.SelfAttention"
    seen = Seen("t5", states=f"{path}.q", output=f"{path}.o")
    bias = seen.module("decoder.block.0.layer.0.SelfAttention").compute_bias(TOKENS, TOKENS)[0]
    query, keys_values = t5_parts(seen, path, seen.inputs["states"][0])
    assert_reaches(seen, "output", attended(query, keys_values, seen.prefix(3, HEADS), 1.0, bias=bias, mask=CAUSAL))


@torch.no_grad()
def test_t5s_cross_attention_has_a_prefix_beside_the_encoders_keys_and_no_position_bias():
    path = "decoder.block.1.layer.1.EncDecAttention"
    seen = Seen("t5", states=f"{path}.q", encoder=f"{path}.k", output=f"{path}.o")
    query, keys_values = t5_parts(seen, path, seen.inputs["encoder"][0])
    assert_reaches(seen, "output", attended(query, keys_values, seen.prefix(5, HEADS), 1.0))


def test_gated_and_plain_prefixes_share_a_pack():
    backbone, ids = tiny_backbone(), random_ids(1, 4, 9)
    methods = ("prefix", "unipelt-ap", "unipelt-apl", "lora")
    trials = [PackTrial(METHODS[name].modifications({}), seed=3) for name in methods]
    together = Pack(backbone, trials, outputs=3)(ids.expand(4, -1, -1), torch.ones(4, 4, 9)).logits
    for slot, trial in enumerate(trials):
        torch.testing.assert_close(together[slot], Pack(backbone, [trial], outputs=3)(ids, torch.ones_like(ids)).logits[0])
