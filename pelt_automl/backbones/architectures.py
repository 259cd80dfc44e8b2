"""Where each architecture family keeps what the methods change: one table a family. No torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pelt_automl.design_space import Site
from pelt_automl.errors import BackboneError

Pooling = Literal["cls", "pooler", "mean", "last"]
"""What the head reads: the first token, the first token through the pretrained pooler, the masked mean over tokens, the last token."""


@dataclass(frozen=True)
class Part:
    """An equal part of a linear map that holds several projections (GPT-2's ``c_attn``, ModernBERT's ``Wqkv``)."""

    path: str
    index: int
    of: int


@dataclass(frozen=True)
class Stack:
    """Layers that are built alike: all of an encoder, all of a decoder, or all cross-attentions of a decoder."""

    layers: str
    """Path of the list of layers inside the base model; ``*`` stands for every member of a list on the way."""
    sites: Mapping[Site, str | Part]
    """Path inside a layer: a projection's linear map; the layer norm of a sublayer (attention, ffn); the module that calls the
    attention function (heads)."""
    norm_first: bool = False
    """Whether a sublayer's norm stands before it (pre-norm: GPT-2, Llama, T5) or after its residual connection (post-norm: BERT)."""
    writes: Mapping[Site, str] = field(default_factory=dict)
    """Path of the module that puts out what a sublayer adds to the residual stream; left out where that is its last linear map."""
    reads: Mapping[Site, str] = field(default_factory=dict)
    """Path of a module that reads a sublayer's input; left out where that is the query or the up projection."""
    cross: bool = False
    """Whether these are a decoder's cross-attentions: their keys and values come from the encoder."""

    def output_of(self, sublayer: Site) -> str:
        """Path of the module whose output a pre-norm sublayer adds to the residual stream."""
        return self.writes.get(sublayer) or _path(self.sites[Site.ATTENTION_OUTPUT if sublayer is Site.ATTENTION else Site.FFN_DOWN])

    def input_of(self, sublayer: Site) -> str:
        """Path of a module whose first argument is the sublayer's input."""
        return self.reads.get(sublayer) or _path(self.sites[Site.ATTENTION_QUERY if sublayer is Site.ATTENTION else Site.FFN_UP])


def _path(place: str | Part) -> str:
    return place.path if isinstance(place, Part) else place


@dataclass(frozen=True)
class Architecture:
    """One family of pretrained models as `transformers` lays it out."""

    family: str
    """`model_type` of the transformers configuration."""
    stacks: tuple[Stack, ...]
    """In the order in which layers are counted: encoder, decoder, cross-attention."""
    embeddings: str
    """Path of the token embedding inside the base model; the encoder's where there are two."""
    pooling: Pooling
    """What `transformers`' own sequence classification reads for this family."""
    head_activation: Literal["tanh", "gelu", "relu"] | None
    """Non-linearity of the head's hidden layer; None when the head is one linear map."""
    config_names: Mapping[str, str] = field(default_factory=dict)
    """This family's names of configuration entries where they differ from BERT's."""
    dropout_names: tuple[str, ...] = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    head_names: Mapping[str, str] = field(default_factory=dict)
    """Where `transformers`' classification model keeps our head's maps: ``dense`` and ``out``; empty when it has another head."""
    head_bias: bool = True
    missing: Mapping[Site, str] = field(default_factory=dict)
    """Sites that this family can't offer, with the reason."""
    packs: bool = True
    """Whether trials can share a forward pass; False where the model itself computes on something without an example dimension."""
    counts_positions: bool = False
    """Whether position ids have to be counted from the mask, so that padding on the left changes nothing (decoders)."""
    pooling_layer_option: bool = False
    """Whether the base model's constructor takes ``add_pooling_layer``."""

    @property
    def encoder_decoder(self) -> bool:
        """Whether there is a decoder that attends to an encoder."""
        return any(stack.cross for stack in self.stacks)

    @property
    def sites(self) -> frozenset[Site]:
        """Sites of single layers that are there somewhere in the model."""
        return frozenset(site for stack in self.stacks for site in stack.sites)

    def entry(self, config: Any, name: str, default: Any = None) -> Any:
        """An entry of a transformers configuration by BERT's name for it."""
        return getattr(config, self.config_names.get(name, name), default)


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


_BERT_STACK = Stack("encoder.layer", _bert_sites())
_WORDS = "embeddings.word_embeddings"
_DENSE_HEAD = {"dense": "classifier.dense", "out": "classifier.out_proj"}

