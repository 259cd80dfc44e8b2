"""The linear and the relu form at one linear map: LoRA, and bottlenecks in its place."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Insertion
from pelt_automl.modifications.projections import Place, Projections
from pelt_automl.modifications.stacked import Run


class LowRank(Projections):
    """LoRA (Hu et al. 2022): ``W x + s B A x``, at any linear map of a layer; in sequence ``y + s B A y`` with ``y = W x``."""

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Add each trial's change to the output of its linear maps."""
        weights, layers = self.prepared(backbone.dtype), backbone.layers()
        for index, layer in enumerate(self.layers):
            linear, part = layers[layer].projection(self.site)
            place = Place(self, weights, run, index, part)

            def behind(_: nn.Module, __: tuple[Any, ...], output: Tensor, place: Place = place) -> Tensor:
                if self.modification.insertion is Insertion.SEQUENTIAL:
                    output, own = self.forked(output, run, place.part, copied=True)
                    place.take(own)
                return place.written(output)

            if self.modification.insertion is Insertion.PARALLEL:
                yield linear.register_forward_pre_hook(place.read)
            yield linear.register_forward_hook(behind)
