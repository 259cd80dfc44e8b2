"""A parallel adapter as what it is: more units of the feed-forward network beside it, where both have the same non-linearity.

``f(x) + s (W_up a(W_down x + b_down) + b_up)`` with ``f(x) = W_2 a(W_1 x + b_1) + b_2`` is a feed-forward network of width ``F + r``.
"""

from typing import Any

import torch
from torch import nn

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Form, Insertion, Modification, Site, changed_layers
from pelt_automl.export.linear_maps import is_transposed, linear_map
from pelt_automl.modifications.stacked import HookedModule

_ACTIVATION_NAMES = ("hidden_act", "activation_function", "activation", "dense_act_fn")
"""Configuration entries with the feed-forward network's non-linearity."""

_FFN_MAPS = (Site.FFN_UP, Site.FFN_DOWN)


def why_not_widened(m: Modification, backbone: Backbone) -> str | None:
    """Why a bottleneck with a non-linearity can't be units of a feed-forward network; None if it can."""
    family, model = backbone.architecture.family, backbone.model
    own = next((getattr(model.config, name) for name in _ACTIVATION_NAMES if hasattr(model.config, name)), None)
    if m.site is not Site.FFN or m.insertion is not Insertion.PARALLEL:
        return "a non-linearity stands between its two maps, so that they aren't one matrix"
    if Site.FFN_GATE in backbone.architecture.sites or any(Site.FFN in stack.writes for stack in backbone.architecture.stacks):
        return f"the feed-forward network of {family} isn't two maps with a non-linearity between them, so that it can't take it up"
    if own != m.activation:
        return f"its non-linearity is {m.activation} and that of the feed-forward network of {family} is {own}, so that it can't take it up"
    maps = (linear_map(layer, site) for layer in backbone.layers() if not layer.stack.cross for site in _FFN_MAPS)
    return None if all(place.bias is not None for place in maps) else f"the feed-forward network of {family} has no biases, the adapter has"


def in_the_way(m: Modification, others: tuple[Modification, ...]) -> str | None:
    """What else changes the output that an adapter is added to, so that its place in the order matters; None without such."""
    if m.form is not Form.RELU:
        return None
    after = [o for o in others if o.site in (Site.FFN, Site.FFN_DOWN) and o.insertion is Insertion.SEQUENTIAL and o.form is Form.LINEAR]
    after += [o for o in others if o.site is Site.FFN and o.form is Form.SCALE]
    return f"{after[0].name} changes what the network puts out that the adapter would become a part of" if after else None


@torch.no_grad()
def widen(module: HookedModule, target: Backbone) -> None:
    """Give every feed-forward network the adapter's units; those in layers that the adapter doesn't change put out nothing."""
    m, kept = module.members[0].modification, module.kept(0)
    rows = {number: index for index, number in enumerate(changed_layers(m, target.shape))}
    nothing = {name: torch.zeros_like(tensor[:1]) for name, tensor in kept.items()}
    for number, layer in enumerate(layer for layer in target.layers() if not layer.stack.cross):
        own, index = (kept, rows[number]) if number in rows else (nothing, 0)
        up, down = (linear_map(layer, site).module for site in _FFN_MAPS)
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
