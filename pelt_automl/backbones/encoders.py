"""Tables of encoders: BERT and its kin."""

from dataclasses import replace
from typing import Any

from pelt_automl.backbones.architecture import Architecture, Part, Stack
from pelt_automl.design_space import Site

_BERT_SITES: dict[Site, str | Part] = {
    Site.ATTENTION_QUERY: "attention.self.query",
    Site.ATTENTION_KEY: "attention.self.key",
    Site.ATTENTION_VALUE: "attention.self.value",
    Site.ATTENTION_OUTPUT: "attention.output.dense",
    Site.ATTENTION: "attention.output.LayerNorm",
    Site.FFN_UP: "intermediate.dense",
    Site.FFN_DOWN: "output.dense",
    Site.FFN: "output.LayerNorm",
    Site.HEADS: "attention.self",
}
_BERT_STACK = Stack("encoder.layer", _BERT_SITES)
_WORDS = "embeddings.word_embeddings"
_DENSE_HEAD = {"dense": "classifier.dense", "out": "classifier.out_proj"}
_POSITIONS_OF_ITS_OWN = "its attention adds terms of the relative positions and doesn't call transformers' exchangeable attention function"

BERT = Architecture(
    "bert", (_BERT_STACK,), _WORDS, "pooler", None, head_names={"out": "classifier"},
    pooler=("pooler.dense", "pooler.activation"), pooling_layer_option=True, token_types=True,
)  # fmt: skip
ROBERTA = Architecture("roberta", (_BERT_STACK,), _WORDS, "cls", "tanh", head_names=_DENSE_HEAD, pooling_layer_option=True)
XLM_ROBERTA = replace(ROBERTA, family="xlm-roberta")
ELECTRA = Architecture("electra", (_BERT_STACK,), _WORDS, "cls", "gelu", head_names=_DENSE_HEAD, token_types=True)

ALBERT = Architecture(
    "albert",
    (
        Stack(
            "encoder.albert_layer_groups.*.albert_layers",
            {
                Site.ATTENTION_QUERY: "attention.query",
                Site.ATTENTION_KEY: "attention.key",
                Site.ATTENTION_VALUE: "attention.value",
                Site.ATTENTION_OUTPUT: "attention.dense",
                Site.ATTENTION: "attention.LayerNorm",
                Site.FFN_UP: "ffn",
                Site.FFN_DOWN: "ffn_output",
                Site.FFN: "full_layer_layer_norm",
                Site.HEADS: "attention",
            },
        ),
    ),
    _WORDS,
    "pooler",
    None,
    head_names={"out": "classifier"},
    pooler=("pooler", "pooler_activation"),
    pooling_layer_option=True,
    token_types=True,
)

DEBERTA_V2 = Architecture(
    "deberta-v2",
    (
        Stack(
            "encoder.layer",
            {
                **{site: place for site, place in _BERT_SITES.items() if site is not Site.HEADS},
                Site.ATTENTION_QUERY: "attention.self.query_proj",
                Site.ATTENTION_KEY: "attention.self.key_proj",
                Site.ATTENTION_VALUE: "attention.self.value_proj",
            },
            reads={Site.ATTENTION: "attention.self"},  # relative positions go through the query projection too
        ),
    ),
    _WORDS,
    "cls",
    "gelu",
    head_names={"dense": "pooler.dense", "out": "classifier"},
    missing={Site.HEADS: _POSITIONS_OF_ITS_OWN},
    packs=False,  # relative positions, which have no example dimension, go through the changed projections
    token_types=True,
)

MPNET = Architecture(
    "mpnet",
    (
        Stack(
            "encoder.layer",
            {
                **{site: place for site, place in _BERT_SITES.items() if site is not Site.HEADS},
                Site.ATTENTION_QUERY: "attention.attn.q",
                Site.ATTENTION_KEY: "attention.attn.k",
                Site.ATTENTION_VALUE: "attention.attn.v",
                Site.ATTENTION_OUTPUT: "attention.attn.o",
                Site.ATTENTION: "attention.LayerNorm",
            },
        ),
    ),
    _WORDS,
    "cls",
    "tanh",
    head_names=_DENSE_HEAD,
    missing={Site.HEADS: _POSITIONS_OF_ITS_OWN},
    pooling_layer_option=True,
)

DISTILBERT = Architecture(
    "distilbert",
    (
        Stack(
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
        ),
    ),
    _WORDS,
    "cls",
    "relu",
    {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads", "intermediate_size": "hidden_dim"},
    ("dropout", "attention_dropout"),
    head_names={"dense": "pre_classifier", "out": "classifier"},
)

MODERNBERT = Architecture(
    "modernbert",
    (
        Stack(
            "layers",
            {
                Site.ATTENTION_QUERY: Part("attn.Wqkv", 0, 3),
                Site.ATTENTION_KEY: Part("attn.Wqkv", 1, 3),
                Site.ATTENTION_VALUE: Part("attn.Wqkv", 2, 3),
                Site.ATTENTION_OUTPUT: "attn.Wo",
                Site.ATTENTION: "attn_norm",
                Site.FFN_GATE: Part("mlp.Wi", 0, 2),  # the half with the activation
                Site.FFN_UP: Part("mlp.Wi", 1, 2),
                Site.FFN_DOWN: "mlp.Wo",
                Site.FFN: "mlp_norm",
                Site.HEADS: "attn",
            },
            norm_first=True,
        ),
    ),
    "embeddings.tok_embeddings",
    "cls",
    "gelu",
    dropout_names=("attention_dropout", "embedding_dropout", "mlp_dropout"),
    answer_head="",
)
"""Its own head has a layer norm more, which its pretraining has trained; ours starts without it."""


def modernbert(table: Architecture, config: Any) -> Architecture:
    """Checkpoints differ in what their head reads."""
    return replace(table, pooling=config.classifier_pooling)
