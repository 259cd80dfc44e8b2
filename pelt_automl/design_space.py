"""The unified view of parameter-efficient tuning as a type, and exact parameter counts from it.

He et al. (2022, "Towards a Unified View of Parameter-Efficient Transfer Learning", Table 1) show that PELT methods are changes to
hidden states that differ along few dimensions. A `Modification` is one such change; a method is a tuple of them. No torch here.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class Site(StrEnum):
    """Which representation of a Transformer layer is changed."""

    ATTENTION_QUERY = "attention.query"
    ATTENTION_KEY = "attention.key"
    ATTENTION_VALUE = "attention.value"
    ATTENTION_OUTPUT = "attention.output"
    ATTENTION = "attention"
    """The attention sublayer: what it adds to the residual stream."""
    FFN_UP = "ffn.up"
    FFN_GATE = "ffn.gate"
    """The gating projection of a gated feed-forward network (Llama, T5 1.1, ModernBERT)."""
    FFN_DOWN = "ffn.down"
    FFN = "ffn"
    """The feed-forward sublayer: what it adds to the residual stream."""
    HEADS = "heads"
    """What every attention head computes, from its keys and values."""
    EMBEDDINGS = "embeddings"
    BIASES = "biases"
    EVERYTHING = "everything"


class Form(StrEnum):
    """The functional form of the change."""

    LINEAR = "linear"
    RELU = "relu"
    """A bottleneck with a non-linearity between its two projections."""
    SOFTMAX = "softmax"
    """Attention over trained keys and values (prefix tuning)."""
    SCALE = "scale"
    """Every component times its own factor ((IA)3)."""
    SUBSPACE = "subspace"
    """A change within a low-rank subspace, towards a learned point of it (ReFT)."""
    BIAS = "bias"
    PROMPT = "prompt"
    FULL = "full"
    PEFT = "peft"
    """Whatever a configuration of HF peft says."""


class Insertion(StrEnum):
    """Where the change takes its input from: the changed representation itself, or the sublayer's input."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"


PROJECTIONS = (
    Site.ATTENTION_QUERY,
    Site.ATTENTION_KEY,
    Site.ATTENTION_VALUE,
    Site.ATTENTION_OUTPUT,
    Site.FFN_UP,
    Site.FFN_GATE,
    Site.FFN_DOWN,
)
"""Sites that are one linear map."""

SUBLAYERS = (Site.ATTENTION, Site.FFN)
"""Sites that are a whole sublayer with its residual connection."""

WHOLE_SITES = {Form.BIAS: Site.BIASES, Form.PROMPT: Site.EMBEDDINGS, Form.FULL: Site.EVERYTHING, Form.PEFT: Site.EVERYTHING}
"""Forms that change the model as a whole, with the one site that they have."""

OWN_COPY = (Form.FULL, Form.PEFT)
"""Forms that need a copy of the backbone, so that such a trial can't share a pack."""


def nonsense(form: Form, site: Site, insertion: Insertion) -> str | None:
    """Why a point of the design space makes no sense; None for one that does.

    This is the whole rule: what it lets through can be built wherever the architecture has the site.
    """
    if form in WHOLE_SITES:
        right = site is WHOLE_SITES[form] and insertion is Insertion.PARALLEL
        return None if right else f"the {form} form has the one site {WHOLE_SITES[form]}, parallel"
    if site in WHOLE_SITES.values():
        return f"a change of the {form} form belongs to one place in a layer; {site} is none"
    if form is Form.SOFTMAX and site is not Site.HEADS:
        return "a softmax runs over the keys of an attention head, so its site is heads"
    if form is Form.SUBSPACE and (site, insertion) != (Site.FFN, Insertion.SEQUENTIAL):
        return "an intervention replaces a part of what a layer puts out, so it is at ffn, in sequence"
    if form is Form.SCALE and site is Site.HEADS:
        return "the factors scale what a linear map or a sublayer puts out; for a head that is attention.value"
    if form is Form.SCALE and insertion is Insertion.PARALLEL:
        return "factors multiply the changed representation itself, so the insertion is sequential"
    if site is Site.HEADS and insertion is Insertion.SEQUENTIAL:
        return "a head's change reads the query, beside its own attention, so the insertion is parallel"
    return None


