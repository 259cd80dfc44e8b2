"""The two projections of the linear and the relu form: LoRA's and an adapter's change, without the place where it is added."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Form, input_width
from pelt_automl.modifications.by_layer import LayerModule, Weights
from pelt_automl.modifications.stacked import Member, across, normal, project, uniform

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": functional.gelu,
    "tanh": torch.tanh,
    "silu": functional.silu,
}


class Projections(LayerModule):
    """``B A x`` (linear) or ``W_up f(W_down x + b_down) + b_up`` (relu).

    The linear form starts as LoRA does (Hu et al. 2022): `A` Kaiming-uniform, `B` zero, so that nothing changes. The relu form starts as
    adapters do (Houlsby et al. 2019, Pfeiffer et al. 2021): both N(0, 0.02), biases 0. A modification's `initialization` changes that.
    """

    size_dims = {"down": 1, "down_bias": 1, "up": 2}  # noqa: RUF012 declared by the base class

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """See `LayerModule`."""
        super().__init__(label, members, backbone)
        m, count = self.modification, len(self.layers)
        wide_in, wide_out = input_width(m, backbone.shape), backbone.shape.widths(m.site)[1]
        like_lora = m.initialization == "identity" or (m.initialization == "paper" and m.form is Form.LINEAR)
        if like_lora:
            self.add_weights("down", lambda size, g: uniform(count, size, wide_in, fan_in=wide_in)(g))
            self.add_weights("up", lambda size, _: torch.zeros(count, wide_out, size))
        else:
            self.add_weights("down", lambda size, g: normal(count, size, wide_in)(g))
            self.add_weights("up", lambda size, g: normal(count, wide_out, size)(g))
        if m.form is Form.RELU:
            self.add_weights("down_bias", lambda size, _: torch.zeros(count, size))
            self.add_weights("up_bias", lambda _, __: torch.zeros(count, wide_out))
        self.activation = ACTIVATIONS[m.activation]
        self.add_own_gate(wide_in)

    def change(self, weights: Weights, index: int, states: Tensor, opened: Tensor | None) -> Tensor:
        """The change ``(n, B, T, out)`` for ``(n, B, T, in)`` states, times scale and gate.

        A gated linear form has no scale: in UniPELT the gate takes its place (released code, lora_layers.py).
        """
        low = project(states, weights["down"][index])
        if self.modification.form is Form.RELU:
            low = self.activation(low + across(weights["down_bias"][index], low))
        change = project(low, weights["up"][index])
        if self.modification.form is Form.RELU:
            change = change + across(weights["up_bias"][index], change)
        if self.modification.form is Form.RELU or opened is None:
            change = change * across(self.scale.to(change.dtype), change)
        return change if opened is None else change * opened.to(change.dtype)[:, :, :1, None]
