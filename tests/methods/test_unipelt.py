"""Unions and their gates: what each setting makes of them, and what makes no sense."""

from dataclasses import replace

import pytest

from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site
from pelt_automl.errors import SettingsError
from pelt_automl.methods import METHODS, adapter, ia3, lora, prefix, scaled_parallel_adapter
from pelt_automl.methods.gating import behind_gate, gate_problems
from pelt_automl.methods.unipelt import smaller_union

UNION = METHODS["unipelt"].modifications
ADAPTER = Modification("adapter", Site.FFN, Form.RELU, Insertion.SEQUENTIAL, size=48, gate=Gate())
PREFIX = Modification("prefix", Site.HEADS, Form.SOFTMAX, size=10, reparameterization=512, gate=Gate())
LORA = tuple(Modification("lora", site, Form.LINEAR, size=8, gate=Gate()) for site in (Site.ATTENTION_QUERY, Site.ATTENTION_VALUE))


def test_the_presets_are_the_papers_unions_and_the_general_method_starts_as_apl():
    assert METHODS["unipelt-ap"].build() == (ADAPTER, PREFIX)
    assert METHODS["unipelt-apl"].build() == (ADAPTER, PREFIX, *LORA)
    assert UNION({}) == METHODS["unipelt-apl"].build()


def gates_of(modifications):
    return {(m.name, str(m.site)): m.gate for m in modifications}


PAIR = {"submodules": "prefix+lora"}
QUERY, VALUE, HEADS = ("lora", "attention.query"), ("lora", "attention.value"), ("prefix", "heads")
TOGETHER = Gate(squashing="softmax", group="union")

SETTINGS = [
    (PAIR, {QUERY: Gate(), VALUE: Gate(), HEADS: Gate()}),
    (PAIR | {"gates": False}, {QUERY: None, VALUE: None, HEADS: None}),
    (PAIR | {"lora_gates": 1}, {QUERY: Gate(group="lora"), VALUE: Gate(group="lora"), HEADS: Gate()}),
    (PAIR | {"prefix_gate": "split"}, {QUERY: Gate(), VALUE: Gate(), HEADS: Gate(split=True)}),
    (PAIR | {"squashing": "softmax"}, dict.fromkeys((QUERY, VALUE, HEADS), TOGETHER)),
    (PAIR | {"squashing": "central"}, dict.fromkeys((QUERY, VALUE, HEADS), replace(TOGETHER, squashing="central"))),
    (
        PAIR | {"network": "gru", "gate_width": 8, "temperature": 2.0, "across_layers": True, "token_mean": "paper"},
        dict.fromkeys((QUERY, VALUE, HEADS), Gate("paper", "gru", 8, temperature=2.0, across_layers=True)),
    ),
    ({"submodules": ["mam"], "prefix_gate": "split"}, {HEADS: Gate(split=True), ("scaled-parallel-adapter", "ffn"): Gate()}),
]


@pytest.mark.parametrize(("settings", "gates"), SETTINGS)
def test_settings_make_these_gates(settings, gates):
    assert gates_of(UNION(settings)) == gates


def test_a_union_is_its_methods_own_modifications_with_the_sizes_that_they_share():
    found = UNION({"submodules": ["lora", "scaled-parallel-adapter", "ia3"], "rank": 4, "bottleneck": 24, "scale": 2.0, "gates": False})
    assert found == lora.build(4) + scaled_parallel_adapter.build(24, 2.0) + ia3.build()


def test_without_gates_lora_has_its_own_scale_and_behind_one_none():
    assert {m.scale for m in UNION(PAIR | {"gates": False, "alpha": 32.0}) if m.name == "lora"} == {4.0}
    assert {m.scale for m in UNION(PAIR) if m.name == "lora"} == {1.0}
    assert {m.scale for m in behind_gate(scaled_parallel_adapter.build(), Gate())} == {4.0}


