"""What peft has trained goes out through peft: merged by it, or as its folder."""

import pytest
import torch

from pelt_automl.errors import SettingsError
from pelt_automl.export.merged import why_not_merged, write_merged
from pelt_automl.export.peft_folder import why_not_peft, write_peft
from pelt_automl.methods.bridged import BRIDGED
from pelt_automl.modifications import kept_form
from tests.export.winners import backbone_of, our_logits, trained_config, trained_pack_of
from tests.tiny import tiny_config

PROMPTS = ("peft-p-tuning",)


def trained(family, method):
    backbone = backbone_of(family)
    modifications = kept_form(BRIDGED[method].build(), backbone)
    pack = trained_pack_of(backbone, modifications)
    untrained = trained_pack_of(backbone, ())
    untrained.load_weights(0, pack.kept_weights(0))
    config = backbone.model.config
    assert (our_logits(pack, config) - our_logits(untrained, config)).abs().max() > 1e-3, "something was trained"
    return pack, trained_config(modifications, method=method)


@pytest.mark.parametrize("method", BRIDGED)
def test_what_peft_trained_is_written_both_ways(method, tmp_path):
    pack, config = trained("bert", method)
    for why_not, write in ((why_not_merged, write_merged), (why_not_peft, write_peft)):
        reasons = why_not(config, pack.backbone)
        assert bool(reasons) == (method in PROMPTS), reasons
        if not reasons:
            folder = tmp_path / write.__name__
            folder.mkdir()
            assert write(pack, config, tiny_config("bert"), folder) < 1e-5


@pytest.mark.parametrize("family", ["gpt2", "t5"])
@pytest.mark.parametrize("method", ["peft-dora", "peft-adalora", "peft-ln"])
def test_other_architectures_too(family, method, tmp_path):
    pack, config = trained(family, method)
    for write in (write_merged, write_peft):
        folder = tmp_path / write.__name__
        folder.mkdir()
        assert write(pack, config, tiny_config(family), folder) < 1e-5


def test_a_prompt_of_peft_is_written_for_a_decoder(tmp_path):
    pack, config = trained("llama", "peft-p-tuning")
    assert why_not_peft(config, pack.backbone) == []
    assert write_peft(pack, config, tiny_config("llama"), tmp_path) < 1e-5
    assert "are no weights of the model; --peft can keep them" in why_not_merged(config, pack.backbone)[0]


def test_what_peft_cannot_merge_is_refused(tmp_path):
    pack, config = trained("llama", "peft-beft")
    with pytest.raises(SettingsError, match=r"peft-beft can't be merged by peft: .* no bias.*; try --peft"):
        write_merged(pack, config, tiny_config("llama"), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert torch.is_tensor(our_logits(pack, pack.backbone.model.config))
