"""The linear maps of a backbone as they are folded into: rows are outputs, however the layer stores them."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pelt_automl.backbones.architectures import Part
from pelt_automl.backbones.loading import Layer
from pelt_automl.design_space import SUBLAYERS, Site


@dataclass(frozen=True)
class LinearMap:
    """``W x + b``, or the rows of a larger map that are one of several projections. Its tensors are views: writing changes the model."""

    module: Any
    """The module that holds the map."""
    rows: slice
    """Which of the module's outputs these are."""
    weight: Tensor
    """``(out, in)``."""
    bias: Tensor | None
    """``(out,)``."""

    @property
    def outputs(self) -> int:
        """Outputs of the whole module, those of other projections included."""
        return int(self.module.weight.shape[1 if is_transposed(self.module) else 0])


def is_transposed(module: nn.Module) -> bool:
    """Whether a module keeps its weight as ``(in, out)``: GPT-2's `Conv1D`."""
    return type(module).__name__ == "Conv1D"


def linear_map(layer: Layer, site: Site) -> LinearMap:
    """The map at a projection; at a sublayer, the last one, whose output the sublayer adds to the residual stream."""
    if site in SUBLAYERS:
        return _part(layer.at(layer.stack.output_of(site)), None)
    return _part(*layer.projection(site))


def _part(module: Any, part: Part | None) -> LinearMap:
    weight = module.weight.data.T if is_transposed(module) else module.weight.data
    width = len(weight) // (part.of if part else 1)
    rows = slice(part.index * width, (part.index + 1) * width) if part else slice(0, width)
    return LinearMap(module, rows, weight[rows], None if module.bias is None else module.bias.data[rows])
