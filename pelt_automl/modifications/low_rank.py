"""The linear and the relu form at one linear map: LoRA, and bottlenecks in its place."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Insertion
from pelt_automl.modifications.projections import Projections
from pelt_automl.modifications.stacked import Run, part_of


class LowRank(Projections):
    """LoRA (Hu et al. 2022): ``W x + s B A x``, at any linear map of a layer; in sequence ``y + s B A y`` with ``y = W x``."""

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Add each trial's change to the output of its linear maps."""
        weights, layers = self.weights(backbone.dtype), backbone.layers()
        for index, layer in enumerate(self.layers):
            linear, part = layers[layer].projection(self.site)

            def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor, index: int = index, part: Any = part) -> Tensor:
                reads = inputs[0] if self.modification.insertion is Insertion.PARALLEL else part_of(output, part)
                states = self.pick(reads, run)
                opened = self.opened(weights, index, states, run)
                if self.gate and opened is None:  # DeBERTa sends its relative positions through the same map: no tokens, no gate
                    return output
                return self.added(output, self.change(weights, index, states, opened), run, part)

            yield linear.register_forward_hook(hook)
