"""Trained modifications in the words of HF peft: the configuration's options, and tensors by the names in its files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pelt_automl.backbones.linear_maps import LinearMap, is_transposed, linear_map
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Form, Modification, Site, changed_layers
from pelt_automl.export.classification import inside
from pelt_automl.modifications import Pack, bridged


@dataclass(frozen=True)
class Adapter:
    """A trained method of peft."""

    kind: str
    """Name of peft's configuration class."""
    options: dict[str, Any]
    tensors: dict[str, Tensor]
    """By their names in adapter_model.safetensors, without the head."""
    prefix: str = "base_model.model."
    """What stands before the names of the classification model's own tensors."""


def _places(pack: Pack, model: Any) -> list[tuple[Modification, int, str, LinearMap, dict[str, Tensor]]]:
    """Every modification at every layer: its index there, path and linear map in the classification model, and its tensors."""
    paths = {module: path for path, module in model.named_modules()}
    layers, found = inside(model, pack.backbone).layers(), []
    for module in pack.hooked():
        modification, tensors = module.members[0].modification, module.kept(0)
        for index, number in enumerate(changed_layers(modification, pack.backbone.shape)):
            place = linear_map(layers[number], modification.site)
            found.append((modification, index, paths[place.module], place, tensors))
    return found


def _lora(pack: Pack, model: Any) -> Adapter:
    """LoRA; several projections in one fused map (GPT-2's ``c_attn``) are one product of their ranks' sum, exactly."""
    changes: dict[str, tuple[LinearMap, list[tuple[Tensor, Tensor, float]]]] = {}
    for m, index, path, place, tensors in _places(pack, model):
        up = tensors["up"][index]
        whole = up.new_zeros(place.outputs, up.shape[1])  # the outputs of other projections in the same map stay as they are
        whole[place.rows] = up
        changes.setdefault(path, (place, []))[1].append((tensors["down"][index], whole, m.scale))
    found, ranks, alphas = dict[str, Tensor](), dict[str, int](), dict[str, float]()
    for path, (_, products) in changes.items():
        downs, ups, scales = zip(*products, strict=True)
        alike = len(set(scales)) == 1  # else each product's scale is inside B
        up = torch.cat(ups if alike else [scale * up for scale, up in zip(scales, ups, strict=True)], dim=1)
        found |= {f"base_model.model.{path}.lora_A.weight": torch.cat(downs), f"base_model.model.{path}.lora_B.weight": up}
        ranks[path] = up.shape[1]
        alphas[path] = (scales[0] if alike else 1.0) * ranks[path]
    rank, alpha = next(iter(ranks.values())), next(iter(alphas.values()))
    options = {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: own for path, own in ranks.items() if own != rank},
        "alpha_pattern": {path: own for path, own in alphas.items() if own != alpha},
        "target_modules": list(changes),
        "fan_in_fan_out": any(is_transposed(place.module) for place, _ in changes.values()),
    }
    return Adapter("LoraConfig", options, found)


def _ia3(pack: Pack, model: Any) -> Adapter:
    """(IA)3: one vector a linear map, on its outputs, or on its inputs at ffn.down."""
    vectors: dict[str, Tensor] = {}
    reading: set[str] = set()
    transposed = False
    for m, index, path, place, tensors in _places(pack, model):
        on_inputs = m.site is Site.FFN_DOWN
        vector = vectors.setdefault(path, torch.ones(place.weight.shape[1] if on_inputs else place.outputs))
        vector[slice(None) if on_inputs else place.rows] *= 1 + m.scale * tensors["factor"][index]
        reading |= {path} if on_inputs else set()
        transposed |= is_transposed(place.module)
    options = {"target_modules": list(vectors), "feedforward_modules": sorted(reading), "fan_in_fan_out": transposed}
    shaped = {path: vector[None, :] if path in reading else vector[:, None] for path, vector in vectors.items()}
    return Adapter("IA3Config", options, {f"base_model.model.{path}.ia3_l": vector for path, vector in shaped.items()})


def _prompt(pack: Pack, _: Any) -> Adapter:
    prompt = pack.hooked()[0].kept(0)["prompt"]
    return _virtual("PromptTuningConfig", pack.backbone, prompt, pack.backbone.shape.embedding)


def _prefix(pack: Pack, model: Any) -> Adapter:
    """Prefix tuning as ``(P, layers * 2 * width)``: layer after layer, first its keys, then its values.

    peft counts a prefix as text that came before, so that the text stands P positions later than here: with rotary positions the
    keys are turned forward by as many.
    """
    kept, shape = pack.hooked()[0].kept(0), pack.backbone.shape
    width = shape.query_width // shape.heads
    keys = turned(kept["key"].view(*kept["key"].shape[:2], -1, width), kept["key"].shape[1], inside(model, pack.backbone).model)
    both = torch.stack([keys.flatten(2), kept["value"]], dim=1)  # layers, 2, P, width
    return _virtual("PrefixTuningConfig", pack.backbone, both.permute(2, 0, 1, 3).flatten(1), shape.kv_width, shape.kv_width // width)


def turned(keys: Tensor, positions: int, model: Any) -> Tensor:
    """Keys ``(..., width)`` after a rotary turn (Su et al. 2021) by a number of positions, with the model's own angles."""
    cosine, sine = (part[0, 0] / model.rotary_emb.attention_scaling for part in model.rotary_emb(keys, torch.tensor([[positions]])))
    own, rest = keys[..., : len(cosine)], keys[..., len(cosine) :]
    first, second = own.chunk(2, dim=-1)
    return torch.cat([own * cosine + torch.cat([-second, first], dim=-1) * sine, rest], dim=-1)


def _virtual(kind: str, backbone: Backbone, tensor: Tensor, width: int, heads: int | None = None) -> Adapter:
    options = {
        "num_virtual_tokens": len(tensor),
        "token_dim": width,
        "num_layers": backbone.shape.layers,
        "num_attention_heads": heads or backbone.shape.heads,
        "num_transformer_submodules": 1,
    }
    return Adapter(kind, options, {"prompt_embeddings": tensor}, prefix="base_model.")


def _bridged(pack: Pack, model: Any) -> Adapter:
    """A method that peft has trained: its configuration as it is, and its tensors where the classification model has the backbone."""
    modification, tensors = pack.trials[0].modifications[0], pack.hooked()[0].kept(0)
    config = bridged.peft_config(modification.peft, pack.backbone.model, pack.backbone.architecture)
    kind, options = type(config).__name__, config.to_dict()
    if config.is_prompt_learning:
        return Adapter(kind, options, tensors, prefix="base_model.")
    place = f"base_model.model.{model.base_model_prefix}."
    return Adapter(kind, options, {name.replace("base_model.model.", place, 1): tensor for name, tensor in tensors.items()})


ADAPTERS: dict[Form, Callable[[Pack, Any], Adapter]] = {
    Form.LINEAR: _lora,
    Form.SCALE: _ia3,
    Form.PROMPT: _prompt,
    Form.SOFTMAX: _prefix,
    Form.PEFT: _bridged,
}
"""By the one form that a method has: how it is said in peft's words, given the classification model."""
