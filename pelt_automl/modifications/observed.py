"""What a forward pass tells beside its logits: one number an example for each submodule, site and layer."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Place = tuple[str, str, int]
"""Submodule, site and layer."""

Values = dict[Place, tuple[Tensor, Tensor]]
"""By place: the slots ``(n,)`` of the trials that have it, and their values ``(n, B)``."""

SHORTEST = 1e-12
"""Hidden states count as this long at least, so that nothing is divided by 0."""


@dataclass
class Observed:
    """Values of one kind, gathered over the modules of a forward pass."""

    values: Values = field(default_factory=dict)
    _seen: set[tuple[nn.Module, Place]] = field(default_factory=set)

    def add(self, module: nn.Module, place: Place, slots: Tensor, values: Tensor) -> None:
        """Keep a module's values ``(n, B)``, beside those that other trials' modules have given at the same place.

        A layer that is applied again and again (ALBERT) counts each time.
        """
        submodule, site, layer = place
        while (module, (submodule, site, layer)) in self._seen:
            layer += 1
        place = submodule, site, layer
        self._seen.add((module, place))
        if place in self.values:
            others = self.values[place]
            slots, values = torch.cat([others[0], slots]), torch.cat([others[1], values])
        self.values[place] = slots, values


def contribution(change: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """How much of the hidden states a change is: ``mean_t |dh_t| / |h_t|`` over an example's tokens, ``(n, B)`` in fp32.

    Args:
        change: ``(n, B, T, h)``, what is added at the site, gate and scale included. For a prefix in the head's own softmax, where nothing
            is added: attention over ``[G P_K; K]`` and ``[G P_V; V]`` less attention over ``K`` and ``V`` alone, all heads side by side.
        states: ``(n, B, T, h)``, what it is added to, as it would be without this change.
        mask: ``(n, B, T)``, 1 for tokens, 0 for padding, which isn't counted.
    """
    share = change.float().norm(dim=3) / states.float().norm(dim=3).clamp_min(SHORTEST)
    counted = mask.to(share.dtype)
    mean: Tensor = (share * counted).sum(dim=2) / counted.sum(dim=2).clamp_min(1.0)
    return mean
