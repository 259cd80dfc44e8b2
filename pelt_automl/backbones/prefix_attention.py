"""An attention function for `transformers`' registry that puts prefixes before keys and values where a forward pass has some.

Whoever runs a forward pass enters `prefixes(...)` with what each self-attention module gets; without it, attention is PyTorch's own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = "pelt_sdpa"
"""The name under which the function is registered."""


@dataclass(frozen=True)
class PrefixStates:
    """Trained keys and values for one self-attention module, and which of them each example may attend to."""

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
            torch.cat([seen, mask.expand(-1, 1, queries, -1)], dim=3),
        )


_ACTIVE: ContextVar[Mapping[nn.Module, PrefixStates] | None] = ContextVar("prefixes", default=None)


@contextmanager
def prefixes(states: Mapping[nn.Module, PrefixStates]) -> Iterator[None]:
    """While active, attention of the modules in `states` starts with their prefixes."""
    token = _ACTIVE.set(states)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def attention_with_prefix(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Scaled dot-product attention over ``[prefix; keys]`` (Li and Liang 2021); shapes ``(N*B, heads, T, width)``."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    states = (_ACTIVE.get() or {}).get(module)
    if states is not None:
        key, value, attention_mask = states.before(key, value, attention_mask, query.shape[2])
    if _written_out_is_faster(query, key, value) and not options.get("dropout"):
        return _written_out(query, key, value, attention_mask, options.get("scaling")), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


LONGEST_WRITTEN_OUT = 192
"""Keys up to which the attention weights of a whole pack are small enough to be held for the backward pass."""


def _written_out_is_faster(query: Tensor, key: Tensor, value: Tensor) -> bool:
    trained = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    return trained and query.device.type == "cpu" and key.shape[2] <= LONGEST_WRITTEN_OUT


def _written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None) -> Tensor:
    """The same, product by product: on a processor the backward pass of PyTorch's fused attention is several times slower."""
    scores = torch.matmul(query * (scaling or query.shape[-1] ** -0.5), key.transpose(2, 3))
    if mask is not None and mask.dtype is torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    return torch.matmul(torch.softmax(scores, dim=-1), value).transpose(1, 2).contiguous()


def register_attention() -> None:
    """Make `attention_with_prefix` known to transformers under `ATTENTION`. Harmless when repeated."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, attention_with_prefix)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
