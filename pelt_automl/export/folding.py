"""Folding trained modifications into the weights of a backbone, where the algebra allows it."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import SUBLAYERS, Form, Insertion, Modification, Site, changed_layers
from pelt_automl.errors import SettingsError
from pelt_automl.export.linear_maps import linear_map
from pelt_automl.export.widening import why_not_widened, widen
from pelt_automl.modifications import Pack, bridged
from pelt_automl.modifications.bias import tensor_name
from pelt_automl.modifications.stacked import HookedModule


def why_not_folded(modification: Modification, backbone: Backbone) -> str | None:
    """Why a modification can't become part of the backbone's weights; None if it can."""
    m, table = modification, backbone.architecture
    if m.gate:
        return "its gate opens for each example anew, and a weight is the same for all"
    if is_prompt(m):
        return "trained embeddings in front of the text are no weights of the model; --peft can keep them"
    if m.form is Form.SUBSPACE:
        return "it changes the hidden states of some tokens alone, and a weight acts on all"
    if m.form not in FOLDS:
        return "attention over trained keys and values is no change of a weight"
    if m.form is Form.LINEAR and m.site is Site.HEADS:
        return "its change goes from the queries past the attention to the output; there is no weight on that way"
    if m.form is Form.LINEAR and m.site in SUBLAYERS:
        return "its change runs beside or behind a whole sublayer, where the backbone has no linear map of its own"
    if m.form is Form.RELU:
        return why_not_widened(m, backbone)
    if m.site in SUBLAYERS and any(m.site in stack.writes for stack in table.stacks):
        return f"what the {m.site} sublayer of {table.family} puts out isn't the output of a linear map"
    return None


def is_prompt(modification: Modification) -> bool:
    """Whether it puts trained embeddings before those of the text, ours or peft's."""
    if modification.form is Form.PEFT:
        return bridged.read_config(modification.peft)[0] in bridged.PROMPT_TYPES
    return modification.form is Form.PROMPT


@torch.no_grad()
def fold(pack: Pack, target: Backbone) -> None:
    """Make the trained modifications of a pack of one part of the weights of `target`, a copy of the pack's backbone.

    In the order in which the modifications hook into a forward pass, each on top of the ones before. All of them have to be ones that
    `why_not_folded` lets through.
    """
    for module in sorted(pack.hooked(), key=lambda module: _turn(module.members[0].modification)):
        FOLDS[module.members[0].modification.form](module, target)


def _turn(modification: Modification) -> int:
    """Later for what scales a map's inputs, since whatever else changes that map reads them so; last for what makes maps wider."""
    scales_inputs = modification.form is Form.SCALE and modification.site is Site.FFN_DOWN
    return 2 if modification.form is Form.RELU else int(scales_inputs)


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
"""How each form is folded; the others can't be."""
