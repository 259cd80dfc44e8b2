"""The scale form: (IA)3."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import SUBLAYERS, Site, scaled_width
from pelt_automl.modifications.by_layer import LayerModule, Weights
from pelt_automl.modifications.rows import Rows, scale
from pelt_automl.modifications.stacked import Member, Run, across


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
            layer, sublayer = layers[number], self.site in SUBLAYERS
            module, part = (layer.at(layer.stack.output_of(self.site)), None) if sublayer else layer.projection(self.site)
            scaled = partial(self._scaled, rows=self.rows(part), weights=weights, index=index, run=run)

            def before(_: nn.Module, inputs: tuple[Any, ...], scaled: Callable[..., Tensor] = scaled) -> tuple[Any, ...]:
                # activations, which relu's backward pass needs as they are; their gradient is the map's own
                return (scaled(inputs[0], is_output=False), *inputs[1:])

            def behind(_: nn.Module, __: tuple[Any, ...], output: Tensor, scaled: Callable[..., Tensor] = scaled) -> Tensor:
                # fresh, but its gradient may be that of a residual sum's other side
                return scaled(output, is_output=True)

            if self.site is Site.FFN_DOWN:  # first of all, so that what else changes this map reads the scaled input
                yield module.register_forward_pre_hook(before, prepend=True)
            else:
                yield module.register_forward_hook(behind)

    def _scaled(self, states: Tensor, rows: Rows, weights: Weights, index: int, run: Run, *, is_output: bool) -> Tensor:
        split, factor = run.split(states), across(weights["factor"][index], run.split(states))
        factor = factor * across(self.scale.to(factor.dtype), factor)
        if self.gate:
            states, own = self.forked(states, run, rows.part, copied=is_output, owned=not is_output)
            opened = self.opened(weights, index, own, run)
            if opened is None:
                return states
            split, factor = run.split(states), factor * opened.to(factor.dtype)[:, :, :1, None]
        self.measure(index, run, lambda: (rows.of(split) * factor, rows.of(split)))
        if rows.part is None and self.everyone(run):
            return torch.addcmul(split, split, factor).view_as(states)
        return scale(split, factor, rows, fresh=is_output, owned=not is_output).view_as(states)
