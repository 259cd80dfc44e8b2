"""What modules that change single layers have in common: their layers, their scale, and their gate."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Site, changed_layers, group_layers, group_outputs
from pelt_automl.modifications.gate import add_gate, gate_values
from pelt_automl.modifications.observed import contribution
from pelt_automl.modifications.stacked import HookedModule, Member, Run

Weights = Mapping[str, tuple[Tensor, ...]]
"""By tensor, one entry a layer: each ``(n, ...)``."""


class LayerModule(HookedModule):
    """Trained weights of `n` trials for one modification, at all of its layers, with the gate that the modification may have."""

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """All members have the same site, form, insertion, gate and layers."""
        super().__init__(label, members)
        first = members[0].modification
        self.modification, self.site, self.gate = first, first.site, first.gate
        self.layers = changed_layers(first, backbone.shape)
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor([member.modification.scale for member in members]), persistent=False)

    def add_own_gate(self, wide_in: int, outputs: int = 1) -> None:
        """Weights of the modification's gate, if it has one of its own."""
        if self.gate and not self.gate.group:
            add_gate(self, self.gate, 1 if self.gate.across_layers else len(self.layers), wide_in, outputs)

    def weights(self, dtype: torch.dtype) -> Weights:
        """All weights in the backbone's type, taken apart by layer once a forward pass."""
        return {name: parameter.to(dtype).unbind(1) for name, parameter in self.named_parameters()}

    def opened(self, weights: Weights, index: int, states: Tensor, run: Run) -> Tensor | None:
        """Gates ``(n, B, O)`` at the layer ``self.layers[index]``, from the ``(n, B, T, H)`` states that a gate of its own reads.

        None where there is no gate to open: an ungated modification, or states that aren't those of tokens.
        """
        mask = run.mask_of(states)
        if self.gate is None or mask is None:
            return None
        layer, name = self.layers[index], self.modification.name
        if self.gate.group:
            whole = run.shared_gates[self.gate, name if self.gate.competing else "", layer]
            values = whole.index_select(0, self.slots).unsqueeze(2)
        else:
            network = {key: own[0 if self.gate.across_layers else index] for key, own in weights.items() if key.startswith("gate_")}
            values = gate_values(self.gate, network, states, mask.index_select(0, self.slots))
        for output in range(values.shape[2]):
            site = f"{self.site}.{('key', 'value')[output]}" if values.shape[2] > 1 else self.site.value
            run.gates.add(self, (name, site, layer), self.slots, values[:, :, output])
        return values

    def measure(self, index: int, run: Run, look: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Note what share of the states the change at the layer ``self.layers[index]`` is, if the forward pass is asked for it.

        `look`: gives this module's change ``(n, B, T, h)``, and the states that it is added to. States that aren't those of tokens don't
        count.
        """
        if run.contributions is None:
            return
        change, states = look()
        if (mask := run.mask_of(states)) is not None:
            place = self.modification.name, self.site.value, self.layers[index]
            run.contributions.add(self, place, self.slots, contribution(change, states, mask.index_select(0, self.slots)))


class SharedGate(HookedModule):
    """A gate network that several modifications of a trial share: it reads the layer's input, as the attention does."""

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone, group: Sequence[Member]) -> None:
        """`members`: one modification of each trial; `group`: all modifications of one of these trials that share the gate."""
        super().__init__(label, members)
        shared = [member.modification for member in group]
        gate = shared[0].gate
        assert gate is not None
        self.gate, self.outputs, self.layers = gate, group_outputs(gate, shared), group_layers(shared, backbone.shape)
        add_gate(self, gate, 1 if gate.across_layers else len(self.layers), backbone.shape.hidden, len(self.outputs))

    @property
    def submodule(self) -> str:
        """None of its own: it stays when one of those that it gates is switched off."""
        return ""

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Open the gates when the layer's attention gets its input, before any modification of the layer needs them."""
        weights = {name: parameter.to(backbone.dtype).unbind(1) for name, parameter in self.named_parameters()}
        layers = backbone.layers()
        for index, layer in enumerate(self.layers):

            def hook(_: nn.Module, inputs: tuple[Any, ...], index: int = index, layer: int = layer) -> tuple[Any, ...] | None:
                mask = run.mask_of(run.split(inputs[0]))
                if mask is None:
                    return None
                whole_input, states = self.forked(inputs[0], run, owned=True)
                network = {name: own[0 if self.gate.across_layers else index] for name, own in weights.items()}
                values = gate_values(self.gate, network, states, mask.index_select(0, self.slots))
                for output, submodule in enumerate(self.outputs):
                    key = (self.gate, submodule, layer)
                    whole = run.shared_gates.get(key)  # trials of the pack that share other gates have filled their rows
                    if whole is None:
                        whole = values.new_zeros(run.trials, run.examples)
                    run.shared_gates[key] = whole.index_copy(0, self.slots, values[:, :, output])
                return (whole_input, *inputs[1:])

            yield layers[layer].at(layers[layer].stack.input_of(Site.ATTENTION)).register_forward_pre_hook(hook)
