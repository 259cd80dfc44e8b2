"""The sizes of pretrained models: from a transformers configuration, and of well-known models by name."""

from typing import Any

from pelt_automl.backbones.architectures import Architecture, Pooling, architecture_of
from pelt_automl.design_space import BackboneShape


def shape_of(config: Any, pooling: Pooling | None = None) -> BackboneShape:
    """The sizes in a transformers configuration; `pooling` overrides the family's own.

    Parameters are counted on a model without storage (torch's meta device), so nothing is loaded or initialized.
    """
    table = architecture_of(config)
    pooling = pooling or table.pooling
    hidden, heads = table.entry(config, "hidden_size"), table.entry(config, "num_attention_heads")
    head_width = getattr(config, "head_dim", None) or getattr(config, "d_kv", None) or hidden // heads
    parameters, biases = _totals(config, table, pooling)
    return BackboneShape(
        family=table.family,
        layers=_own_layers(config, table),
        hidden=hidden,
        ffn=table.entry(config, "intermediate_size"),
        heads=heads,
        query_width=heads * head_width,
        kv_width=(getattr(config, "num_key_value_heads", None) or heads) * head_width,
        embedding=getattr(config, "embedding_size", None) or hidden,
        parameters=parameters,
        biases=biases,
        cross_layers=_decoder_layers(config) if table.encoder_decoder else 0,
        pooler=pooling == "pooler",
        dense_head=pooling in ("cls", "last") and table.head_activation is not None,
        head_bias=table.head_bias,
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


def _totals(config: Any, table: Architecture, pooling: Pooling) -> tuple[int, int]:
    """Parameters and bias terms of the base model."""
    import torch
    from transformers import AutoModel

    options = {"add_pooling_layer": pooling == "pooler"} if table.pooling_layer_option else {}
    with torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=False, **options)  # type: ignore[no-untyped-call]
    own = dict(model.named_parameters())
    return sum(p.numel() for p in own.values()), sum(p.numel() for name, p in own.items() if name.endswith("bias") and p.dim() == 1)


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
        pooler=pooler,
        dense_head=family != "bert",
    )


def _seq2seq(family: str, layers: int, hidden: int, ffn: int, heads: int, parameters: int, biases: int) -> BackboneShape:
    """`layers` of the encoder, and as many of the decoder."""
    return BackboneShape(
        family, 2 * layers, hidden, ffn, heads, heads * 64, heads * 64, hidden, parameters, biases, cross_layers=layers, dense_head=True
    )  # fmt: skip


SHAPES: dict[str, BackboneShape] = {
    "bert-base": _encoder("bert", 12, 768, 30522, pooler=True),
    "bert-large": _encoder("bert", 24, 1024, 30522, pooler=True),
    "roberta-base": _encoder("roberta", 12, 768, 50265, positions=514, token_types=1),
    "roberta-large": _encoder("roberta", 24, 1024, 50265, positions=514, token_types=1),
    "electra-small": _encoder("electra", 12, 256, 30522, embedding=128, heads=4),
    "electra-base": _encoder("electra", 12, 768, 30522),
    "distilbert-base": _encoder("distilbert", 6, 768, 30522, token_types=0),
    "minilm": _encoder("bert", 6, 384, 30522, heads=12),
    "bart-large": _seq2seq("bart", 12, 1024, 4096, 16, parameters=406_291_456, biases=333_824),
    "t5-base": _seq2seq("t5", 12, 768, 3072, 12, parameters=222_903_552, biases=0),
}
"""Shapes of well-known models by name, for parameter counts without loading anything."""
