"""Loading from a folder that `save_pretrained` has written, and what holds of a loaded model of any family."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from pelt_automl.backbones.head_attention import ATTENTION
from pelt_automl.backbones.loading import load_backbone, load_outline, wrap
from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.tokens import Tokens
from tests.tiny import FAMILIES, FakeTokenizer, random_ids, scattered, shared_backbone, tiny_config, tiny_model

every_family = pytest.mark.parametrize("family", FAMILIES)
TIED = ("bart", "mbart", "t5", "mt5", "umt5")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Folders with a tiny model of each family, written once."""

    @functools.cache
    def saved(family):
        folder = tmp_path_factory.mktemp(family)
        scattered(tiny_model(family)).save_pretrained(folder)
        return str(folder)

    return saved


def loaded_from(folder, **more):
    return load_backbone(folder, precision="fp32", tokenizer=FakeTokenizer(), **more)


def last_states(backbone):
    ids = 5 + random_ids(1, 2, 7) % 55
    seen = []
    handle = backbone.model.register_forward_hook(lambda _, __, output: seen.append(output.last_hidden_state))
    with torch.no_grad():
        Pack(backbone, [PackTrial((), seed=0)], outputs=2)(ids, torch.ones_like(ids))
    handle.remove()
    return seen[0]


@every_family
def test_a_model_comes_back_from_its_folder_frozen_and_computes_the_same(family, folder_of):
    loaded = loaded_from(folder_of(family))
    fresh = wrap(scattered(tiny_model(family)), FakeTokenizer(), name=family)
    torch.testing.assert_close(last_states(loaded), last_states(fresh))
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert (loaded.shape, loaded.architecture, len(loaded.sha256)) == (fresh.shape, fresh.architecture, 64)


@every_family
def test_the_outline_is_that_of_the_loaded_model(family, folder_of):
    backbone = shared_backbone(family)
    assert load_outline(folder_of(family)) == (backbone.architecture, backbone.shape)


def dropout_rates(model):
    """Of dropout modules, and of modules that call the function with a rate of their own."""
    modules = list(model.modules())
    rates = [getattr(module, name, None) for module in modules for name in ("dropout", "attention_dropout", "activation_dropout")]
    rates += [module.p for module in modules if isinstance(module, nn.Dropout)]
    return {rate for rate in rates if isinstance(rate, float | int)}


@every_family
def test_dropout_is_off_unless_asked_for_and_then_everywhere(family, folder_of):
    still = loaded_from(folder_of(family))
    assert dropout_rates(still.model) <= {0.0}
    assert still.model.training
    assert torch.equal(last_states(still), last_states(still))
    noisy = loaded_from(folder_of(family), dropout=0.3)
    assert dropout_rates(noisy.model) == {0.3}
    assert not torch.equal(last_states(noisy), last_states(noisy))
    noisy.model.eval()
    torch.testing.assert_close(last_states(noisy), last_states(still))


@pytest.mark.parametrize("family", ["bart", "mbart", "opt"])
def test_whole_layers_are_never_left_out(family, tmp_path):
    changes = {"layerdrop": 0.9} if family == "opt" else {"encoder_layerdrop": 0.9, "decoder_layerdrop": 0.9}
    tiny_model(family, **changes).save_pretrained(tmp_path)
    backbone = loaded_from(str(tmp_path))
    assert torch.equal(last_states(backbone), last_states(backbone))


@every_family
def test_all_attention_that_can_be_changed_calls_our_function_and_nothing_is_kept_for_generation(family):
    backbone = shared_backbone(family)
    own = [module.config for module in backbone.model.modules() if getattr(module, "config", None) is not None]
    expected = "eager" if Site.HEADS in backbone.architecture.missing else ATTENTION
    assert {config._attn_implementation for config in own} == {expected}
    assert not any(getattr(config, "use_cache", False) for config in own)


@every_family
def test_bf16_goes_forward_and_backward(family):
    backbone = wrap(tiny_model(family).to(torch.bfloat16), FakeTokenizer(), name=family)
    heads = Site.HEADS not in backbone.architecture.missing
    method = METHODS["unipelt-apl" if heads else "lora"]
    pack, ids = Pack(backbone, [PackTrial(method.modifications({}), seed=0)], outputs=2), random_ids(1, 3, 7)
    output = pack(ids, torch.ones_like(ids))
    output.logits.sum().backward()
    slopes = [parameter.grad for parameter in pack.parameters() if parameter.requires_grad]
    assert output.logits.dtype is torch.float32
    assert output.logits.isfinite().all()
    assert all(slope.isfinite().all() for slope in slopes)
    assert sum(slope.abs().max() > 0 for slope in slopes) > 2


@pytest.mark.parametrize("family", TIED)
def test_full_fine_tunings_copy_keeps_tied_weights_tied(family):
    backbone = shared_backbone(family)
    pack = Pack(backbone, [PackTrial((Modification("full", Site.EVERYTHING, Form.FULL),), seed=0)], outputs=2)
    copy = pack.stacks[0].model
    words = [copy.get_submodule(path).weight for path in ("shared", "encoder.embed_tokens", "decoder.embed_tokens")]
    assert words[1] is words[0]
    assert words[2] is words[0]
    assert words[0] is not backbone.model.shared.weight
    trained = {name: own for name, own in pack.trained_weights(0).items() if not name.startswith("head.")}
    assert sum(own.numel() for own in trained.values()) == backbone.shape.parameters
    words[0].data[7] += 1.0
    assert torch.equal(copy.decoder.embed_tokens.weight[7], copy.encoder.embed_tokens.weight[7])
    other = Pack(backbone, [PackTrial(pack.trials[0].modifications, seed=1)], outputs=2)
    other.load_weights(0, pack.kept_weights(0))
    assert torch.equal(other.stacks[0].model.decoder.embed_tokens.weight, words[0])


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_decoder_without_a_padding_token_reads_padded_batches_all_the_same(family):
    class Unpadded:
        pad_token_id = None

    config = tiny_config(family, pad_token_id=None)
    model = scattered(tiny_model(family, pad_token_id=None))
    assert (config.pad_token_id, model.config.pad_token_id) == (None, None)
    pack = Pack(wrap(model, Unpadded(), name=family), [PackTrial(METHODS["prefix"].modifications({}), seed=0)], outputs=2)
    texts = [[7, 8, 9, 10, 11], [0, 12], [13, 14, 0]]  # 0, which fills the batch, is a token like any other
    together = evaluate(pack, [Tokens(texts, None, np.zeros(3))])[0].logits
    for text, logits in zip(texts, together, strict=True):
        alone = torch.tensor([[text]])
        with torch.no_grad():
            expected = pack(alone, torch.ones_like(alone)).logits[0, 0]
        torch.testing.assert_close(torch.as_tensor(logits, dtype=torch.float32), expected, rtol=1e-5, atol=1e-5)
