"""What `peft` trains, as modules of a pack: a copy of the backbone with peft's layers inside, or a prompt made by peft's network."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Form, Modification
from pelt_automl.modifications import bridged
from pelt_automl.modifications.full import OwnCopy
from pelt_automl.modifications.prompt import Prompt
from pelt_automl.modifications.stacked import HookedModule, Member
from pelt_automl.modifications.support import without_reparameterization


def kept_form(modifications: Sequence[Modification], backbone: Backbone) -> tuple[Modification, ...]:
    """`without_reparameterization`, with configurations of peft complete: what they change is named, so that any program can read them."""
    return tuple(
        replace(m, peft=bridged.resolved(m.peft, backbone.model, backbone.architecture)) if m.form is Form.PEFT else m
        for m in without_reparameterization(modifications)
    )


class Bridged(OwnCopy):
    """A copy of the backbone with the layers of one peft method; its trained tensors have peft's own names.

    The copy stays in the backbone's type; what is trained is in fp32.
    """

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """Copies the backbone, so that a method that starts by changing weights (PiSSA) changes the copy's."""
        super().__init__(label, members)
        member = members[0]
        self.model = bridged.injected(copy.deepcopy(backbone.model), backbone.architecture, member.modification.peft, member.seed)

    def trained(self, row: int, beside: Mapping[Tensor, Tensor] | None = None) -> dict[str, Tensor]:  # noqa: ARG002 the one row
        """Views of the trained tensors, or of what stands beside them."""
        trained = {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        return {name: beside[parameter] if beside else parameter.detach() for name, parameter in trained.items()}

    def kept(self, row: int) -> dict[str, Tensor]:  # noqa: ARG002 the one row
        """Views of what peft stores: trained tensors, and frozen ones that no seed makes again."""
        return bridged.adapter_tensors(self.model)

    @torch.no_grad()
    def load(self, row: int, weights: Mapping[str, Tensor]) -> None:
        """Set the trained tensors, from what is `trained` or from what is `kept`: the names tell."""
        if self.trained(row).keys() <= weights.keys():
            super().load(row, weights)
        else:
            bridged.load_adapter_tensors(self.model, weights)


class BridgedPrompt(Prompt):
    """P-tuning (Liu et al. 2021): a prompt ``(P, E)`` that an MLP or LSTM makes while it is trained; the prompt alone is kept."""

    stacked = False

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """One trial; with ``inference_mode`` in the configuration there is the prompt without the network."""
        HookedModule.__init__(self, label, members)
        member = members[0]
        config = bridged.peft_config(member.modification.peft, backbone.model, backbone.architecture)
        self.deployed, self.length = bool(config.inference_mode), int(config.num_virtual_tokens)
        self.encoder = bridged.prompt_encoder(config, member.seed).float()

    @property
    def lengths(self) -> Mapping[int, int]:
        """Of the one trial."""
        return {self.members[0].slot: self.length}

    def prompt_of(self, row: int) -> Tensor:  # noqa: ARG002 the one row
        """The embedding as such, or through the network."""
        embedding: Tensor = self.encoder.embedding.weight  # type: ignore[union-attr, assignment]
        if self.deployed:
            return embedding
        return self.encoder(torch.arange(self.length, device=embedding.device).unsqueeze(0))[0]  # type: ignore[no-any-return]

    def kept(self, row: int) -> dict[str, Tensor]:
        """The prompt under peft's name."""
        return {bridged.PROMPT: self.prompt_of(row).detach()}

    @torch.no_grad()
    def load(self, row: int, weights: Mapping[str, Tensor]) -> None:
        """Set the prompt where the network is gone, else the network's weights."""
        if self.deployed:
            self.prompt_of(row).copy_(weights[bridged.PROMPT])
        else:
            super().load(row, weights)
