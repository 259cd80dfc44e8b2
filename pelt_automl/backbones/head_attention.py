"""An attention function for `transformers`' registry that changes what the heads compute where a forward pass asks for it.

Whoever runs a forward pass enters `changed_heads(...)` with what each attention module gets; without it, attention is PyTorch's own.
"""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

ATTENTION = "pelt_attention"
"""The name under which the function is registered; one with sdpa in it is refused to Gemma 2."""


Look = Callable[[Tensor, Tensor], None]
"""Told what a change adds to the heads' output, and that output without it, both ``(N*B, T, heads, width)``."""


@dataclass(frozen=True)
class PrefixStates:
    """Trained keys and values for one attention module, and which of them each example may attend to."""

    key: Tensor
    """Shape ``(N*B, heads, P, width)``, gates applied; 0 in the rows of trials without any."""
    value: Tensor
    visible: tuple[Tensor, ...]
    """By prefix, boolean, ``(N*B, p)``: examples of trials with a shorter prefix, or none, don't see the rest."""
    slots: frozenset[int]
    """The trials that have one."""

    def beside(self, other: "PrefixStates") -> "PrefixStates":
        """Both: in the same columns where no trial has both, else one after the other. Every example sees its own trial's."""
        slots = self.slots | other.slots
        if self.slots & other.slots:
            key, value = (torch.cat(both, dim=2) for both in ((self.key, other.key), (self.value, other.value)))
            return PrefixStates(key, value, (torch.cat([self.seen(), other.seen()], dim=1),), slots)
        # Where one has keys and values the other's are 0.
        one, two = (self, other) if self.key.shape[2] >= other.key.shape[2] else (other, self)
        room = (0, 0, 0, one.key.shape[2] - two.key.shape[2])
        key, value = one.key + nn.functional.pad(two.key, room), one.value + nn.functional.pad(two.value, room)
        return PrefixStates(key, value, self.visible + other.visible, slots)

    def seen(self) -> Tensor:
        """Shape ``(N*B, P)``: what each example sees of all that is in the same columns."""
        length = self.key.shape[2]
        return torch.stack([nn.functional.pad(own, (0, length - own.shape[1])) for own in self.visible]).any(0)

    def widened(self, mask: Tensor | None, queries: int, keys: int) -> Tensor:
        """The mask ``(N*B, 1, T, S)`` of `queries` and `keys` with columns for the prefix in front."""
        seen = self.seen()[:, None, None, :].expand(-1, -1, queries, -1)
        examples = len(seen)
        if mask is None:
            mask = torch.ones(examples, 1, queries, keys, dtype=torch.bool, device=seen.device)
        if mask.dtype is not torch.bool:  # an additive mask
            seen = _additive(seen, mask.dtype)
        return torch.cat([seen, mask.expand(examples, 1, queries, -1)], dim=3)


@dataclass(frozen=True)
class AddedHeads:
    """What is added to the heads' output: ``f(q P_K^T) P_V``, with the query as the head has it (He et al. 2022, table 1)."""

    states: PrefixStates
    """The value holds scale and gate."""
    form: Literal["softmax", "relu", "linear"]
    activation: Any = None
    """Of the relu form."""
    look: Look | None = None

    def change(self, query: Tensor, scaling: float) -> Tensor:
        """``(N*B, heads, T, width)`` queries to the change of the same shape."""
        key, value = (_repeated(part.to(query.dtype), query.shape[1]) for part in (self.states.key, self.states.value))
        scores = torch.matmul(query * scaling, key.transpose(2, 3))
        hidden = ~self.states.seen()[:, None, None, :]
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
    watched: tuple[tuple[PrefixStates, Look], ...] = ()
    """The prefixes one by one, where somebody wants to be told what each of them changes."""

    def with_prefix(self, prefix: PrefixStates, look: Look | None = None) -> "HeadChanges":
        """These changes, and a prefix beside those that are there."""
        watched = self.watched if look is None else (*self.watched, (prefix, look))
        return replace(self, prefix=self.prefix.beside(prefix) if self.prefix else prefix, watched=watched)

    def prefixes_without(self, prefix: PrefixStates) -> PrefixStates | None:
        """The watched prefixes but this one."""
        others = [own for own, _ in self.watched if own is not prefix]
        return reduce(PrefixStates.beside, others) if others else None


@dataclass(frozen=True)
class _Pass:
    """What the attention modules of one forward pass share."""

    changes: MutableMapping[nn.Module, HeadChanges]
    masks: dict[tuple[int, ...], tuple[tuple[Tensor | None, ...], Tensor]] = field(default_factory=dict)
    """What was made of masks, once for all layers, by the ids of the tensors that it was made of; they are kept, so that no id changes."""

    def once(self, make: Callable[[], Tensor], *parts: Tensor | None) -> Tensor:
        ids = tuple(map(id, parts))
        if ids not in self.masks:
            self.masks[ids] = parts, make()
        return self.masks[ids][1]


_ACTIVE: ContextVar[_Pass | None] = ContextVar("changed_heads", default=None)