REFUSED = [
    (
        {"submodules": "lora", "squashing": "softmax"},
        "competing gates (softmax) add up to 1 over two submodules or more; there is lora alone",
    ),
    ({"submodules": "ia3", "squashing": "central"}, "there is ia3 alone"),
    ({"prefix_gate": "split", "squashing": "softmax"}, "prefix_gate is 'split', but competing gates have one value for a submodule"),
    ({"lora_gates": 1, "squashing": "softmax"}, "lora_gates is 1, but competing gates have one value for a submodule"),
    ({"temperature": 2.0, "gates": False}, "temperature is 2.0, but there are no gates"),
    ({"squashing": "softmax", "gates": False}, "squashing is 'softmax', but there are no gates"),
    ({"gate_width": 8}, "gate_width is 8, but a linear gate network has no hidden layer"),
    ({"alpha": 32.0}, "alpha is 32.0, but the gate takes the place of LoRA's scale"),
    ({"lora_gates": 1, "submodules": "adapter+prefix"}, "lora_gates is 1, but there is no LoRA"),
    ({"prefix_gate": "split", "submodules": "adapter+lora"}, "prefix_gate is 'split', but there is no prefix"),
    ({"rank": 4, "submodules": "adapter+prefix"}, "rank is 4, but no submodule has it"),
    ({"scale": 2.0}, "scale is 2.0, but no submodule has it"),
    ({"submodules": "lora+bitfit"}, "bitfit can't stand behind a gate, which multiplies a change of h in a layer"),
    ({"submodules": "lora+prompt"}, "prompt can't stand behind a gate"),
    ({"submodules": "full"}, "full can't stand behind a gate"),
    ({"submodules": "lora+adaptor"}, "there is no submodule 'adaptor'"),
    ({"submodules": "lora+lora"}, "there are two submodules lora"),
    ({"submodules": ["mam", "prefix"]}, "there are two submodules prefix"),
    ({"submodules": ""}, "there is no submodule ''"),
    ({"lora_gates": 3}, "lora_gates is 3; there are 2, 1"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_what_makes_no_sense_is_refused_with_the_reason(settings, message):
    with pytest.raises(SettingsError) as caught:
        UNION(settings)
    assert message in str(caught.value)


def test_all_that_makes_no_sense_comes_at_once():
    reason = METHODS["unipelt"].refusal({"submodules": "lora", "squashing": "softmax", "prefix_gate": "split", "bottleneck": 4})
    assert [part in reason for part in ("lora alone", "prefix_gate", "bottleneck is 4")] == [True, True, True]


GATES = [
    (adapter.build(), Gate(squashing="softmax"), "adapter: competing gates (softmax) need a group"),
    (adapter.build(), Gate(split=True), "adapter: only a prefix in the head's own softmax has a gate for its keys"),
    (prefix.build(softmax_gating=False), Gate(split=True), "prefix: only a prefix in the head's own softmax"),
    (prefix.build(), Gate(split=True, group="both"), "prefix: a shared or competing gate has one value for keys and values"),
    (METHODS["bitfit"].build(), Gate(), "bitfit: a gate multiplies a change of h in a layer; the bias form changes the model as a whole"),
]


@pytest.mark.parametrize(("modifications", "gate", "message"), GATES)
def test_gates_that_make_no_sense_are_named(modifications, gate, message):
    [problem] = gate_problems(behind_gate(modifications, gate))
    assert problem.startswith(message)


def test_one_group_is_one_network():
    mixed = behind_gate(adapter.build(), Gate(group="g")) + behind_gate(prefix.build(), Gate(group="g", network="mlp"))
    assert gate_problems(mixed) == ["the gates of the group g differ; they are one network"]
    assert gate_problems(behind_gate(adapter.build() + prefix.build(), Gate(group="g"))) == []


SMALLER = [
    ("unipelt-apl", {}, {"prefix"}, {"submodules": "adapter+lora"}),
    (
        "unipelt-apl",
        {"bottleneck": 16, "prefix_length": 4, "rank": 2, "reparameterization": False, "token_mean": "paper"},
        {"prefix"},
        {"submodules": "adapter+lora", "bottleneck": 16, "rank": 2, "token_mean": "paper"},
    ),
    ("unipelt-apl", {"bottleneck": 16, "rank": 2}, {"adapter", "lora"}, {"submodules": "prefix"}),
    ("unipelt-ap", {"bottleneck": 16, "prefix_length": 4}, {"adapter"}, {"submodules": "prefix", "prefix_length": 4}),
    ("unipelt", PAIR | {"lora_gates": 1, "prefix_gate": "split"}, {"prefix"}, {"submodules": "lora", "lora_gates": 1}),
    (
        "unipelt",
        PAIR | {"gates": False, "alpha": 4.0, "prefix_length": 4},
        {"prefix"},
        {"submodules": "lora", "gates": False, "alpha": 4.0},
    ),
    ("unipelt", {"submodules": "adapter+mam+lora"}, {"lora", "prefix"}, {"submodules": "adapter+mam"}),  # half of mam stays in mam
    ("unipelt", {"submodules": "mam+lora", "squashing": "softmax"}, {"lora"}, {"submodules": "mam", "squashing": "softmax"}),
]


@pytest.mark.parametrize(("method", "given", "removed", "expected"), SMALLER)
def test_a_smaller_union_is_the_same_union_without_some_submodules(method, given, removed, expected):
    found = smaller_union(method, given | {"learning_rate": 3e-4}, removed)
    assert found == expected | {"learning_rate": 3e-4}
    left = {m.name for m in UNION(found)}
    assert UNION(found) == tuple(m for m in METHODS[method].modifications(given) if m.name in left)
    assert METHODS["unipelt"].refusal(found) is None


def test_gates_compete_no_more_where_one_submodule_is_left():
    found = smaller_union("unipelt", PAIR | {"squashing": "softmax", "temperature": 2.0}, {"prefix"})
    assert found == {"submodules": "lora", "squashing": "sigmoid", "temperature": 2.0}
    assert gates_of(UNION(found)) == {QUERY: Gate(temperature=2.0), VALUE: Gate(temperature=2.0)}


@pytest.mark.parametrize(
    ("method", "given", "removed"),
    [
        ("unipelt-ap", {}, {"adapter", "prefix"}),  # nothing would be left
        ("unipelt-ap", {}, set()),
        ("unipelt-ap", {}, {"lora"}),
        ("unipelt", {"submodules": "mam+lora"}, {"prefix"}),  # a half of mam alone
        ("mam", {}, {"prefix"}),
        ("lora", {}, {"lora"}),
    ],
)
def test_there_is_no_smaller_union_where_none_makes_sense(method, given, removed):
    assert smaller_union(method, given, removed) is None