@dataclass(frozen=True)
class Gate:
    """A gate on a modification: one scalar an example and layer that multiplies the change.

    The defaults are UniPELT's: the mean over tokens of ``sigmoid(w x + b)``, a gate of its own for each modification and layer.
    """

    token_mean: Literal["masked", "paper"] = "masked"
    """``masked`` leaves padding out of the mean; ``paper`` averages over all positions, as the released code does."""
    network: Literal["linear", "mlp", "gru", "transformer"] = "linear"
    """What makes a score of each token: a linear map; one hidden layer; a GRU over tokens; one small self-attention block."""
    width: int = 16
    """Hidden width of the networks other than ``linear``."""
    squashing: Literal["sigmoid", "softmax", "central"] = "sigmoid"
    """``sigmoid``: independent gates. ``softmax``: the gates of a group compete, token by token, and add up to 1. ``central``: they
    compete as in UniPELT's released code, ``softmax(mean_t relu(W x_t + b))``."""
    temperature: float = 1.0
    """Scores are divided by it before they are squashed."""
    across_layers: bool = False
    """Whether one network serves all layers."""
    group: str = ""
    """Modifications of the same group share one network, which reads the layer's input (the attention's). Competing gates need one."""
    split: bool = False
    """Whether prefix keys and prefix values have a gate each."""

    @property
    def competing(self) -> bool:
        """Whether the gates of its group add up to 1."""
        return self.squashing != "sigmoid"


@dataclass(frozen=True)
class Modification:
    """One change ``h <- h + s * gate * dh`` to a frozen backbone."""

    name: str
    """The submodule that it belongs to in reports: ``lora``, ``adapter``, ``prefix``, ..."""
    site: Site
    form: Form
    insertion: Insertion = Insertion.PARALLEL
    size: int = 0
    """Rank, bottleneck width or prefix length; 0 for forms without one."""
    scale: float = 1.0
    """``s``; the gate takes its place in a gated LoRA, as in UniPELT."""
    gate: Gate | None = None
    layers: tuple[int, ...] | None = None
    """Indices of the layers that are changed; None for every layer that has the site. Encoder layers count first, then decoder layers,
    then the decoder layers' cross-attention."""
    top_share: float = 1.0
    """Without `layers`: share of the layers that are changed, counted from the top and rounded up; an encoder-decoder's encoder, decoder
    and cross-attention each by themselves."""
    reparameterization: int = 0
    """Width of the MLP that makes a prefix while it is trained (0: none). Dropped after the training."""
    positions: int = 0
    """Of the subspace form: how many of a text's first tokens are changed, and of its last; 0 for all."""
    activation: Literal["relu", "gelu", "tanh", "silu"] = "relu"
    """The non-linearity of the relu form."""
    composition: Literal["gated", "add"] = "gated"
    """Of the softmax form: ``gated`` shares one softmax with the head's own keys, ``(1 - l) h + l dh`` (He et al. 2022, equation 8);
    ``add`` is ``h + s dh`` with a softmax of its own."""
    initialization: Literal["paper", "identity", "normal", "vocabulary"] = "paper"
    """``paper``: the form's own. ``identity``: the up-projection of a bottleneck starts at 0, as in LoRA (MAM). ``normal``: N(0, 0.02)
    throughout. ``vocabulary``: a prompt starts at embeddings of the vocabulary."""
    peft: str = ""
    """Of the peft form: the configuration as JSON."""


