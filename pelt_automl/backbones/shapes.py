"""The sizes of pretrained models: from a transformers configuration, and of well-known models by name."""

from typing import Any

from pelt_automl.backbones.architectures import Architecture, Pooling, architecture_of
from pelt_automl.design_space import BackboneShape
from pelt_automl.errors import BackboneError

POSITION_TABLES = ("position_embeddings", "wpe", "embed_positions")


def shape_of(config: Any, pooling: Pooling | None = None) -> BackboneShape:
    """The sizes in a transformers configuration; `pooling` overrides the family's own.

    Parameters are counted on a model without storage (torch's meta device), so nothing is loaded or initialized. Raises `BackboneError`
    for an architecture without a table, and for an encoder and a decoder of unequal width.
    """
    table = architecture_of(config)
    pooling = pooling or table.pooling
    for name in ("ffn_dim", "attention_heads"):
        encoder, decoder = (getattr(config, f"{side}_{name}", None) for side in ("encoder", "decoder"))
        if encoder != decoder:
            raise BackboneError(f"{config.model_type}: encoder_{name} is {encoder}, decoder_{name} is {decoder}; they have to be equal")
    hidden, heads = table.entry(config, "hidden_size"), table.entry(config, "num_attention_heads")
    head_width = getattr(config, "head_dim", None) or getattr(config, "d_kv", None) or hidden // heads
    output = table.entry(config, "output_size")
    model = weightless(config, table, pooler=pooling == "pooler")
    own = dict(model.named_parameters())
    return BackboneShape(
        family=table.family,
        layers=_own_layers(config, table),
        hidden=hidden,
        ffn=table.entry(config, "intermediate_size") or 4 * hidden,  # GPT-2 leaves it out
        heads=heads,
        query_width=heads * head_width,
        kv_width=(getattr(config, "num_key_value_heads", None) or heads) * head_width,
        embedding=table.entry(config, "embedding_size") or hidden,
        parameters=sum(p.numel() for p in own.values()),
        biases=sum(p.numel() for name, p in own.items() if name.endswith("bias") and p.dim() == 1),
        positions=_positions(model),
        vocabulary=model.get_submodule(table.embeddings).weight.shape[0],
        cross_layers=_decoder_layers(config) if table.encoder_decoder else 0,
        pooler=pooling == "pooler",
        dense_head=pooling == table.pooling and table.head_activation is not None,
        head_bias=table.head_bias,
        head_input=output if output != hidden else None,
    )


def _own_layers(config: Any, table: Architecture) -> int:
    """Layers with weights of their own; ALBERT applies few of them many times."""
    if hasattr(config, "num_hidden_groups"):
        return int(config.num_hidden_groups * config.inner_group_num)
    if not table.encoder_decoder:
        return int(table.entry(config, "num_hidden_layers"))
    return int(getattr(config, "encoder_layers", None) or config.num_layers) + _decoder_layers(config)


def _decoder_layers(config: Any) -> int:
    return int(getattr(config, "decoder_layers", None) or config.num_decoder_layers)


def weightless(config: Any, table: Architecture, *, pooler: bool) -> Any:
    """A base model on torch's meta device: every module in its place, no memory taken."""
    import torch
    from transformers import AutoModel

    options = {"add_pooling_layer": pooler} if table.pooling_layer_option else {}
    with torch.device("meta"):
        return AutoModel.from_config(config, trust_remote_code=False, **options)  # type: ignore[no-untyped-call]


def _positions(model: Any) -> int | None:
    """The longest sequence that has an embedding for each of its positions; some tables keep their first rows for other uses."""
    tables = [
        module for name, module in model.named_modules() if name.split(".")[-1] in POSITION_TABLES and hasattr(module, "num_embeddings")
    ]
    kept = [table.offset if hasattr(table, "offset") else 0 if table.padding_idx is None else table.padding_idx + 1 for table in tables]
    return min((table.num_embeddings - first for table, first in zip(tables, kept, strict=True)), default=None)


def _shape(family: str, layers: int, hidden: int, parameters: int, biases: int, **other: Any) -> BackboneShape:
    """A model whose heads are as wide together as its hidden states; `other`: what isn't as in most models."""
    usual = {"ffn": 4 * hidden, "heads": hidden // 64, "query_width": hidden, "kv_width": hidden, "embedding": hidden}
    return BackboneShape(family=family, layers=layers, hidden=hidden, parameters=parameters, biases=biases, **(usual | other))


SHAPES: dict[str, BackboneShape] = {
    "bert-base": _shape("bert", 12, 768, 109_482_240, 102_912, positions=512, pooler=True),
    "bert-large": _shape("bert", 24, 1024, 335_141_888, 272_384, positions=512, pooler=True),
    "roberta-base": _shape("roberta", 12, 768, 124_055_040, 102_144, positions=512, dense_head=True),
    "roberta-large": _shape("roberta", 24, 1024, 354_310_144, 271_360, positions=512, dense_head=True),
    "electra-small": _shape("electra", 12, 256, 13_483_008, 34_176, embedding=128, positions=512, dense_head=True),
    "electra-base": _shape("electra", 12, 768, 108_891_648, 102_144, positions=512, dense_head=True),
    "distilbert-base": _shape("distilbert", 6, 768, 66_362_880, 51_456, positions=512, dense_head=True),
    "xlm-roberta-base": _shape("xlm-roberta", 12, 768, 277_453_056, 102_144, positions=512, dense_head=True),
    "albert-base": _shape("albert", 1, 768, 11_683_584, 10_112, embedding=128, positions=512, pooler=True),
    "deberta-v3-base": _shape("deberta-v2", 12, 768, 183_831_552, 102_912, dense_head=True),
    "modernbert-base": _shape("modernbert", 22, 768, 149_014_272, 0, ffn=1152, dense_head=True),
    "mpnet-base": _shape("mpnet", 12, 768, 108_895_872, 102_144, positions=512, dense_head=True),
    "gpt2": _shape("gpt2", 12, 768, 124_439_808, 102_144, positions=1024, head_bias=False),
    "minilm": _shape("bert", 6, 384, 22_565_376, 25_728, heads=12, positions=512),
    "bart-large": _shape("bart", 24, 1024, 406_291_456, 333_824, positions=1024, cross_layers=12, dense_head=True),
    "t5-base": _shape("t5", 24, 768, 222_903_552, 0, cross_layers=12, dense_head=True),
}
"""Shapes of well-known models by name, for parameter counts without loading anything. `layers` has those of encoder and decoder."""
