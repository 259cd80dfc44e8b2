"""Changes in layers that aren't laid out as BERT's: fused maps, relative positions, convolutions, flattened tokens, scaled embeddings."""

import copy

import pytest
import torch
from torch.nn.functional import linear

from pelt_automl.backbones.loading import wrap
from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.modifications.prompt import make_room
from pelt_automl.modifications.stacked import Run
from tests.tiny import FakeTokenizer, random_ids, scattered, shared_backbone, tiny_model


def backbone_of(family, **changes):
    return wrap(scattered(tiny_model(family, **changes)), FakeTokenizer(), name=family)


def pack_of(backbone, *modifications):
    """One trial, as after some training."""
    pack, generator = Pack(backbone, [PackTrial(tuple(modifications), seed=0)], outputs=2), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for own in pack.trained_weights(0).values():
            own.add_(0.3 * torch.randn(own.shape, generator=generator))
    return pack


def logits_of(pack, ids):
    with torch.no_grad():
        return pack(ids, torch.ones_like(ids)).logits


def same_head_on(model, pack):
    """A pack without modifications on another model, with the same head."""
    plain = Pack(wrap(model, FakeTokenizer(), name="changed"), [PackTrial((), seed=0)], outputs=2)
    plain.load_weights(0, pack.trained_weights(0))
    return plain


FUSED = {  # rows of the fused map that belong to each site; hidden width 16, 4 heads of 4, ffn 24
    ("modernbert", Site.ATTENTION_QUERY): ("attn.Wqkv", slice(0, 16)),
    ("modernbert", Site.ATTENTION_VALUE): ("attn.Wqkv", slice(32, 48)),
    ("modernbert", Site.FFN_GATE): ("mlp.Wi", slice(0, 24)),
    ("modernbert", Site.FFN_UP): ("mlp.Wi", slice(24, 48)),
    ("gpt2", Site.ATTENTION_QUERY): ("attn.c_attn", slice(0, 16)),
    ("gpt2", Site.ATTENTION_KEY): ("attn.c_attn", slice(16, 32)),
    ("deberta-v3", Site.ATTENTION_QUERY): ("attention.self.query_proj", slice(0, 16)),
    ("deberta-v3", Site.ATTENTION_KEY): ("attention.self.key_proj", slice(0, 16)),
    ("albert", Site.ATTENTION_VALUE): ("attention.value", slice(0, 16)),
    ("opt", Site.FFN_DOWN): ("fc2", slice(0, 16)),
}


@pytest.mark.parametrize(("family", "site"), FUSED)
def test_lora_is_a_change_of_the_projections_own_rows_wherever_the_map_is_used(family, site):
    """DeBERTa sends its relative positions through the query and the key map too, ALBERT applies one layer four times."""
    backbone, ids = backbone_of(family), random_ids(1, 3, 7)
    pack = pack_of(backbone, Modification("lora", site, Form.LINEAR, size=3, scale=2.0))
    merged, trained = copy.deepcopy(backbone.model), pack.trained_weights(0)
    path, rows = FUSED[family, site]
    changed = wrap(merged, FakeTokenizer(), name=family)
    for index, layer in enumerate(changed.layers()):
        weight = layer.at(path).weight.T if family == "gpt2" else layer.at(path).weight  # a Conv1D is transposed
        weight.data[rows] += 2.0 * trained[f"lora.{site}.up"][index] @ trained[f"lora.{site}.down"][index]
    ours = logits_of(pack, ids)
    torch.testing.assert_close(ours, logits_of(same_head_on(merged, pack), ids), rtol=1e-4, atol=1e-5)
    assert (ours - logits_of(same_head_on(backbone.model, pack), ids)).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["deberta-v2-conv", "deberta-v3", "gpt2", "albert", "qwen2", "mbart", "opt"])
