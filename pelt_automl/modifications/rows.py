"""Rows of a pack: what only some of its trials have is read, and changed in place, without a copy of the whole pack's states.

All functions take states ``(N, B, T, H)`` that hold all trials, and own tensors ``(n, B, T, h)`` that belong to those of a `Rows`.

In place is sound on a *fresh* tensor: the output of a frozen linear map or norm, or a residual sum. None of these saves its output for
its backward pass. What is returned shares the states' memory and version counter, without being a view of them for autograd, whose
in-place operations on views copy the whole gradient; where some operation has saved the states after all (relu does), autograd raises
an error in the backward pass instead of computing with what isn't there any more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pelt_automl.backbones.architectures import Part


@dataclass(frozen=True)
class Rows:
    """Where a module's `n` trials stand among the `N` of a pack, and which part of the last dimension is theirs."""

    neighbors: tuple[range, ...]
    """Their slots, ascending: each a range of trials that stand together. A pack's order makes this one range in most cases."""
    part: Part | None = None

    @classmethod
    def at(cls, slots: Sequence[int], part: Part | None = None) -> "Rows":
        """From the `n` slots."""
        breaks = [0, *(row for row in range(1, len(slots)) if slots[row] != slots[row - 1] + 1), len(slots)]
        return cls(tuple(range(slots[first], slots[last - 1] + 1) for first, last in pairwise(breaks)), part)

    def of(self, states: Tensor) -> Tensor:
        """``(n, ...)``: a view where all are neighbors, else a copy."""
        views = [own for own, _ in self._views(states)]
        return views[0] if len(views) == 1 else torch.cat(views)

    def copy_of(self, states: Tensor) -> Tensor:
        """``(n, ...)``, in memory of its own."""
        return torch.cat([own for own, _ in self._views(states)])

    def add_(self, states: Tensor, change: Tensor) -> None:
        """Add ``(n, ...)``, or what broadcasts to it, to the rows."""
        for own, rows in self._views(states):
            own.add_(change[rows])

    def add_product_(self, states: Tensor, left: Tensor, right: Tensor) -> None:
        """Add ``left @ right`` to the rows, ``(n, B*T, k)`` times ``(n, k, h)``."""
        for own, rows in self._views(states):
            own.view(len(own), -1, own.shape[-1]).baddbmm_(left[rows], right[rows])

    def grow_(self, states: Tensor, factor: Tensor) -> None:
        """Multiply the rows by 1 + ``(n, ...)``, or what broadcasts to it; not rounded before the product, where bf16 would lose it."""
        for own, rows in self._views(states):
            own.addcmul_(own, factor[rows])

    def _views(self, states: Tensor) -> Iterator[tuple[Tensor, slice]]:
        """Neighbors' states, and which of the `n` rows they are."""
        if self.part is not None:
            width = states.shape[-1] // self.part.of
            states = states.narrow(-1, self.part.index * width, width)
        first = 0
        for slots in self.neighbors:
            yield states[slots.start : slots.stop], slice(first, first + len(slots))
            first += len(slots)


def fork(states: Tensor, rows: Rows, *, copied: bool, owned: bool) -> tuple[Tensor, Tensor]:
    """The states, which have to be used in place of those given, and a module's own rows of them.

    `copied`: the rows are a copy, because the states are going to be changed in place.
    `owned`: whoever reads the states makes a gradient of its own for them, so that the rows' gradient may be added in place. That is so
    where the next reader is one frozen linear map or norm: its backward pass makes a new tensor, which passes through `add_product`
    (that keeps nothing of it) and comes here. It isn't so before a residual sum, which hands one gradient to both of its sides.
    """
    copied = copied and torch.is_grad_enabled()
    if torch.is_grad_enabled() and states.requires_grad:
        return _Fork.apply(states, rows, copied, owned)  # type: ignore[no-any-return, no-untyped-call]
    return states, rows.copy_of(states) if copied else rows.of(states)


def add(states: Tensor, change: Tensor, rows: Rows) -> Tensor:
    """Fresh states with a change added to the rows: ``(n, B, T, h)``, or what broadcasts to it."""
    return _Add.apply(states, change.to(states.dtype), rows)  # type: ignore[no-any-return, no-untyped-call]


def add_product(states: Tensor, low: Tensor, up: Tensor, rows: Rows) -> Tensor:
    """Fresh states with ``low up^T`` added to the rows, for `low` ``(n, B, T, r)`` and `up` ``(n, h, r)``."""
    return _AddProduct.apply(states, low.to(states.dtype), up.to(states.dtype), rows)  # type: ignore[no-any-return, no-untyped-call]


def scale(states: Tensor, factor: Tensor, rows: Rows, *, fresh: bool, owned: bool) -> Tensor:
    """States with the rows multiplied by ``1 + factor``, which broadcasts to ``(n, B, T, h)``.

    In place where the states are `fresh`; `owned` as in `fork`.
    """
    return _Scale.apply(states, factor.to(states.dtype), rows, fresh, owned)  # type: ignore[no-any-return, no-untyped-call]


class _Fork(Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, rows: Rows, copied: bool, owned: bool) -> tuple[Tensor, Tensor]:
        ctx.rows, ctx.owned, ctx.shape = rows, owned, states.shape
        ctx.set_materialize_grads(False)
        whole = states.detach()
        return whole, rows.copy_of(whole) if copied else rows.of(whole).detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, whole: Tensor | None, own: Tensor | None) -> tuple[Tensor | None, ...]:
        if own is None:
            return whole, None, None, None
        gradient = own.new_zeros(ctx.shape) if whole is None else whole if ctx.owned else whole.clone()
        ctx.rows.add_(gradient, own)
        return gradient, None, None, None


class _Add(Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, change: Tensor, rows: Rows) -> Tensor:
        ctx.rows, ctx.shape = rows, change.shape
        whole = states.detach()
        rows.add_(whole, change)
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient, ctx.rows.of(gradient).sum_to_size(ctx.shape), None


class _AddProduct(Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, low: Tensor, up: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(low, up)
        whole = states.detach()
        rows.add_product_(whole, low.flatten(1, -2), up.transpose(1, 2))
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        low, up = ctx.saved_tensors
        own = ctx.rows.of(gradient).flatten(1, -2)
        return gradient, torch.bmm(own, up).view_as(low), torch.bmm(own.transpose(1, 2), low.flatten(1, -2)), None


class _Scale(Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, factor: Tensor, rows: Rows, fresh: bool, owned: bool) -> Tensor:
        ctx.rows, ctx.owned = rows, owned
        whole = states.detach() if fresh else states.clone()
        ctx.save_for_backward(rows.copy_of(whole) if fresh else rows.of(states.detach()), factor)
        rows.grow_(whole, factor)
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        own, factor = ctx.saved_tensors
        of_factor = (ctx.rows.of(gradient) * own).sum_to_size(factor.shape)
        gradient = gradient if ctx.owned else gradient.clone()
        ctx.rows.grow_(gradient, factor)
        return gradient, of_factor, None, None, None
