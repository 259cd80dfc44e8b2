"""The prompt form: trained embeddings before those of the text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
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
        embed = backbone.embeddings()
        words: Tensor = embed.weight  # type: ignore[assignment]
        from_vocabulary = members[0].modification.initialization in ("paper", "vocabulary")

        def initialize(length: int, generator: Generator) -> Tensor:
            if not from_vocabulary:
                return normal(length, words.shape[1])(generator)
            drawn = torch.randint(words.shape[0], (length,), generator=generator)
            with torch.no_grad():
                return embed(drawn.to(words.device)).float().cpu()  # type: ignore[no-any-return]  # Gemma scales what it looks up

        self.add_weights("prompt", initialize)

    @property
    def lengths(self) -> Mapping[int, int]:
        """Tokens of each trial's prompt, by its slot."""
        return {member.slot: member.modification.size for member in self.members}

    def prompt_of(self, row: int) -> Tensor:
        """One trial's prompt, ``(P, E)``, as the model reads it."""
        return self.own("prompt", self.get_parameter("prompt"), row)

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Put the prompts where `make_room` has left place for them."""

        def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            if output.shape[1] != max(run.masks):
                return output  # a decoder that shares its embeddings with the encoder
            prompts = [self.prompt_of(row).to(output.dtype) for row in range(len(self.members))]
            slots = [member.slot for member in self.members]
            whole: Tensor = _Filled.apply(run.split(output), slots, *prompts)  # type: ignore[no-untyped-call]
            return whole.view_as(output)

        yield backbone.embeddings().register_forward_hook(hook)


class _Filled(Function):
    """Embeddings ``(N, B, T, E)`` with each trial's prompt ``(P, E)`` written over its first tokens, in place: nothing else has them."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, slots: list[int], *prompts: Tensor) -> Tensor:
        ctx.places = [(slot, len(prompt)) for slot, prompt in zip(slots, prompts, strict=True)]
        whole = states.detach()
        for (slot, length), prompt in zip(ctx.places, prompts, strict=True):
            whole[slot, :, :length] = prompt
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_prompts = [gradient[slot, :, :length].sum(0) for slot, length in ctx.places]
        below = None
        if ctx.needs_input_grad[0]:  # other prompts of the pack, which another module has written
            below = gradient.clone()
            for slot, length in ctx.places:
                below[slot, :, :length] = 0.0
        return below, None, *of_prompts


def make_room(lengths: Sequence[int], ids: Tensor, mask: Tensor, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs with place in front for each trial's prompt, and where their tokens came from.

    `lengths` of the N trials' prompts; `ids` and `mask` ``(N, B, T)``. The results are ``(N, B, T + longest)``: ids, mask, and for each
    position the index of its token among the old ones (any where there is none). A trial's prompt stands directly before its text, so
    that positions are those of a sequence without padding; what is left is padding on the right.
    """
    tokens = ids.shape[2]
    on_the_left = mask.argmax(dim=2, keepdim=True)
    length = torch.tensor(lengths, device=ids.device)[:, None, None]
    position = torch.arange(tokens + max(lengths), device=ids.device).expand(*ids.shape[:2], -1)
    old = position - length + on_the_left
    is_prompt = position < length
    is_text = ~is_prompt & (old < tokens)
    source = old.clamp(0, tokens - 1)
    stand_in = 0 if pad_id else 1  # any token but padding, which some models skip when they count positions
    new_ids = torch.where(is_text, ids.gather(2, source), pad_id)
    new_mask = torch.where(is_text, mask.gather(2, source), 0)
    return torch.where(is_prompt, stand_in, new_ids), torch.where(is_prompt, 1, new_mask).to(mask.dtype), source
