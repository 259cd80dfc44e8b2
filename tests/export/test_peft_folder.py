"""peft's folder: peft alone reads it, and gives the outputs of the trained method."""

import json

import pytest
import torch
from safetensors.torch import load_file

from pelt_automl.design_space import PROJECTIONS, Form, Insertion, Modification, Site
from pelt_automl.export.classification import plain_model
from pelt_automl.export.peft_folder import why_not_peft, write_peft
from pelt_automl.tasks.kinds import LabelScale
from tests.export.winners import backbone_of, our_logits, padded_texts, their_logits, trained_config, trained_pack_of
from tests.tiny import FAMILIES, by_structure, tiny_config

HEADED = [family for family in FAMILIES if family != "modernbert"]
QUERY_VALUE = (Site.ATTENTION_QUERY, Site.ATTENTION_VALUE)
IA3 = (Site.ATTENTION_KEY, Site.ATTENTION_VALUE, Site.FFN_DOWN)


def lora(*parts):
    return tuple(Modification("lora", site, Form.LINEAR, size=rank, scale=scale) for site, rank, scale in parts)


def ia3(*sites):
    return tuple(Modification("ia3", site, Form.SCALE, Insertion.SEQUENTIAL, scale=1.5) for site in sites)


PROMPT = (Modification("prompt", Site.EMBEDDINGS, Form.PROMPT, size=3),)
PREFIX = (Modification("prefix", Site.HEADS, Form.SOFTMAX, size=3),)


def write(family, folder, modifications, **other):
    """The trained pack, and what peft reads of it on the pretrained model."""
    import peft

    trained = trained_config(modifications, **other)
    pack = trained_pack_of(backbone_of(family), modifications, trained.outputs)
    assert why_not_peft(trained, pack.backbone) == []
    assert write_peft(pack, trained, tiny_config(family), folder) < 1e-5
    config = tiny_config(family, num_labels=trained.outputs, pad_token_id=pack.backbone.tokenizer.pad_token_id)
    torch.manual_seed(5)  # whatever the head starts from
    return pack, peft.PeftModel.from_pretrained(plain_model(pack.backbone, config, trained), str(folder))


def assert_equal(pack, model):
    torch.testing.assert_close(their_logits(model), our_logits(pack, model.config), rtol=0, atol=1e-5)


def settings(folder):
    return json.loads((folder / "adapter_config.json").read_text())


@pytest.mark.parametrize("family", by_structure(HEADED))
def test_lora_at_query_and_value_is_the_same_in_peft(family, tmp_path):
    pack, model = write(family, tmp_path, lora(*((site, 3, 1.5) for site in QUERY_VALUE)))
    assert_equal(pack, model)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors", "config", "tokenizer.txt"}
    assert [path.name for path in (tmp_path / "config").iterdir()] == ["config.json"]


@pytest.mark.parametrize("family", by_structure(HEADED))
def test_factors_are_the_same_in_peft(family, tmp_path):
    assert_equal(*write(family, tmp_path, ia3(*IA3)))


@pytest.mark.parametrize("family", ["bert", "albert", "gpt2", "llama", "t5"])
def test_lora_of_different_ranks_and_scales_is_the_same_in_peft(family, tmp_path):
    sites = [site for site in PROJECTIONS if site is not Site.FFN_GATE]
    assert_equal(*write(family, tmp_path, lora(*((site, 1 + index, 0.5 * index + 1) for index, site in enumerate(sites)))))


def test_ranks_and_scales_are_said_in_pefts_words(tmp_path):
    write("distilbert", tmp_path, lora((Site.ATTENTION_QUERY, 2, 3.0), (Site.FFN_UP, 4, 0.5)))
    found = settings(tmp_path)
    assert (found["peft_type"], found["task_type"], found["base_model_name_or_path"]) == ("LORA", "SEQ_CLS", "lively-distilbert")
    assert (found["r"], found["lora_alpha"], found["fan_in_fan_out"]) == (2, 6.0, False)  # alpha = scale * rank
    layers = [f"distilbert.transformer.layer.{layer}" for layer in (0, 1)]
    assert found["rank_pattern"] == {f"{layer}.ffn.lin1": 4 for layer in layers}
    assert found["alpha_pattern"] == {f"{layer}.ffn.lin1": 2.0 for layer in layers}
    assert sorted(found["target_modules"]) == sorted(f"{layer}.{path}" for layer in layers for path in ("attention.q_lin", "ffn.lin1"))
    assert found["modules_to_save"] == ["classifier", "pre_classifier"]


@pytest.mark.parametrize("scales", [(2.0, 2.0), (2.0, 3.0)])
def test_projections_of_a_fused_map_are_one_product_of_their_ranks_sum(scales, tmp_path):
    pack, model = write("gpt2", tmp_path, lora(*((site, 2, scale) for site, scale in zip(QUERY_VALUE, scales, strict=True))))
    assert_equal(pack, model)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    name = "base_model.model.transformer.h.0.attn.c_attn"
    down, up = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
    assert (down.shape, up.shape) == ((4, 16), (48, 4))
    assert up[:16, 2:].abs().max() == 0, "the query doesn't read the value's part"
    assert up[16:32].abs().max() == 0, "the key stays"
    found = settings(tmp_path)
    assert (found["r"], found["lora_alpha"], found["fan_in_fan_out"]) == (4, 8.0 if scales[0] == scales[1] else 4.0, True)


def test_a_change_in_some_layers_is_in_peft_in_these_layers(tmp_path):
    modifications = (Modification("lora", Site.ATTENTION_QUERY, Form.LINEAR, size=2, layers=(1,)),)
    assert_equal(*write("roberta", tmp_path, modifications))
    assert settings(tmp_path)["target_modules"] == ["roberta.encoder.layer.1.attention.self.query"]


def test_factors_of_sublayers_stand_at_their_last_map(tmp_path):
    assert_equal(*write("bert", tmp_path, ia3(Site.ATTENTION, Site.FFN)))
    found = settings(tmp_path)
    assert sorted(found["target_modules"])[:2] == ["bert.encoder.layer.0.attention.output.dense", "bert.encoder.layer.0.output.dense"]
    assert found["feedforward_modules"] == []


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_a_prompt_of_a_decoder_is_the_same_in_peft_text_by_text(family, tmp_path):
    pack, model = write(family, tmp_path, PROMPT)
    ids, mask = padded_texts(model.config)
    for row, length, ours in zip(ids, mask.sum(1), our_logits(pack, model.config), strict=True):
        with torch.no_grad():
            theirs = model(input_ids=row[None, :length], attention_mask=mask[:1, :length]).logits[0]
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma"])
def test_a_prefix_is_the_same_in_peft_where_positions_turn(family, tmp_path):
    assert_equal(*write(family, tmp_path, PREFIX))


@pytest.mark.parametrize("family", ["bert", "roberta", "bart"])
def test_regression_predicts_in_the_labels_unit(family, tmp_path):
    scale = LabelScale(mean=30.0, deviation=5.0)
    pack, model = write(family, tmp_path, lora((Site.ATTENTION_QUERY, 2, 1.0)), kind="regression", labels=[], scale=scale)
    torch.testing.assert_close(their_logits(model), our_logits(pack, model.config) * 5.0 + 30.0, rtol=1e-6, atol=1e-4)
