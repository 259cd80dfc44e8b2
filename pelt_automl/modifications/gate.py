"""Gates: from the states of an example's tokens to one scalar, for a stack of trials."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pelt_automl.design_space import Gate
from pelt_automl.modifications.stacked import StackedModule, normal, project, uniform


def add_gate(module: StackedModule, gate: Gate, networks: int, wide_in: int, outputs: int) -> None:
    """Give a module the weights of `networks` gate networks; scores start near 0, so gates near 0.5 (or 1/M where M compete)."""
    w, n = gate.width, networks
    maps = {
        "linear": [],
        "mlp": [("hidden", w, wide_in)],
        "gru": [("input", 3 * w, wide_in), ("state", 3 * w, w)],
        "transformer": [("hidden", w, wide_in), ("query", w, w), ("key", w, w), ("value", w, w), ("output", w, w)],
    }
    for name, rows, columns in maps[gate.network]:
        module.add_weights(f"gate_{name}", lambda _, g, rows=rows, columns=columns: uniform(n, rows, columns, fan_in=columns)(g))  # type: ignore[misc]
        module.add_weights(f"gate_{name}_bias", lambda _, __, rows=rows: torch.zeros(n, rows))  # type: ignore[misc]
    read = wide_in if gate.network == "linear" else w
    module.add_weights("gate_weight", lambda _, g: normal(n, outputs, read)(g))
    module.add_weights("gate_bias", lambda _, __: torch.zeros(n, outputs))


def gate_values(gate: Gate, weights: Mapping[str, Tensor], states: Tensor, mask: Tensor) -> Tensor:
    """Gates of each example, ``(n, B, O)`` in fp32.

    Sigmoid first, then the mean over tokens (Mao et al. 2022, section 3, as in the released code). `states` ``(n, B, T, H)``, `mask`
    ``(n, B, T)``; `weights` of one network, ``(n, ...)`` each. Departs from the paper: padding is left out unless the gate's token
    mean is ``paper``.
    """
    if gate.network == "gru":
        states = _recurrent(weights, states, mask)
    elif gate.network != "linear":
        states = torch.tanh(_affine(weights, "gate_hidden", "gate_hidden_bias", states))
        states = _attended(weights, states, mask) if gate.network == "transformer" else states
    scores = _affine(weights, "gate_weight", "gate_bias", states).float()
    if gate.squashing == "central":
        return torch.softmax(_mean(scores.relu(), mask, gate) / gate.temperature, dim=-1)
    scores = scores / gate.temperature
    opened = torch.sigmoid(scores) if gate.squashing == "sigmoid" else torch.softmax(scores, dim=-1)
    return _mean(opened, mask, gate)


def _mean(values: Tensor, mask: Tensor, gate: Gate) -> Tensor:
    if gate.token_mean == "paper":
        return values.mean(dim=2)
    counted = mask.to(values.dtype).unsqueeze(3)
    return (values * counted).sum(dim=2) / counted.sum(dim=2).clamp_min(1.0)


def _affine(weights: Mapping[str, Tensor], weight: str, bias: str, states: Tensor) -> Tensor:
    return project(states, weights[weight].to(states.dtype)) + weights[bias].to(states.dtype)[:, None, None, :]


def _recurrent(weights: Mapping[str, Tensor], states: Tensor, mask: Tensor) -> Tensor:
    """A GRU over tokens (Cho et al. 2014, as in `torch.nn.GRU`) that stands still on padding."""
    reset_in, update_in, new_in = _affine(weights, "gate_input", "gate_input_bias", states).chunk(3, dim=-1)
    n, b, tokens, w = new_in.shape
    hidden, counted, found = new_in.new_zeros(n, b, 1, w), mask.to(states.dtype), []
    for t in range(tokens):
        reset_h, update_h, new_h = _affine(weights, "gate_state", "gate_state_bias", hidden).chunk(3, dim=-1)
        reset = torch.sigmoid(reset_in[:, :, t : t + 1] + reset_h)
        update = torch.sigmoid(update_in[:, :, t : t + 1] + update_h)
        new = torch.tanh(new_in[:, :, t : t + 1] + reset * new_h)
        moved = (1 - update) * (new - hidden)
        hidden = hidden + moved * counted[:, :, t, None, None]
        found.append(hidden)
    return torch.cat(found, dim=2)


def _attended(weights: Mapping[str, Tensor], states: Tensor, mask: Tensor) -> Tensor:
    """One self-attention block with a residual connection (Vaswani et al. 2017), one head, blind to padding and without positions."""
    query, key, value = (_affine(weights, f"gate_{name}", f"gate_{name}_bias", states) for name in ("query", "key", "value"))
    scores = torch.matmul(query, key.transpose(2, 3)) / states.shape[-1] ** 0.5
    scores = scores.masked_fill(~mask.bool()[:, :, None, :], torch.finfo(scores.dtype).min)
    mixed = torch.matmul(torch.softmax(scores, dim=-1), value)
    return states + _affine(weights, "gate_output", "gate_output_bias", mixed)
