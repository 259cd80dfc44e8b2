"""A parallel adapter as what it is: more units of the feed-forward network beside it, where both have the same non-linearity.

``f(x) + s (W_up a(W_down x + b_down) + b_up)`` with ``f(x) = W_2 a(W_1 x + b_1) + b_2`` is a feed-forward network of width ``F + r``.
"""

from typing import Any

import torch
from torch import nn

from pelt_automl.backbones.linear_maps import is_transposed, linear_map
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Site, changed_layers
from pelt_automl.modifications.merging import FFN_MAPS
from pelt_automl.modifications.stacked import HookedModule


@torch.no_grad()
def widen(module: HookedModule, target: Backbone) -> None:
    """Give every feed-forward network the adapter's units; those in layers that the adapter doesn't change put out nothing."""
    m, kept = module.members[0].modification, module.kept(0)
    rows = {number: index for index, number in enumerate(changed_layers(m, target.shape))}
    nothing = {name: torch.zeros_like(tensor[:1]) for name, tensor in kept.items()}
    for number, layer in enumerate(layer for layer in target.layers() if not layer.stack.cross):
        own, index = (kept, rows[number]) if number in rows else (nothing, 0)
        up, down = (linear_map(layer, site).module for site in FFN_MAPS)
        _extend(up, own["down"][index], dim=0)
        up.bias = nn.Parameter(torch.cat([up.bias, own["down_bias"][index]]), requires_grad=False)
        _extend(down, m.scale * own["up"][index], dim=1)
        down.bias.add_(m.scale * own["up_bias"][index])


def _extend(linear: Any, weight: torch.Tensor, dim: int) -> None:
    """More outputs (`dim` 0) or inputs (1) for a linear map, from a weight ``(out, in)``."""
    transposed = is_transposed(linear)
    whole = torch.cat([linear.weight.T if transposed else linear.weight, weight], dim=dim)
    linear.weight = nn.Parameter((whole.T if transposed else whole).contiguous(), requires_grad=False)
    setattr(linear, _SIZES[transposed][dim], whole.shape[dim])


_SIZES = {False: ("out_features", "in_features"), True: ("nf", "nx")}
"""By whether the weight is transposed: where a linear map keeps its number of outputs and of inputs."""


def set_width(config: Any, target: Backbone) -> None:
    """Write the feed-forward networks' width, as it is now, into a configuration."""
    entry = target.architecture.config_names.get("intermediate_size", "intermediate_size")
    for name in {entry, entry.replace("encoder", "decoder")}:
        setattr(config, name, linear_map(target.layers()[0], Site.FFN_UP).outputs)
