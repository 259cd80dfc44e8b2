"""What `adapters` 1.3.0 calls its tensors and gates, in this package's names: ``{modification}.{site}.{tensor}``, all layers in one.

Layers are counted as this package counts them: the encoder's, then the decoder's, then the decoder's cross-attentions.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

METHOD = "method"
"""The name that make_references.py gives the method inside the model."""

_Q, _V = "lora.attention.query", "lora.attention.value"

PLACES: dict[str, tuple[str, ...]] = {
    # BERT
    "attention.output.adapters": ("adapter.attention",),
    "output.adapters": ("adapter.ffn",),
    "attention.self.query.loras": (_Q,),
    "attention.self.key.loras": ("lora.attention.key",),
    "attention.self.value.loras": (_V,),
    "intermediate.dense.loras": ("lora.ffn.up",),
    "output.dense.loras": ("lora.ffn.down",),
    "attention.self.prefix_tuning.prefix_gates": ("prefix.heads",),
    # BART, GPT-2, Llama
    "attention_adapters.adapters": ("adapter.attention",),
    "cross_attention_adapters.adapters": ("adapter.attention",),
    "output_adapters.adapters": ("adapter.ffn",),
    "self_attn.q_proj.loras": (_Q,),
    "self_attn.v_proj.loras": (_V,),
    "encoder_attn.q_proj.loras": (_Q,),
    "encoder_attn.v_proj.loras": (_V,),
    "attn.c_attn.loras": (_Q, _V),
    "self_attn.prefix_tuning.prefix_gates": ("prefix.heads",),
    "encoder_attn.prefix_tuning.prefix_gates": ("prefix.heads",),
    "attn.prefix_tuning.prefix_gates": ("prefix.heads",),
}
"""What is trained in each layer, by its path inside the layer. A fused map holds the LoRAs of its parts one after the other."""

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
"""Groups of prefixes, in the order of their layers."""

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
        layer, place, own = _layer_place_tensor(name, layers)
        for site, part in zip(PLACES[place], tensor.chunk(len(PLACES[place])), strict=True):
            site_there = BEFORE_RESIDUAL.get(site, site) if before_residual else site
            by_layer[f"{site_there}.{TENSORS[own]}"][layer] = part
    stacked = {name: torch.stack([found[layer] for layer in sorted(found)]) for name, found in by_layer.items()}
    return stacked | _prefixes([pools[pool] for pool in POOLS if pool in pools], length)


def _layer_place_tensor(name: str, layers: int) -> tuple[int, str, str]:
    match = _IN_LAYER.fullmatch(name)
    assert match, f"{name} has no known place"
    stack, index, place, own = match.groups()
    is_cross = place.startswith(("encoder_attn", "cross_attention"))
    return int(index) + layers * ((stack == "decoder") + is_cross), place, own


def _prefixes(pools: list[dict[str, Tensor]], length: int) -> dict[str, Tensor]:
    """Keys and values ``(layers, P, width)`` of all groups one after the other, or the MLP that makes them."""
    if not pools:
        return {}
    if "control_trans" not in pools[0]:
        return _mlp(pools[0])
    # Flat: for each position, layer after layer, first its key, then its value (methods/prefix_tuning.py, FlatPrefixTuning.forward).
    per_layer = [pool["control_trans"].view(length, 2, 2, -1).permute(2, 1, 0, 3) for pool in pools]
    keys, values = torch.cat(per_layer, dim=1)
    return {"prefix.heads.key": keys, "prefix.heads.value": values}


def _mlp(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reparameterization of two layers; its outputs stand layer by layer there, all keys before all values here."""

    def regrouped(outputs: Tensor) -> Tensor:
        return outputs.view(2, 2, -1, *outputs.shape[1:]).transpose(0, 1).reshape(outputs.shape)

    return {
        "prefix.heads.embedding": tensors["wte.weight"],
        "prefix.heads.mlp_in": tensors["control_trans.0.weight"].T,
        "prefix.heads.mlp_in_bias": tensors["control_trans.0.bias"],
        "prefix.heads.mlp_out": regrouped(tensors["control_trans.2.weight"]).T,
        "prefix.heads.mlp_out_bias": regrouped(tensors["control_trans.2.bias"]),
    }


Place = tuple[str, str, int]
"""Submodule, site and layer of a gate."""


def gates_in_our_names(scores: Mapping[str, Tensor], layers: int) -> dict[Place, Tensor]:
    """Gate scores ``{layer}/{location}`` of shape ``(B, columns)``, each column ``(B,)`` by itself; `layers` of the encoder."""
    return dict(_gates(scores, layers))


def _gates(scores: Mapping[str, Tensor], layers: int) -> Iterator[tuple[Place, Tensor]]:
    for name, columns in scores.items():
        index, location = name.split("/")
        places = _places(location, int(index), columns.shape[1], layers)
        yield from zip(places, columns.unbind(1), strict=True)


def _places(location: str, layer: int, columns: int, layers: int) -> list[Place]:
    """Whose gates stand in the columns of a location, in the order in which the forward pass meets them."""
    if location == "output_adapter":
        return [("adapter", "ffn", layer)]
    if location == "selfattn_lora":  # a decoder layer's cross-attention comes after its self-attention, under the same location
        found = [layer, layer + layers] if columns == 4 else [layer]
        return [("lora", site, index) for index in found for site in ("attention.query", "attention.value")]
    layer += layers * (location == "cross_prefix")
    return [("prefix", site, layer) for site in (("heads",) if columns == 1 else ("heads.key", "heads.value"))]
