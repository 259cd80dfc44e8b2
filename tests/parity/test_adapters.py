"""Parity with AdapterHub's `adapters` 1.3.0: the references that make_references.py wrote, reproduced to 1e-5.

Same weights in; the last hidden state, every gate, and the gradient of every trained tensor out.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site
from tests.parity.comparison import (
    REFERENCES,
    TOLERANCE,
    Difference,
    Outcome,
    difference,
    forward,
    of_the_text,
    pack_with,
    run_ours,
    stored,
    stored_model,
)
from tests.parity.translation import gates_in_our_names, weights_in_our_names

PREFIX_LENGTH = 3
PREFIX = Modification("prefix", Site.HEADS, Form.SOFTMAX, size=PREFIX_LENGTH)
PFEIFFER = Modification("adapter", Site.FFN, Form.RELU, Insertion.SEQUENTIAL, size=4)
HOULSBY = tuple(
    Modification("adapter", site, Form.RELU, Insertion.SEQUENTIAL, size=4, activation="silu")
    for site in (Site.ATTENTION_OUTPUT, Site.FFN_DOWN)
)
"""Houlsby et al. change a sublayer's output before its residual connection, Pfeiffer et al. after it."""
PARALLEL = Modification("adapter", Site.FFN, Form.RELU, size=8)


def _lora(*sites: Site) -> tuple[Modification, ...]:
    return tuple(Modification("lora", site, Form.LINEAR, size=3, scale=2.0) for site in sites)


def _gated(*modifications: Modification, **gate: Any) -> tuple[Modification, ...]:
    """With UniPELT's gates as `adapters` has them: the mean runs over padding, too."""
    return tuple(replace(m, gate=Gate(**{"token_mean": "paper", **gate})) for m in modifications)


LORA = _lora(Site.ATTENTION_QUERY, Site.ATTENTION_VALUE)
METHODS: dict[str, tuple[Modification, ...]] = {
    "houlsby": HOULSBY,
    "houlsby-cross": HOULSBY,
    "lora": LORA,
    "lora-all": _lora(Site.ATTENTION_QUERY, Site.ATTENTION_KEY, Site.ATTENTION_VALUE, Site.FFN_UP, Site.FFN_DOWN),
    "mam": (PREFIX, replace(PARALLEL, scale=4.0)),
    "parallel-adapter": (PARALLEL,),
    "parallel-adapter-attention": (replace(PARALLEL, site=Site.ATTENTION, scale=4.0),),
    "pfeiffer": (PFEIFFER,),
    "pfeiffer-attention": (replace(PFEIFFER, site=Site.ATTENTION),),
    "prefix": (PREFIX,),
    "prefix-mlp": (replace(PREFIX, reparameterization=5),),
    "prefix-unpadded": (PREFIX,),
    "scaled-parallel-adapter": (replace(PARALLEL, scale=4.0),),
    "unipelt-ap": _gated(PREFIX, PFEIFFER),
    "unipelt-apl": _gated(PREFIX, PFEIFFER, *LORA),
    "unipelt-apl-split": (*_gated(PREFIX, split=True), *_gated(PFEIFFER, *LORA)),
    "unipelt-apl-unpadded": _gated(PREFIX, PFEIFFER, *LORA),
    "unipelt-nogate": (PREFIX, PFEIFFER, *LORA),
}
OWN_WAY = "gpt2-parallel-adapter"
"""Where this package departs from `adapters` on purpose; see the test of its own."""

CASES = {path.stem: METHODS[path.stem.split("-", 1)[1]] for path in sorted(REFERENCES.glob("*-*.safetensors")) if path.stem != OWN_WAY}
CASES["bart-houlsby"] = (replace(HOULSBY[0], layers=(0, 1, 2, 3)), HOULSBY[1])  # `adapters` leaves the cross-attention out by default


def _layers(name: str) -> int:
    config = stored(stored(name).about["architecture"]).about["config"]
    return config.get("encoder_layers") or config.get("n_layer") or config["num_hidden_layers"]


