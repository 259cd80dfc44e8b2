"""The linear and the relu form at a whole sublayer: adapters, in sequence and in parallel."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone, Layer
from pelt_automl.design_space import Insertion
from pelt_automl.modifications.by_layer import Weights
from pelt_automl.modifications.projections import Projections
from pelt_automl.modifications.stacked import Run


class Bottleneck(Projections):
    """Adapters, in sequence with a sublayer or parallel to it.

    With ``x`` the sublayer's input on the residual stream, ``f(x)`` its output and ``d`` the two projections:

    - in sequence, norm last (BERT): ``LN(s + G d(LN(s)))`` with ``s = f(x) + x`` (Pfeiffer et al. 2021; UniPELT's gate reads ``LN(s)``);
    - in sequence, norm first (Llama): ``s + G d(s)`` with ``s = x + f(LN(x))``;
    - in parallel: ``f(x) + x + s d(x)`` before the norm, or ``x + f(LN(x)) + s d(LN(x))``: it reads what the sublayer's maps read
      (He et al. 2022, table 1).
    """

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Add each trial's change to what its sublayers put on the residual stream."""
        weights, layers = self.weights(backbone.dtype), backbone.layers()
        for index, layer in enumerate(self.layers):
            yield from _Place(self, weights, run, index, layers[layer]).hooks()


class _Place:
    """One sublayer of one forward pass."""

    def __init__(self, module: Bottleneck, weights: Weights, run: Run, index: int, layer: Layer) -> None:
        self.module, self.weights, self.run, self.index, self.layer = module, weights, run, index, layer
        self.sequential = module.modification.insertion is Insertion.SEQUENTIAL
        self.seen: Tensor

    def hooks(self) -> Iterator[RemovableHandle]:
        norm, stack, site = self.layer.norm(self.module.site), self.layer.stack, self.module.site
        if not self.sequential:
            yield self.layer.at(stack.input_of(site)).register_forward_pre_hook(self.see)
        elif stack.norm_first:
            yield norm.register_forward_pre_hook(self.see)
        if stack.norm_first:
            yield self.layer.at(stack.output_of(site)).register_forward_hook(self.after_sublayer)
        else:
            yield norm.register_forward_pre_hook(self.before_norm)

    def see(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Keep the sublayer's input, or the residual stream before it."""
        self.seen = inputs[0]

    def after_sublayer(self, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        """Norm first: add to the sublayer's output, the residual connection follows."""
        return self.changed(output, self.seen.view_as(output) + output if self.sequential else self.seen)

    def before_norm(self, norm: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Norm last: add to what is about to be normalized."""
        if not self.sequential:
            return (self.changed(inputs[0], self.seen), *inputs[1:])
        states = norm.forward(self.module.pick(inputs[0], self.run))
        return (self.module.added(inputs[0], self.change(states), self.run), *inputs[1:])

    def changed(self, states: Tensor, reads: Tensor) -> Tensor:
        return self.module.added(states, self.change(self.module.pick(reads, self.run)), self.run)

    def change(self, states: Tensor) -> Tensor:
        opened = self.module.opened(self.weights, self.index, states, self.run)
        return self.module.change(self.weights, self.index, states, opened)
