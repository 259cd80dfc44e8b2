"""Every point of the design space that makes sense, on architectures that differ in what matters, and the formulas by hand."""

import functools
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.nn.functional import gelu, pad

from pelt_automl.design_space import Form, Insertion, Modification, Site, count_all, nonsense
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.modifications.support import why_not
from tests.probing import a_batch, lively_backbone, moved, widened, without_gradient
from tests.tiny import random_ids

POINTS = [
    Modification(f"{form}-{insertion}", site, form, insertion, size=0 if form is Form.SCALE else 3)
    for form, site, insertion in product(Form, Site, Insertion)
    if nonsense(form, site, insertion) is None and form not in (Form.FULL, Form.PEFT)
]
"""51: two forms at 9 sites in two insertions, three forms at the heads, 9 scales, a subspace, the biases, a prompt. Without the
forms that need a copy of the backbone, which have tests of their own."""

HOW_MANY = {"bert": 46, "llama": 50, "gpt2": 46, "bart": 46, "t5": 45, "flan-t5": 50}
"""Of the 51: 5 fewer where the network has no gating projection, 1 fewer where there are no bias terms."""

every_kind = pytest.mark.parametrize("family", list(HOW_MANY))


@functools.cache
def backbone_of(family):
    return lively_backbone(family)


def points_of(family):
    backbone = backbone_of(family)
    return [point for point in POINTS if why_not(point, backbone.architecture, backbone.shape) is None]


def pack_of(family, points):
    """One trial a point, all of them in one pack."""
    return Pack(backbone_of(family), [PackTrial((point,), seed=3) for point in points], outputs=3)


@functools.cache
def moved_pack(family):
    return moved(pack_of(family, points_of(family)))


def distances(family, points):
    """By point: how far its untrained output is from the backbone's, as a share of the largest logit."""
    pack, (ids, mask) = pack_of(family, points), a_batch(len(points))
    plain = Pack(backbone_of(family), [PackTrial((), seed=3)], outputs=3)
    with torch.no_grad():
        logits, own = pack(ids, mask).logits, plain(ids[:1], mask[:1]).logits[0]
    shares = (logits - own).abs().amax(dim=(1, 2)) / own.abs().max()
    return {f"{point.name} at {point.site}": share for point, share in zip(points, shares.tolist(), strict=True)}


@every_kind
def test_every_point_that_makes_sense_is_there_where_the_architecture_has_the_site(family):
    assert len(POINTS) == 51
    assert len(points_of(family)) == HOW_MANY[family]
    assert len(pack_of(family, points_of(family)).stacks) == HOW_MANY[family]


@every_kind
def test_parameters_are_as_many_as_counted_at_every_point(family):
    pack, shape = pack_of(family, points_of(family)), backbone_of(family).shape
    for slot, point in enumerate(points_of(family)):
        assert sum(own.numel() for own in pack.kept_weights(slot).values()) == count_all((point,), shape, outputs=3).kept, point


@every_kind
def test_linear_forms_scales_subspaces_and_biases_start_as_the_identity_and_bottlenecks_near_it(family):
    forms = (Form.LINEAR, Form.SCALE, Form.SUBSPACE, Form.BIAS)
    exact = [point for point in points_of(family) if point.form in forms and point.site is not Site.HEADS]
    assert {name: share for name, share in distances(family, exact).items() if share > 1e-6} == {}
    near = [point for point in points_of(family) if point.form is Form.RELU or (point.form is Form.LINEAR and point.site is Site.HEADS)]
    assert {name: share for name, share in distances(family, near).items() if share > 0.25} == {}


@every_kind
def test_the_identity_initialization_starts_as_the_identity_wherever_a_change_is_added(family):
    added = [point for point in points_of(family) if point.form in (Form.LINEAR, Form.RELU) or point.form is Form.SOFTMAX]
    changed = {name: share for name, share in distances(family, [_from_nothing(point) for point in added]).items() if share > 1e-6}
    assert changed == {}


def _from_nothing(point):
    """Prefix keys that join the head's softmax draw attention whatever their values are, so that a prefix has to be added."""
    return replace(point, initialization="identity", composition="add" if point.form is Form.SOFTMAX else "gated")


@every_kind
def test_the_normal_initialization_starts_away_from_the_identity(family):
    added = [replace(point, initialization="normal") for point in points_of(family) if point.form is Form.LINEAR]
    pack = pack_of(family, added)
    for slot, point in enumerate(added):
        assert all(own.abs().max() > 0 for own in pack.trained_weights(slot).values() if own.dim() > 1), point


@every_kind
def test_every_point_gets_gradients_in_every_layer_and_the_backbone_none(family):
    pack = moved(pack_of(family, points_of(family)))
    unreached = without_gradient(pack)
    assert [name for name in unreached if not _is_key_bias(name)] == []


