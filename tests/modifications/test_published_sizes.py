"""What holds of every method at its published sizes: blind to padding, counted as it is kept, and its gates.

How near the backbone methods start, and that a pack changes nothing: tests/conformance."""

import functools

import pytest
import torch
from torch.nn.functional import pad

from pelt_automl.backbones import shape_of
from pelt_automl.backbones.architectures import architecture_of
from pelt_automl.design_space import Form, Gate, count_all
from pelt_automl.errors import BackboneError
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial, check_supported, needs_own_pack, without_reparameterization
from pelt_automl.modifications.gate import gate_values
from pelt_automl.modifications.stacked import generator_for
from tests.tiny import FAMILIES, by_structure, random_ids, shared_backbone, tiny_config

DECODERS = ("gpt2", "opt", "opt-norm-last", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3")


def refusal(method, family):
    """Why the family refuses a method; empty if it doesn't. Nothing is built for it."""
    config = tiny_config(family)
    try:
        check_supported(METHODS[method].modifications({}), architecture_of(config), _shape(family))
    except BackboneError as error:
        return str(error)
    return ""


@functools.cache
def _shape(family):
    return shape_of(tiny_config(family))


BRIDGED = [name for name, method in METHODS.items() if any(m.form is Form.PEFT for m in method.modifications({}))]
BRIDGED_ON = ("bert", "gpt2", "t5", "deberta-v3")
"""One family of each kind is enough for what peft computes inside its own modules."""

every_family = pytest.mark.parametrize("family", by_structure())


@functools.cache
def methods_on(family):
    there = [name for name in METHODS if name not in BRIDGED or family in BRIDGED_ON]
    return [name for name in there if not refusal(name, family)]


def pack_of(family, *methods):
    trials = [PackTrial(METHODS[name].modifications({}), seed=3) for name in methods]
    return Pack(shared_backbone(family), trials, outputs=3)


def perturbed(pack):
    """As after some training: nothing is at its neutral start. A trial's weights are the same in any pack."""
    with torch.no_grad():
        for slot in range(len(pack.trials)):
            for name, own in pack.trained_weights(slot).items():
                own.add_(0.1 * torch.randn(own.shape, generator=generator_for(1, name)).to(own.dtype))
    return pack


def packs_on(family):
    """All methods of a family in as few packs as can be: those that share the backbone, and each of the others."""
    backbone, names = shared_backbone(family), methods_on(family)
    alone = [name for name in names if needs_own_pack(METHODS[name].modifications({}), backbone.architecture)]
    shared = tuple(name for name in names if name not in alone)
    return ([shared] if shared else []) + [(name,) for name in alone]


def a_batch(trials):
    """Four texts for each trial, the second padded on the right by four tokens."""
    ids = random_ids(1, 4, 9).expand(trials, -1, -1)
    mask = torch.ones_like(ids)
    mask[:, 1, 5:] = 0
    return ids, mask


@functools.cache
def outcomes(family):
    """By method: logits and gates on the same texts as they are, with more padding on the right, and with padding on the left."""
    found = {}
    for names in packs_on(family):
        pack, (ids, mask) = perturbed(pack_of(family, *names)), a_batch(len(names))
        on_the_left = [part.clone() for part in (ids, mask)]
        for part in on_the_left:
            part[:, 1] = part[:, 1].roll(4, dims=-1)
        batches = [(ids, mask), (pad(ids, (0, 6), value=7), pad(mask, (0, 6)))]
        if family in DECODERS:
            batches.append(tuple(pad(part, (3, 0)) for part in on_the_left))
        with torch.no_grad():
            runs = [pack(*batch) for batch in batches]
        for slot, name in enumerate(names):
            found[name] = [(run.logits[slot], _gates_of(run, slot)) for run in runs]
    return found


def _gates_of(output, slot):
    return {place: values[slots.tolist().index(slot)] for place, (slots, values) in output.gates.items() if slot in slots.tolist()}


def assert_same(ours, theirs, method):
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=1e-5, msg=method)
    assert ours[1].keys() == theirs[1].keys(), method
    for place, opened in ours[1].items():
        torch.testing.assert_close(opened, theirs[1][place], rtol=1e-5, atol=1e-6, msg=f"{method}: {place}")


NO_HEADS = "no site heads: its attention adds terms of the relative positions"
NO_BIASES = "has no bias terms"
WITH_HEADS = ("multi-head-adapter", "prefix", "mam", "unipelt-ap", "unipelt-apl", "unipelt")
WITHOUT_BIASES = ("modernbert", "llama", "mistral", "qwen3", "gemma", "gemma2", "gemma3", "t5", "flan-t5", "mt5", "umt5")
REFUSED = {
    **dict.fromkeys(("deberta-v3", "deberta-v2-conv", "mpnet"), (WITH_HEADS, NO_HEADS)),
    **dict.fromkeys(WITHOUT_BIASES, (("bitfit",), NO_BIASES)),
}
"""By family: the methods of the papers that it refuses, and the reason's words."""


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_family_refuses_and_why(family):
    methods, reason = REFUSED.get(family, ((), ""))
    papers = ("full", "head", "bitfit", "lora", "adapter", "houlsby", "parallel-adapter", "scaled-parallel-adapter", "multi-head-adapter")
    papers += ("ia3", "prompt", "prefix", "mam", "unipelt-ap", "unipelt-apl", "unipelt")
    assert tuple(name for name in papers if refusal(name, family)) == methods
    assert all(reason in refusal(name, family) for name in methods)


def test_a_refusal_names_the_sites_that_there_are():
    assert refusal("prefix", "mpnet").endswith(
        "Its sites: attention.query, attention.key, attention.value, attention.output, attention, ffn.up, ffn.down, ffn."
    )


