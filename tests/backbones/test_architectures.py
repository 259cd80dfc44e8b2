"""The tables against the models that they describe."""

import pytest
import torch
from transformers import XLNetConfig

from pelt_automl.backbones import ARCHITECTURES, architecture_of
from pelt_automl.backbones.architectures import Part
from pelt_automl.backbones.loading import compute_dtype, load_backbone
from pelt_automl.backbones.sources import MINILM_SHA256, find_model
from pelt_automl.design_space import PROJECTIONS, Form, Insertion, Modification, Site
from pelt_automl.errors import BackboneError
from pelt_automl.modifications import Pack, PackTrial, check_supported
from tests.tiny import CONFIGS, FAMILIES, random_ids, tiny_backbone

every_family = pytest.mark.parametrize("family", FAMILIES)


@every_family
def test_every_site_of_the_table_is_there_in_every_layer(family):
    backbone = tiny_backbone(family)
    assert len(backbone.layers()) == backbone.shape.layers + backbone.shape.cross_layers
    for layer in backbone.layers():
        for site, place in layer.stack.sites.items():
            assert layer.at(place.path if isinstance(place, Part) else place) is not None, site


GATED = {"modernbert", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "flan-t5", "mt5", "umt5"}


@every_family
def test_families_differ_in_the_gating_projection_and_in_whether_their_heads_can_be_changed(family):
    table = tiny_backbone(family).architecture
    assert (Site.FFN_GATE in table.sites) is (family in GATED)
    assert (Site.HEADS in table.sites) is (family not in ("deberta-v3", "deberta-v2-conv", "mpnet"))
    assert (Site.HEADS in table.missing) is (Site.HEADS not in table.sites)
    assert set(PROJECTIONS) - {Site.FFN_GATE} <= table.sites
    assert table.packs is not family.startswith("deberta")


def test_there_is_a_tiny_model_of_every_family_that_has_a_table():
    assert {CONFIGS[family][0] for family in FAMILIES} == set(ARCHITECTURES)


@every_family
def test_the_backbone_is_frozen(family):
    assert not any(parameter.requires_grad for parameter in tiny_backbone(family).model.parameters())


def test_an_architecture_without_a_table_says_where_to_add_one():
    with pytest.raises(BackboneError, match=r"no table for the architecture 'xlnet'; there are albert, bart, .*encoders\.py that .*heads"):
        architecture_of(XLNetConfig())


def test_a_modification_without_a_module_is_refused_with_what_there_is():
    odd = Modification("odd", Site.HEADS, Form.LINEAR, Insertion.SEQUENTIAL, size=2)
    backbone = tiny_backbone()
    with pytest.raises(BackboneError, match="linear at heads, sequential: a head's change reads the query"):
        check_supported([odd], backbone.architecture, backbone.shape)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret", "neither a folder"),
        ("https://example.org/x", "neither a folder"),
        ("a/b/c", "neither a folder"),
        ("", "no model is named"),
    ],
)
def test_names_that_are_no_hub_names_are_refused(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackboneError, match=message):
        find_model(name)


def test_a_folder_without_a_config_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("a model")
    with pytest.raises(BackboneError, match=r"no config\.json"):
        find_model(str(tmp_path))


def test_a_model_that_cannot_be_reached_says_what_to_do_instead():
    with pytest.raises(BackboneError, match=r"can't be loaded from .*no-such-model.*HF_HUB_CACHE"):
        load_backbone("nobody/no-such-model")


def test_a_damaged_minilm_is_refused(tmp_path, monkeypatch):
    from pelt_automl.backbones import loading, sources

    monkeypatch.setattr(loading, "sha256_of", lambda _: "0" * 64)
    if find_model("minilm").location == sources.MINILM_HUB_NAME:
        pytest.skip("the package with the weights isn't installed")
    with pytest.raises(BackboneError, match=f"expected {MINILM_SHA256}"):
        load_backbone("minilm")


def test_minilm_is_pooled_by_the_mean_as_its_own_file_says():
    if find_model("minilm").location == "sentence-transformers/all-MiniLM-L6-v2":
        pytest.skip("the package with the weights isn't installed")
    backbone = load_backbone("minilm", precision="fp32")
    assert (backbone.pooling, backbone.sha256, backbone.shape.hidden) == ("mean", MINILM_SHA256, 384)
    ids = random_ids(1, 2, 6)
    mask = torch.tensor([[[1] * 6, [1] * 4 + [0] * 2]])
    pack = Pack(backbone, [PackTrial((), 0)], outputs=2)
    states = backbone.model(input_ids=ids[0], attention_mask=mask[0]).last_hidden_state
    means = torch.stack([states[0].mean(0), states[1, :4].mean(0)])
    torch.testing.assert_close(pack(ids, mask).logits[0], pack.head(means.unsqueeze(0))[0], rtol=1e-4, atol=1e-5)


def test_precision_auto_is_bf16_only_where_there_is_bf16_arithmetic(monkeypatch):
    from pelt_automl.backbones import loading

    cpu = torch.device("cpu")
    monkeypatch.setattr(loading, "_has_bf16", lambda _: False)
    assert compute_dtype("auto", cpu) is torch.float32
    monkeypatch.setattr(loading, "_has_bf16", lambda _: True)
    assert compute_dtype("auto", cpu) is torch.bfloat16
    assert compute_dtype("fp32", cpu) is torch.float32
