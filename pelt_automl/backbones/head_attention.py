"""An attention function for `transformers`' registry that changes what the heads compute where a forward pass asks for it.

Whoever runs a forward pass enters `changed_heads(...)` with what each attention module gets; without it, attention is PyTorch's own.
"""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

ATTENTION = "pelt_attention"
"""The name under which the function is registered; one with sdpa in it is refused to Gemma 2."""


@dataclass(frozen=True)
class PrefixStates:
    """Trained keys and values for one attention module, and which of them each example may attend to."""

    key: Tensor
    """Shape ``(N*B, heads, P, width)``, gates applied."""
    value: Tensor
    visible: Tensor
    """Shape ``(N*B, P)``, boolean: examples of trials with a shorter prefix, or none, don't see the rest."""

    def beside(self, other: "PrefixStates") -> "PrefixStates":
        """Both, one after the other: every example sees its own trial's."""
        return PrefixStates(
            torch.cat([self.key, other.key], dim=2),
            torch.cat([self.value, other.value], dim=2),
            torch.cat([self.visible, other.visible], dim=1),
        )

    def before(self, key: Tensor, value: Tensor, mask: Tensor | None, queries: int) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values with the prefix in front, and the mask widened to them."""
        examples, _, tokens, _ = key.shape
        if mask is None:
            mask = torch.ones(examples, 1, queries, tokens, dtype=torch.bool, device=key.device)
        seen = self.visible[:, None, None, :].expand(-1, -1, queries, -1)
        if mask.dtype is not torch.bool:  # an additive mask
            seen = torch.zeros(seen.shape, dtype=mask.dtype, device=mask.device).masked_fill(~seen, torch.finfo(mask.dtype).min)
        return (
            torch.cat([self.key.to(key.dtype), key], dim=2),
            torch.cat([self.value.to(value.dtype), value], dim=2),
            torch.cat([seen, mask.expand(examples, 1, queries, -1)], dim=3),
        )


@dataclass(frozen=True)
class AddedHeads:
    """What is added to the heads' output: ``f(q P_K^T) P_V``, with the query as the head has it (He et al. 2022, table 1)."""

    states: PrefixStates
    """The value holds scale and gate."""
    form: Literal["softmax", "relu", "linear"]
    activation: Any = None
    """Of the relu form."""

    def change(self, query: Tensor, scaling: float) -> Tensor:
        """``(N*B, heads, T, width)`` queries to the change of the same shape."""
        key, value = (_repeated(part.to(query.dtype), query.shape[1]) for part in (self.states.key, self.states.value))
        scores = torch.matmul(query * scaling, key.transpose(2, 3))
        hidden = ~self.states.visible[:, None, None, :]
        if self.form == "softmax":
            weights = torch.softmax(scores.masked_fill(hidden, torch.finfo(scores.dtype).min), dim=-1)
        else:
            weights = self.activation(scores) if self.form == "relu" else scores
        return torch.matmul(weights.masked_fill(hidden, 0.0), value)


@dataclass(frozen=True)
class HeadChanges:
    """Everything that changes one attention module in a forward pass."""

    prefix: PrefixStates | None = None
    added: tuple[AddedHeads, ...] = ()

    def with_prefix(self, prefix: PrefixStates) -> "HeadChanges":
        """These changes, and a prefix beside those that are there."""
        return replace(self, prefix=self.prefix.beside(prefix) if self.prefix else prefix)

    def with_added(self, added: AddedHeads) -> "HeadChanges":
        """These changes, and one more that is added to the heads' output."""
        return replace(self, added=(*self.added, added))


_ACTIVE: ContextVar[MutableMapping[nn.Module, HeadChanges] | None] = ContextVar("changed_heads", default=None)


@contextmanager
def changed_heads(changes: MutableMapping[nn.Module, HeadChanges]) -> Iterator[None]:
    """While active, attention of the modules in `changes` is changed; each change is used up by the call that it was made for."""
    token = _ACTIVE.set(changes)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def attention_with_changes(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Scaled dot-product attention over ``[prefix; keys]`` (Li and Liang 2021), and what is added to it.

    Shapes ``(N*B, heads, T, width)``; the result is ``(N*B, T, heads, width)``.
    """
    active = _ACTIVE.get()
    changes = (active.pop(module, None) if active else None) or HeadChanges()
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    added = [change.change(query, scaling).transpose(1, 2) for change in changes.added]
    if changes.prefix:
        options["position_bias"] = _widened(options.get("position_bias"), changes.prefix)
        key, value, attention_mask = changes.prefix.before(key, value, attention_mask, query.shape[2])
    output = _attend(module, query, key, value, attention_mask, options)
    return sum(added, output), None


def _widened(position_bias: Tensor | None, prefix: PrefixStates) -> Tensor | None:
    """A prefix has no position (T5): its columns get no bias."""
    return None if position_bias is None else nn.functional.pad(position_bias, (prefix.key.shape[2], 0))


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]) -> Tensor:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    capped = options.get("softcap") is not None  # Gemma 2; PyTorch's fused attention can't
    if capped or (_written_out_is_faster(query, key, value) and mask is not None and not options.get("dropout")):
        key, value = (_repeated(part, query.shape[1]) for part in (key, value))
        return _written_out(query, key, value, mask, options)
    output, _ = sdpa_attention_forward(module, query, key, value, mask, **options)
    return output


def _repeated(states: Tensor, heads: int) -> Tensor:
    """Key or value heads that several query heads share, once for each query head."""
    return states if states.shape[1] == heads else states.repeat_interleave(heads // states.shape[1], dim=1)


LONGEST_WRITTEN_OUT = 192
"""Keys up to which the attention weights of a whole pack are small enough to be held for the backward pass."""


def _written_out_is_faster(query: Tensor, key: Tensor, value: Tensor) -> bool:
    trained = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    return trained and query.device.type == "cpu" and key.shape[2] <= LONGEST_WRITTEN_OUT


def _written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]) -> Tensor:
    """The same, product by product: on a processor the backward pass of PyTorch's fused attention is several times slower."""
    scores = torch.matmul(query * (options.get("scaling") or query.shape[-1] ** -0.5), key.transpose(2, 3))
    if (cap := options.get("softcap")) is not None:
        scores = cap * torch.tanh(scores / cap)
    if (bias := options.get("position_bias")) is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min) if mask.dtype is torch.bool else scores + mask
    weights = nn.functional.dropout(torch.softmax(scores, dim=-1), options.get("dropout") or 0.0)
    return torch.matmul(weights, value).transpose(1, 2).contiguous()


def _always_a_mask(*arguments: Any, **options: Any) -> Tensor | None:
    """`transformers`' mask for PyTorch's attention, also where it would be left out: a prefix has to be put in front of it."""
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(*arguments, **(options | {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}))


def register_attention() -> None:
    """Make `attention_with_changes` known to transformers under `ATTENTION`. Harmless when repeated."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(ATTENTION, attention_with_changes)
    AttentionMaskInterface.register(ATTENTION, _always_a_mask)
