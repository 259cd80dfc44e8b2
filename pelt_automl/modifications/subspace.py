"""The subspace form: LoReFT."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications.by_layer import LayerModule
from pelt_automl.modifications.stacked import Member, Run, across, normal, project


class Subspace(LayerModule):
    """LoReFT (Wu et al. 2024, "ReFT", equation 2): ``h + R^T (W h + b - R h)`` on the residual stream after a layer.

    The rows of ``R``, ``(r, H)``, are orthonormal: the Q of a QR decomposition of a free matrix. Only a text's first and its last
    tokens are changed, as many of each as the modification's `positions` says, with the same weights; 0 changes all. Departs from the
    released code: ``W`` starts at ``R`` and ``b`` at 0, so that it starts as the identity.
    """

    size_dims: ClassVar[Mapping[str, int]] = {"basis": 1, "source": 1, "source_bias": 1}

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """Members may differ in rank."""
        super().__init__(label, members, backbone)
        hidden, count = backbone.shape.hidden, len(self.layers)
        self.add_weights("basis", lambda rank, g: normal(count, rank, hidden, std=1.0)(g))
        self.add_weights("source", lambda rank, _: torch.zeros(count, rank, hidden))
        self.add_weights("source_bias", lambda rank, _: torch.zeros(count, rank))
        with torch.no_grad():
            self.get_parameter("source").copy_(self.rotation())
        self.add_own_gate(hidden)

    def rotation(self) -> Tensor:
        """``R`` of every trial and layer, ``(n, L, r, H)``, padded with zeros; in fp32."""
        basis, rows = self.get_parameter("basis"), []
        for row in range(len(self.members)):
            own = torch.linalg.qr(self.own("basis", basis, row).float().transpose(1, 2)).Q.transpose(1, 2)
            rows.append(functional.pad(own, (0, 0, 0, self.size - own.shape[1])))
        return torch.stack(rows)

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Change the residual stream after the layers' feed-forward sublayers."""
        rotation = self.rotation().to(backbone.dtype).unbind(1)
        weights, layers = self.weights(backbone.dtype), backbone.layers()
        for index, number in enumerate(self.layers):

            def changed(own: Tensor, index: int = index) -> Tensor:
                basis = rotation[index]
                inner = project(own, weights["source"][index] - basis) + across(weights["source_bias"][index], own)
                change = project(inner, basis.transpose(1, 2)) * self._is_changed(own, run)
                opened = self.opened(weights, index, own, run)
                change = change if opened is None else change * opened.to(change.dtype)[:, :, :1, None]
                self.measure(index, run, lambda: (change, own))
                return change

            layer, seen = layers[number], dict[str, Tensor]()

            def see(_: nn.Module, inputs: tuple[Any, ...], seen: dict[str, Tensor] = seen) -> tuple[Any, ...]:
                states, seen["before"] = self.forked(inputs[0], run, owned=True)
                return (states, *inputs[1:])

            def behind(_: nn.Module, __: Any, output: Tensor, seen: dict[str, Tensor] = seen, changed: Any = changed) -> Tensor:
                states, own = self.forked(output, run, copied=not seen)
                return self.added(states, changed(seen["before"] + own if seen else own), run)

            if layer.stack.norm_first:  # the change is added to what the sublayer puts out, before the residual connection
                yield layer.norm(self.site).register_forward_pre_hook(see)
                yield layer.at(layer.stack.output_of(self.site)).register_forward_hook(behind)
            else:
                yield layer.norm(self.site).register_forward_hook(behind)

    def _is_changed(self, states: Tensor, run: Run) -> Tensor:
        """1 for the first and the last tokens of each text, 0 for the others, ``(n, B, T, 1)``."""
        positions = self.modification.positions
        mask = run.mask_of(states)
        if not positions or mask is None:
            return states.new_ones(1)
        mask = mask.index_select(0, self.slots)
        first, last = mask.cumsum(2) <= positions, mask.flip(2).cumsum(2).flip(2) <= positions
        return ((first | last) & mask.bool()).to(states.dtype).unsqueeze(3)
