"""Folding trained modifications into the weights of a backbone, where the algebra allows it."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from pelt_automl.backbones.linear_maps import linear_map
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Form, Insertion, Site, changed_layers
from pelt_automl.errors import SettingsError
from pelt_automl.export.widening import widen
from pelt_automl.modifications import Pack, bridged
from pelt_automl.modifications.bias import tensor_name
from pelt_automl.modifications.stacked import HookedModule


@torch.no_grad()
def fold(pack: Pack, target: Backbone) -> None:
    """Make the trained modifications of a pack of one part of the weights of `target`, a copy of the pack's backbone.

    In the order in which the modifications hook into a forward pass, each on top of the ones before. All of them have to be ones that
    `pelt_automl.modifications.merging.why_not_folded` lets through.
    """

    def turn(module: HookedModule) -> int:
        """Later for what scales a map's inputs, since whatever else changes that map reads them so; last for what makes maps wider."""
        m = module.members[0].modification
        return 2 if m.form is Form.RELU else int(m.form is Form.SCALE and m.site is Site.FFN_DOWN)

    for module in sorted(pack.hooked(), key=turn):
        FOLDS[module.members[0].modification.form](module, target)


def _low_rank(module: HookedModule, target: Backbone) -> None:
    """``(W + s B A) x`` in parallel; ``(I + s B A)(W x + b)`` in sequence."""
    m, tensors, layers = module.members[0].modification, module.kept(0), target.layers()
    for index, number in enumerate(changed_layers(m, target.shape)):
        place, product = linear_map(layers[number], m.site), m.scale * tensors["up"][index] @ tensors["down"][index]
        if m.insertion is Insertion.PARALLEL:
            place.weight.add_(product)
            continue
        place.weight.add_(product @ place.weight)
        if place.bias is not None:
            place.bias.add_(product @ place.bias)


def _factors(module: HookedModule, target: Backbone) -> None:
    """``l * (W x + b)``, or ``W (l * x) + b`` at ffn.down, with ``l = 1 + s d`` (Liu et al. 2022)."""
    m, tensors, layers = module.members[0].modification, module.kept(0), target.layers()
    for index, number in enumerate(changed_layers(m, target.shape)):
        place, factor = linear_map(layers[number], m.site), 1 + m.scale * tensors["factor"][index]
        if m.site is Site.FFN_DOWN:
            place.weight.mul_(factor)
            continue
        place.weight.mul_(factor[:, None])
        if place.bias is not None:
            place.bias.mul_(factor)


def _shifts(module: HookedModule, target: Backbone) -> None:
    """``b + d`` (Ben Zaken et al. 2022)."""
    shifts = module.kept(0)
    for path, part in target.model.named_modules():
        shift = shifts.get(tensor_name(path))
        if shift is not None:
            bias: Any = part.bias
            bias.data.add_(shift)


def _replaced(module: HookedModule, target: Backbone) -> None:
    """Every weight is the trained one."""
    trained = module.kept(0)
    for path, parameter in target.model.named_parameters():
        parameter.data.copy_(trained[f"model.{path}"])


def _bridged(module: HookedModule, target: Backbone) -> None:
    """As peft merges it. Raises `SettingsError` where peft doesn't."""
    wrapped: Any = copy.deepcopy(module.model)
    try:
        merged = wrapped.merge_and_unload()
    except bridged.REFUSALS as error:
        raise SettingsError(f"{module.members[0].modification.name} can't be merged by peft: {error}; try --peft") from error
    target.model.load_state_dict(merged.state_dict(), strict=False)


FOLDS: dict[Form, Callable[[HookedModule, Backbone], None]] = {
    Form.LINEAR: _low_rank,
    Form.RELU: widen,
    Form.SCALE: _factors,
    Form.BIAS: _shifts,
    Form.FULL: _replaced,
    Form.PEFT: _bridged,
}
"""How each form of `FOLDABLE` is folded."""
