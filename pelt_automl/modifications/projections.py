"""The two projections of the linear and the relu form: LoRA's and an adapter's change, without the place where it is added."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pelt_automl.backbones.architectures import Part
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Form, input_width
from pelt_automl.modifications.by_layer import LayerModule, Weights
from pelt_automl.modifications.stacked import Member, Run, across, normal, project, uniform

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

    def prepared(self, dtype: torch.dtype) -> Weights:
        """All weights as a forward pass needs them, by layer: `up` ``(n, out, r)`` with the bias as one more column, if there is one."""
        weights = dict(self.weights(dtype))
        if self.modification.form is Form.RELU:
            columns = [bias.unsqueeze(2) for bias in weights.pop("up_bias")]
            weights["up"] = tuple(_aligned(torch.cat(both, dim=2)) for both in zip(weights["up"], columns, strict=True))
        return weights

    def low(self, weights: Weights, index: int, states: Tensor, opened: Tensor | None) -> Tensor:
        """``(n, B, T, r)``, times scale and gate: the change for ``(n, B, T, in)`` states is ``low up^T``, with `up` as in `prepared`.

        Where `up` has a bias, `low` has scale and gate themselves in the bias's column. Multiplied here they cost `r` numbers a token
        and not a layer's width. A gated linear form has no scale: in UniPELT the gate takes its place (released code, lora_layers.py).
        """
        low, scale = project(states, weights["down"][index]), across(self.scale.to(states.dtype).unsqueeze(1), states)
        gate = None if opened is None else opened.to(states.dtype)[:, :, :1, None]
        if self.modification.form is not Form.RELU:
            return low * (scale if gate is None else gate)
        strength = scale if gate is None else scale * gate  # (n, 1 or B, 1, 1)
        low = self.activation(low + across(weights["down_bias"][index], low))
        return _aligned(torch.cat([low * strength, strength.expand(*low.shape[:-1], 1)], dim=3))


class Place:
    """One place of a layer in one forward pass: its hooks read through the first projection, and write through the second."""

    def __init__(self, module: Projections, weights: Weights, run: Run, index: int, part: Part | None = None) -> None:
        """`weights`: as `Projections.prepared` gives them; `index`: of the layer among the module's."""
        self.module, self.weights, self.run, self.index, self.part = module, weights, run, index, part
        self.low: Tensor | None
        self.seen: Tensor | None = None
        """``(n, B, T, H)``: what the written states are added to before they count as hidden states."""

    def take(self, own: Tensor) -> None:
        """Put states ``(n, B, T, in)`` through the first projection.

        Nothing comes of DeBERTa's relative positions, which go through the same map as tokens: they open no gate.
        """
        opened = self.module.opened(self.weights, self.index, own, self.run)
        self.low = None if self.module.gate and opened is None else self.module.low(self.weights, self.index, own, opened)

    def read(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Before a map: what it reads goes through the first projection."""
        states, own = self.module.forked(inputs[0], self.run, owned=True)
        self.take(own)
        return (states, *inputs[1:])

    def written(self, states: Tensor) -> Tensor:
        """Fresh states, now with the change."""
        if self.low is None:
            return states
        low, up = self.low, self.weights["up"][self.index]

        def change() -> tuple[Tensor, Tensor]:
            own = self.module.rows(self.part).of(self.run.split(states))
            return project(low, up), own if self.seen is None else self.seen + own

        self.module.measure(self.index, self.run, change)
        return self.module.added_product(states, low, up, self.run, self.part)


def _aligned(states: Tensor) -> Tensor:
    """With columns of zeros up to a multiple of eight: GPUs multiply others slowly."""
    return functional.pad(states, (0, -states.shape[-1] % 8))
