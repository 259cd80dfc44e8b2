"""The linear and the relu form at one linear map: LoRA, and bottlenecks in its place."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.architectures import Part
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Insertion
from pelt_automl.modifications.by_layer import Weights
from pelt_automl.modifications.projections import Projections
from pelt_automl.modifications.stacked import Run, project


class LowRank(Projections):
    """LoRA (Hu et al. 2022): ``W x + s B A x``, at any linear map of a layer; in sequence ``y + s B A y`` with ``y = W x``."""

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Add each trial's change to the output of its linear maps."""
        weights, layers = self.prepared(backbone.dtype), backbone.layers()
        for index, layer in enumerate(self.layers):
            linear, part = layers[layer].projection(self.site)
            place = _Place(self, weights, run, index, part)
            if self.modification.insertion is Insertion.PARALLEL:
                yield linear.register_forward_pre_hook(place.read)
                yield linear.register_forward_hook(place.write)
            else:
                yield linear.register_forward_hook(place.read_and_write)


class _Place:
    """One linear map of one forward pass."""

    def __init__(self, module: LowRank, weights: Weights, run: Run, index: int, part: Part | None) -> None:
        self.module, self.weights, self.run, self.index, self.part = module, weights, run, index, part
        self.low: Tensor | None

    def read(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Before the map: what it reads goes through the first projection."""
        states, own = self.module.forked(inputs[0], self.run, owned=True)
        self.low = self._low(own)
        return (states, *inputs[1:])

    def write(self, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        """Behind the map: the second projection is added to its output."""
        if self.low is None:
            return output
        self.module.measure(self.index, self.run, lambda: self._change(output))
        return self.module.added_product(output, self.low, self.weights["up"][self.index], self.run, self.part)

    def read_and_write(self, map_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Behind the map, both."""
        states, own = self.module.forked(output, self.run, self.part, copied=True)
        self.low = self._low(own)
        return self.write(map_, inputs, states)

    def _change(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to the map's output, and that output."""
        assert self.low is not None
        own = self.module.rows(self.part).of(self.run.split(output))
        return project(self.low, self.weights["up"][self.index]), own

    def _low(self, own: Tensor) -> Tensor | None:
        """None for DeBERTa's relative positions, which go through the same map as tokens: they open no gate."""
        module = self.module
        opened = module.opened(self.weights, self.index, own, self.run)
        return None if module.gate and opened is None else module.low(self.weights, self.index, own, opened)