BERT = Architecture(
    "bert", (_BERT_STACK,), _WORDS, "pooler", None, head_names={"out": "classifier"}, pooling_layer_option=True,
)  # fmt: skip
ROBERTA = Architecture("roberta", (_BERT_STACK,), _WORDS, "cls", "tanh", head_names=_DENSE_HEAD, pooling_layer_option=True)
ELECTRA = Architecture("electra", (_BERT_STACK,), _WORDS, "cls", "gelu", head_names=_DENSE_HEAD)
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
    {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
    },
    ("dropout", "attention_dropout"),
    {"dense": "pre_classifier", "out": "classifier"},
)
_GPT2_STACK = Stack(
    "h",
    {
        Site.ATTENTION_QUERY: Part("attn.c_attn", 0, 3),
        Site.ATTENTION_KEY: Part("attn.c_attn", 1, 3),
        Site.ATTENTION_VALUE: Part("attn.c_attn", 2, 3),
        Site.ATTENTION_OUTPUT: "attn.c_proj",
        Site.ATTENTION: "ln_1",
        Site.FFN_UP: "mlp.c_fc",
        Site.FFN_DOWN: "mlp.c_proj",
        Site.FFN: "ln_2",
        Site.HEADS: "attn",
    },
    norm_first=True,
)
GPT2 = Architecture(
    "gpt2", (_GPT2_STACK,), "wte", "last", None,
    dropout_names=("resid_pdrop", "embd_pdrop", "attn_pdrop"), head_names={"out": "score"}, head_bias=False, counts_positions=True,
)  # fmt: skip
_LLAMA_STACK = Stack(
    "layers",
    {
        Site.ATTENTION_QUERY: "self_attn.q_proj",
        Site.ATTENTION_KEY: "self_attn.k_proj",
        Site.ATTENTION_VALUE: "self_attn.v_proj",
        Site.ATTENTION_OUTPUT: "self_attn.o_proj",
        Site.ATTENTION: "input_layernorm",
        Site.FFN_UP: "mlp.up_proj",
        Site.FFN_GATE: "mlp.gate_proj",
        Site.FFN_DOWN: "mlp.down_proj",
        Site.FFN: "post_attention_layernorm",
        Site.HEADS: "self_attn",
    },
    norm_first=True,
)
LLAMA = Architecture(
    "llama", (_LLAMA_STACK,), "embed_tokens", "last", None,
    dropout_names=("attention_dropout",), head_names={"out": "score"}, head_bias=False, counts_positions=True,
)  # fmt: skip


def _bart_sites(attention: str) -> dict[Site, str]:
    return {
        Site.ATTENTION_QUERY: f"{attention}.q_proj",
        Site.ATTENTION_KEY: f"{attention}.k_proj",
        Site.ATTENTION_VALUE: f"{attention}.v_proj",
        Site.ATTENTION_OUTPUT: f"{attention}.out_proj",
        Site.ATTENTION: f"{attention}_layer_norm",
        Site.HEADS: attention,
    }


_BART_FFN = {Site.FFN_UP: "fc1", Site.FFN_DOWN: "fc2", Site.FFN: "final_layer_norm"}


def _bart_stacks(norm_first: bool) -> tuple[Stack, ...]:
    return (
        Stack("encoder.layers", _bart_sites("self_attn") | _BART_FFN, norm_first),
        Stack("decoder.layers", _bart_sites("self_attn") | _BART_FFN, norm_first),
        Stack("decoder.layers", _bart_sites("encoder_attn"), norm_first, cross=True),
    )


BART = Architecture(
    "bart",
    _bart_stacks(norm_first=False),
    "encoder.embed_tokens",
    "last",
    "tanh",
    {"num_attention_heads": "encoder_attention_heads", "intermediate_size": "encoder_ffn_dim"},
    ("dropout", "attention_dropout", "activation_dropout"),
    {"dense": "classification_head.dense", "out": "classification_head.out_proj"},
)


def _t5_sites(index: int, attention: str) -> dict[Site, str]:
    inside = f"layer.{index}.{attention}"
    return {
        Site.ATTENTION_QUERY: f"{inside}.q",
        Site.ATTENTION_KEY: f"{inside}.k",
        Site.ATTENTION_VALUE: f"{inside}.v",
        Site.ATTENTION_OUTPUT: f"{inside}.o",
        Site.ATTENTION: f"layer.{index}.layer_norm",
        Site.HEADS: inside,
    }


def _t5_ffn(index: int, gated: bool) -> dict[Site, str]:
    inside = f"layer.{index}"
    up = {Site.FFN_UP: f"{inside}.DenseReluDense.wi"}
    if gated:
        up = {Site.FFN_UP: f"{inside}.DenseReluDense.wi_1", Site.FFN_GATE: f"{inside}.DenseReluDense.wi_0"}
    return up | {Site.FFN_DOWN: f"{inside}.DenseReluDense.wo", Site.FFN: f"{inside}.layer_norm"}


def _t5_stacks(gated: bool) -> tuple[Stack, ...]:
    return (
        Stack("encoder.block", _t5_sites(0, "SelfAttention") | _t5_ffn(1, gated), norm_first=True),
        Stack("decoder.block", _t5_sites(0, "SelfAttention") | _t5_ffn(2, gated), norm_first=True),
        Stack("decoder.block", _t5_sites(1, "EncDecAttention"), norm_first=True, cross=True),
    )


T5 = Architecture(
    "t5",
    _t5_stacks(gated=False),
    "encoder.embed_tokens",
    "last",
    "tanh",
    {"hidden_size": "d_model", "num_hidden_layers": "num_layers", "num_attention_heads": "num_heads", "intermediate_size": "d_ff"},
    ("dropout_rate", "classifier_dropout"),
    {"dense": "classification_head.dense", "out": "classification_head.out_proj"},
)

ARCHITECTURES: dict[str, Architecture] = {table.family: table for table in (BERT, ROBERTA, ELECTRA, DISTILBERT, GPT2, LLAMA, BART, T5)}
"""By `model_type`."""

VARIANTS: dict[str, Callable[[Architecture, Any], Architecture]] = {
    "t5": lambda table, config: replace(table, stacks=_t5_stacks(config.is_gated_act)),
}
"""By `model_type`: tables that depend on the configuration."""


def architecture_of(config: Any) -> Architecture:
    """The table for a transformers configuration. Raises `BackboneError` when there is none, with the place to add it."""
    family = config.model_type
    if family not in ARCHITECTURES:
        sites = ", ".join(site.value for site in _BERT_STACK.sites)
        raise BackboneError(
            f"no table for the architecture {family!r}; there are {', '.join(sorted(ARCHITECTURES))}. "
            f"Add one to pelt_automl/backbones/architectures.py that names its layers and the sites {sites}."
        )
    table = ARCHITECTURES[family]
    return VARIANTS[family](table, config) if family in VARIANTS else table
