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


def _encoder(family: str, layers: int, hidden: int, vocabulary: int, **other: Any) -> BackboneShape:
    """A shape of BERT's kind, with its totals from the formula."""
    sizes = {"ffn": 4 * hidden, "heads": hidden // 64, "positions": 512, "token_types": 2, "embedding": hidden, "pooler": False} | other
    ffn, embedding, pooler = sizes["ffn"], sizes["embedding"], sizes["pooler"]
    projection = embedding * hidden + hidden if embedding != hidden else 0
    words = (vocabulary + sizes["positions"] + sizes["token_types"]) * embedding + 2 * embedding
    layer = 4 * (hidden * hidden + hidden) + 2 * hidden * ffn + ffn + hidden + 4 * hidden
    return BackboneShape(
        family=family,
        layers=layers,
        hidden=hidden,
        ffn=ffn,
        heads=sizes["heads"],
        query_width=hidden,
        kv_width=hidden,
        embedding=embedding,
        parameters=words + projection + layers * layer + (hidden * hidden + hidden if pooler else 0),
        biases=embedding + (hidden if projection else 0) + layers * (7 * hidden + ffn) + (hidden if pooler else 0),
        positions=512,
        pooler=pooler,
        dense_head=family != "bert",
    )


def _base(family: str, layers: int, ffn: int, parameters: int, biases: int, **other: Any) -> BackboneShape:
    """A model of width 768 with 12 heads."""
    return BackboneShape(family, layers, 768, ffn, 12, 768, 768, parameters=parameters, biases=biases, **({"embedding": 768} | other))


def _seq2seq(family: str, layers: int, hidden: int, ffn: int, heads: int, parameters: int, biases: int, **other: Any) -> BackboneShape:
    """`layers` of the encoder, and as many of the decoder."""
    return BackboneShape(
        family, 2 * layers, hidden, ffn, heads, heads * 64, heads * 64, hidden, parameters, biases,
        cross_layers=layers, dense_head=True, **other
    )  # fmt: skip


SHAPES: dict[str, BackboneShape] = {
    "bert-base": _encoder("bert", 12, 768, 30522, pooler=True),
    "bert-large": _encoder("bert", 24, 1024, 30522, pooler=True),
    "roberta-base": _encoder("roberta", 12, 768, 50265, positions=514, token_types=1),
    "roberta-large": _encoder("roberta", 24, 1024, 50265, positions=514, token_types=1),
    "electra-small": _encoder("electra", 12, 256, 30522, embedding=128, heads=4),
    "electra-base": _encoder("electra", 12, 768, 30522),
    "distilbert-base": _encoder("distilbert", 6, 768, 30522, token_types=0),
    "xlm-roberta-base": _encoder("xlm-roberta", 12, 768, 250002, positions=514, token_types=1),
    "albert-base": _base("albert", 1, 3072, parameters=11_683_584, biases=10_112, embedding=128, pooler=True, positions=512),
    "deberta-v3-base": _base("deberta-v2", 12, 3072, parameters=183_831_552, biases=102_912, dense_head=True),
    "modernbert-base": _base("modernbert", 22, 1152, parameters=149_014_272, biases=0, dense_head=True),
    "mpnet-base": _base("mpnet", 12, 3072, parameters=108_895_872, biases=102_144, dense_head=True, positions=512),
    "gpt2": _base("gpt2", 12, 3072, parameters=124_439_808, biases=102_144, head_bias=False, positions=1024),
    "minilm": _encoder("bert", 6, 384, 30522, heads=12),
    "bart-large": _seq2seq("bart", 12, 1024, 4096, 16, parameters=406_291_456, biases=333_824, positions=1024),
    "t5-base": _seq2seq("t5", 12, 768, 3072, 12, parameters=222_903_552, biases=0),
}
"""Shapes of well-known models by name, for parameter counts without loading anything."""
