"""The softmax form: trained keys and values before those of every attention head."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.backbones.prefix_attention import PrefixStates
from pelt_automl.modifications.gate import gate_values
from pelt_automl.modifications.stacked import HookedModule, Member, Run, normal, uniform


class Prefix(HookedModule):
    """Prefix tuning (Li and Liang 2021): attention over ``[G P_K; K]`` and ``[G P_V; V]``.

    UniPELT's gate ``G`` reads the layer's input, one gate for keys and values. With a reparameterization the prefixes are
    ``tanh(E W_1 + b_1) W_2 + b_2``, one MLP for all layers, dropped after the training; without it they start at N(0, 0.02).
    """

    size_dims: ClassVar[Mapping[str, int]] = {"key": 1, "value": 1, "embedding": 0}

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone, layers: Sequence[int]) -> None:
        """`layers` are the indices of the changed layers; all members share the width of the reparameterization."""
        super().__init__(label, members)
        self.layers = tuple(layers)
        first = members[0].modification
        self.site, self.gate = first.site, first.gate
        self.hidden, self.mlp = backbone.shape.hidden, first.reparameterization
        count = len(self.layers)
        if self.mlp:
            self._add_mlp(self.hidden, self.mlp, 2 * count * self.hidden)
        else:
            self.add_weights("key", lambda length, g: normal(count, length, self.hidden)(g))
            self.add_weights("value", lambda length, g: normal(count, length, self.hidden)(g))
        if self.gate:
            self.add_weights("gate_weight", lambda _, g: normal(count, self.hidden)(g))
            self.add_weights("gate_bias", lambda _, __: torch.zeros(count))
        lengths = torch.tensor([member.modification.size for member in members])
        self.visible: Tensor
        self.register_buffer("visible", torch.arange(self.size)[None, :] < lengths[:, None], persistent=False)

    def _add_mlp(self, hidden: int, width: int, outputs: int) -> None:
        self.add_weights("embedding", lambda length, g: normal(length, hidden, std=1.0)(g))
        self.add_weights("mlp_in", lambda _, g: uniform(hidden, width, fan_in=hidden)(g))
        self.add_weights("mlp_in_bias", lambda _, g: uniform(width, fan_in=hidden)(g))
        self.add_weights("mlp_out", lambda _, g: uniform(width, outputs, fan_in=width)(g))
        self.add_weights("mlp_out_bias", lambda _, g: uniform(outputs, fan_in=width)(g))

    def states(self, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Prefix keys and values of all layers, each ``(n, L, P, H)``, made by the MLP if there is one."""
        if not self.mlp:
            return weights["key"], weights["value"]
        inner = torch.tanh(torch.baddbmm(weights["mlp_in_bias"].unsqueeze(1), weights["embedding"], weights["mlp_in"]))
        both = torch.baddbmm(weights["mlp_out_bias"].unsqueeze(1), inner, weights["mlp_out"])
        n, length, _ = both.shape
        keys_values = both.view(n, length, 2, len(self.layers), self.hidden).permute(2, 0, 3, 1, 4)
        return keys_values[0], keys_values[1]

    def kept(self, row: int) -> dict[str, Tensor]:
        """One trial's prefixes and gate; the MLP isn't kept."""
        if not self.mlp:
            return self.trained(row)
        with torch.no_grad():
            keys, values = self.states(dict(self.named_parameters()))
        gate = {name: own for name, own in self.trained(row).items() if name.startswith("gate")}
        return {"key": self.own("key", keys, row), "value": self.own("value", values, row)} | gate

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Hand each self-attention module its trials' prefixes, gated by the layer's input."""
        weights = {name: parameter.to(backbone.dtype) for name, parameter in self.named_parameters()}
        keys, values = (states.unbind(1) for states in self.states(weights))
        gates = {name: weights[name].unbind(1) for name in ("gate_weight", "gate_bias") if name in weights}
        mask = run.mask.index_select(0, self.slots)
        path = backbone.architecture.sites[self.site]
        for index, layer in enumerate(self.layers):

            def hook(attention: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], index: int = index, layer: int = layer) -> None:
                opened = None
                if self.gate:
                    states = self.pick(inputs[0] if inputs else named["hidden_states"], run)
                    opened = gate_values(states, gates["gate_weight"][index], gates["gate_bias"][index], mask, self.gate.token_mean)
                    run.gates[self.members[0].modification.name, self.site.value, layer] = (self.slots, opened)
                mine = self._in_pack(keys[index], values[index], opened, run, backbone.shape.heads)
                others = run.prefixes.get(attention)  # gated and ungated prefixes of other trials in the pack
                run.prefixes[attention] = others.beside(mine) if others else mine

            yield backbone.layers()[layer].get_submodule(path).register_forward_pre_hook(hook, with_kwargs=True)

    def _in_pack(self, key: Tensor, value: Tensor, opened: Tensor | None, run: Run, heads: int) -> PrefixStates:
        """``(n, P, H)`` prefixes as one module's states for all ``N*B`` examples; trials without a prefix don't see them."""

        def spread(prefix: Tensor) -> Tensor:
            states = prefix.unsqueeze(1).expand(-1, run.examples, -1, -1)
            if opened is not None:
                states = states * opened.to(states.dtype)[:, :, None, None]
            if not self.everyone(run):
                empty = states.new_zeros(run.trials, *states.shape[1:])
                states = empty.index_copy(0, self.slots, states)
            return states.reshape(run.trials * run.examples, self.size, heads, -1).transpose(1, 2)

        visible = self.visible.new_zeros(run.trials, self.size).index_copy(0, self.slots, self.visible)
        return PrefixStates(spread(key), spread(value), visible.repeat_interleave(run.examples, dim=0))
