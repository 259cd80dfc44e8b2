"""Lower layers that no trial changes are computed once an example and kept, without a trace in the results."""

import functools
from dataclasses import replace

import pytest
import torch

from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site
from pelt_automl.modifications import LowerLayers, Pack, PackTrial
from pelt_automl.training.tokens import keys_of
from tests.probing import a_batch, lively_backbone, moved, widened
from tests.tiny import FAMILIES, by_structure, random_ids

SHARED = (
    "bert", "roberta", "xlm-roberta", "electra", "distilbert", "modernbert", "gpt2", "opt", "opt-norm-last", "llama", "mistral", "qwen2",
    "qwen3", "gemma", "gemma2", "gemma3",
)  # fmt: skip
ADAPTER = Modification("adapter", Site.FFN, Form.RELU, Insertion.SEQUENTIAL, size=3)
LORA = Modification("lora", Site.ATTENTION_QUERY, Form.LINEAR, size=2)
PREFIX = Modification("prefix", Site.HEADS, Form.SOFTMAX, size=3)

lively = functools.cache(lively_backbone)


@functools.cache
def four_layers():
    return lively_backbone("bert", num_hidden_layers=4)


def at(modification, *layers, **changes):
    return replace(modification, layers=layers, **changes)


def packed(backbone, *trials, lower=None):
    return moved(Pack(backbone, [PackTrial(own, seed=slot) for slot, own in enumerate(trials)], outputs=3, lower=lower))


def three_trials(last):
    """Everything that reads a layer's input, at the last layer; the head alone; and a trial without gates."""
    gated = (at(ADAPTER, last, gate=Gate()), at(LORA, last, gate=Gate(group="g")), at(PREFIX, last, gate=Gate(group="g")))
    return gated, (), (at(LORA, last), at(ADAPTER, last))


def outcome(pack, batch, **options):
    """Logits, gates, and the gradients of a scalar in every direction of the logits."""
    output = pack(*batch, **options)
    pack.zero_grad()
    (output.logits * torch.arange(1.0, output.logits.numel() + 1).view_as(output.logits)).sum().backward()
    gates = {place: values.detach() for place, (_, values) in sorted(output.gates.items())}
    return [output.logits.detach(), *gates.values(), *(parameter.grad.clone() for parameter, _ in pack.trainable())]


def keys(batch, types=None):
    return keys_of(batch[0].numpy(), batch[1].numpy(), types)


def calls_of(backbone, pack, batch, **options):
    """How many examples each layer computes in a pass, beside the look at the backbone that comes before the first."""
    assert pack.lower.possible
    computed = [0] * backbone.shape.layers
    handles = []
    for number, layer in enumerate(backbone.layers()):

        def count(_, given, number=number):
            computed[number] += given[0].shape[0]

        handles.append(layer.projection(Site.ATTENTION_QUERY)[0].register_forward_pre_hook(count))
    pack(*batch, **options)
    for handle in handles:
        handle.remove()
    return computed


@pytest.mark.parametrize("family", SHARED)
def test_logits_gates_and_gradients_are_those_of_a_pass_through_all_layers(family):
    backbone, batch = lively(family), a_batch(3)
    lower = LowerLayers(backbone)
    pack = packed(backbone, *three_trials(backbone.shape.layers - 1), lower=lower)
    expected = outcome(pack, batch)
    assert len(expected) > 10
    assert len(lower) == 0
    for _ in range(2):  # computed, then kept
        torch.testing.assert_close(outcome(pack, batch, keys=keys(batch)), expected, rtol=1e-5, atol=1e-5)
        assert len(lower) == 4


@pytest.mark.parametrize("family", by_structure(sorted(set(FAMILIES) - set(SHARED))))
def test_a_family_whose_layers_hand_on_more_than_hidden_states_is_never_shared(family):
    backbone, batch = lively(family), a_batch(1)
    lower = LowerLayers(backbone)
    pack = packed(backbone, (), lower=lower)
    expected = outcome(pack, batch)
    assert not lower.possible
    torch.testing.assert_close(outcome(pack, batch, keys=keys(batch)), expected, rtol=0, atol=0)
    assert len(lower) == 0


def test_layers_below_are_computed_once_an_example_and_those_above_for_every_trial():
    backbone, batch = four_layers(), a_batch(3)
    lower = LowerLayers(backbone)
    pack = packed(backbone, (at(LORA, 2),), (at(ADAPTER, 3),), (), lower=lower)
    assert pack.unchanged == 2
    assert calls_of(backbone, pack, batch) == [12, 12, 12, 12]
    assert calls_of(backbone, pack, batch, keys=keys(batch)) == [4, 4, 12, 12]  # all trials have the same 4 examples
    assert calls_of(backbone, pack, batch, keys=keys(batch)) == [0, 0, 12, 12]
    half_new = torch.cat([batch[0][:, :2], random_ids(1, 2, 7, seed=5).repeat(3, 1, 1)], dim=1), batch[1]
    assert calls_of(backbone, pack, half_new, keys=keys(half_new)) == [2, 2, 12, 12]
    other = packed(backbone, (at(LORA, 1),), lower=lower)  # states after one layer are others than after two
    assert calls_of(backbone, other, a_batch(1), keys=keys(a_batch(1))) == [4, 4, 4, 4]
    assert calls_of(backbone, other, a_batch(1), keys=keys(a_batch(1))) == [0, 4, 4, 4]