def test_bitfit_moves_every_bias(family):
    backbone, ids = backbone_of(family), random_ids(1, 3, 7)
    pack = pack_of(backbone, *METHODS["bitfit"].modifications({}))
    moved, trained = copy.deepcopy(backbone.model), pack.trained_weights(0)
    biases = {name: own for name, own in moved.named_parameters() if name.endswith("bias") and own.dim() == 1}
    assert len(trained) - sum(name.startswith("head.") for name in trained) == len(biases)
    for name, bias in biases.items():
        bias.data += trained[f"bitfit.biases.{name.removesuffix('.bias').replace('.', '__')}"]
    torch.testing.assert_close(logits_of(pack, ids), logits_of(same_head_on(moved, pack), ids), rtol=1e-4, atol=1e-5)


ADAPTED = {  # (family, sublayer): the norm that stands before it, and the module whose output goes to the residual stream
    ("gemma2", Site.ATTENTION): ("input_layernorm", "post_attention_layernorm"),
    ("gemma2", Site.FFN): ("pre_feedforward_layernorm", "post_feedforward_layernorm"),
    ("llama", Site.FFN): ("post_attention_layernorm", "mlp.down_proj"),
    ("modernbert", Site.ATTENTION): ("attn_norm", "attn.Wo"),  # the norm of the first layer is the identity
    ("opt", Site.FFN): ("final_layer_norm", "fc2"),  # examples and tokens are flattened there
}


@pytest.mark.parametrize("insertion", Insertion)
@pytest.mark.parametrize(("family", "site"), ADAPTED)
def test_an_adapter_reads_the_sublayers_input_or_its_sum_and_adds_to_the_residual_stream(family, site, insertion):
    backbone, seen, (norm, writes) = backbone_of(family), {}, ADAPTED[family, site]
    layer = backbone.layers()[0]
    ffn_norm = layer.norm(Site.FFN)
    layer.at(norm).register_forward_hook(lambda _, __, output: seen.update(normed=output))
    layer.at(writes).register_forward_hook(lambda _, __, output: seen.update(written=output.clone()))  # the pack's own hook changes it
    layer.module.register_forward_hook(lambda _, inputs, output: seen.update(below=inputs[0], above=output))
    ffn_norm.register_forward_pre_hook(lambda _, inputs: seen.update(between=inputs[0]))
    pack = pack_of(backbone, Modification("adapter", site, Form.RELU, insertion, size=3, scale=2.0))
    logits_of(pack, random_ids(1, 2, 7))
    before, after = (seen["below"], seen["between"]) if site is Site.ATTENTION else (seen["between"], seen["above"])
    total = before + seen["written"].view_as(before)
    reads = seen["normed"].view_as(before) if insertion is Insertion.PARALLEL else total
    down, down_bias, up, up_bias = (pack.trained_weights(0)[f"adapter.{site}.{name}"][0] for name in ("down", "down_bias", "up", "up_bias"))
    change = 2.0 * linear(torch.relu(linear(reads, down, down_bias)), up, up_bias)
    assert change.abs().mean() > 0.1
    torch.testing.assert_close(after.view_as(total), total + change, rtol=1e-4, atol=1e-5)


NORM_LAST = {  # (family, sublayer): a module whose first input is the sublayer's, and the one that writes its output
    ("opt-norm-last", Site.FFN): ("fc1", "fc2"),
    ("deberta-v3", Site.ATTENTION): ("attention", "attention.output.dense"),  # its query map reads relative positions as well
}


@pytest.mark.parametrize(("family", "site"), NORM_LAST)
def test_a_norm_behind_the_sublayer_normalizes_a_parallel_adapters_change_with_the_rest(family, site):
    backbone, seen, (reads, writes) = backbone_of(family), {}, NORM_LAST[family, site]
    layer = backbone.layers()[0]
    layer.at(reads).register_forward_hook(lambda _, inputs, __: seen.update(reads=inputs[0].view(2, 7, 16)))
    layer.at(writes).register_forward_hook(lambda _, __, output: seen.update(written=output.view(2, 7, 16)))
    layer.norm(site).register_forward_hook(lambda _, __, output: seen.setdefault("above", output))
    pack = pack_of(backbone, Modification("adapter", site, Form.LINEAR, Insertion.PARALLEL, size=3))
    logits_of(pack, random_ids(1, 2, 7))
    down, up = (pack.trained_weights(0)[f"adapter.{site}.{name}"][0] for name in ("down", "up"))
    with torch.no_grad():
        expected = layer.norm(site)(seen["reads"] + seen["written"] + linear(linear(seen["reads"], down), up))
    torch.testing.assert_close(seen["above"], expected, rtol=1e-4, atol=1e-5)


