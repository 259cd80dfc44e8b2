"""What peft is given: fields that it has, targets in every architecture, sizes that fit; and what is refused, with the reason."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.errors import BackboneError, SearchSpaceError
from pelt_automl.methods import METHODS
from pelt_automl.methods.bridged import BRIDGED
from pelt_automl.modifications import Pack, PackTrial, bridged, check_supported, count_on, kept_form, why_not
from pelt_automl.search.spaces import load_space
from tests.tiny import by_structure, shared_backbone, tiny_backbone

ROOT = Path(__file__).resolve().parents[2]


def a_peft(**fields):
    return Modification("peft", Site.EVERYTHING, Form.PEFT, peft=json.dumps(fields))


def refused(modification, family="bert"):
    backbone = shared_backbone(family)
    return why_not(modification, backbone.architecture, backbone.shape)


def targets(family, **fields):
    backbone = shared_backbone(family)
    return json.loads(kept_form([a_peft(**fields)], backbone)[0].peft)["target_modules"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "LORA", "rank": 8}, "peft's LORA has no field rank; it has r, target_modules"),
        ({"peft_type": "LORA", "r_share": 0.1}, "peft's LORA has no field r_share"),
        ({"peft_type": "LORA", "task_type": "SEQ_CLS"}, "peft's LORA has no field task_type"),
        ({"peft_type": "LOAR"}, "peft has no type 'LOAR'; it has ADALORA, "),
        ({"peft_type": "LORA", "init_lora_weights": "eva"}, "the initialization 'eva' needs more than the weights themselves"),
        ({"peft_type": "ADALORA", "init_r": 8, "target_r": 8}, "target_r must be below init_r"),
        ({"peft_type": "OFT", "r": 3, "oft_block_size": 3}, "oft_block_size"),
        ({"peft_type": "LORA", "target_modules": ["nowhere"]}, "nowhere"),
        ({"r": 8}, "a peft configuration is a JSON object with a peft_type"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said_before_a_model_is_loaded(fields, message):
    assert message in str(refused(a_peft(**fields)))


def test_a_field_that_peft_does_not_have_is_refused_in_a_search_space(tmp_path):
    space = "method: peft-dora\nversion: 1\nhyper_parameters:\n  {}: {{type: float, low: 0.0, high: 0.2}}\n"
    (tmp_path / "peft-dora.yaml").write_text(space.format("lora_dropuot"))
    with pytest.raises(SearchSpaceError, match=r"peft's LORA has no field lora_dropuot; it has r, .*lora_dropout"):
        load_space(tmp_path / "peft-dora.yaml")
    (tmp_path / "peft-dora.yaml").write_text(space.format("lora_dropout"))
    assert load_space(tmp_path / "peft-dora.yaml").default() == {"lora_dropout": 0.0}


@pytest.mark.parametrize("family", by_structure())
def test_lora_of_peft_and_ln_tuning_find_their_targets_in_every_architecture(family):
    for modification in (a_peft(peft_type="LORA", r=2), a_peft(peft_type="LN_TUNING"), a_peft(peft_type="IA3")):
        assert refused(modification, family) is None
        assert count_on([modification], shared_backbone(family), 2).pelt > 0


def test_targets_are_pefts_own_where_it_knows_the_family_and_query_and_value_of_our_table_elsewhere():
    assert targets("bert", peft_type="LORA") == ["query", "value"]
    assert targets("gpt2", peft_type="C3A") == ["mlp.c_proj"]
    assert targets("distilbert", peft_type="LORA") == ["attention.q_lin", "attention.v_lin"]
    assert targets("modernbert", peft_type="LORA") == ["attn.Wqkv"]
    assert targets("distilbert", peft_type="BEFT") == ["attention.v_lin"]
    assert "layers.0.attn_norm" not in targets("modernbert", peft_type="LN_TUNING"), "it has no weights"


@pytest.mark.parametrize(
    ("fields", "name", "fitted"),
    [
        ({"peft_type": "C3A", "block_size": 256}, "block_size", 16),
        ({"peft_type": "C3A", "block_size": 12}, "block_size", 8),  # the largest divisor of 16 below it
        ({"peft_type": "MISS", "r": 64}, "r", 16),
        ({"peft_type": "FOURIERFT", "n_frequency": 1000}, "n_frequency", 256),  # of 16 by 16 weights
        ({"peft_type": "FOURIERFT", "n_frequency": 100}, "n_frequency", 100),
    ],
)
def test_sizes_are_fitted_to_the_widths_and_kept_so(fields, name, fitted):
    (kept,) = kept_form([a_peft(**fields)], shared_backbone())
    assert json.loads(kept.peft)[name] == fitted


def test_a_copy_of_the_backbone_is_not_combined_with_anything():
    backbone = shared_backbone()
    lora = Modification("lora", Site.ATTENTION_QUERY, Form.LINEAR, size=2)
    with pytest.raises(BackboneError, match="peft works on a copy of the backbone, so it can't be combined with others"):
        check_supported([a_peft(peft_type="LORA"), lora], backbone.architecture, backbone.shape)


def test_without_peft_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BackboneError, match=r"needs the package peft, .*pip install peft"):
        Pack(tiny_backbone(), [PackTrial((a_peft(peft_type="LORA"),), 0)], 2)


def test_peft_is_loaded_with_the_first_bridged_method_and_not_before():
    program = (
        "import sys; from pelt_automl.methods import METHODS; import pelt_automl.modifications, pelt_automl.training.packing; "
        "from pelt_automl.search.spaces import load_spaces; load_spaces(None, tuple(METHODS)); print('peft' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_pissa_starts_from_the_backbones_weights_and_changes_none_of_them():
    backbone = tiny_backbone()
    before = {name: own.clone() for name, own in backbone.model.state_dict().items()}
    pack = Pack(backbone, [PackTrial(METHODS["peft-pissa"].modifications({"r": 4}), 0)], 2)
    layer = pack.stacks[0].model.get_submodule("encoder").layer[0].attention.self.query
    weight = before["encoder.layer.0.attention.self.query.weight"]
    u, s, vh = torch.linalg.svd(weight)
    principal = u[:, :4] @ torch.diag(s[:4]) @ vh[:4]
    trained = layer.lora_B["default"].weight @ layer.lora_A["default"].weight * layer.scaling["default"]
    torch.testing.assert_close(trained, principal, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.base_layer.weight, weight - principal, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(backbone.model.state_dict()[name], own) for name, own in before.items())


def test_what_is_trained_is_in_fp32_on_a_backbone_in_bf16():
    from pelt_automl.backbones.loading import wrap
    from tests.probing import a_batch
    from tests.tiny import FakeTokenizer, tiny_model

    backbone = wrap(tiny_model("bert").to(torch.bfloat16), FakeTokenizer(), name="bf16")
    for method in BRIDGED:
        pack = Pack(backbone, [PackTrial(METHODS[method].modifications({}), 0)], 2)
        logits = pack(*a_batch(1)).logits
        logits.sum().backward()
        assert logits.dtype is torch.float32
        assert {own.dtype for own in pack.trained_weights(0).values()} == {torch.float32}, method
        assert all(own.grad is not None for own in pack.parameters() if own.requires_grad), method


def test_a_configuration_in_json_that_peft_wrote_is_read_by_ours(tmp_path):
    text = METHODS["peft-loha"].modifications({"r": 3})[0].peft
    bridged.write_config(tmp_path, text, "/models/tiny")
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (written["r"], written["inference_mode"], written["base_model_name_or_path"]) == (3, True, "/models/tiny")
