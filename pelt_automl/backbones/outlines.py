"""Base models without weights from a table and a shape: for questions that only a model can answer, before one is loaded."""

from typing import Any

from torch import nn

from pelt_automl.backbones.architectures import Architecture
from pelt_automl.backbones.shapes import weightless
from pelt_automl.design_space import BackboneShape, Site


def outline(architecture: Architecture, shape: BackboneShape) -> nn.Module:
    """A frozen base model of these sizes on torch's meta device: every module in its place, no memory taken."""
    model: nn.Module = weightless(config_of(architecture, shape), architecture, pooler=shape.pooler)
    return model.requires_grad_(requires_grad=False)


def config_of(architecture: Architecture, shape: BackboneShape) -> Any:
    """A transformers configuration with the sizes of a shape, and the family's standard vocabulary: the inverse of `shape_of`."""
    from transformers import AutoConfig

    standard = AutoConfig.for_model(architecture.family)
    encoder = shape.layers - shape.cross_layers
    every_name = {  # that some family has for its sizes; a family takes those that it knows
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "decoder_ffn_dim": shape.ffn,
        "num_attention_heads": shape.heads,
        "decoder_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads * shape.kv_width // shape.query_width,
        "head_dim": shape.query_width // shape.heads,
        "d_kv": shape.query_width // shape.heads,
        "embedding_size": shape.embedding,
        "num_hidden_layers": encoder,
        "num_hidden_groups": encoder,
        "encoder_layers": encoder,
        "decoder_layers": shape.cross_layers,
        "num_decoder_layers": shape.cross_layers,
    }
    sizes = {architecture.config_names.get(name, name): value for name, value in every_name.items()}
    by_own_name = {standard.attribute_map.get(name, name): value for name, value in sizes.items()}
    wanted: dict[str, Any] = {name: value for name, value in by_own_name.items() if hasattr(standard, name)}
    if architecture.family == "t5" and Site.FFN_GATE in architecture.sites:
        wanted["feed_forward_proj"] = "gated-gelu"
    return AutoConfig.for_model(architecture.family, **wanted)
