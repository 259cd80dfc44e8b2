"""Counts from Modifications alone, against the papers' tables."""

import json
from dataclasses import asdict, replace

import pytest

from pelt_automl.backbones import ARCHITECTURES, SHAPES
from pelt_automl.design_space import Form, Modification, Site, count_all, modification_from_dict
from pelt_automl.errors import SettingsError
from pelt_automl.methods import FIXED_DEFAULTS, METHODS
from pelt_automl.modifications import needs_own_pack

BERT_BASE = {
    "full": (109_482_240, 0),
    "head": (0, 0),
    "bitfit": (102_912, 0),
    "lora": (294_912, 0),
    "adapter": (894_528, 0),
    "houlsby": (2_379_264, 0),  # 24 (2 * 64 * 768 + 64 + 768)
    "parallel-adapter": (9_452_544, 0),  # 12 (2 * 512 * 768 + 512 + 768)
    "scaled-parallel-adapter": (9_452_544, 0),
    "multi-head-adapter": (552_960, 0),  # 12 * 2 * 30 * 768
    "ia3": (55_296, 0),  # 12 (768 + 768 + 3072)
    "prompt": (15_360, 0),  # 20 * 768
    "reft": (18_444, 0),  # 12 (2 * 768 + 1)
    "prefix": (184_320, 0),
    "mam": (10_005_504, 0),  # 12 * 2 * 30 * 768, and the scaled parallel adapter
    "unipelt-ap": (1_078_848, 12 * 769 * 2),
    "unipelt-apl": (1_373_760, 12 * 769 * 4),
    "unipelt": (1_373_760, 12 * 769 * 4),
    "top-layers": (147_456, 0),  # LoRA of 6 layers: 6 * 2 * 2 * 8 * 768
    "design-space": (9_452_544, 0),
    "custom": (294_912, 0),  # 12 * 2 * 16 * 768
}
"""UniPELT, table 4, with the gates that it leaves out; the others by their papers' formulas."""

NATIVE = list(BERT_BASE)
"""Those of peft are counted on its own modules."""


def test_every_method_of_our_own_has_its_size_written_out():
    assert {name for name in METHODS if not name.startswith("peft-")} == set(NATIVE)


@pytest.mark.parametrize("name", NATIVE)
def test_published_sizes_on_bert_base_count_as_the_paper_prints(name):
    count = count_all(METHODS[name].build(), SHAPES["bert-base"])
    assert (count.pelt, count.gates) == BERT_BASE[name]
    assert count.head == 768 * 2 + 2


HE_ET_AL = [
    # shape, method, hyper-parameters, the formula's figure, the biases that our relu form has beside it
    ("bert-base", "prefix", {"prefix_length": 30}, 552_960, 0),  # 2 l d, 12 attention sublayers
    ("roberta-base", "prefix", {"prefix_length": 30}, 552_960, 0),
    ("bart-large", "prefix", {"prefix_length": 30}, 2_211_840, 0),  # 2 l d * 3 * 12
    ("bart-large", "prefix", {"prefix_length": 200}, 14_745_600, 0),
    ("t5-base", "prefix", {"prefix_length": 30}, 1_658_880, 0),
    ("bert-base", "adapter", {}, 884_736, 9_792),  # 2 r d and (r + d), r = 48, 12 feed-forward sublayers
    ("roberta-base", "adapter", {}, 884_736, 9_792),
    ("bart-large", "adapter", {}, 2_359_296, 25_728),  # 24 of them
    ("t5-base", "adapter", {}, 1_769_472, 19_584),
    ("bert-base", "lora", {}, 294_912, 0),  # 4 r d, r = 8
    ("roberta-base", "lora", {}, 294_912, 0),
    ("bart-large", "lora", {}, 1_179_648, 0),
    ("t5-base", "lora", {}, 884_736, 0),
    ("bert-base", "lora", {"targets": "ffn"}, 737_280, 0),  # 10 r d
    ("roberta-base", "lora", {"targets": "ffn"}, 737_280, 0),
    ("bart-large", "lora", {"targets": "ffn"}, 1_966_080, 0),
    ("t5-base", "lora", {"targets": "ffn"}, 1_474_560, 0),
    ("bert-base", "prompt", {}, 15_360, 0),  # l d, l = 20
    ("roberta-base", "prompt", {}, 15_360, 0),
    ("bart-large", "prompt", {}, 20_480, 0),
    ("t5-base", "prompt", {}, 15_360, 0),
    ("bert-base", "mam", {}, 9_990_144, 15_360),
    ("roberta-base", "mam", {}, 9_990_144, 15_360),
    ("bart-large", "mam", {}, 27_377_664, 36_864),  # 2 l d * 3 * 12 + 2 r d * 2 * 12
    ("t5-base", "mam", {}, 20_533_248, 30_720),
    ("roberta-base", "mam", {"prefix_length": 16, "bottleneck": 16, "scale": 2.0}, 589_824, 9_408),  # their setting for classification
]
"""He et al. (2022), tables 9 to 11: d = 768 (1024 for BART-large), l = 30 and r = 512 in MAM."""