@dataclass(frozen=True)
class BackboneShape:
    """The sizes of a pretrained model: all that a parameter count needs."""

    family: str
    layers: int
    """Layers with weights of their own, those of encoder and decoder together; a layer that is applied many times counts once."""
    hidden: int
    ffn: int
    heads: int
    """Query heads."""
    query_width: int
    """All query heads together; the hidden width in most models."""
    kv_width: int
    """All key heads together, or all value heads; less than `query_width` where several query heads share one."""
    embedding: int
    """Width of the token embeddings; unlike `hidden`, there is a projection between them (ELECTRA-small, ALBERT)."""
    parameters: int
    """Of the whole backbone."""
    biases: int
    """Bias terms of the whole backbone, those of its layer norms included."""
    positions: int | None = None
    """Tokens that the model can tell the positions of, where they have embeddings; None where there is no such limit."""
    vocabulary: int = field(default=0, compare=False)
    """Rows of the token embedding; 0 where only parameters are counted."""
    cross_layers: int = 0
    """Decoder layers that attend to an encoder."""
    pooler: bool = False
    """Whether a pretrained dense layer stands between the encoder and the classification head."""
    dense_head: bool = False
    """Whether the classification head has a hidden layer of its own (RoBERTa, ELECTRA, DistilBERT, BART, T5)."""
    head_bias: bool = True
    """Whether the head's last linear map has a bias; decoders' have none."""
    head_input: int | None = None
    """Width of what the head reads; None for the hidden width (all but OPT-350m, which projects its last hidden states)."""

    def head_parameters(self, outputs: int) -> int:
        """Number of parameters of the classification head with `outputs` classes (1 for regression)."""
        width = self.head_input or self.hidden
        dense = width * width + width if self.dense_head else 0
        return dense + width * outputs + (outputs if self.head_bias else 0)

    def layers_with(self, site: Site) -> int:
        """How many layers have a site; the cross-attention of a decoder layer counts as a layer with attention alone."""
        return self.layers if site.startswith("ffn") else self.layers + self.cross_layers

    def widths(self, site: Site) -> tuple[int, int]:
        """Input and output width of the linear map at `site`, or of the sublayer."""
        return {
            Site.ATTENTION_QUERY: (self.hidden, self.query_width),
            Site.ATTENTION_KEY: (self.hidden, self.kv_width),
            Site.ATTENTION_VALUE: (self.hidden, self.kv_width),
            Site.ATTENTION_OUTPUT: (self.query_width, self.hidden),
            Site.FFN_UP: (self.hidden, self.ffn),
            Site.FFN_GATE: (self.hidden, self.ffn),
            Site.FFN_DOWN: (self.ffn, self.hidden),
        }.get(site, (self.hidden, self.hidden))


@dataclass(frozen=True)
class ParameterCount:
    """Trainable parameters, by what they are for. `pelt` is the figure that the papers print."""

    pelt: int = 0
    gates: int = 0
    head: int = 0
    training_only: int = 0
    """Parameters that are trained but not kept: a prefix's MLP."""

    @property
    def kept(self) -> int:
        """All parameters that a trained method needs beside the frozen backbone."""
        return self.pelt + self.gates + self.head


def input_width(modification: Modification, shape: BackboneShape) -> int:
    """Width of what a modification reads: the linear map's input, its output where it is inserted in sequence, else the hidden width."""
    wide_in, wide_out = shape.widths(modification.site)
    if modification.form is Form.SCALE:
        return scaled_width(modification.site, shape)
    return wide_out if modification.insertion is Insertion.SEQUENTIAL else wide_in


def scaled_width(site: Site, shape: BackboneShape) -> int:
    """Width of what (IA)3 scales: a map's output; at ffn.down its input, the activations between the two maps, as in the paper."""
    wide_in, wide_out = shape.widths(site)
    return wide_in if site is Site.FFN_DOWN else wide_out


def _count_in_a_layer(modification: Modification, shape: BackboneShape) -> int:
    size, site = modification.size, modification.site
    if modification.form is Form.SCALE:
        return scaled_width(site, shape)
    if site is Site.HEADS:
        return 2 * size * (shape.kv_width if modification.form is Form.SOFTMAX else shape.query_width)
    wide_in, wide_out = input_width(modification, shape), shape.widths(site)[1]
    biases = {Form.RELU: size + wide_out, Form.SUBSPACE: size}.get(modification.form, 0)
    return size * (wide_in + wide_out) + biases


def gate_parameters(gate: Gate, wide_in: int, outputs: int) -> int:
    """Parameters of one gate network that reads states of width `wide_in` and has `outputs` gates."""
    w = gate.width
    hidden = {
        "linear": 0,
        "mlp": (wide_in + 1) * w,
        "gru": 3 * (wide_in * w + w * w + 2 * w),
        "transformer": (wide_in + 1) * w + 4 * (w + 1) * w,
    }[gate.network]
    return hidden + ((wide_in if gate.network == "linear" else w) + 1) * outputs


def changed_layers(modification: Modification, shape: BackboneShape) -> tuple[int, ...]:
    """Indices of the layers that a modification of single layers changes."""
    if modification.layers is not None:
        return modification.layers
    decoder, found, start = shape.cross_layers, list[int](), 0
    for layers in (shape.layers - decoder, decoder, shape.layers_with(modification.site) - shape.layers):
        changed = math.ceil(modification.top_share * layers - 1e-9)  # 0.1 * 30 isn't quite 3
        found += range(start + layers - changed, start + layers)
        start += layers
    return tuple(found)