def _is_key_bias(name):
    """A bias of the keys cancels in the softmax, so that its gradient is rounding noise, or nothing at all."""
    return any(key in name for key in ("key.up_bias", "self__key", "k_proj"))


@every_kind
def test_every_point_changes_the_output_after_some_training(family):
    points, pack, (ids, mask) = points_of(family), moved_pack(family), a_batch(HOW_MANY[family])
    with torch.no_grad():
        logits = pack(ids, mask).logits
        off = pack(ids, mask, without=frozenset(point.name for point in points)).logits
    for slot, point in enumerate(points):
        assert (logits[slot] - off[slot]).abs().max() > 1e-5 * off[slot].abs().max(), f"{point.name} at {point.site} does nothing"


@every_kind
def test_every_point_is_blind_to_padding(family):
    batch = a_batch(HOW_MANY[family])
    assert_same_logits(family, batch, widened(*batch, right=5))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_every_point_of_a_decoder_is_blind_to_padding_on_the_left(family):
    batch = a_batch(HOW_MANY[family])
    assert_same_logits(family, batch, widened(*batch, left=4))


def assert_same_logits(family, narrow, wide):
    with torch.no_grad():
        one, other = moved_pack(family)(*narrow).logits, moved_pack(family)(*wide).logits
    shares = (one - other).abs().amax(dim=(1, 2)) / one.abs().amax(dim=(1, 2))
    moving = {f"{p.name} at {p.site}": share for p, share in zip(points_of(family), shares.tolist(), strict=True) if share > 1e-5}
    assert moving == {}


@every_kind
def test_every_point_computes_alone_what_it_computes_beside_all_others(family):
    pack, (ids, mask) = moved_pack(family), a_batch(HOW_MANY[family])
    with torch.no_grad():
        together = pack(ids, mask).logits
        for slot, point in enumerate(points_of(family)):
            single = pack_of(family, [point])
            single.load_weights(0, pack.trained_weights(slot))
            alone = single(ids[:1], mask[:1]).logits[0]
            assert (together[slot] - alone).abs().max() < 1e-5 * alone.abs().max(), f"{point.name} at {point.site}"


# ---------------------------------------------------------------- formulas by hand, on one layer


class Seen(dict):
    """What modules of the backbone were given and gave in one forward pass of a trained modification."""

    def __init__(self, family, modification, *paths):
        super().__init__()
        backbone = lively_backbone(family)
        self.model = backbone.model
        pack = moved(Pack(backbone, [PackTrial((modification,), seed=3)], outputs=2), size=0.3)
        self.weights = {name.rpartition(".")[2]: own[0] for name, own in pack.trained_weights(0).items() if not name.startswith("head.")}
        ids = random_ids(1, 2, 5)
        self.model.register_forward_pre_hook(lambda *_: self.watch(paths))
        with torch.no_grad():
            pack(ids, torch.ones_like(ids))

    def watch(self, paths):
        """Hooks run in the order in which they came: these, when the pack's are there, so that they see what it has changed."""
        for path in paths:
            self.model.get_submodule(path).register_forward_hook(functools.partial(self.see, path))

    def see(self, path, module, inputs, output):
        self[path] = inputs[0] if inputs else None, output[0] if isinstance(output, tuple) else output

    def bottleneck(self, states):
        """``W_up relu(W_down x + b_down) + b_up`` with the first layer's weights; LoRA's ``B A x`` where there are no biases."""
        low = states @ self.weights["down"].T
        if "down_bias" not in self.weights:
            return low @ self.weights["up"].T
        return torch.relu(low + self.weights["down_bias"]) @ self.weights["up"].T + self.weights["up_bias"]


def adapter(site, insertion, **other):
    return Modification("adapter", site, Form.RELU, insertion, size=3, layers=(0,), **other)


def by_head(states):
    """``(B, T, 16)`` as four heads, ``(B, 4, T, 4)``."""
    return states.view(*states.shape[:2], 4, 4).transpose(1, 2)


def test_a_sequential_adapter_with_the_norm_last_reads_and_changes_what_is_about_to_be_normalized():
    """``LN(s + d(LN(s)))`` with ``s = FFN(x) + x``."""
    seen = Seen("bert", adapter(Site.FFN, Insertion.SEQUENTIAL, scale=2.0), "encoder.layer.0", "encoder.layer.0.intermediate")
    layer, (attended, _) = seen.model.encoder.layer[0], seen["encoder.layer.0.intermediate"]
    s = layer.output.dense(gelu(layer.intermediate.dense(attended))) + attended
    norm = layer.output.LayerNorm
    torch.testing.assert_close(seen["encoder.layer.0"][1], norm(s + 2 * seen.bottleneck(norm(s))))