def test_the_head_alone_computes_no_layer_again():
    backbone, batch = four_layers(), a_batch(2)
    pack = packed(backbone, (), (), lower=LowerLayers(backbone))
    expected = pack(*batch).logits
    assert calls_of(backbone, pack, batch, keys=keys(batch)) == [4, 4, 4, 4]
    assert calls_of(backbone, pack, batch, keys=keys(batch)) == [0, 0, 0, 0]
    torch.testing.assert_close(pack(*batch, keys=keys(batch)).logits, expected)


def test_kept_states_serve_a_batch_with_more_padding_in_another_order():
    backbone, lower, batch = four_layers(), LowerLayers(four_layers()), a_batch(1)
    pack = packed(backbone, (at(ADAPTER, 2, gate=Gate()),), lower=lower)
    pack(*batch, keys=keys(batch))
    turned = widened(*(part.flip(1) for part in batch), right=5)
    expected = outcome(pack, turned)
    lower._computed = None  # nothing is computed again
    torch.testing.assert_close(outcome(pack, turned, keys=keys(turned)), expected, rtol=1e-5, atol=1e-5)


def test_token_types_tell_examples_apart():
    backbone, (ids, mask) = four_layers(), a_batch(1)
    pack = packed(backbone, (at(LORA, 3),), lower=LowerLayers(backbone))
    types = torch.zeros_like(ids)
    types[:, :, 3:] = 1
    for own in (torch.zeros_like(ids), types):
        expected = pack(ids, mask, own).logits
        torch.testing.assert_close(pack(ids, mask, own, keys=keys((ids, mask), own.numpy())).logits, expected, rtol=1e-5, atol=1e-5)


def test_switching_a_submodule_off_goes_with_shared_layers():
    backbone, batch, off = four_layers(), a_batch(2), frozenset({"adapter"})
    pack = packed(backbone, (at(ADAPTER, 2), at(LORA, 3)), (at(ADAPTER, 3),), lower=LowerLayers(backbone))
    expected = pack(*batch, without=off).logits
    torch.testing.assert_close(pack(*batch, without=off, keys=keys(batch)).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        Modification("prompt", Site.EMBEDDINGS, Form.PROMPT, size=2),
        Modification("bitfit", Site.BIASES, Form.BIAS),
        at(ADAPTER, 0),
        at(ADAPTER, 3, gate=Gate(token_mean="paper")),
    ],
    ids=["prompt", "biases", "lowest layer", "padding read"],
)
def test_one_trial_that_changes_the_beginning_is_enough_for_nothing_to_be_shared(change):
    backbone, batch = four_layers(), widened(*a_batch(2), right=3)
    lower = LowerLayers(backbone)
    pack = packed(backbone, (at(LORA, 3),), (change,), lower=lower)
    expected = outcome(pack, batch)
    torch.testing.assert_close(outcome(pack, batch, keys=keys(batch)), expected, rtol=0, atol=0)
    assert len(lower) == 0


@pytest.mark.parametrize("rate", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_nothing_is_shared_with_dropout_in_the_backbone(rate):
    backbone = lively_backbone("bert", **{rate: 0.1})
    assert not LowerLayers(backbone).possible


def test_states_that_were_needed_longest_ago_make_room():
    backbone = four_layers()
    texts = [(random_ids(1, 1, 5, seed=seed), torch.ones(1, 1, 5, dtype=torch.long)) for seed in range(3)]
    lower = LowerLayers(backbone, most_bytes=2 * 5 * 16 * 4)  # two texts of 5 tokens, 16 wide, 4 bytes each
    pack = packed(backbone, (at(LORA, 2),), lower=lower)
    computed = [calls_of(backbone, pack, texts[number], keys=keys(texts[number]))[0] for number in (0, 1, 0, 2, 0, 1)]
    assert computed == [1, 1, 0, 1, 0, 1]  # the third text drives out the second, not the first, which came back in between
    assert (len(lower), lower.bytes) == (2, 2 * 5 * 16 * 4)


def test_a_batch_larger_than_all_that_may_be_kept_is_right_too():
    backbone, batch = four_layers(), a_batch(2)
    lower = LowerLayers(backbone, most_bytes=100)
    pack = packed(backbone, (at(LORA, 2),), (), lower=lower)
    torch.testing.assert_close(outcome(pack, batch, keys=keys(batch)), outcome(pack, batch), rtol=1e-5, atol=1e-5)
    assert (len(lower), lower.bytes) == (0, 0)


def test_the_model_is_as_it_was_after_a_pass_even_one_that_fails():
    backbone, batch = four_layers(), a_batch(1)
    pack = packed(backbone, (at(LORA, 2),), lower=LowerLayers(backbone))
    expected = pack(*batch, keys=keys(batch)).logits
    pack.get_submodule("stacks.0").down.data = torch.zeros(1, 1, 2, 5)  # of a wrong width
    with pytest.raises(RuntimeError):
        pack(*batch, keys=keys(batch))
    assert all("forward" not in vars(module) and not module._forward_hooks for module in backbone.model.modules())
    again = packed(backbone, (at(LORA, 2),))
    torch.testing.assert_close(again(*batch).logits, expected, rtol=1e-5, atol=1e-5)
