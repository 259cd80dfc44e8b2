"""Parity with HF peft in our own environment: the same tiny models, the same weights; outputs and gradients agree to 1e-5."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from pelt_automl.design_space import Form, Insertion, Modification, Site
from tests.parity.comparison import TOLERANCE, Difference, Outcome, difference, of_the_text, run_ours, scatter, stored_model
from tests.tiny import random_ids

LENGTH = 3
"""Of prefix and prompt."""
LAYERS, HIDDEN = 2, 16

LINEAR_MAPS = {
    Site.ATTENTION_QUERY: "attention.self.query",
    Site.ATTENTION_KEY: "attention.self.key",
    Site.ATTENTION_VALUE: "attention.self.value",
    Site.FFN_UP: "intermediate.dense",
    Site.FFN_DOWN: "output.dense",
}
"""BERT's, by their paths inside a layer."""
LORA_SITES = (Site.ATTENTION_QUERY, Site.ATTENTION_VALUE, Site.FFN_UP, Site.FFN_DOWN)
IA3_SITES = (Site.ATTENTION_KEY, Site.ATTENTION_VALUE, Site.FFN_DOWN)

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Case:
    """One method, in peft's words and in ours."""

    name: str
    config: tuple[str, dict[str, Any]]
    """Class of peft's configuration, and its arguments."""
    modifications: tuple[Modification, ...]
    translate: Callable[[Tensors], dict[str, Tensor]]
    """peft's trained tensors, or their gradients, by our names and in our shapes."""
    architecture: str = "bert"
    neutral: float = 0.0
    """What a trained tensor of peft is where ours is 0."""
    ahead: int = 0
    """By how many positions peft moves the text: a cache of virtual tokens counts as text that came before, which a prefix of ours
    doesn't."""


def _paths(*sites: Site) -> str:
    """peft's target_modules: one pattern for the full path of each linear map."""
    return rf".*layer\.\d+\.({'|'.join(LINEAR_MAPS[site] for site in sites)})"


def _by_layer(tensors: Tensors, site: Site, tensor: str) -> Tensor:
    """One tensor of every layer, ``(layers, ...)``."""
    ends = (f"layer.{index}.{LINEAR_MAPS[site]}.{tensor}" for index in range(LAYERS))
    return torch.stack([next(found for name, found in tensors.items() if end in name) for end in ends])


def _lora(tensors: Tensors) -> dict[str, Tensor]:
    names = {"down": "lora_A", "up": "lora_B"}
    return {f"lora.{site}.{ours}": _by_layer(tensors, site, theirs) for site in LORA_SITES for ours, theirs in names.items()}


def _ia3(tensors: Tensors) -> dict[str, Tensor]:
    return {f"ia3.{site}.factor": _by_layer(tensors, site, "ia3_l").flatten(1) for site in IA3_SITES}


def _prompt(tensors: Tensors) -> dict[str, Tensor]:
    (prompt,) = tensors.values()
    return {"prompt.embeddings.prompt": prompt}


def _prefix(tensors: Tensors) -> dict[str, Tensor]:
    """peft keeps ``(P, layers * 2 * H)``: layer after layer, first its keys, then its values."""
    (both,) = tensors.values()
    keys, values = both.view(LENGTH, LAYERS, 2, -1).permute(2, 1, 0, 3)
    return {"prefix.heads.key": keys, "prefix.heads.value": values}


def _prefix_turned(tensors: Tensors) -> dict[str, Tensor]:
    """With rotary positions: a text that stands `LENGTH` later sees a prefix as ours does that is turned back by as many positions.

    The turn is orthogonal, so that gradients turn as the keys do.
    """
    found = _prefix(tensors)
    heads = found["prefix.heads.key"].unflatten(2, (-1, 4))
    angles = LENGTH * 10000.0 ** (-torch.arange(0, 4, 2) / 4)
    first, second = heads.chunk(2, dim=3)
    turned = torch.cat([first * angles.cos() + second * angles.sin(), second * angles.cos() - first * angles.sin()], dim=3)
    return found | {"prefix.heads.key": turned.flatten(2)}


def _bridged(tensors: Tensors) -> dict[str, Tensor]:
    """A method that peft itself carries out here keeps peft's names."""
    return {f"dora.everything.{name}": tensor for name, tensor in tensors.items()}


def _linear(size: int, scale: float) -> tuple[Modification, ...]:
    return tuple(Modification("lora", site, Form.LINEAR, size=size, scale=scale) for site in LORA_SITES)


PREFIX = (Modification("prefix", Site.HEADS, Form.SOFTMAX, size=LENGTH),)
PROMPT = (Modification("prompt", Site.EMBEDDINGS, Form.PROMPT, size=LENGTH),)
IA3 = tuple(Modification("ia3", site, Form.SCALE, Insertion.SEQUENTIAL) for site in IA3_SITES)
VIRTUAL = {"task_type": "FEATURE_EXTRACTION", "num_virtual_tokens": LENGTH}
LORA_CONFIG = {"lora_alpha": 6, "target_modules": _paths(*LORA_SITES)}
DORA_SITES = (Site.ATTENTION_QUERY, Site.ATTENTION_VALUE)
DORA_CONFIG = {"r": 3, "lora_alpha": 6, "use_dora": True, "target_modules": _paths(*DORA_SITES)}
DORA = Modification("dora", Site.EVERYTHING, Form.PEFT, peft=json.dumps({"peft_type": "LORA", **DORA_CONFIG}))

