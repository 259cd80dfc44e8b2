"""The scale form: (IA)3."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone, Layer
from pelt_automl.design_space import SUBLAYERS, Site, scaled_width
from pelt_automl.modifications.by_layer import LayerModule
from pelt_automl.modifications.stacked import Member, Run, across, part_of


class Scaling(LayerModule):
    """(IA)3 (Liu et al. 2022): ``l * y`` component by component, with ``l = 1 + s d`` and a trained ``d`` that starts at 0.

    ``y`` is a linear map's output; at ffn.down it is the map's input, the activations between the two maps, as in the paper; at a
    sublayer it is what the sublayer adds to the residual stream.
    """

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """See `LayerModule`."""
        super().__init__(label, members, backbone)
        width, count = scaled_width(self.site, backbone.shape), len(self.layers)
        self.add_weights("factor", lambda _, __: torch.zeros(count, width))
        self.add_own_gate(width)

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Scale each trial's part of what the site puts out."""
        weights, layers = self.weights(backbone.dtype), backbone.layers()
        for index, number in enumerate(self.layers):

            def scaled(states: Tensor, part: Any, index: int = index) -> Tensor:
                own = self.pick(part_of(states, part), run)
                opened = self.opened(weights, index, own, run)
                if self.gate and opened is None:
                    return states
                change = own * across(weights["factor"][index], own) * across(self.scale.to(own.dtype), own)
                return self.added(states, change if opened is None else change * opened.to(change.dtype)[:, :, :1, None], run, part)

            yield self._hook(layers[number], scaled)

    def _hook(self, layer: Layer, scaled: Any) -> RemovableHandle:
        if self.site is Site.FFN_DOWN:
            linear, _ = layer.projection(self.site)
            return linear.register_forward_pre_hook(lambda _, inputs: (scaled(inputs[0], None), *inputs[1:]))
        if self.site in SUBLAYERS:
            return layer.at(layer.stack.output_of(self.site)).register_forward_hook(lambda _, __, output: scaled(output, None))
        linear, part = layer.projection(self.site)

        def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            return scaled(output, part)  # type: ignore[no-any-return]

        return linear.register_forward_hook(hook)
