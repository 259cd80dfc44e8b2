"""Logits against `transformers`' own sequence classification, on every family."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from pelt_automl.backbones.loading import wrap
from pelt_automl.modifications import Pack, PackTrial
from tests.tiny import FAMILIES, FakeTokenizer, random_ids, scattered, tiny_config, tiny_model

EXACT = {"rtol": 1e-5, "atol": 1e-5}
LENGTHS = (9, 5, 7)
EOS, LANGUAGE = 2, 4
DECODERS = ("gpt2", "opt", "opt-norm-last", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3")


def their_classifier(family, outputs):
    """`transformers`' classification model with weights that aren't at their start; a new configuration, so that attention is its own."""
    config = tiny_config(family, num_labels=outputs)
    if config.pad_token_id is None:
        config.pad_token_id = 0
    torch.manual_seed(0)
    return scattered(AutoModelForSequenceClassification.from_config(config)).eval()


def our_pack(family, theirs, outputs, **changes):
    """A pack without modifications on the same backbone weights, with the same head."""
    model = tiny_model(family, **changes)
    model.load_state_dict(theirs.base_model.state_dict())
    pack = Pack(wrap(model, FakeTokenizer(), name=family), [PackTrial((), seed=0)], outputs)
    names, weights = pack.backbone.architecture.head_names or {"dense": "head.dense", "out": "classifier"}, {}
    for name, path in names.items():
        linear = theirs.get_submodule(path)
        weight, bias = ("head.dense", "head.dense_bias") if name == "dense" else ("head.weight", "head.bias")
        weights |= {weight: linear.weight, bias: torch.zeros(len(linear.weight)) if linear.bias is None else linear.bias}
    pack.load_weights(0, weights)
    pack.backbone.model.eval()
    return pack


def texts(model):
    """Three texts of unequal length: ids padded on the right, and mask. Encoder-decoders' end as their tokenizers end them."""
    ids = 5 + random_ids(3, 9) % 55
    mask = torch.tensor([[1] * length + [0] * (9 - length) for length in LENGTHS])
    if model.config.is_encoder_decoder:
        for row, length in enumerate(LENGTHS):
            ending = [EOS, LANGUAGE] if model.config.model_type == "mbart" else [EOS]
            ids[row, length - len(ending) : length] = torch.tensor(ending)
    return ids.where(mask.bool(), torch.tensor(model.config.pad_token_id)), mask


@pytest.mark.parametrize("outputs", [3, 1])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "modernbert"])
def test_logits_are_those_of_transformers_own_classification(family, outputs):
    theirs = their_classifier(family, outputs)
    pack, (ids, mask) = our_pack(family, theirs, outputs), texts(theirs)
    with torch.no_grad():
        padded = theirs(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(pack(ids[None], mask[None]).logits[0], padded, **EXACT)
        assert (padded[0] - padded[1]).abs().max() > 1e-3
        for row, length in enumerate(LENGTHS):
            alone = ids[row : row + 1, :length]
            expected = theirs(input_ids=alone, attention_mask=torch.ones_like(alone)).logits
            torch.testing.assert_close(pack(alone[None], torch.ones_like(alone)[None]).logits[0], expected, **EXACT)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernberts_own_head_differs_from_ours_by_one_layer_norm(pooling):
    theirs = their_classifier("modernbert", 3)
    theirs.config.classifier_pooling = pooling
    pack, (ids, mask) = our_pack("modernbert", theirs, 3, classifier_pooling=pooling), texts(theirs)
    with torch.no_grad():
        ours, with_norm = pack(ids[None], mask[None]).logits[0], theirs(input_ids=ids, attention_mask=mask).logits
        theirs.head.norm = nn.Identity()
        torch.testing.assert_close(ours, theirs(input_ids=ids, attention_mask=mask).logits, **EXACT)
    assert (ours - with_norm).abs().max() > 1e-2


@pytest.mark.parametrize("family", DECODERS)
def test_left_padding_gives_a_decoder_the_logits_of_right_padding(family):
    theirs = their_classifier(family, 3)
    pack, (ids, mask) = our_pack(family, theirs, 3), texts(theirs)
    left_ids, left_mask = (torch.stack([row.roll(9 - length) for row, length in zip(part, LENGTHS, strict=True)]) for part in (ids, mask))
    assert left_mask[1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    with torch.no_grad():
        left = pack(left_ids[None], left_mask[None]).logits[0]
        torch.testing.assert_close(left, theirs(input_ids=ids, attention_mask=mask).logits, **EXACT)


def test_an_encoder_decoder_reads_the_last_real_token_of_a_text_that_was_cut_before_its_end():
    theirs = their_classifier("bart", 3)
    pack, (ids, mask) = our_pack("bart", theirs, 3), texts(theirs)
    ids[0, 8] = 7  # no end-of-text token
    with torch.no_grad():
        states = pack.backbone.model(input_ids=ids[:1], decoder_input_ids=torch.cat([torch.tensor([[EOS]]), ids[:1, :-1]], dim=1))
        expected = theirs.classification_head(states.last_hidden_state[:, 8])
        torch.testing.assert_close(pack(ids[None], mask[None]).logits[0, :1], expected, **EXACT)


def test_token_types_reach_the_models_that_know_them_and_no_others():
    ids, types = random_ids(1, 2, 6), torch.tensor([[[0, 0, 0, 1, 1, 1]] * 2])
    for family, known in (("bert", True), ("albert", True), ("distilbert", False), ("modernbert", False), ("t5", False), ("gpt2", False)):
        pack = Pack(wrap(scattered(tiny_model(family)), FakeTokenizer(), name=family), [PackTrial((), seed=0)], outputs=2)
        with torch.no_grad():
            with_types, without = pack(ids, torch.ones_like(ids), types).logits, pack(ids, torch.ones_like(ids)).logits
        assert torch.equal(with_types, without) is not known, family
