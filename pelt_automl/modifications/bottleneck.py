"""The non-linear form after a sublayer, before the layer norm that ends it: Pfeiffer's adapter."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications.gate import gate_values
from pelt_automl.modifications.stacked import HookedModule, Member, Run, normal, project


class Bottleneck(HookedModule):
    """Pfeiffer's adapter in a post-norm layer: ``LN(s + G up(relu(down(LN(s)))))`` with ``s`` the sublayer's output plus its input.

    Pfeiffer et al. 2021; UniPELT's gate ``G`` multiplies the up-projection's output and reads the adapter's input ``LN(s)``
    (released code, adapters/modeling.py). Weights start at N(0, 0.02), biases at 0: near the identity, not exactly it.
    """

    size_dims: ClassVar[Mapping[str, int]] = {"down": 1, "down_bias": 1, "up": 2}

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone, layers: Sequence[int]) -> None:
        """`layers` are the indices of the changed layers."""
        super().__init__(label, members)
        self.layers = tuple(layers)
        first = members[0].modification
        self.site, self.gate = first.site, first.gate
        hidden, count = backbone.shape.hidden, len(self.layers)
        self.add_weights("down", lambda width, g: normal(count, width, hidden)(g))
        self.add_weights("down_bias", lambda width, _: torch.zeros(count, width))
        self.add_weights("up", lambda width, g: normal(count, hidden, width)(g))
        self.add_weights("up_bias", lambda _, __: torch.zeros(count, hidden))
        if self.gate:
            self.add_weights("gate_weight", lambda _, g: normal(count, hidden)(g))
            self.add_weights("gate_bias", lambda _, __: torch.zeros(count))
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor([member.modification.scale for member in members]), persistent=False)

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Recompute the layer norm that ends the sublayer, with the change added to what it normalizes."""
        weights = {name: parameter.to(backbone.dtype).unbind(1) for name, parameter in self.named_parameters()}
        mask = run.mask.index_select(0, self.slots)
        path = backbone.architecture.sites[self.site]
        for index, layer in enumerate(self.layers):

            def hook(norm: nn.Module, inputs: tuple[Any, ...], output: Tensor, index: int = index, layer: int = layer) -> Tensor:
                states = self.pick(output, run)
                low = torch.relu(project(states, weights["down"][index]) + weights["down_bias"][index][:, None, None, :])
                change = project(low, weights["up"][index]) + weights["up_bias"][index][:, None, None, :]
                change = change * self.scale.to(change.dtype)[:, None, None, None]
                if self.gate:
                    opened = gate_values(states, weights["gate_weight"][index], weights["gate_bias"][index], mask, self.gate.token_mean)
                    run.gates[self.members[0].modification.name, self.site.value, layer] = (self.slots, opened)
                    change = change * opened.to(change.dtype)[:, :, None, None]
                return self.replaced(output, norm.forward(self.pick(inputs[0], run) + change), run)

            yield backbone.layers()[layer].get_submodule(path).register_forward_hook(hook)