@contextmanager
def changed_heads(changes: MutableMapping[nn.Module, HeadChanges]) -> Iterator[None]:
    """While active, attention of the modules in `changes` is changed; each change is used up by the call that it was made for."""
    token = _ACTIVE.set(_Pass(changes))
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
    active = _ACTIVE.get() or _Pass({})
    changes = active.changes.pop(module, None) or HeadChanges()
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    added = [change.change(query, scaling).transpose(1, 2) for change in changes.added]

    def attended(prefix: PrefixStates | None) -> Tensor:
        return _attended(module, query, key, value, attention_mask, prefix, active, dict(options))

    output = attended(changes.prefix)
    for prefix, look in changes.watched:
        without = attended(changes.prefixes_without(prefix))
        look(output - without, without)
    for change, own in zip(changes.added, added, strict=True):
        if change.look:
            change.look(own, output)
    return sum(added, output), None


def _attended(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    prefix: PrefixStates | None,
    active: _Pass,
    options: dict[str, Any],
) -> Tensor:
    """Attention over a prefix, if there is one, and the keys, ``(N*B, T, heads, width)``."""
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    if prefix:
        mask, queries, keys = attention_mask, query.shape[2], key.shape[2]
        if (bias := options.get("position_bias")) is not None:  # a prefix has no position (T5): its columns get no bias
            options["position_bias"] = nn.functional.pad(bias, (prefix.key.shape[2], 0))
        attention_mask = active.once(lambda: prefix.widened(mask, queries, keys), mask, *prefix.visible)
        key, value = (torch.cat([own.to(text.dtype), text], dim=2) for own, text in ((prefix.key, key), (prefix.value, value)))
    if attention_mask is None or not _written_out_is_faster(query, key, value, options):
        if options.get("softcap") is not None:  # Gemma 2; PyTorch's fused attention can't
            return _capped(query, _repeated(key, query.shape[1]), _repeated(value, query.shape[1]), attention_mask, options)
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        fused: Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, **options)[0]
        return fused
    mask = attention_mask
    additive = mask if mask.dtype is not torch.bool else active.once(lambda: _additive(mask, query.dtype), mask)
    key, value = (_repeated(part.to(query.dtype), query.shape[1]) for part in (key, value))
    with torch.autocast("cpu", enabled=False):  # under which a copy of the backbone is trained
        output: Tensor = _WrittenOut.apply(query, key, value, additive, options.get("position_bias"), scaling)  # type: ignore[no-untyped-call]
    return output


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a boolean mask is true, else the lowest number."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)


def _repeated(states: Tensor, heads: int) -> Tensor:
    """Key or value heads that several query heads share, once for each query head."""
    return states if states.shape[1] == heads else states.repeat_interleave(heads // states.shape[1], dim=1)


LONGEST_WRITTEN_OUT = 192
"""Keys up to which the attention weights of a whole pack are small enough to be held for the backward pass."""


def _written_out_is_faster(query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]) -> bool:
    trained = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    plain = options.get("softcap") is None and not options.get("dropout")
    return trained and plain and query.device.type == "cpu" and key.shape[2] <= LONGEST_WRITTEN_OUT


class _WrittenOut(Function):
    """The same, product by product: on a processor the backward pass of PyTorch's fused attention is several times slower.

    One function, so that scale and mask cost no tensor of their own: the mask is what the product is added to.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, position_bias: Tensor | None, scaling: float) -> Tensor:
        examples, heads, tokens, _ = query.shape
        ctx.shape, ctx.scaling, ctx.bias = (examples, heads), scaling, None if position_bias is None else position_bias.shape
        query, key, value = (part.reshape(examples * heads, *part.shape[2:]) for part in (query, key, value))
        scores = mask.to(query.dtype).expand(examples, heads, tokens, -1).reshape(examples * heads, tokens, -1)
        if position_bias is not None:
            scores.view(examples, heads, tokens, -1).add_(position_bias)
        weights = torch.softmax(scores.baddbmm_(query, key.transpose(1, 2), alpha=scaling), dim=-1)
        ctx.save_for_backward(query, key, value, weights)
        return torch.bmm(weights, value).view(examples, heads, tokens, -1).transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights = ctx.saved_tensors
        gradient = gradient.transpose(1, 2).reshape(weights.shape[0], weights.shape[1], -1)
        of_value = torch.bmm(weights.transpose(1, 2), gradient)
        of_weights = torch.bmm(gradient, value.transpose(1, 2))
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query = torch.baddbmm(query, of_scores, key, beta=0, alpha=ctx.scaling)
        of_key = torch.baddbmm(key, of_scores.transpose(1, 2), query, beta=0, alpha=ctx.scaling)
        of_bias = of_scores.view(*ctx.shape, *of_scores.shape[1:]).sum_to_size(ctx.bias) if ctx.needs_input_grad[4] else None
        return *(part.view(*ctx.shape, *part.shape[1:]) for part in (of_query, of_key, of_value)), None, of_bias, None


def _capped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]) -> Tensor:
    """Attention whose scores are kept below a bound."""
    cap = options["softcap"]
    scores = torch.matmul(query * (options.get("scaling") or query.shape[-1] ** -0.5), key.transpose(2, 3))
    scores = cap * torch.tanh(scores / cap)
    if (bias := options.get("position_bias")) is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores + (_additive(mask, scores.dtype) if mask.dtype is torch.bool else mask)
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