@pytest.mark.parametrize(("shape", "method", "hyper_parameters", "formula", "biases"), HE_ET_AL)
def test_sizes_count_as_in_the_unified_view(shape, method, hyper_parameters, formula, biases):
    count = count_all(METHODS[method].modifications(hyper_parameters), SHAPES[shape])
    assert (count.pelt, count.gates) == (formula + biases, 0)


@pytest.mark.parametrize(("parameters", "printed"), [(14_745_600, "3.6%"), (27_377_664, "6.7%")])
def test_and_as_the_shares_of_bart_large_that_table_6_prints(parameters, printed):
    assert f"{parameters / SHAPES['bart-large'].parameters:.1%}" == printed


UNION_GATES = [
    # four gates in each of two layers (adapter, prefix, query, value), each reading states of width 4
    ({"network": "linear"}, 40),  # 8 (4 + 1)
    ({"network": "mlp"}, 152),  # 8 (5 * 3 + 4)
    ({"network": "gru"}, 680),  # 8 (3 (4 * 3 + 3 * 3 + 2 * 3) + 4)
    ({"network": "transformer"}, 536),  # 8 (5 * 3 + 4 * 4 * 3 + 4)
    ({"network": "mlp", "across_layers": True}, 76),  # 4 networks
    ({"network": "mlp", "lora_gates": 1}, 114),  # 6 networks
    ({"network": "linear", "prefix_gate": "split"}, 50),  # 2 outputs more
    ({"network": "mlp", "prefix_gate": "split"}, 160),
    ({"network": "linear", "squashing": "softmax"}, 30),  # 2 networks of 3 outputs
    ({"network": "mlp", "squashing": "softmax"}, 54),  # 2 (5 * 3 + 3 * 4)
    ({"network": "mlp", "squashing": "central", "across_layers": True}, 27),
    ({"gates": False}, 0),
]


@pytest.mark.parametrize(("settings", "gates"), UNION_GATES)
def test_gates_of_every_kind_count_as_by_hand(settings, gates):
    width = {"gate_width": 3} if settings.get("network", "linear") != "linear" else {}
    small = replace(SHAPES["bert-base"], layers=2, hidden=4, query_width=4, kv_width=4)
    assert count_all(METHODS["unipelt"].modifications(settings | width), small).gates == gates


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


GATED = [{"squashing": "softmax", "network": "gru"}, {"prefix_gate": "split", "lora_gates": 1, "temperature": 0.5, "token_mean": "paper"}]


@pytest.mark.parametrize(
    "modifications", [METHODS[name].build() for name in METHODS] + [METHODS["unipelt"].modifications(s) for s in GATED]
)
def test_modifications_survive_the_way_through_json(modifications):
    for modification in modifications:
        assert modification_from_dict(json.loads(json.dumps(asdict(modification)))) == modification


def test_unknown_hyper_parameters_are_refused_by_name():
    with pytest.raises(SettingsError, match="lora has no hyper-parameter rnak; it has learning_rate, rank, alpha"):
        METHODS["lora"].modifications({"rnak": 4})


def test_a_gate_replaces_alpha_so_that_unipelt_has_none_to_search():
    assert "alpha" not in METHODS["unipelt-apl"].defaults
    assert all(m.scale == 1.0 for m in METHODS["unipelt-apl"].build())


def test_fixed_defaults_and_registry_agree():
    assert set(FIXED_DEFAULTS) <= set(METHODS)
    assert all(name == method.name for name, method in METHODS.items())
    alone = [name for name, method in METHODS.items() if needs_own_pack(method.build(), ARCHITECTURES["bert"])]
    assert alone == ["full"] + [name for name in METHODS if name.startswith("peft-")]


def test_modifications_of_some_layers_only_are_counted_for_those():
    modification = Modification("lora", Site.ATTENTION_QUERY, Form.LINEAR, size=4, layers=(0, 11))
    assert count_all([modification], SHAPES["bert-base"]).pelt == 2 * 4 * (768 + 768)
