"""The classification head, one a trial, trained in every method."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pelt_automl.backbones.architectures import Pooling
from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications.stacked import Member, StackedModule, normal

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "gelu": functional.gelu, "relu": torch.relu}


class Head(StackedModule):
    """What `transformers` puts on this architecture: a linear map, with a hidden layer before it where the family has one."""

    def __init__(self, members: Sequence[Member], backbone: Backbone, outputs: int) -> None:
        """`outputs`: number of classes, 1 for regression."""
        super().__init__("head", members)
        hidden = backbone.shape.head_input or backbone.shape.hidden
        self.activation = ACTIVATIONS[backbone.architecture.head_activation or "tanh"] if backbone.shape.dense_head else None
        if self.activation:
            self.add_weights("dense", lambda _, g: normal(hidden, hidden)(g))
            self.add_weights("dense_bias", lambda _, __: torch.zeros(hidden))
        self.add_weights("weight", lambda _, g: normal(outputs, hidden)(g))
        if backbone.shape.head_bias:
            self.add_weights("bias", lambda _, __: torch.zeros(outputs))

    @torch.no_grad()
    def start(self, row: int, weights: Mapping[str, Tensor]) -> None:
        """Set the last map of one trial: ``weight`` ``(C, H)`` and, where it has one, ``bias`` ``(C,)``.

        Raises `KeyError` when one is missing and `RuntimeError` when a shape differs.
        """
        for name, own in self.trained(row).items():
            if name in ("weight", "bias"):
                own.copy_(weights[name])

    def inner(self, pooled: Tensor) -> Tensor:
        """What the last map reads, ``(N, B, H)`` in fp32: the pooled states, through the hidden layer where the family has one."""
        states = pooled.float()
        if self.activation:
            states = self.activation(_affine(states, self.get_parameter("dense"), self.get_parameter("dense_bias")))
        return states

    def forward(self, pooled: Tensor) -> Tensor:
        """``(N, B, H)`` to logits ``(N, B, C)``, in fp32."""
        states = self.inner(pooled)
        weight = self.get_parameter("weight")
        bias = dict(self.named_parameters()).get("bias")
        return torch.bmm(states, weight.transpose(1, 2)) if bias is None else _affine(states, weight, bias)


def _affine(states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias.unsqueeze(1), states, weight.transpose(1, 2))


def pool(last_hidden: Tensor, mask: Tensor, pooling: Pooling, first: Tensor, last: Tensor) -> Tensor:
    """One vector an example, ``(N*B, H)``, from ``(N*B, T, H)``; padding never counts.

    `first` and `last`, ``(N*B,)``: where the text's first token stands (a prompt comes before it), and its last.
    """
    if pooling == "mean":
        weights = mask.unsqueeze(2).float()
        return (last_hidden.float() * weights).sum(1) / weights.sum(1).clamp_min(1.0)
    rows = torch.arange(len(last_hidden), device=last_hidden.device)
    return last_hidden[rows, last if pooling == "last" else first]
