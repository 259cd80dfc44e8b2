"""The plain folder: transformers alone reads it, and gives the outputs of the trained method."""

import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from pelt_automl.design_space import PROJECTIONS, Form, Modification, Site
from pelt_automl.errors import SelectionError
from pelt_automl.export import merged
from pelt_automl.export.classification import plain_model, set_head
from pelt_automl.export.merged import why_not_merged, write_merged
from pelt_automl.tasks.kinds import LabelScale
from tests.export.winners import backbone_of, our_logits, their_logits, trained_config, trained_pack_of
from tests.tiny import FAMILIES, by_structure, tiny_config

LORA = tuple(
    Modification("lora", site, Form.LINEAR, size=3, scale=1.5) for site in (Site.ATTENTION_QUERY, Site.ATTENTION_VALUE, Site.FFN_DOWN)
)
HEADED = [family for family in FAMILIES if family != "modernbert"]
"""Families whose classification model in transformers has a head like ours."""


def write(family, folder, modifications=LORA, **other):
    """The trained pack, and what transformers reads of it."""
    trained = trained_config(modifications, **other)
    pack = trained_pack_of(backbone_of(family), modifications, trained.outputs)
    assert why_not_merged(trained, pack.backbone) == []
    assert write_merged(pack, trained, tiny_config(family), folder) < 1e-5
    return pack, AutoModelForSequenceClassification.from_pretrained(str(folder))


@pytest.mark.parametrize("family", by_structure(HEADED))
def test_transformers_gives_the_outputs_of_the_trained_method(family, tmp_path):
    pack, model = write(family, tmp_path)
    torch.testing.assert_close(their_logits(model), our_logits(pack, model.config), rtol=0, atol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.txt"}
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("family", "modifications"),
    [
        *((family, ()) for family in ("bert", "gpt2", "t5")),
        *((family, (Modification("full", Site.EVERYTHING, Form.FULL),)) for family in ("bert", "gpt2", "t5")),
        *((family, (Modification("bitfit", Site.BIASES, Form.BIAS),)) for family in ("bert", "gpt2", "bart")),
    ],
)
def test_the_head_alone_biases_and_whole_models_are_written(family, modifications, tmp_path):
    pack, model = write(family, tmp_path, modifications)
    torch.testing.assert_close(their_logits(model), our_logits(pack, model.config), rtol=0, atol=1e-5)


def test_the_labels_are_those_of_the_task(tmp_path):
    _, model = write("bert", tmp_path)
    assert model.config.id2label == {0: "no", 1: "perhaps", 2: "yes"}
    assert model.config.label2id == {"no": 0, "perhaps": 1, "yes": 2}
    assert model.config.problem_type == "single_label_classification"


@pytest.mark.parametrize("family", ["bert", "roberta", "bart"])
def test_regression_predicts_in_the_labels_unit(family, tmp_path):
    scale = LabelScale(mean=30.0, deviation=5.0)
    pack, model = write(family, tmp_path, kind="regression", labels=[], scale=scale)
    assert (model.config.num_labels, model.config.problem_type) == (1, "regression")
    ours = our_logits(pack, model.config)
    torch.testing.assert_close(their_logits(model), ours * 5.0 + 30.0, rtol=1e-6, atol=1e-4)


def test_a_decoder_without_a_padding_token_gets_the_tokenizers(tmp_path):
    backbone = backbone_of("gpt2")
    backbone.tokenizer.pad_token_id = 7
    trained = trained_config(LORA)
    pack = trained_pack_of(backbone, LORA)
    write_merged(pack, trained, tiny_config("gpt2"), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["pad_token_id"] == 7
    model = AutoModelForSequenceClassification.from_pretrained(str(tmp_path))
    torch.testing.assert_close(their_logits(model), our_logits(pack, model.config), rtol=0, atol=1e-5)


def test_the_tokenizer_cuts_as_the_training_did_and_pads_on_the_right(tmp_path):
    write("llama", tmp_path, max_length=17)
    assert (tmp_path / "tokenizer.txt").read_text() == "right 17"


def test_dropout_and_attention_are_those_of_the_pretrained_model(tmp_path):
    backbone = backbone_of("bert")
    pack = trained_pack_of(backbone, LORA)
    write_merged(pack, trained_config(LORA), tiny_config("bert", hidden_dropout_prob=0.25), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["hidden_dropout_prob"] == 0.25
    assert "pelt" not in json.dumps(config)


def test_a_model_that_is_not_the_trained_one_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(merged, "fold", lambda pack, target: None)
    with pytest.raises(SelectionError, match=r"isn't the trained one: an output differs by .* Nothing was written"):
        write("bert", tmp_path)


@pytest.mark.parametrize("family", by_structure(HEADED))
def test_where_the_table_puts_the_head_is_all_of_the_classification_models_own_weights(family):
    """What isn't the backbone's and isn't named would stay random."""
    backbone = backbone_of(family)
    config = tiny_config(family, num_labels=3)
    model = plain_model(backbone, config, trained_config(()))
    of_backbone = {f"{model.base_model_prefix}.{name}" for name, _ in model.base_model.named_parameters()}
    own = {name for name, _ in model.named_parameters()} - of_backbone
    named = backbone.architecture.head_names.values()
    assert own == {f"{path}.{kind}" for path in named for kind in ("weight", "bias") if f"{path}.{kind}" in own}
    assert {name.rsplit(".", 1)[0] for name in own} == set(named)
    with pytest.raises(AttributeError):
        set_head(model, {"nowhere.weight": torch.zeros(1)})


@pytest.mark.parametrize(("family", "activation"), [("bert", "gelu"), ("opt", "relu"), ("bart", "gelu")])
def test_a_parallel_adapter_makes_the_feed_forward_network_wider(family, activation, tmp_path):
    adapter = Modification("adapter", Site.FFN, Form.RELU, size=4, scale=4.0, activation=activation)
    pack, model = write(family, tmp_path, (adapter, *LORA))
    torch.testing.assert_close(their_logits(model), our_logits(pack, model.config), rtol=0, atol=1e-5)
    entries = {"bert": ["intermediate_size"], "opt": ["ffn_dim"], "bart": ["encoder_ffn_dim", "decoder_ffn_dim"]}[family]
    assert [getattr(model.config, entry) for entry in entries] == [28] * len(entries), "24 of the network, 4 of the adapter"


def test_every_projection_of_a_family_can_be_part_of_it(tmp_path):
    everywhere = tuple(Modification("lora", site, Form.LINEAR, size=2) for site in PROJECTIONS if site is not Site.FFN_GATE)
    pack, model = write("gpt2", tmp_path, everywhere)
    torch.testing.assert_close(their_logits(model), our_logits(pack, model.config), rtol=0, atol=1e-5)
