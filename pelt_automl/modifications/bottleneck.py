"""The linear and the relu form at a whole sublayer: adapters, in sequence and in parallel."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone, Layer
from pelt_automl.design_space import Insertion
from pelt_automl.modifications.by_layer import Weights
from pelt_automl.modifications.projections import Place, Projections
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
        weights, layers = self.prepared(backbone.dtype), backbone.layers()
        for index, layer in enumerate(self.layers):
            yield from _Place(self, weights, run, index, layers[layer]).hooks()


class _Place(Place):
    """One sublayer of one forward pass."""

    def __init__(self, module: Bottleneck, weights: Weights, run: Run, index: int, layer: Layer) -> None:
        super().__init__(module, weights, run, index)
        self.layer, self.sequential = layer, module.modification.insertion is Insertion.SEQUENTIAL

    def hooks(self) -> Iterator[RemovableHandle]:
        norm, stack, site = self.layer.norm(self.module.site), self.layer.stack, self.module.site
        if not self.sequential:
            yield self.layer.at(stack.input_of(site)).register_forward_pre_hook(self.read)
        if stack.norm_first and (self.sequential or self.run.contributions is not None):
            yield norm.register_forward_pre_hook(self.see)
        if stack.norm_first:
            yield self.layer.at(stack.output_of(site)).register_forward_hook(self.after_sublayer)
        else:
            yield norm.register_forward_pre_hook(self.before_norm)

    def see(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Norm first: keep the residual stream before the sublayer, `seen` ``(n, B, T, H)``."""
        states, self.seen = self.module.forked(inputs[0], self.run, owned=True)
        return (states, *inputs[1:])

    def after_sublayer(self, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        """Norm first: add to the sublayer's output, the residual connection follows."""
        if self.sequential:
            output, own = self.module.forked(output, self.run)
            assert self.seen is not None
            self.take(self.seen + own)  # a new tensor, so that nothing of the output is kept
        return self.written(output)

    def before_norm(self, norm: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Norm last: add to what is about to be normalized."""
        states = inputs[0]
        if self.sequential:
            states, own = self.module.forked(states, self.run, copied=True, owned=True)
            self.take(norm.forward(own))
        return (self.written(states), *inputs[1:])
