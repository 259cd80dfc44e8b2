"""The classification head, one a trial, trained in every method."""

from collections.abc import Callable, Sequence

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
        hidden = backbone.shape.hidden
        self.activation = ACTIVATIONS[backbone.architecture.head_activation or "tanh"] if backbone.shape.dense_head else None
        if self.activation:
            self.add_weights("dense", lambda _, g: normal(hidden, hidden)(g))
            self.add_weights("dense_bias", lambda _, __: torch.zeros(hidden))
        self.add_weights("weight", lambda _, g: normal(outputs, hidden)(g))
        self.add_weights("bias", lambda _, __: torch.zeros(outputs))

    def forward(self, pooled: Tensor) -> Tensor:
        """``(N, B, H)`` to logits ``(N, B, C)``, in fp32."""
        states = pooled.float()
        if self.activation:
            states = self.activation(_affine(states, self.get_parameter("dense"), self.get_parameter("dense_bias")))
        return _affine(states, self.get_parameter("weight"), self.get_parameter("bias"))


def _affine(states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias.unsqueeze(1), states, weight.transpose(1, 2))


def pool(last_hidden: Tensor, pooler_output: Tensor | None, mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector an example, ``(N*B, H)``, from ``(N*B, T, H)``; padding never counts."""
    if pooling == "pooler" and pooler_output is not None:
        return pooler_output
    if pooling == "mean":
        weights = mask.unsqueeze(2).float()
        return (last_hidden.float() * weights).sum(1) / weights.sum(1).clamp_min(1.0)
    return last_hidden[:, 0]
