"""The prompt form: trained embeddings before those of the text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications.stacked import HookedModule, Member, Run, normal


class Prompt(HookedModule):
    """Prompt tuning (Lester et al. 2021): the model reads ``[P; E(x)]``.

    A prompt starts at embeddings of randomly drawn tokens of the vocabulary (the paper's second best and the best that needs no labels'
    names), or at N(0, 0.02).
    """

    size_dims: ClassVar[Mapping[str, int]] = {"prompt": 0}

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """Members may differ in length."""
        super().__init__(label, members)
        self.path = backbone.architecture.embeddings
        words: Tensor = backbone.embeddings().weight  # type: ignore[assignment]
        from_vocabulary = members[0].modification.initialization in ("paper", "vocabulary")

        def initialize(length: int, generator: Generator) -> Tensor:
            if not from_vocabulary:
                return normal(length, words.shape[1])(generator)
            drawn = torch.randint(words.shape[0], (length,), generator=generator)
            return words.detach()[drawn.to(words.device)].float().cpu()

        self.add_weights("prompt", initialize)

    @property
    def lengths(self) -> Mapping[int, int]:
        """Tokens of each trial's prompt, by its slot."""
        return {member.slot: member.modification.size for member in self.members}

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Put the prompts where `make_room` has left place for them."""

        def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            states = run.split(output)
            if output.shape[1] not in run.masks or not self._has_room(run, output.shape[1]):
                return output  # a decoder that shares its embeddings with the encoder
            for row, member in enumerate(self.members):
                own = self.own("prompt", self.get_parameter("prompt"), row).to(output.dtype)
                text = states[member.slot, :, len(own) :]
                filled = torch.cat([own.expand(run.examples, -1, -1), text], dim=1)
                states = states.index_copy(0, self.slots[row : row + 1], filled.unsqueeze(0))
            return states.view_as(output)

        yield backbone.embeddings().register_forward_hook(hook)

    @staticmethod
    def _has_room(run: Run, tokens: int) -> bool:
        return tokens == max(run.masks)


def make_room(lengths: Sequence[int], ids: Tensor, mask: Tensor, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs with place in front for each trial's prompt, and where their tokens came from.

    `lengths` of the N trials' prompts; `ids` and `mask` ``(N, B, T)``. The results are ``(N, B, T + longest)``: ids, mask, and for each
    position the index of its token among the old ones (0 where there is none). A trial's prompt stands directly before its text, so
    that positions are those of a sequence without padding; what is left is padding on the right.
    """
    n, b, tokens = ids.shape
    longest = max(lengths)
    position = torch.arange(tokens + longest, device=ids.device).expand(n, -1)
    old = position - torch.tensor(lengths, device=ids.device)[:, None]
    is_prompt, is_text = old < 0, (old >= 0) & (old < tokens)
    source = old.clamp(0, tokens - 1)[:, None, :].expand(n, b, -1)
    stand_in = 0 if pad_id else 1  # any token but padding, which some models skip when they count positions
    new_ids = torch.where(is_text[:, None, :], ids.gather(2, source), pad_id)
    new_ids = torch.where(is_prompt[:, None, :], stand_in, new_ids)
    new_mask = torch.where(is_text[:, None, :], mask.gather(2, source), 0)
    return new_ids, torch.where(is_prompt[:, None, :], 1, new_mask).to(mask.dtype), source