def test_a_sequential_adapter_with_the_norm_first_reads_the_residual_stream_after_the_sublayer():
    """``s + d(s)`` with ``s = x + FFN(LN(x))``, and with ``s = x + attention(LN(x))``."""
    paths = ("layers.0", "layers.0.post_attention_layernorm", "layers.0.self_attn")
    seen = Seen("llama", adapter(Site.FFN, Insertion.SEQUENTIAL), *paths)
    layer, (x, normed) = seen.model.layers[0], seen["layers.0.post_attention_layernorm"]
    s = x + layer.mlp.down_proj(torch.nn.functional.silu(layer.mlp.gate_proj(normed)) * layer.mlp.up_proj(normed))
    torch.testing.assert_close(seen["layers.0"][1], s + seen.bottleneck(s))

    seen = Seen("llama", adapter(Site.ATTENTION, Insertion.SEQUENTIAL), *paths, "embed_tokens", "layers.0.self_attn.o_proj")
    o_proj = seen.model.layers[0].self_attn.o_proj
    s = seen["embed_tokens"][1] + seen["layers.0.self_attn.o_proj"][0] @ o_proj.weight.T
    torch.testing.assert_close(seen["layers.0.post_attention_layernorm"][0], s + seen.bottleneck(s))


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_a_parallel_adapter_reads_what_the_sublayer_reads(scale):
    """Norm last: ``LN(FFN(x) + x + s d(x))``; norm first: ``x + FFN(LN(x)) + s d(LN(x))``; s = 4: He et al.'s scaled parallel adapter."""
    seen = Seen("bert", adapter(Site.FFN, Insertion.PARALLEL, scale=scale), "encoder.layer.0", "encoder.layer.0.intermediate")
    layer, (x, up) = seen.model.encoder.layer[0], seen["encoder.layer.0.intermediate"]
    expected = layer.output.LayerNorm(layer.output.dense(up) + x + scale * seen.bottleneck(x))
    torch.testing.assert_close(seen["encoder.layer.0"][1], expected)

    paths = ("h.0", "h.0.ln_2", "h.0.mlp.c_proj")
    seen = Seen("gpt2", adapter(Site.FFN, Insertion.PARALLEL, scale=scale), *paths)
    (x, normed), (wide, _) = seen["h.0.ln_2"], seen["h.0.mlp.c_proj"]
    projection = seen.model.h[0].mlp.c_proj
    plain = wide @ projection.weight + projection.bias
    torch.testing.assert_close(seen["h.0"][1], x + plain + scale * seen.bottleneck(normed))


def test_a_parallel_adapter_at_the_attention_reads_the_attentions_input():
    paths = ("encoder.layer.0.attention", "encoder.layer.0.attention.self")
    seen = Seen("bert", adapter(Site.ATTENTION, Insertion.PARALLEL), *paths)
    output, (x, heads) = seen.model.encoder.layer[0].attention.output, seen["encoder.layer.0.attention.self"]
    expected = output.LayerNorm(output.dense(heads) + x + seen.bottleneck(x))
    torch.testing.assert_close(seen["encoder.layer.0.attention"][1], expected)


@pytest.mark.parametrize(
    ("form", "function"),
    [
        (Form.RELU, torch.relu),  # the multi-head parallel adapter (He et al. 2022, table 1)
        (Form.LINEAR, lambda scores: scores),
        (Form.SOFTMAX, lambda scores: torch.softmax(scores, dim=-1)),  # a prefix without its built-in gate (their equation 9)
    ],
)
def test_what_is_added_to_the_heads_reads_the_heads_query(form, function):
    """``softmax(q K^T) V + s f(q P_K^T) P_V``, each product over the root of the heads' width, 4."""
    change = Modification("heads", Site.HEADS, form, size=3, scale=2.0, composition="add", layers=(0,))
    seen = Seen("bert", change, "encoder.layer.0.attention.self")
    attention, (x, found) = seen.model.encoder.layer[0].attention.self, seen["encoder.layer.0.attention.self"]
    query, key, value = (by_head(part(x)) for part in (attention.query, attention.key, attention.value))
    more_keys, more_values = (by_head(seen.weights[name].unsqueeze(0)) for name in ("key", "value"))
    plain = torch.softmax(query @ key.transpose(2, 3) / 2, dim=-1) @ value
    added = function(query @ more_keys.transpose(2, 3) / 2) @ more_values
    torch.testing.assert_close(found, (plain + 2 * added).transpose(1, 2).reshape(2, 5, 16))