CASES = (
    Case("lora", ("LoraConfig", {"r": 3, **LORA_CONFIG}), _linear(3, 2.0), _lora),
    Case("rslora", ("LoraConfig", {"r": 4, "use_rslora": True, **LORA_CONFIG}), _linear(4, 3.0), _lora),
    Case("dora", ("LoraConfig", DORA_CONFIG), (DORA,), _bridged),
    Case(
        "ia3",
        ("IA3Config", {"target_modules": _paths(*IA3_SITES), "feedforward_modules": _paths(Site.FFN_DOWN)}),
        IA3,
        _ia3,
        neutral=1.0,
    ),
    Case("prompt", ("PromptTuningConfig", VIRTUAL), PROMPT, _prompt),
    Case("prompt-gpt2", ("PromptTuningConfig", VIRTUAL), PROMPT, _prompt, architecture="gpt2"),
    Case("prompt-llama", ("PromptTuningConfig", VIRTUAL), PROMPT, _prompt, architecture="llama"),
    Case("prefix", ("PrefixTuningConfig", VIRTUAL), PREFIX, _prefix, ahead=LENGTH),
    Case("prefix-gpt2", ("PrefixTuningConfig", VIRTUAL), PREFIX, _prefix, architecture="gpt2", ahead=LENGTH),
    Case("prefix-llama", ("PrefixTuningConfig", VIRTUAL), PREFIX, _prefix_turned, architecture="llama", ahead=LENGTH),
)


def batch() -> dict[str, Tensor]:
    """Three texts of 9, 6 and 4 tokens, padded on the right."""
    ids, mask = random_ids(3, 9), torch.ones(3, 9, dtype=torch.long)
    for row, length in enumerate((9, 6, 4)):
        ids[row, length:], mask[row, length:] = 1, 0
    return {"input_ids": ids, "attention_mask": mask}


def _probe() -> Tensor:
    """Of the size of a mean over tokens, so that gradients are of the order of 1."""
    mask = batch()["attention_mask"].unsqueeze(2)
    return torch.randn(*mask.shape[:2], HIDDEN, generator=torch.Generator().manual_seed(3)) * mask / mask.sum()


def _move_back(model: Any, positions: int) -> None:
    """Make position ``p + positions`` what `p` was, for a learned table of positions."""
    for name, table in model.named_parameters():
        if name in ("embeddings.position_embeddings.weight", "wpe.weight"):
            table.data = table.data.roll(positions, dims=0)


def with_peft(case: Case) -> Any:
    """The backbone with the method added by peft, every trained tensor away from its start."""
    import peft

    model = stored_model(case.architecture)
    _move_back(model, case.ahead)
    kind, options = case.config
    wrapped = peft.get_peft_model(model, getattr(peft, kind)(**options)).eval()
    scatter(trained(wrapped).items(), std=0.3)
    return wrapped


def trained(model: Any) -> dict[str, Tensor]:
    """The parameters that peft trains."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def run_peft(model: Any) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """The last hidden state, the trained tensors, and their gradients."""
    hidden = of_the_text(model(**batch()).last_hidden_state, batch())
    (hidden * _probe()).sum().backward()
    parameters = trained(model)
    return hidden.detach(), {n: p.detach() for n, p in parameters.items()}, {n: p.grad for n, p in parameters.items()}


def compare(case: Case) -> Difference:
    """Both implementations with the same weights on the same batch."""
    hidden, weights, gradients = run_peft(with_peft(case))
    ours = case.translate({name: weight - case.neutral for name, weight in weights.items()})
    outcome = run_ours(stored_model(case.architecture), case.modifications, ours, batch(), _probe())
    return difference(outcome, Outcome(hidden, case.translate(gradients)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs_and_gradients_are_those_of_peft(case):
    assert compare(case).largest < TOLERANCE


def test_dora_of_peft_is_the_formula_of_the_paper():
    """Liu et al. 2024, equation 5: ``m (W + s B A) / ||W + s B A||``; the backward pass takes the norms for constants (section 4.3)."""
    hidden, weights, gradients = run_peft(with_peft(next(case for case in CASES if case.name == "dora")))
    own = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    model = stored_model("bert")
    replaced = {}
    for layer in range(LAYERS):
        for site in DORA_SITES:
            path = f"encoder.layer.{layer}.{LINEAR_MAPS[site]}"
            down, up, magnitude = (
                own[f"base_model.model.{path}.{name}.default.weight"] for name in ("lora_A", "lora_B", "lora_magnitude_vector")
            )
            direction = model.get_parameter(f"{path}.weight").detach() + 2.0 * up @ down
            replaced[f"{path}.weight"] = magnitude[:, None] * direction / direction.norm(dim=1, keepdim=True).detach()
    output = torch.func.functional_call(model, replaced, kwargs=batch())
    by_hand = of_the_text(output.last_hidden_state, batch())
    (by_hand * _probe()).sum().backward()
    found = difference(
        Outcome(by_hand.detach(), {name: weight.grad for name, weight in own.items()}),
        Outcome(hidden, gradients),
    )
    assert found.largest < TOLERANCE