def _in_our_names(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    method = stored(name).about["method"]
    before_residual = method.get("original_ln_before") is False and not method["is_parallel"]
    return weights_in_our_names(tensors, _layers(name), PREFIX_LENGTH, before_residual=before_residual)


def _inputs(name: str) -> dict[str, Tensor]:
    return {key: stored(name).tensors[key] for key in ("input_ids", "attention_mask")}


def theirs(name: str) -> Outcome:
    """The stored outcome."""
    case = stored(name)
    gates = gates_in_our_names(case.part("gate/"), _layers(name))
    return Outcome(case.tensors["last_hidden_state"], _in_our_names(name, case.part("gradient/")), gates)


def ours(name: str, modifications: tuple[Modification, ...]) -> Outcome:
    """Our forward and backward pass with the stored weights."""
    case = stored(name)
    weights = _in_our_names(name, case.part("weight/"))
    return run_ours(stored_model(case.about["architecture"]), modifications, weights, _inputs(name), case.tensors["probe"])


def ours_without_gradients(name: str, modifications: tuple[Modification, ...]) -> Tensor:
    """Our last hidden state as predictions are made: with PyTorch's fused attention."""
    case = stored(name)
    with torch.no_grad():
        pack = pack_with(stored_model(case.about["architecture"]), modifications, _in_our_names(name, case.part("weight/")))
        return forward(pack, _inputs(name))[0]


def compare(name: str, modifications: tuple[Modification, ...]) -> Difference:
    """Both."""
    return difference(ours(name, modifications), theirs(name))


@pytest.mark.parametrize("name", CASES)
def test_outputs_gates_and_gradients_are_those_of_adapters(name):
    assert compare(name, CASES[name]).largest < TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_the_same_without_gradients(name):
    assert (ours_without_gradients(name, CASES[name]) - theirs(name).hidden).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("name", "nearly"),
    [
        ("bert-scaled-parallel-adapter", (replace(PARALLEL, scale=3.9),)),
        ("bert-parallel-adapter", (replace(PARALLEL, activation="gelu"),)),
        ("bert-lora", tuple(replace(m, scale=1.9) for m in LORA)),
        ("bert-houlsby", tuple(replace(m, activation="relu") for m in HOULSBY)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_method_that_is_nearly_the_same_is_told_apart(name, nearly):
    found = compare(name, nearly)
    assert found.output > 100 * TOLERANCE
    assert found.gradients > 100 * TOLERANCE


def test_padding_moves_the_gates_of_adapters_and_not_those_of_the_masked_mean():
    masked = _gated(PREFIX, PFEIFFER, *LORA, token_mean="masked")
    found = compare("bert-unipelt-apl", masked)
    assert found.gates is not None
    assert found.gates > 100 * TOLERANCE
    unpadded = ours("bert-unipelt-apl", masked).gates
    # The first of the three texts is as long as the batch is wide: there is nothing to mask.
    for place, scores in theirs("bert-unipelt-apl").gates.items():
        assert (unpadded[place][0] - scores[0]).abs() < TOLERANCE


def test_without_padding_the_masked_mean_is_that_of_adapters():
    assert compare("bert-unipelt-apl-unpadded", _gated(PREFIX, PFEIFFER, *LORA, token_mean="masked")).largest < TOLERANCE


def _parallel_adapters_by_hand(model: Any, weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor], *, normalized: bool) -> Tensor:
    """GPT-2 with ``relu(W_down r + b) W_up + b`` added to each feed-forward sublayer; ``r`` is its input after, or before, the norm."""
    streams: dict[int, Tensor] = {}

    def keep(index: int, stream: Tensor) -> None:
        streams[index] = stream

    def change(index: int, normed: Tensor, output: Tensor) -> Tensor:
        own = {name: weights[f"adapter.ffn.{name}"][index] for name in ("down", "down_bias", "up", "up_bias")}
        low = linear(normed if normalized else streams[index], own["down"], own["down_bias"])
        return output + linear(low.relu(), own["up"], own["up_bias"])

    for index, layer in enumerate(model.h):
        layer.ln_2.register_forward_pre_hook(lambda _, args, index=index: keep(index, args[0]))
        layer.mlp.register_forward_hook(lambda _, args, output, index=index: change(index, args[0], output))
    with torch.no_grad():
        return of_the_text(model(**inputs).last_hidden_state, inputs)


def test_a_parallel_adapter_before_a_pre_norm_reads_what_the_sublayer_reads_and_that_of_adapters_the_stream():
    case = stored(OWN_WAY)
    weights = _in_our_names(OWN_WAY, case.part("weight/"))
    by_hand = {
        normalized: _parallel_adapters_by_hand(stored_model("gpt2"), weights, _inputs(OWN_WAY), normalized=normalized)
        for normalized in (True, False)
    }
    assert (by_hand[True] - ours(OWN_WAY, (PARALLEL,)).hidden).abs().max() < TOLERANCE
    assert (by_hand[False] - case.tensors["last_hidden_state"]).abs().max() < TOLERANCE
    assert (by_hand[True] - by_hand[False]).abs().max() > 0.1


def test_the_references_were_made_with_the_pinned_versions_and_are_small():
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (Path(__file__).parent / "requirements.txt").read_text(), re.MULTILINE))
    files = sorted(REFERENCES.glob("*.safetensors"))
    for file in files:
        about = stored(file.stem).about
        assert {name: about[name] for name in ("adapters", "transformers", "torch")}.items() <= pinned.items()
    assert sum(file.stat().st_size for file in files) < 1.5e6
