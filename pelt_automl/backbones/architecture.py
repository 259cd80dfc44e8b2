"""What a table of an architecture family says: where it keeps what the methods change. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pelt_automl.design_space import Site

Pooling = Literal["cls", "pooler", "mean", "last", "tokens"]
"""What the head reads: the first token, the first token through the pretrained pooler, the masked mean over tokens, the last token; or
every token by itself."""


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
    """Configuration entries with the dropout rates inside the base model."""
    layer_drop_names: tuple[str, ...] = ()
    """Configuration entries with rates at which whole layers are left out; always 0 here, since the trials of a pack share the layers."""
    head_names: Mapping[str, str] = field(default_factory=dict)
    """Where `transformers`' classification model keeps our head's maps: ``dense`` and ``out``; empty when it has another head."""
    answer_head: str = "qa_outputs"
    """Where `transformers`' question answering keeps the one linear map that reads every token; empty where it has another head."""
    head_bias: bool = True
    missing: Mapping[Site, str] = field(default_factory=dict)
    """Sites that this family can't offer, with the reason. Without heads, its attention stays `transformers`' own."""
    packs: bool = True
    """Whether trials can share a forward pass; False where the model itself computes on something without an example dimension."""
    counts_positions: bool = False
    """Whether position ids have to be counted from the mask, so that padding on the left changes nothing (decoders)."""
    pooler: tuple[str, ...] = ()
    """Paths of the pretrained pooler's modules in the base model, in their order."""
    pooling_layer_option: bool = False
    """Whether the base model's constructor takes ``add_pooling_layer``."""
    token_types: bool = False
    """Whether the model was pretrained with token types, which tell the two texts of a pair apart."""

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
