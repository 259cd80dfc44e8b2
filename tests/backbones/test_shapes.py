"""The sizes that parameter counts are made of, against the models."""

import pytest
import transformers
from transformers import AutoConfig
from transformers.pytorch_utils import Conv1D

from pelt_automl.backbones import ARCHITECTURES, SHAPES, shape_of
from pelt_automl.backbones.architectures import Part
from pelt_automl.design_space import PROJECTIONS
from pelt_automl.errors import BackboneError
from tests.tiny import FAMILIES, shared_backbone, tiny_config

every_family = pytest.mark.parametrize("family", FAMILIES)

DEBERTA_V3_BASE = {
    "vocab_size": 128100, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "relative_attention": True, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    "pos_att_type": "p2c|c2p", "position_biased_input": False,
}  # fmt: skip
PUBLISHED = {
    "bert-base": ("bert", {}),
    "roberta-base": ("roberta", {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}),
    "xlm-roberta-base": ("xlm-roberta", {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1}),
    "distilbert-base": ("distilbert", {}),
    "electra-small": ("electra", {"intermediate_size": 1024, "embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4}),
    "albert-base": ("albert", {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}),
    "deberta-v3-base": ("deberta-v2", DEBERTA_V3_BASE),
    "modernbert-base": ("modernbert", {}),
    "mpnet-base": ("mpnet", {"max_position_embeddings": 514}),
    "gpt2": ("gpt2", {}),
    "bart-large": ("bart", {}),
    "t5-base": ("t5", {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}),
}
"""The published configurations, where they differ from the defaults of transformers."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_well_known_models_shape_is_that_of_its_published_configuration(name):
    model_type, entries = PUBLISHED[name]
    assert SHAPES[name] == shape_of(AutoConfig.for_model(model_type, **entries))


def test_every_known_shape_has_a_table():
    assert {shape.family for shape in SHAPES.values()} <= set(ARCHITECTURES)


@every_family
def test_the_shape_counts_the_models_parameters_and_biases(family):
    backbone = shared_backbone(family)
    own = dict(backbone.model.named_parameters())
    assert sum(parameter.numel() for parameter in own.values()) == backbone.shape.parameters
    assert sum(parameter.numel() for name, parameter in own.items() if name.endswith("bias")) == backbone.shape.biases


@every_family
def test_every_projection_has_the_widths_of_the_shape(family):
    backbone = shared_backbone(family)
    for layer in backbone.layers():
        for site in set(layer.stack.sites) & set(PROJECTIONS):
            place = layer.stack.sites[site]
            parts = place.of if isinstance(place, Part) else 1
            wide_in, wide_out = backbone.shape.widths(site)
            linear = layer.projection(site)[0]
            weight = linear.weight.T if isinstance(linear, Conv1D) else linear.weight
            assert weight.shape == (parts * wide_out, wide_in), site


@every_family
def test_the_embeddings_have_the_width_of_the_shape(family):
    backbone = shared_backbone(family)
    assert backbone.embeddings().weight.shape == (60, backbone.shape.embedding)


SIZES = {  # layers with weights of their own, cross-attentions, ffn, all query heads, all key heads
    "bert": (2, 0, 24, 16, 16),
    "albert": (1, 0, 24, 16, 16),  # one layer, applied four times
    "albert-two-groups": (2, 0, 24, 16, 16),
    "gpt2": (2, 0, 64, 16, 16),  # its configuration leaves the ffn out: 4 * 16
    "llama": (2, 0, 24, 16, 8),  # 4 heads of width 4, 2 of them with keys of their own
    "qwen3": (2, 0, 24, 24, 12),  # 4 heads of width 6
    "t5": (4, 2, 24, 16, 16),
    "bart": (4, 2, 24, 16, 16),
}


@pytest.mark.parametrize("family", SIZES)
def test_sizes_of_the_tiny_models_by_hand(family):
    shape = shared_backbone(family).shape
    assert (shape.layers, shape.cross_layers, shape.ffn, shape.query_width, shape.kv_width) == SIZES[family]


def test_a_head_reads_what_opt_350m_projects_its_last_states_to():
    shape = shared_backbone("opt-norm-last").shape
    assert (shape.hidden, shape.head_input, shape.head_parameters(3)) == (16, 12, 3 * 12)
    assert shared_backbone("opt").shape.head_input is None


def test_a_pooling_that_is_not_the_familys_own_has_one_linear_map_as_its_head():
    config = tiny_config("roberta")
    assert [shape_of(config, pooling).dense_head for pooling in ("cls", "mean")] == [True, False]
    modernbert = tiny_config("modernbert", classifier_pooling="mean")
    assert [shape_of(modernbert, pooling).dense_head for pooling in ("cls", "mean")] == [False, True]


def test_an_encoder_and_a_decoder_of_unequal_width_are_refused():
    with pytest.raises(BackboneError, match="encoder_ffn_dim is 24, decoder_ffn_dim is 32"):
        shape_of(tiny_config("bart", decoder_ffn_dim=32))


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (transformers.BertConfig(num_hidden_layers=1), 512),
        (transformers.RobertaConfig(num_hidden_layers=1, max_position_embeddings=514, pad_token_id=1), 512),
        (transformers.BartConfig(encoder_layers=1, decoder_layers=1), 1024),
        (transformers.GPT2Config(n_layer=1), 1024),
        (transformers.LlamaConfig(num_hidden_layers=1), None),
        (transformers.T5Config(num_layers=1), None),
    ],
    ids=lambda value: value.model_type if hasattr(value, "model_type") else str(value),
)
def test_the_longest_text_is_what_the_table_of_positions_holds(config, positions):
    assert shape_of(config).positions == positions