@every_family
def test_padding_on_the_right_moves_neither_a_logit_nor_a_gate(family):
    for method in methods_on(family):
        narrow, wide, *_ = outcomes(family)[method]
        assert_same(narrow, wide, method)
        assert (narrow[0][0] - narrow[0][2]).abs().max() > 1e-4, method


@pytest.mark.parametrize("family", by_structure(DECODERS))
def test_padding_on_the_left_gives_a_decoder_the_same_logits_and_gates(family):
    for method in methods_on(family):
        right, _, left = outcomes(family)[method]
        assert_same(right, left, method)


def test_the_papers_token_mean_does_let_padding_move_a_gate():
    modifications = METHODS["unipelt-apl"].modifications({"token_mean": "paper"})
    pack = perturbed(Pack(shared_backbone(), [PackTrial(modifications, seed=3)], outputs=2))
    ids = random_ids(1, 4, 9)
    wide_ids, wide_mask = (pad(tensor, (0, 6)) for tensor in (ids, torch.ones_like(ids)))
    narrow, wide = pack(ids, torch.ones_like(ids)), pack(wide_ids, wide_mask)
    assert max((narrow.gates[key][1] - wide.gates[key][1]).abs().max() for key in narrow.gates) > 1e-3


ATTENTIONS = {  # attention modules with weights of their own, and the width of all their key heads
    **dict.fromkeys(FAMILIES, (2, 16)),
    "albert": (1, 16),
    "modernbert": (4, 16),
    "llama": (2, 2 * 4),
    "mistral": (2, 2 * 4),
    "qwen2": (2, 2 * 4),
    "qwen3": (2, 2 * 6),
    "gemma": (2, 2 * 6),
    "gemma2": (2, 2 * 6),
    "gemma3": (6, 2 * 6),
    **dict.fromkeys(("t5", "flan-t5", "mt5", "umt5", "bart", "mbart"), (2 + 2 + 2, 16)),  # encoder, decoder, cross-attention
}


@every_family
def test_kept_weights_give_equal_logits_and_number_as_counted(family):
    attentions, width = ATTENTIONS[family]
    for method in (name for name in methods_on(family) if name not in BRIDGED):
        pack, (ids, mask) = perturbed(pack_of(family, method)), a_batch(1)
        kept, modifications = pack.kept_weights(0), pack.trials[0].modifications
        deployed = Pack(pack.backbone, [PackTrial(without_reparameterization(modifications), seed=8)], outputs=3)
        deployed.load_weights(0, kept)
        with torch.no_grad():
            torch.testing.assert_close(deployed(ids, mask).logits[0], outcomes(family)[method][0][0], rtol=1e-4, atol=1e-5, msg=method)
        counted = count_all(modifications, pack.backbone.shape, outputs=3)
        assert sum(tensor.numel() for tensor in kept.values()) == counted.kept, method
        prefixes = sum(m.size * attentions * 2 * width for m in modifications if m.reparameterization)  # keys and values
        trained = sum(tensor.numel() for tensor in pack.trained_weights(0).values())
        assert trained == counted.kept - prefixes + counted.training_only, method


GATED_LAYERS = {  # feed-forward sublayers and attentions that are passed through
    **dict.fromkeys(FAMILIES, (2, 2)),
    "albert": (4, 4),
    "albert-two-groups": (4, 4),
    "modernbert": (4, 4),
    "gemma3": (6, 6),
    **dict.fromkeys(("t5", "flan-t5", "mt5", "umt5", "bart", "mbart"), (4, 6)),
}


@pytest.mark.parametrize("family", by_structure(family for family in FAMILIES if not refusal("unipelt-apl", family)))
def test_the_gates_of_apl_are_one_a_submodule_and_layer_and_start_near_one_half(family):
    ids = random_ids(1, 6, 8)
    output = pack_of(family, "unipelt-apl")(ids, torch.ones_like(ids))
    sublayers, attentions = GATED_LAYERS[family]
    assert sorted(output.gates) == [
        (name, site, layer)
        for name, site, layers in [
            ("adapter", "ffn", sublayers),
            ("lora", "attention.query", attentions),
            ("lora", "attention.value", attentions),
            ("prefix", "heads", attentions),
        ]
        for layer in range(layers)
    ]
    for _, opened in output.gates.values():
        assert opened.shape == (1, 6)
        assert (opened - 0.5).abs().max() < 0.1


def test_a_gate_is_the_mean_of_sigmoids_over_the_tokens_that_count():
    states = torch.tensor([[[[0.0], [2.0], [100.0]]]])  # one trial, one example, three tokens of width 1, the last of them padding
    weights = {"gate_weight": torch.tensor([[[1.0]]]), "gate_bias": torch.tensor([[0.0]])}
    values = gate_values(Gate(), weights, states, torch.tensor([[[1, 1, 0]]]))
    assert values.item() == pytest.approx((0.5 + 0.880797) / 2, abs=1e-6)  # sigmoid(0), sigmoid(2)


def test_switching_every_submodule_off_gives_the_backbone_and_one_alone_does_not():
    ids = random_ids(1, 4, 9)
    mask = torch.ones_like(ids)
    pack = perturbed(pack_of("bert", "unipelt-apl"))
    head = pack_of("bert", "head")
    head.load_weights(0, pack.trained_weights(0))
    everything = frozenset({"adapter", "prefix", "lora"})
    torch.testing.assert_close(pack(ids, mask, without=everything).logits, head(ids, mask).logits)
    for name in everything:
        assert not torch.allclose(pack(ids, mask, without=frozenset({name})).logits, pack(ids, mask).logits)