def test_ia3_scales_keys_values_and_the_activations_inside_the_ffn():
    """``(1 + s d) * y`` component by component (Liu et al. 2022)."""
    for site, path in ((Site.ATTENTION_KEY, "attention.self.key"), (Site.ATTENTION_VALUE, "attention.self.value")):
        seen = Seen("bert", Modification("ia3", site, Form.SCALE, Insertion.SEQUENTIAL, scale=2.0, layers=(0,)), f"encoder.layer.0.{path}")
        linear, (x, found) = seen.model.get_submodule(f"encoder.layer.0.{path}"), seen[f"encoder.layer.0.{path}"]
        torch.testing.assert_close(found, (x @ linear.weight.T + linear.bias) * (1 + 2 * seen.weights["factor"]))
    paths = ("encoder.layer.0.intermediate", "encoder.layer.0.output.dense")
    seen = Seen("bert", Modification("ia3", Site.FFN_DOWN, Form.SCALE, Insertion.SEQUENTIAL, layers=(0,)), *paths)
    assert seen.weights["factor"].shape == (24,)
    torch.testing.assert_close(seen[paths[1]][0], seen[paths[0]][1] * (1 + seen.weights["factor"]))


def test_ia3_on_a_fused_projection_scales_its_part_alone():
    seen = Seen("gpt2", Modification("ia3", Site.ATTENTION_VALUE, Form.SCALE, Insertion.SEQUENTIAL, layers=(0,)), "h.0.attn.c_attn")
    fused, (x, found) = seen.model.h[0].attn.c_attn, seen["h.0.attn.c_attn"]
    factors = torch.cat([torch.ones(32), 1 + seen.weights["factor"]])
    torch.testing.assert_close(found, (x @ fused.weight + fused.bias) * factors)


@pytest.mark.parametrize(("site", "place"), [(Site.ATTENTION_QUERY, 0), (Site.ATTENTION_KEY, 1), (Site.ATTENTION_VALUE, 2)])
@pytest.mark.parametrize("insertion", list(Insertion))
def test_lora_on_a_fused_projection_changes_its_part_alone(site, place, insertion):
    """``W x + s B A x`` in the part's 16 of 48 components; in sequence ``y + s B A y`` with the part's own ``y``."""
    seen = Seen("gpt2", Modification("lora", site, Form.LINEAR, insertion, size=3, scale=2.0, layers=(0,)), "h.0.attn.c_attn")
    fused, (x, found) = seen.model.h[0].attn.c_attn, seen["h.0.attn.c_attn"]
    plain = x @ fused.weight + fused.bias
    reads = x if insertion is Insertion.PARALLEL else plain[..., 16 * place : 16 * (place + 1)]
    change = pad(2 * seen.bottleneck(reads), (16 * place, 16 * (2 - place)))
    torch.testing.assert_close(found, plain + change)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "gpt2", "llama", "t5"])
def test_prompt_tuning_is_the_model_on_embeddings_with_the_prompt_in_front(family):
    """``[P; E(x)]`` as `inputs_embeds` (Lester et al. 2021): the last states of the text are those that the head's pack sees."""
    backbone = lively_backbone(family)
    pack = moved(Pack(backbone, [PackTrial((Modification("prompt", Site.EMBEDDINGS, Form.PROMPT, size=3),), seed=3)], outputs=2))
    ids, seen = random_ids(1, 2, 5), []
    backbone.model.register_forward_hook(lambda _, __, output: seen.append(output.last_hidden_state))
    with torch.no_grad():
        pack(ids, torch.ones_like(ids))
        prompt = pack.trained_weights(0)["prompt.embeddings.prompt"].expand(2, -1, -1)
        inputs = {"inputs_embeds": torch.cat([prompt, backbone.embeddings()(ids[0])], dim=1), "attention_mask": torch.ones(2, 8)}
        if backbone.architecture.encoder_decoder:
            inputs["decoder_input_ids"] = pad(ids[0, :, :-1], (1, 0))  # T5 starts with token 0
        backbone.model(**inputs)
    torch.testing.assert_close(seen[0], seen[1])


def test_a_change_of_single_layers_leaves_the_others_alone():
    lora = Modification("lora", Site.ATTENTION_QUERY, Form.LINEAR, size=3, layers=(1,))
    backbone = lively_backbone("bert")
    pack = moved(Pack(backbone, [PackTrial((lora,), seed=3)], outputs=2))
    assert pack.trained_weights(0)["lora.attention.query.down"].shape == (1, 3, 16)
    changed = []

    def compare(query, inputs, output):
        changed.append(not torch.equal(output, query.forward(inputs[0])))

    backbone.model.register_forward_pre_hook(
        lambda *_: [layer.attention.self.query.register_forward_hook(compare) for layer in backbone.model.encoder.layer] and None
    )
    with torch.no_grad():
        pack(*a_batch(1))
    assert changed == [False, True]
