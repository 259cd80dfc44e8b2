"""Where each architecture family keeps what the methods change: one table a family. No torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pelt_automl.design_space import BackboneShape, Site
from pelt_automl.errors import BackboneError

Pooling = Literal["cls", "pooler", "mean"]
"""What the head reads: the first token, the first token through the pretrained pooler, or the masked mean over tokens."""


@dataclass(frozen=True)
class Architecture:
    """One family of pretrained encoders as `transformers` lays it out."""

    family: str
    """`model_type` of the transformers configuration."""
    layers: str
    """Path of the list of layers inside the base model."""
    sites: dict[Site, str]
    """Path inside a layer: linear maps, the layer norm that ends a sublayer (attention, ffn), the self-attention module (heads)."""
    pooling: Pooling
    """What `transformers`' own sequence classification reads for this family."""
    head_activation: Literal["tanh", "gelu", "relu"] | None
    """Non-linearity of the head's hidden layer; None when the head is one linear map."""
    config_names: dict[str, str] = field(default_factory=dict)
    """This family's names of configuration entries where they differ from BERT's."""
    dropout_names: tuple[str, ...] = ("hidden_dropout_prob", "attention_probs_dropout_prob")

    def entry(self, config: Any, name: str) -> Any:
        """An entry of a transformers configuration by BERT's name for it."""
        return getattr(config, self.config_names.get(name, name))


def _bert_sites(attention: str = "attention.self") -> dict[Site, str]:
    return {
        Site.ATTENTION_QUERY: f"{attention}.query",
        Site.ATTENTION_KEY: f"{attention}.key",
        Site.ATTENTION_VALUE: f"{attention}.value",
        Site.ATTENTION_OUTPUT: "attention.output.dense",
        Site.ATTENTION: "attention.output.LayerNorm",
        Site.FFN_UP: "intermediate.dense",
        Site.FFN_DOWN: "output.dense",
        Site.FFN: "output.LayerNorm",
        Site.HEADS: attention,
    }


BERT = Architecture("bert", "encoder.layer", _bert_sites(), "pooler", None)
ROBERTA = Architecture("roberta", "encoder.layer", _bert_sites(), "cls", "tanh")
ELECTRA = Architecture("electra", "encoder.layer", _bert_sites(), "cls", "gelu")
DISTILBERT = Architecture(
    "distilbert",
    "transformer.layer",
    {
        Site.ATTENTION_QUERY: "attention.q_lin",
        Site.ATTENTION_KEY: "attention.k_lin",
        Site.ATTENTION_VALUE: "attention.v_lin",
        Site.ATTENTION_OUTPUT: "attention.out_lin",
        Site.ATTENTION: "sa_layer_norm",
        Site.FFN_UP: "ffn.lin1",
        Site.FFN_DOWN: "ffn.lin2",
        Site.FFN: "output_layer_norm",
        Site.HEADS: "attention",
    },
    "cls",
    "relu",
    {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
    },
    ("dropout", "attention_dropout"),
)

ARCHITECTURES: dict[str, Architecture] = {table.family: table for table in (BERT, ROBERTA, ELECTRA, DISTILBERT)}


def architecture_of(model_type: str) -> Architecture:
    """The table of a family. Raises `BackboneError` when there is none, with the place to add it."""
    if model_type not in ARCHITECTURES:
        sites = ", ".join(site.value for site in BERT.sites)
        raise BackboneError(
            f"no table for the architecture {model_type!r}; there are {', '.join(sorted(ARCHITECTURES))}. "
            f"Add one to pelt_automl/backbones/architectures.py that names its layers and the sites {sites}."
        )
    return ARCHITECTURES[model_type]


def shape_of(config: Any, pooling: Pooling | None = None) -> BackboneShape:
    """The sizes in a transformers configuration; `pooling` overrides the family's own."""
    table = architecture_of(config.model_type)
    pooling = pooling or table.pooling
    hidden = table.entry(config, "hidden_size")
    return BackboneShape(
        family=table.family,
        layers=table.entry(config, "num_hidden_layers"),
        hidden=hidden,
        ffn=table.entry(config, "intermediate_size"),
        heads=table.entry(config, "num_attention_heads"),
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        token_types=getattr(config, "type_vocab_size", 0),
        embedding=getattr(config, "embedding_size", hidden),
        pooler=pooling == "pooler",
        dense_head=pooling == "cls" and table.head_activation is not None,
    )


def _shape(family: str, layers: int, hidden: int, vocabulary: int, **other: Any) -> BackboneShape:
    sizes = {
        "ffn": 4 * hidden,
        "heads": hidden // 64,
        "positions": 512,
        "token_types": 2,
        "embedding": hidden,
        "pooler": False,
        "dense_head": family != "bert",
    }
    return BackboneShape(family=family, layers=layers, hidden=hidden, vocabulary=vocabulary, **(sizes | other))


SHAPES: dict[str, BackboneShape] = {
    "bert-base": _shape("bert", 12, 768, 30522, pooler=True),
    "bert-large": _shape("bert", 24, 1024, 30522, pooler=True),
    "roberta-base": _shape("roberta", 12, 768, 50265, positions=514, token_types=1),
    "roberta-large": _shape("roberta", 24, 1024, 50265, positions=514, token_types=1),
    "electra-small": _shape("electra", 12, 256, 30522, embedding=128),
    "electra-base": _shape("electra", 12, 768, 30522),
    "distilbert-base": _shape("distilbert", 6, 768, 30522, token_types=0),
    "minilm": _shape("bert", 6, 384, 30522, heads=12),
}
"""Shapes of well-known encoders by name, for parameter counts without loading anything."""
