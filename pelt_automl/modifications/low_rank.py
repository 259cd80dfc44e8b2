"""The linear form in parallel to a linear map: LoRA."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications.gate import gate_values
from pelt_automl.modifications.stacked import HookedModule, Member, Run, normal, uniform


class LowRank(HookedModule):
    """LoRA (Hu et al. 2022): ``W x + s B A x`` with ``A`` Kaiming-uniform and ``B`` zero, so that it starts as the identity.

    Inside UniPELT the gate takes the place of ``s`` (released code, lora_layers.py).
    """

    size_dims: ClassVar[Mapping[str, int]] = {"down": 1, "up": 2}

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone, layers: Sequence[int]) -> None:
        """`layers` are the indices of the changed layers."""
        super().__init__(label, members)
        self.layers = tuple(layers)
        first = members[0].modification
        self.site, self.gate = first.site, first.gate
        linear = self._linear(backbone, self.layers[0])
        wide_in, wide_out, count = linear.in_features, linear.out_features, len(self.layers)
        self.add_weights("down", lambda rank, g: uniform(count, rank, wide_in, fan_in=wide_in)(g))
        self.add_weights("up", lambda rank, _: torch.zeros(count, wide_out, rank))
        if self.gate:
            self.add_weights("gate_weight", lambda _, g: normal(count, wide_in)(g))
            self.add_weights("gate_bias", lambda _, __: torch.zeros(count))
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor([member.modification.scale for member in members]), persistent=False)

    def _linear(self, backbone: Backbone, layer: int) -> nn.Linear:
        found = backbone.layers()[layer].get_submodule(backbone.architecture.sites[self.site])
        assert isinstance(found, nn.Linear)
        return found

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Add each trial's change to the output of its linear maps."""
        weights = {name: parameter.to(backbone.dtype).unbind(1) for name, parameter in self.named_parameters()}
        mask = run.mask.index_select(0, self.slots)
        for index, layer in enumerate(self.layers):

            def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor, index: int = index, layer: int = layer) -> Tensor:
                n = len(self.members)
                states = self.pick(inputs[0], run)
                low = torch.bmm(states.reshape(n, -1, states.shape[-1]), weights["down"][index].transpose(1, 2))
                change = torch.bmm(low, weights["up"][index].transpose(1, 2)).view(*states.shape[:-1], -1)
                if not self.gate:
                    return self.added(output, change * self.scale.to(change.dtype)[:, None, None, None], run)
                opened = gate_values(states, weights["gate_weight"][index], weights["gate_bias"][index], mask, self.gate.token_mean)
                run.gates[self.members[0].modification.name, self.site.value, layer] = (self.slots, opened)
                return self.added(output, change * opened.to(change.dtype)[:, :, None, None], run)

            yield self._linear(backbone, layer).register_forward_hook(hook)
