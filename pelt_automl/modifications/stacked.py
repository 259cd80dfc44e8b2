"""The trial dimension: weights of several trials in one tensor, padded to the largest size.

Shapes use `n` for the trials that share a module (at most the pack's `N`), `B` examples, `T` tokens, `H` hidden, `L` layers.
"""

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.architectures import Part
from pelt_automl.backbones.head_attention import HeadChanges
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Gate, Modification
from pelt_automl.modifications.observed import Observed
from pelt_automl.modifications.rows import Rows, add, add_product, fork

Initializer = Callable[[int, Generator], Tensor]
"""From a trial's own size (rank, width, length) and its generator to its own, unpadded tensor."""

BERT_STD = 0.02
"""BERT's initialization, N(0, 0.02), which UniPELT uses for adapters, gates and head."""


@dataclass(frozen=True)
class Member:
    """One trial's modification in a module that it shares with others."""

    slot: int
    """The trial's place in its pack, 0 to N-1."""
    modification: Modification
    seed: int
    """Seed of the trial's initialization."""


@dataclass
class Run:
    """What one forward pass carries from layer to layer."""

    trials: int
    examples: int
    """A trial (B)."""
    masks: dict[int, Tensor]
    """By number of tokens: ``(N, B, T)``, 1 for tokens, 0 for padding. Prompts make an encoder's sequences longer than a decoder's."""
    gates: Observed = field(default_factory=Observed)
    """Gate values."""
    contributions: Observed | None = None
    """Shares of the hidden states (see `observed.contribution`); None where nobody asks for them."""
    shared_gates: dict[tuple[Gate, str, int], Tensor] = field(default_factory=dict)
    """Values ``(N, B)`` of the gates that several modifications share, by gate, submodule (empty: all) and layer."""
    heads: dict[nn.Module, HeadChanges] = field(default_factory=dict)
    """What attention modules are to change in their next call."""

    def split(self, states: Tensor) -> Tensor:
        """``(N*B, ...)`` as ``(N, B, ...)``; ``(N*B*T, H)``, where a model has flattened examples and tokens, as ``(N, B, T, H)``.

        What has no example dimension at all (DeBERTa's relative positions) belongs to the one trial of its pack.
        """
        together = self.trials * self.examples
        if states.dim() == 2 and states.shape[0] % together == 0:
            return states.view(self.trials, self.examples, -1, states.shape[1])
        if states.shape[0] == together:
            return states.view(self.trials, self.examples, *states.shape[1:])
        return states.view(self.trials, states.shape[0] // self.trials, *states.shape[1:])

    def mask_of(self, states: Tensor) -> Tensor | None:
        """The mask ``(N, B, T)`` of states ``(n, B, T, H)``; None if they aren't those of tokens."""
        return self.masks.get(states.shape[2]) if states.dim() == 4 and states.shape[1] == self.examples else None


class StackedModule(nn.Module):
    """Trained weights of `n` trials for one kind of modification, at all of its layers at once."""

    stacked: ClassVar[bool] = True
    """Whether the weights have the leading trial dimension; modules without one are alone in their pack."""

    size_dims: ClassVar[Mapping[str, int]] = {}
    """By tensor: the dimension of a trial's own tensor that is as long as its size, and padded here."""

    def __init__(self, label: str, members: Sequence[Member]) -> None:
        """`label` makes the names of the trial's tensors unique: ``lora.attention.query``."""
        super().__init__()
        self.label = label
        self.members = tuple(members)
        self.size = max(member.modification.size for member in members)
        self.slots: Tensor
        self.register_buffer("slots", torch.tensor([member.slot for member in members]), persistent=False)

    def add_weights(self, name: str, initialize: Initializer) -> None:
        """A trained tensor of shape ``(n, ...)``; each trial's own values depend on its seed and the tensor's name alone."""
        own, dim = [], self.size_dims.get(name)
        for member in self.members:
            tensor = initialize(member.modification.size, generator_for(member.seed, f"{self.label}.{name}"))
            if dim is not None:
                tensor = functional.pad(tensor, [0, 0] * (tensor.dim() - 1 - dim) + [0, self.size - tensor.shape[dim]])
            own.append(tensor)
        self.register_parameter(name, nn.Parameter(torch.stack(own)))

    def row_of(self, slot: int) -> int | None:
        """Where the trial in `slot` stands among the `n`; None if it has no part here."""
        return next((row for row, member in enumerate(self.members) if member.slot == slot), None)

    def own(self, name: str, stacked: Tensor, row: int) -> Tensor:
        """The view of one trial's own, unpadded part of a tensor shaped like the weights `name`."""
        if not self.stacked:
            return stacked
        dim = self.size_dims.get(name)
        return stacked[row] if dim is None else stacked[row].narrow(dim, 0, self.members[row].modification.size)

    def trained(self, row: int, beside: Mapping[Tensor, Tensor] | None = None) -> dict[str, Tensor]:
        """Views of one trial's trained tensors, unpadded, by their names without the label.

        With `beside`, views of what stands beside each trained tensor (an optimizer's moments) instead.
        """
        tensors = {name: beside[weights] if beside else weights.detach() for name, weights in self.named_parameters()}
        return {name: self.own(name, tensor, row) for name, tensor in tensors.items()}

    def kept(self, row: int) -> dict[str, Tensor]:
        """What of one trial's weights is needed after the training."""
        return self.trained(row)

    @torch.no_grad()
    def load(self, row: int, weights: Mapping[str, Tensor]) -> None:
        """Set one trial's trained tensors. Raises `KeyError` when one is missing and `RuntimeError` when a shape differs."""
        for name, own in self.trained(row).items():
            own.copy_(weights[name])

    def begin(self, steps: int) -> None:
        """Told before the training, or before it goes on: of how many optimizer steps it consists from start to end."""

    def penalty(self) -> Tensor | None:
        """What is added to the loss, a scalar; None where the method has nothing to add."""
        return None

    def after_step(self, step: int) -> None:
        """Told after the optimizer's step number `step`, counted from 1."""

    def state(self, row: int) -> dict[str, Tensor]:  # noqa: ARG002 the interface's
        """What one trial needs beside its trained tensors to go on with its training."""
        return {}

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""

    def everyone(self, run: Run) -> bool:
        """Whether every trial of the pack takes part, in the pack's order, so that no rows have to be picked."""
        return len(self.members) == run.trials and all(member.slot == row for row, member in enumerate(self.members))

    def rows(self, part: Part | None = None) -> Rows:
        """Where this module's trials stand in the pack, and which part of the last dimension is theirs."""
        return Rows.at([member.slot for member in self.members], part)

    def forked(
        self, states: Tensor, run: Run, part: Part | None = None, *, copied: bool = False, owned: bool = False
    ) -> tuple[Tensor, Tensor]:
        """``(N*B, ...)`` states that have to take the place of those given, and this module's ``(n, B, ...)`` of them; see `rows.fork`.

        With `copied`, the one of the two that is smaller is a copy, so that the first can be changed in place.
        """
        split = run.split(states)
        if part is None and self.everyone(run):
            return states.clone() if copied and torch.is_grad_enabled() else states, split
        whole, own = fork(split, self.rows(part), copied=copied, owned=owned)
        return whole.view_as(states), own

    def added(self, states: Tensor, change: Tensor, run: Run) -> Tensor:
        """Fresh ``(N*B, ...)`` states, now with the ``(n, B, ...)`` change, or what broadcasts to it, in this module's trials."""
        return add(run.split(states), change, self.rows()).view_as(states)

    def added_product(self, states: Tensor, low: Tensor, up: Tensor, run: Run, part: Part | None = None) -> Tensor:
        """Fresh states, now with ``low up^T`` in this module's trials, for `low` ``(n, B, T, r)`` and `up` ``(n, H, r)``."""
        return add_product(run.split(states), low, up, self.rows(part)).view_as(states)


class HookedModule(StackedModule):
    """Trained weights that change hidden states inside the backbone."""

    @property
    def lengths(self) -> Mapping[int, int]:
        """Tokens of the prompt that each trial puts before its text, by its slot."""
        return {}

    @property
    def submodule(self) -> str:
        """The name under which it can be switched off; a gate network isn't one of these."""
        return self.members[0].modification.name

    @abstractmethod
    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Hook into the backbone for one forward pass."""


def generator_for(seed: int, name: str) -> Generator:
    """A generator for one tensor of one trial: the same whatever else is initialized before it or beside it."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def normal(*shape: int, std: float = BERT_STD) -> Callable[[Generator], Tensor]:
    """Draws from N(0, std)."""
    return lambda generator: torch.randn(shape, generator=generator) * std


def uniform(*shape: int, fan_in: int) -> Callable[[Generator], Tensor]:
    """Draws from U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's own for linear maps, Kaiming-uniform with a = sqrt(5)."""
    bound = 1 / math.sqrt(fan_in)
    return lambda generator: (torch.rand(shape, generator=generator) * 2 - 1) * bound


def project(states: Tensor, weight: Tensor) -> Tensor:
    """``(n, ..., in)`` times each trial's own ``(n, out, in)``, as one batched product: ``(n, ..., out)``."""
    return torch.bmm(states.flatten(1, -2), weight.transpose(1, 2)).view(*states.shape[:-1], -1)


def across(values: Tensor, states: Tensor) -> Tensor:
    """Values ``(n, ...)`` of each trial, shaped to go with states ``(n, ..., H)``: ``(n, w)`` by their last dimension, ``(n,)`` for all."""
    inner = [1] * (states.dim() - 1 - (values.dim() - 1))
    return values.view(values.shape[0], *inner, *values.shape[1:])
