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

from pelt_automl.backbones.loading import Backbone
from pelt_automl.backbones.prefix_attention import PrefixStates
from pelt_automl.design_space import Modification

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
    mask: Tensor
    """Shape ``(N, B, T)``: 1 for tokens, 0 for padding."""
    gates: dict[tuple[str, str, int], tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By submodule, site and layer: slots ``(n,)`` and gate values ``(n, B)``."""
    prefixes: dict[nn.Module, PrefixStates] = field(default_factory=dict)

    def split(self, states: Tensor) -> Tensor:
        """``(N*B, ...)`` as ``(N, B, ...)``."""
        return states.view(self.trials, self.examples, *states.shape[1:])


class StackedModule(nn.Module):
    """Trained weights of `n` trials for one kind of modification, at all of its layers at once."""

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
        own = [
            self._pad(name, initialize(member.modification.size, generator_for(member.seed, f"{self.label}.{name}")))
            for member in self.members
        ]
        self.register_parameter(name, nn.Parameter(torch.stack(own)))

    def _pad(self, name: str, tensor: Tensor) -> Tensor:
        dim = self.size_dims.get(name)
        if dim is None or tensor.shape[dim] == self.size:
            return tensor
        missing = self.size - tensor.shape[dim]
        return functional.pad(tensor, [0, 0] * (tensor.dim() - 1 - dim) + [0, missing])

    def row_of(self, slot: int) -> int | None:
        """Where the trial in `slot` stands among the `n`; None if it has no part here."""
        return next((row for row, member in enumerate(self.members) if member.slot == slot), None)

    def own(self, name: str, stacked: Tensor, row: int) -> Tensor:
        """The view of one trial's own, unpadded part of a tensor shaped like the weights `name`."""
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

    def everyone(self, run: Run) -> bool:
        """Whether every trial of the pack takes part, in the pack's order, so that no rows have to be picked."""
        return len(self.members) == run.trials and all(member.slot == row for row, member in enumerate(self.members))

    def pick(self, states: Tensor, run: Run) -> Tensor:
        """The ``(n, B, ...)`` part of ``(N*B, ...)`` states that belongs to this module's trials."""
        split = run.split(states)
        return split if self.everyone(run) else split.index_select(0, self.slots)

    def added(self, states: Tensor, change: Tensor, run: Run) -> Tensor:
        """``(N*B, ...)`` states with the ``(n, B, ...)`` change added to this module's trials."""
        split = run.split(states)
        whole = split + change if self.everyone(run) else split.index_add(0, self.slots, change.to(states.dtype))
        return whole.view_as(states)

    def replaced(self, states: Tensor, new: Tensor, run: Run) -> Tensor:
        """``(N*B, ...)`` states with this module's trials taken from `new`, shape ``(n, B, ...)``."""
        if self.everyone(run):
            return new.reshape(states.shape)
        return run.split(states).index_copy(0, self.slots, new.to(states.dtype)).view_as(states)


class HookedModule(StackedModule):
    """Trained weights that change hidden states inside the backbone."""

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
    """``(n, B, T, in)`` times each trial's own ``(n, out, in)``, as one batched product: ``(n, B, T, out)``."""
    n, b, t, _ = states.shape
    return torch.bmm(states.reshape(n, b * t, -1), weight.transpose(1, 2)).view(n, b, t, -1)