def lowest_layer(modifications: Iterable[Modification], shape: BackboneShape) -> int:
    """The lowest layer that a trial changes; what the layers below it put out for a token is the same without the trial.

    The number of layers if it changes none of them (the head alone). 0 if it changes the embeddings, the biases or everything, if a gate
    of it averages over padding too, whose states aren't a text's own, and in an encoder-decoder, whose layers aren't one chain.
    """
    lowest = 0 if shape.cross_layers else shape.layers
    for m in modifications:
        if m.form in WHOLE_SITES or (m.gate is not None and m.gate.token_mean == "paper"):
            return 0
        lowest = min([lowest, *changed_layers(m, shape)])
    return lowest


def count(modification: Modification, shape: BackboneShape) -> ParameterCount:
    """Trainable parameters of one modification on a backbone of this shape, without building anything.

    Reproduces UniPELT's Table 4 for BERT-base; gates, which that table leaves out, have a field of their own. The gate of a group isn't
    counted here but in `count_all`. Raises `ValueError` for the peft form, which only peft can count.
    """
    if modification.form is Form.FULL:
        return ParameterCount(pelt=shape.parameters)
    if modification.form is Form.BIAS:
        return ParameterCount(pelt=shape.biases)
    if modification.form is Form.PROMPT:
        return ParameterCount(pelt=modification.size * shape.embedding)
    if modification.form is Form.PEFT:
        raise ValueError("what peft trains is counted on its own module")
    layers, mlp = len(changed_layers(modification, shape)), modification.reparameterization
    gate, gates = modification.gate, 0
    if gate and not gate.group:
        reads = shape.hidden if modification.site in (*SUBLAYERS, Site.HEADS) else input_width(modification, shape)
        gates = (1 if gate.across_layers else layers) * gate_parameters(gate, reads, 2 if gate.split else 1)
    return ParameterCount(
        pelt=layers * _count_in_a_layer(modification, shape),
        gates=gates,
        training_only=(modification.size * shape.hidden + shape.hidden * mlp + mlp + (mlp + 1) * layers * 2 * shape.kv_width if mlp else 0),
    )


def submodules(modifications: Iterable[Modification]) -> tuple[str, ...]:
    """Names of the parts of a union, which can be switched off one by one; none where there is a single part without a gate."""
    modifications = tuple(modifications)
    names = tuple(sorted({modification.name for modification in modifications}))
    return names if len(names) > 1 or any(modification.gate for modification in modifications) else ()


def gate_groups(modifications: Iterable[Modification]) -> dict[Gate, tuple[Modification, ...]]:
    """The gates of a method that several modifications share, each with those modifications."""
    groups: dict[Gate, tuple[Modification, ...]] = {}
    for modification in modifications:
        if modification.gate and modification.gate.group:
            groups[modification.gate] = (*groups.get(modification.gate, ()), modification)
    return groups


def group_outputs(gate: Gate, members: Iterable[Modification]) -> tuple[str, ...]:
    """What the outputs of a group's network are for: one a submodule where they compete, else one for all (an empty name)."""
    return tuple(sorted({member.name for member in members})) if gate.competing else ("",)


def group_layers(members: Iterable[Modification], shape: BackboneShape) -> tuple[int, ...]:
    """Indices of the layers in which some modification of a group needs its gate."""
    return tuple(sorted({layer for member in members for layer in changed_layers(member, shape)}))


def count_all(modifications: Iterable[Modification], shape: BackboneShape, outputs: int = 2) -> ParameterCount:
    """Trainable parameters of a method: its modifications, their gates, and the classification head."""
    modifications = tuple(modifications)
    counts = [count(modification, shape) for modification in modifications]
    shared = 0
    for gate, members in gate_groups(modifications).items():
        networks = 1 if gate.across_layers else len(group_layers(members, shape))
        shared += networks * gate_parameters(gate, shape.hidden, len(group_outputs(gate, members)))
    return ParameterCount(
        pelt=sum(c.pelt for c in counts),
        gates=sum(c.gates for c in counts) + shared,
        head=shape.head_parameters(outputs),
        training_only=sum(c.training_only for c in counts),
    )


def modification_from_dict(data: Mapping[str, Any]) -> Modification:
    """The inverse of `dataclasses.asdict`, for plain values from JSON; what is left out takes its default.

    Raises `KeyError`, `TypeError` or `ValueError` for anything else.
    """
    layers, gate = data.get("layers"), data.get("gate")
    return Modification(
        **{
            **data,
            "site": Site(data["site"]),
            "form": Form(data["form"]),
            "insertion": Insertion(data.get("insertion", Insertion.PARALLEL)),
            "gate": Gate(**gate) if gate else None,
            "layers": tuple(layers) if layers is not None else None,
        }
    )