def test_a_text_as_long_as_debertas_relative_positions_is_told_apart_from_them():
    """Eight positions (two times four buckets), and a text of eight tokens alone in its batch: only the text has a gate."""
    backbone, ids = backbone_of("deberta-v3"), random_ids(1, 3, 8)
    pack = pack_of(backbone, Modification("lora", Site.ATTENTION_QUERY, Form.LINEAR, size=3, gate=Gate()))
    mask = torch.ones_like(ids)
    with torch.no_grad():
        together, alone = pack(ids, mask), pack(ids[:, :1], mask[:, :1])
    torch.testing.assert_close(alone.logits, together.logits[:, :1])
    assert list(alone.gates) == list(together.gates) == [("lora", "attention.query", 0), ("lora", "attention.query", 1)]
    assert alone.gates["lora", "attention.query", 0][1].shape == (1, 1)


def test_a_text_of_one_token_has_its_gates_where_tokens_are_flattened():
    pack, ids = pack_of(backbone_of("opt"), Modification("lora", Site.FFN_UP, Form.LINEAR, size=3, gate=Gate())), random_ids(1, 2, 1)
    with torch.no_grad():
        assert pack(ids, torch.ones_like(ids)).gates["lora", "ffn.up", 0][1].shape == (1, 2)
    assert Run(1, 2, {1: torch.ones(1, 2, 1)}).split(torch.zeros(2, 16)).shape == (1, 2, 1, 16)


@pytest.mark.parametrize(("family", "scale"), [("gemma", 4.0), ("mbart", 4.0), ("bert", 1.0)])
def test_a_prompt_starts_at_words_as_the_model_reads_them(family, scale):
    """Gemma and mBART multiply what they look up by the square root of the width, 16."""
    backbone = shared_backbone(family)
    pack = Pack(backbone, [PackTrial(METHODS["prompt"].modifications({"prompt_length": 3}), seed=0)], outputs=2)
    words = backbone.embeddings().weight * scale
    for own in pack.trained_weights(0)["prompt.embeddings.prompt"]:
        assert (words - own).abs().max(dim=1).values.min() < 1e-6


@pytest.mark.parametrize("family", ["bert", "albert", "roberta"])
def test_the_head_reads_the_texts_first_token_and_not_the_prompts(family):
    backbone, seen = backbone_of(family), []
    pack, ids = pack_of(backbone, *METHODS["prompt"].modifications({"prompt_length": 3})), random_ids(1, 2, 5)
    backbone.model.register_forward_hook(lambda _, __, output: seen.append(output.last_hidden_state))
    ours = logits_of(pack, ids)
    pooled = seen[0][:, 3]
    for path in backbone.architecture.pooler:
        pooled = backbone.model.get_submodule(path)(pooled)
    with torch.no_grad():
        torch.testing.assert_close(ours[0], pack.head(pooled[None])[0])
    assert (ours[0, 0] - ours[0, 1]).abs().max() > 1e-3


def test_room_is_made_directly_before_the_text_wherever_its_padding_is():
    ids = torch.tensor([[[5, 6, 7], [0, 8, 9]], [[5, 6, 0], [0, 0, 9]]])
    mask = torch.tensor([[[1, 1, 1], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
    new_ids, new_mask, source = make_room([2, 0], ids, mask, pad_id=0)
    assert new_ids.tolist() == [[[1, 1, 5, 6, 7], [1, 1, 8, 9, 0]], [[5, 6, 0, 0, 0], [9, 0, 0, 0, 0]]]
    assert new_mask.tolist() == [[[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]]
    assert source[0, 1, 2:4].tolist() == [1, 2]
