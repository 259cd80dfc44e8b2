"""The forms at attention heads: prefix tuning, with and without its built-in gate, and the multi-head parallel adapter."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.head_attention import AddedHeads, HeadChanges, Look, PrefixStates
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Form, Site
from pelt_automl.modifications.by_layer import LayerModule
from pelt_automl.modifications.projections import ACTIVATIONS
from pelt_automl.modifications.stacked import Member, Run, normal, uniform


class Heads(LayerModule):
    """Trained keys ``P_K`` and values ``P_V`` beside those of every attention head.

    For a query ``q``:

    - softmax, gated: attention over ``[G P_K; K]`` and ``[G P_V; V]``, prefix tuning (Li and Liang 2021). UniPELT's gate ``G`` reads the
      attention's input, one gate for keys and values, or one for each (`Gate.split`);
    - softmax, add: ``h + s G softmax(q P_K^T) P_V``, prefix tuning without its built-in gate (He et al. 2022, equation 9);
    - relu: ``h + s G relu(q P_K^T) P_V``, the multi-head parallel adapter (He et al. 2022, table 1); linear: without the relu.

    With a reparameterization keys and values are ``tanh(E W_1 + b_1) W_2 + b_2``, one MLP for all layers, dropped after the training;
    without it they start at N(0, 0.02).
    """

    size_dims: ClassVar[Mapping[str, int]] = {"key": 1, "value": 1, "embedding": 0}

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """See `LayerModule`; all members share the width of the reparameterization and the composition."""
        super().__init__(label, members, backbone)
        m, shape, count = self.modification, backbone.shape, len(self.layers)
        self.joins_softmax = m.form is Form.SOFTMAX and m.composition == "gated"
        self.width = shape.kv_width if m.form is Form.SOFTMAX else shape.query_width
        self.head_width = shape.query_width // shape.heads
        self.mlp = m.reparameterization
        if self.mlp:
            hidden, width, both = shape.hidden, self.mlp, 2 * count * self.width
            self.add_weights("embedding", lambda length, g: normal(length, hidden, std=1.0)(g))
            self.add_weights("mlp_in", lambda _, g: uniform(hidden, width, fan_in=hidden)(g))
            self.add_weights("mlp_in_bias", lambda _, g: uniform(width, fan_in=hidden)(g))
            self.add_weights("mlp_out", lambda _, g: uniform(width, both, fan_in=width)(g))
            self.add_weights("mlp_out_bias", lambda _, g: uniform(both, fan_in=width)(g))
        else:
            self.add_weights("key", lambda length, g: normal(count, length, self.width)(g))
            starts_at_zero = m.initialization == "identity"
            self.add_weights("value", lambda length, g: normal(count, length, self.width, std=0.0 if starts_at_zero else 0.02)(g))
        self.add_own_gate(shape.hidden, outputs=2 if self.gate and self.gate.split else 1)
        lengths = torch.tensor([member.modification.size for member in members])
        self.visible: Tensor
        self.register_buffer("visible", torch.arange(self.size)[None, :] < lengths[:, None], persistent=False)

    def states(self, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Prefix keys and values of all layers, each ``(n, L, P, H)``, made by the MLP if there is one."""
        if not self.mlp:
            return weights["key"], weights["value"]
        inner = torch.tanh(torch.baddbmm(weights["mlp_in_bias"].unsqueeze(1), weights["embedding"], weights["mlp_in"]))
        both = torch.baddbmm(weights["mlp_out_bias"].unsqueeze(1), inner, weights["mlp_out"])
        n, length, _ = both.shape
        keys_values = both.view(n, length, 2, len(self.layers), self.width).permute(2, 0, 3, 1, 4)
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
        """Tell each attention module what its trials add, gated by its input, when it computes its queries."""
        parameters = {name: parameter.to(backbone.dtype) for name, parameter in self.named_parameters()}
        keys, values = (states.unbind(1) for states in self.states(parameters))
        weights = {name: own.unbind(1) for name, own in parameters.items() if name.startswith("gate_")}
        layers, seen = backbone.layers(), self.visible.new_zeros(run.trials, self.size).index_copy(0, self.slots, self.visible)
        visible = seen.repeat_interleave(run.examples, dim=0)  # (N*B, P): which of the prefix each of the pack's examples sees
        for index, number in enumerate(self.layers):
            layer = layers[number]

            def hook(_: nn.Module, inputs: tuple[Any, ...], index: int = index, attention: nn.Module = layer.attention) -> tuple[Any, ...]:
                reads = self.gate is not None and not self.gate.group
                states, own = self.forked(inputs[0], run, owned=True) if reads else (inputs[0], run.split(inputs[0]))
                opened = self.opened(weights, index, own, run)
                prefix = self._in_pack(keys[index], values[index], opened, visible, run)
                others = run.heads.get(attention, HeadChanges())  # other modules' changes of the same attention
                look = None if run.contributions is None else self._look(index, run)
                added = AddedHeads(prefix, self.modification.form.value, ACTIVATIONS[self.modification.activation], look)  # type: ignore[arg-type]
                run.heads[attention] = (
                    others.with_prefix(prefix, look) if self.joins_softmax else replace(others, added=(*others.added, added))
                )
                return (states, *inputs[1:])

            yield layer.projection(Site.ATTENTION_QUERY)[0].register_forward_pre_hook(hook)

    def _look(self, index: int, run: Run) -> Look:
        """Measures the change of what all heads of a layer put out together."""

        def own(states: Tensor) -> Tensor:
            return self.rows().of(run.split(states.flatten(2)))

        return lambda change, without: self.measure(index, run, lambda: (own(change), own(without)))

    def _in_pack(self, key: Tensor, value: Tensor, opened: Tensor | None, visible: Tensor, run: Run) -> PrefixStates:
        """``(n, P, H)`` keys and values as one module's states for all ``N*B`` examples; trials without any don't see them."""
        key_gate, value_gate = (None, None) if opened is None else (opened[:, :, 0], opened[:, :, -1])
        if not self.joins_softmax:
            value, key_gate = value * self.scale.to(value.dtype)[:, None, None], None
        slots = frozenset(member.slot for member in self.members)
        return PrefixStates(self._spread(key, key_gate, run), self._spread(value, value_gate, run), (visible,), slots)

    def _spread(self, prefix: Tensor, opened: Tensor | None, run: Run) -> Tensor:
        states = prefix.unsqueeze(1).expand(-1, run.examples, -1, -1)
        if opened is not None:
            states = states * opened.to(states.dtype)[:, :, None, None]
        if not self.everyone(run):
            empty = states.new_zeros(run.trials, *states.shape[1:])
            states = empty.index_copy(0, self.slots, states)
        return states.reshape(run.trials * run.examples, self.size, -1, self.head_width).transpose(1, 2)
