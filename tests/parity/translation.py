"""What `adapters` 1.3.0 calls its tensors and gates, in this package's names: ``{modification}.{site}.{tensor}``, all layers in one."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

METHOD = "method"
"""The name that make_references.py gives the method inside the model."""

PLACES = {
    "attention.output.adapters": "adapter.attention",
    "attention_adapters.adapters": "adapter.attention",
    "cross_attention_adapters.adapters": "adapter.attention",
    "output.adapters": "adapter.ffn",
    "output_adapters.adapters": "adapter.ffn",
    "attention.self.query.loras": "lora.attention.query",
    "attention.self.key.loras": "lora.attention.key",
    "attention.self.value.loras": "lora.attention.value",
    "intermediate.dense.loras": "lora.ffn.up",
    "output.dense.loras": "lora.ffn.down",
    "attention.self.prefix_tuning.prefix_gates": "prefix.heads",
    "self_attn.q_proj.loras": "lora.attention.query",
    "self_attn.v_proj.loras": "lora.attention.value",
    "encoder_attn.q_proj.loras": "lora.attention.query",
    "encoder_attn.v_proj.loras": "lora.attention.value",
}
"""What is trained in each layer, by its path inside the layer (BERT's names, then BART's, GPT-2's and Llama's)."""

BEFORE_RESIDUAL = {"adapter.attention": "adapter.attention.output", "adapter.ffn": "adapter.ffn.down"}
"""Where an adapter stands that reads a sublayer's output before its residual connection: on the sublayer's last linear map."""

TENSORS = {
    "adapter_down.0.weight": "down",
    "adapter_down.0.bias": "down_bias",
    "adapter_up.weight": "up",
    "adapter_up.bias": "up_bias",
    "lora_A": "down",
    "lora_B": "up",
    "gate.weight": "gate_weight",
    "gate.bias": "gate_bias",
    "weight": "gate_weight",
    "bias": "gate_bias",
}
"""What a place trains; the last two are a prefix's gate, which is a linear map by itself."""

POOLS = ("encoder_prefix", "self_prefix", "cross_prefix")
"""Groups of prefixes, in the order in which this package counts layers."""

_IN_LAYER = re.compile(rf"(?:(encoder|decoder)\.)?(?:layers?|h)\.(\d+)\.(.+)\.{METHOD}\.(.+)")
_IN_POOL = re.compile(rf".*\.prefix_tunings\.{METHOD}\.({'|'.join(POOLS)})\.(.+)")


def weights_in_our_names(tensors: Mapping[str, Tensor], layers: int, length: int, *, before_residual: bool) -> dict[str, Tensor]:
    """Trained tensors, or their gradients.

    `layers` of the encoder (of the model, if it has one stack); `length` of the prefix; `before_residual`: as in `BEFORE_RESIDUAL`.
    """
    by_layer: dict[str, dict[int, Tensor]] = defaultdict(dict)
    pools: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        if pool := _IN_POOL.fullmatch(name):
            pools[pool[1]][pool[2]] = tensor
            continue
        stack, index, place, own = _parts(name)
        # This package counts the encoder's layers first, then the decoder's, then the decoder's cross-attentions.
        cross = "encoder_attn" in place or "cross" in place
        layer = int(index) + layers * ((stack == "decoder") + cross)
        site = BEFORE_RESIDUAL.get(PLACES[place], PLACES[place]) if before_residual else PLACES[place]
        by_layer[f"{site}.{TENSORS[own]}"][layer] = tensor
    stacked = {name: torch.stack([found[layer] for layer in sorted(found)]) for name, found in by_layer.items()}
    return stacked | _prefixes([pools[pool] for pool in POOLS if pool in pools], length)


def _parts(name: str) -> tuple[str, ...]:
    match = _IN_LAYER.fullmatch(name)
    assert match, f"{name} has no known place"
    return match.groups()


def _prefixes(pools: list[dict[str, Tensor]], length: int) -> dict[str, Tensor]:
    """Keys and values ``(layers, P, width)`` of all groups one after the other, or the MLP that makes them."""
    if not pools:
        return {}
    if "control_trans" not in pools[0]:
        return {f"prefix.heads.{name}": tensor for name, tensor in _mlp(**{k.replace(".", "_"): v for k, v in pools[0].items()}).items()}
    # Flat: for each position, layer after layer, first its key, then its value (adapters/methods/prefix_tuning.py:117-130).
    per_layer = [pool["control_trans"].view(length, 2, 2, -1).permute(2, 1, 0, 3) for pool in pools]
    keys_values = torch.cat(per_layer, dim=1)
    return {"prefix.heads.key": keys_values[0], "prefix.heads.value": keys_values[1]}


def _mlp(
    wte_weight: Tensor, control_trans_0_weight: Tensor, control_trans_0_bias: Tensor, control_trans_2_weight: Tensor, control_trans_2_bias: Tensor
) -> dict[str, Tensor]:
    """The reparameterization of two layers; its outputs stand layer by layer there, all keys before all values here."""

    def regrouped(outputs: Tensor) -> Tensor:
        return outputs.view(2, 2, -1, *outputs.shape[1:]).transpose(0, 1).reshape(outputs.shape)

    return {
        "embedding": wte_weight,
        "mlp_in": control_trans_0_weight.T,
        "mlp_in_bias": control_trans_0_bias,
        "mlp_out": regrouped(control_trans_2_weight).T,
        "mlp_out_bias": regrouped(control_trans_2_bias),
    }


GATES = {
    "output_adapter": (("adapter", "ffn"),),
    "selfattn_lora": (("lora", "attention.query"), ("lora", "attention.value")),
    "self_prefix": (("prefix", "heads"),),
    "self_prefix of two": (("prefix", "heads.key"), ("prefix", "heads.value")),
}
"""By location: whose gates stand in its columns, in the order in which the forward pass meets them."""


def gates_in_our_names(scores: Mapping[str, Tensor]) -> dict[tuple[str, str, int], Tensor]:
    """Gate scores ``{layer}/{location}`` of shape ``(B, columns)`` by submodule, site and layer, each ``(B,)``."""
    return dict(_gates(scores))


def _gates(scores: Mapping[str, Tensor]) -> Iterator[tuple[tuple[str, str, int], Tensor]]:
    for name, columns in scores.items():
        layer, location = name.split("/")
        if location == "self_prefix" and columns.shape[1] == 2:
            location = "self_prefix of two"
        for (submodule, site), column in zip(GATES[location], columns.unbind(1), strict=True):
            yield (submodule, site, int(layer)), column
