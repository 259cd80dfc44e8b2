"""What a method trains, in numbers, and whether peft has it for an architecture: on a model without weights, so nothing is loaded."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from pelt_automl.backbones.architectures import Architecture
from pelt_automl.backbones.loading import Backbone
from pelt_automl.backbones.outlines import outline
from pelt_automl.design_space import BackboneShape, Form, Modification, ParameterCount, count_all
from pelt_automl.errors import BackboneError
from pelt_automl.modifications import bridged


def count_of(modifications: Sequence[Modification], architecture: Architecture, shape: BackboneShape, outputs: int = 2) -> ParameterCount:
    """Trainable parameters of a method on a model of this shape, with a head of `outputs` classes (1 for regression).

    Raises `BackboneError` where peft has to count and isn't installed, or doesn't know the configuration.
    """
    return _count(modifications, architecture, shape, outputs, lambda: outline(architecture, shape))


def count_on(modifications: Sequence[Modification], backbone: Backbone, outputs: int) -> ParameterCount:
    """Trainable parameters of a method on a backbone; see `count_of`."""
    return _count(modifications, backbone.architecture, backbone.shape, outputs, lambda: bridged.weightless(backbone.model))


def _count(
    modifications: Sequence[Modification], architecture: Architecture, shape: BackboneShape, outputs: int, model: Callable[[], nn.Module]
) -> ParameterCount:
    count = count_all([m for m in modifications if m.form is not Form.PEFT], shape, outputs)
    for text in [m.peft for m in modifications if m.form is Form.PEFT]:
        if bridged.read_config(text)[0] in bridged.PROMPT_TYPES:
            config = bridged.peft_config(text, model(), architecture)
            trained = sum(parameter.numel() for parameter in bridged.prompt_encoder(config, seed=0).parameters())
            pelt, training_only = config.num_virtual_tokens * config.token_dim, 0 if config.inference_mode else trained
        else:
            changed = bridged.injected(model(), architecture, text, seed=0)
            pelt, training_only = sum(parameter.numel() for parameter in changed.parameters() if parameter.requires_grad), 0
        count = replace(count, pelt=count.pelt + pelt, training_only=count.training_only + training_only)
    return count


_refusals: dict[tuple[object, ...], str | None] = {}
"""What is known already: asking peft takes a model without weights each time."""


def bridged_refusal(text: str, architecture: Architecture, shape: BackboneShape) -> str | None:
    """Why peft can't carry a configuration out on models of this kind, or isn't there; None if it can."""
    try:
        bridged.peft_library()
    except BackboneError as error:
        return str(error)
    key = (text, architecture.family, architecture.sites, shape)  # tables differ between models of a family by their sites alone
    if key not in _refusals:
        _refusals[key] = bridged.refusal(outline(architecture, shape), architecture, text)
    return _refusals[key]
