"""Counts from Modifications alone, against the papers' tables."""

import pytest

from pelt_automl.backbones import SHAPES
from pelt_automl.design_space import Form, Modification, Site, count_all, modification_from_dict, modification_to_dict
from pelt_automl.errors import SettingsError
from pelt_automl.methods import FIXED_DEFAULTS, METHODS

BERT_BASE = {
    "full": (109_482_240, 0),
    "head": (0, 0),
    "bitfit": (102_912, 0),
    "lora": (294_912, 0),
    "adapter": (894_528, 0),
    "prefix": (184_320, 0),
    "unipelt-ap": (1_078_848, 12 * 769 * 2),
    "unipelt-apl": (1_373_760, 12 * 769 * 4),
}
"""UniPELT, table 4, and the gates that it leaves out."""


@pytest.mark.parametrize("name", list(METHODS))
def test_published_sizes_on_bert_base_count_as_the_paper_prints(name):
    count = count_all(METHODS[name].build(), SHAPES["bert-base"])
    assert (count.pelt, count.gates) == BERT_BASE[name]
    assert count.head == 768 * 2 + 2


def test_the_prefixs_mlp_is_trained_but_not_kept():
    count = count_all(METHODS["prefix"].build(), SHAPES["bert-base"])
    assert count.training_only == 9_857_024  # facts of UniPELT's released code
    assert count.kept == 184_320 + 1_538


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ("bert-base", 109_482_240),
        ("bert-large", 335_141_888),
        ("roberta-base", 124_055_040),
        ("electra-small", 13_483_008),
        ("distilbert-base", 66_362_880),
        ("minilm", 22_565_376),
    ],
)
def test_backbones_have_as_many_parameters_as_transformers_reports(shape, parameters):
    assert SHAPES[shape].parameters == parameters


@pytest.mark.parametrize("name", list(METHODS))
def test_modifications_survive_the_way_through_json(name):
    import json

    for modification in METHODS[name].build():
        assert modification_from_dict(json.loads(json.dumps(modification_to_dict(modification)))) == modification


@pytest.mark.parametrize("name", list(METHODS))
def test_every_structural_hyper_parameter_changes_the_modifications(name):
    method = METHODS[name]
    other = {int: lambda v: v + 1, float: lambda v: v * 2, bool: lambda v: not v, str: lambda _: "paper"}
    for parameter, value in method.defaults.items():
        if parameter != "learning_rate":
            assert method.modifications({parameter: other[type(value)](value)}) != method.build(), parameter


def test_unknown_hyper_parameters_are_refused_by_name():
    with pytest.raises(SettingsError, match="lora has no hyper-parameter rnak; it has learning_rate, rank, alpha"):
        METHODS["lora"].modifications({"rnak": 4})


def test_a_gate_replaces_alpha_so_that_unipelt_has_none_to_search():
    assert "alpha" not in METHODS["unipelt-apl"].defaults
    assert all(m.scale == 1.0 for m in METHODS["unipelt-apl"].build())


def test_fixed_defaults_and_registry_agree():
    assert set(FIXED_DEFAULTS) <= set(METHODS)
    assert all(name == method.name for name, method in METHODS.items())
    assert [name for name, method in METHODS.items() if not method.packable] == ["full"]


def test_modifications_of_some_layers_only_are_counted_for_those():
    modification = Modification("lora", Site.ATTENTION_QUERY, Form.LINEAR, size=4, layers=(0, 11))
    assert count_all([modification], SHAPES["bert-base"]).pelt == 2 * 4 * (768 + 768)
