"""One forward and backward pass of this package, and how it is compared with what another implementation computed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from pelt_automl.backbones.loading import Backbone, wrap
from pelt_automl.design_space import Modification
from pelt_automl.modifications import Pack, PackOutput, PackTrial
from tests.tiny import FakeTokenizer

TOLERANCE = 1e-5
"""Largest absolute difference of any component."""

REFERENCES = Path(__file__).parent / "references"
"""What make_references.py wrote."""


@dataclass(frozen=True)
class Outcome:
    """What one implementation computes."""

    hidden: Tensor
    """The last hidden state, ``(B, T, H)``; 0 on padding, whose states mean nothing."""
    gradients: dict[str, Tensor]
    """Of ``sum(hidden * probe)`` with respect to each trained tensor, by this package's names, ``(layers, ...)``."""
    gates: dict[tuple[str, str, int], Tensor] = field(default_factory=dict)
    """By submodule, site and layer, ``(B,)``."""


@dataclass(frozen=True)
class Difference:
    """Largest absolute differences between two outcomes."""

    output: float
    gates: float | None
    """None where neither has gates."""
    gradients: float
    steepest: float
    """The largest component of their gradients: what the difference of the gradients is to be seen against."""

    @property
    def largest(self) -> float:
        """Of all."""
        return max(self.output, self.gradients, self.gates or 0.0)

    def row(self, name: str) -> str:
        """A row of the table that table.py prints."""
        gates = "-" if self.gates is None else f"{self.gates:.0e}"
        return f"| {name} | {self.output:.0e} | {gates} | {self.gradients:.0e} | {self.steepest:.2f} |"


def difference(ours: Outcome, theirs: Outcome) -> Difference:
    """Compares all of both; a tensor or gate that only one of them has is an error."""
    assert ours.hidden.shape == theirs.hidden.shape
    return Difference(
        output=(ours.hidden - theirs.hidden).abs().max().item(),
        gates=_largest(ours.gates, theirs.gates) if theirs.gates or ours.gates else None,
        gradients=_largest(ours.gradients, theirs.gradients),
        steepest=max(slope.abs().max().item() for slope in theirs.gradients.values()),
    )


def _largest(ours: Mapping[Any, Tensor], theirs: Mapping[Any, Tensor]) -> float:
    assert set(ours) == set(theirs), f"only here: {set(ours) - set(theirs)}, only there: {set(theirs) - set(ours)}"
    for name, tensor in ours.items():
        assert tensor.shape == theirs[name].shape, f"{name}: {tuple(tensor.shape)} here, {tuple(theirs[name].shape)} there"
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


@dataclass(frozen=True)
class Stored:
    """One file of the references."""

    about: dict[str, Any]
    """Versions, command, and the configuration of the model or the method."""
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix`, without it."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def stored(name: str) -> Stored:
    """The reference of an architecture or a case."""
    with safe_open(REFERENCES / f"{name}.safetensors", "pt") as file:
        return Stored(json.loads(file.metadata()["about"]), {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118


def stored_model(architecture: str) -> Any:
    """The stored backbone, built by the transformers of this environment, in which nothing stands at its neutral start."""
    from transformers import AutoConfig, AutoModel

    reference = stored(architecture)
    config = dict(reference.about["config"])
    model = AutoModel.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
    model.load_state_dict(reference.tensors)
    return model.eval()


def backbone_of(model: Any) -> Backbone:
    """A base model of transformers as this package takes it."""
    return wrap(model.eval(), FakeTokenizer(), name=model.config.model_type)


def scatter(parameters: Iterable[tuple[str, Tensor]], *, std: float) -> None:
    """Draw every parameter from N(0, std), always the same."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in sorted(parameters):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)


def run_ours(
    model: Any, modifications: Sequence[Modification], weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor], probe: Tensor
) -> Outcome:
    """The modifications with these weights on one batch, as the only trial of a pack. `inputs` are ``(B, T)``, `probe` ``(B, T, H)``."""
    pack = pack_with(model, modifications, weights)
    hidden, output = forward(pack, inputs)
    (hidden * probe).sum().backward()
    slopes = pack.trained_weights(0, beside={p: torch.zeros_like(p) if p.grad is None else p.grad for p in pack.parameters()})
    return Outcome(
        hidden=hidden.detach(),
        gradients={name: slope for name, slope in slopes.items() if not name.startswith("head.")},
        gates={place: values[0].detach() for place, (_, values) in output.gates.items()},
    )


def pack_with(model: Any, modifications: Sequence[Modification], weights: Mapping[str, Tensor]) -> Pack:
    """A pack of one trial with these weights, which have to be all that it has beside its head."""
    pack = Pack(backbone_of(model), [PackTrial(tuple(modifications), seed=0)], outputs=2)
    own = pack.trained_weights(0)
    head = {name: tensor for name, tensor in own.items() if name.startswith("head.")}
    assert set(own) - set(head) == set(weights), f"only here: {set(own) - set(head) - set(weights)}, only there: {set(weights) - set(own)}"
    pack.load_weights(0, {**head, **weights})
    return pack


def forward(pack: Pack, inputs: Mapping[str, Tensor]) -> tuple[Tensor, PackOutput]:
    """The last hidden state of the text, ``(B, T, H)``, and what the pack itself returns."""
    hidden: list[Tensor] = []
    base = pack.backbone.model
    with ExitStack() as stack:
        for model in (base, *(module for module in pack.modules() if type(module) is type(base))):  # of a copy and the backbone one runs
            handle = model.register_forward_hook(lambda _, __, output: hidden.append(output.last_hidden_state))
            stack.callback(handle.remove)
        output = pack(**{name: tensor.unsqueeze(0) for name, tensor in inputs.items()})
    return of_the_text(hidden[0], inputs), output


def of_the_text(hidden: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """Hidden states without those of a prompt before the text, and 0 on padding."""
    mask = inputs["attention_mask"]
    return hidden[:, -mask.shape[1] :] * mask.unsqueeze(2)
