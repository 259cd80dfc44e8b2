"""The unified view of parameter-efficient tuning as a type, and exact parameter counts from it.

He et al. (2022, "Towards a Unified View of Parameter-Efficient Transfer Learning", Table 1) show that PELT methods are changes to
hidden states that differ along few dimensions. A `Modification` is one such change; a method is a tuple of them. No torch here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal


class Site(StrEnum):
    """Which representation of a Transformer layer is changed."""

    ATTENTION_QUERY = "attention.query"
    ATTENTION_KEY = "attention.key"
    ATTENTION_VALUE = "attention.value"
    ATTENTION_OUTPUT = "attention.output"
    ATTENTION = "attention"
    FFN_UP = "ffn.up"
    FFN_DOWN = "ffn.down"
    FFN = "ffn"
    HEADS = "heads"
    """The keys and values of every attention head."""
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
    BIAS = "bias"
    PROMPT = "prompt"
    FULL = "full"


class Insertion(StrEnum):
    """Where the change takes its input from: the changed representation itself, or the sublayer's input."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"


@dataclass(frozen=True)
class Gate:
    """UniPELT's gate: the mean over tokens of ``sigmoid(w x + b)``, one scalar an example, layer and modification."""

    token_mean: Literal["masked", "paper"] = "masked"
    """``masked`` leaves padding out of the mean; ``paper`` averages over all positions, as the released code does."""


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
    """Indices of the layers that are changed; None for every layer."""
    reparameterization: int = 0
    """Width of the MLP that makes a prefix while it is trained (0: none). Dropped after the training."""


@dataclass(frozen=True)
class BackboneShape:
    """The sizes of a pretrained encoder: all that a parameter count needs."""

    family: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    vocabulary: int
    positions: int
    token_types: int
    embedding: int
    """Width of the token embeddings; unlike `hidden`, there is a projection between them (ELECTRA-small)."""
    pooler: bool
    """Whether a pretrained dense layer stands between the encoder and the classification head."""
    dense_head: bool
    """Whether the classification head has a hidden layer of its own (RoBERTa, ELECTRA, DistilBERT)."""

    @property
    def parameters(self) -> int:
        """Number of the backbone's parameters."""
        h, e, f = self.hidden, self.embedding, self.ffn
        embeddings = (self.vocabulary + self.positions + self.token_types) * e + 2 * e
        projection = e * h + h if e != h else 0
        layer = 4 * (h * h + h) + (h * f + f) + (f * h + h) + 2 * 2 * h
        return embeddings + projection + self.layers * layer + (h * h + h if self.pooler else 0)

    @property
    def biases(self) -> int:
        """Number of the backbone's bias terms, those of its layer norms included."""
        projection = self.hidden if self.embedding != self.hidden else 0
        layer = 4 * self.hidden + self.ffn + self.hidden + 2 * self.hidden
        return self.embedding + projection + self.layers * layer + (self.hidden if self.pooler else 0)

    def head_parameters(self, outputs: int) -> int:
        """Number of parameters of the classification head with `outputs` classes (1 for regression)."""
        dense = self.hidden * self.hidden + self.hidden if self.dense_head else 0
        return dense + self.hidden * outputs + outputs


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


def _site_widths(site: Site, shape: BackboneShape) -> tuple[int, int]:
    """Input and output width of the linear map at `site`."""
    if site is Site.FFN_UP:
        return shape.hidden, shape.ffn
    if site is Site.FFN_DOWN:
        return shape.ffn, shape.hidden
    return shape.hidden, shape.hidden


def _count_in_a_layer(modification: Modification, shape: BackboneShape) -> int:
    size, hidden = modification.size, shape.hidden
    wide_in, wide_out = _site_widths(modification.site, shape)
    if modification.form is Form.LINEAR:
        return size * (wide_in + wide_out)
    if modification.form is Form.RELU:
        return size * (wide_in + wide_out) + size + wide_out
    if modification.form is Form.SOFTMAX:
        return 2 * size * hidden
    raise ValueError(f"form {modification.form} has no count by layer")


def count(modification: Modification, shape: BackboneShape) -> ParameterCount:
    """Trainable parameters of one modification on a backbone of this shape, without building anything.

    Reproduces UniPELT's Table 4 for BERT-base; gates, which that table leaves out, have a field of their own.
    """
    if modification.form is Form.FULL:
        return ParameterCount(pelt=shape.parameters)
    if modification.form is Form.BIAS:
        return ParameterCount(pelt=shape.biases)
    if modification.form is Form.PROMPT:
        return ParameterCount(pelt=modification.size * shape.embedding)
    layers = shape.layers if modification.layers is None else len(modification.layers)
    gate_input = _site_widths(modification.site, shape)[0] if modification.form is Form.LINEAR else shape.hidden
    mlp = modification.reparameterization
    return ParameterCount(
        pelt=layers * _count_in_a_layer(modification, shape),
        gates=layers * (gate_input + 1) if modification.gate else 0,
        training_only=(modification.size * shape.hidden + shape.hidden * mlp + mlp + (mlp + 1) * layers * 2 * shape.hidden if mlp else 0),
    )


def count_all(modifications: Iterable[Modification], shape: BackboneShape, outputs: int = 2) -> ParameterCount:
    """Trainable parameters of a method: its modifications, their gates, and the classification head."""
    counts = [count(modification, shape) for modification in modifications]
    return ParameterCount(
        pelt=sum(c.pelt for c in counts),
        gates=sum(c.gates for c in counts),
        head=shape.head_parameters(outputs),
        training_only=sum(c.training_only for c in counts),
    )


def modification_to_dict(modification: Modification) -> dict[str, Any]:
    """Plain values for JSON; `modification_from_dict` is the inverse."""
    return asdict(modification)


def modification_from_dict(data: Mapping[str, Any]) -> Modification:
    """The modification that `modification_to_dict` wrote. Raises `TypeError` or `ValueError` for anything else."""
    layers, gate = data["layers"], data["gate"]
    return Modification(
        **{
            **data,
            "site": Site(data["site"]),
            "form": Form(data["form"]),
            "insertion": Insertion(data["insertion"]),
            "gate": Gate(**gate) if gate else None,
            "layers": tuple(layers) if layers is not None else None,
        }
    )
