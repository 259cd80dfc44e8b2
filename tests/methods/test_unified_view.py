"""The methods of He et al. (2022, table 1) as points of the design space; what a point computes has tests in tests/modifications."""

import pytest

from pelt_automl.design_space import Form, Insertion, Modification, Site
from pelt_automl.errors import SettingsError
from pelt_automl.methods import METHODS, STANDARD

LINEAR, RELU, SOFTMAX, SCALE = Form.LINEAR, Form.RELU, Form.SOFTMAX, Form.SCALE
AFTER = Insertion.SEQUENTIAL

TABLE = [
    ("adapter", {"activation": "gelu"}, [Modification("adapter", Site.FFN, RELU, AFTER, 48, activation="gelu")]),
    ("parallel-adapter", {}, [Modification("parallel-adapter", Site.FFN, RELU, size=512)]),
    ("parallel-adapter", {"site": "attention", "bottleneck": 30}, [Modification("parallel-adapter", Site.ATTENTION, RELU, size=30)]),
    (
        "scaled-parallel-adapter",
        {"scale": 2.0},
        [Modification("scaled-parallel-adapter", Site.FFN, RELU, size=512, scale=2.0, initialization="identity")],
    ),
    ("multi-head-adapter", {}, [Modification("multi-head-adapter", Site.HEADS, RELU, size=30)]),
    (
        "ia3",
        {},
        [Modification("ia3", site, SCALE, AFTER) for site in (Site.ATTENTION_KEY, Site.ATTENTION_VALUE, Site.FFN_DOWN)],
    ),
    ("prefix", {}, [Modification("prefix", Site.HEADS, SOFTMAX, size=10, reparameterization=512)]),
    (
        "prefix",
        {"softmax_gating": False, "reparameterization": False},
        [Modification("prefix", Site.HEADS, SOFTMAX, size=10, composition="add")],
    ),
    ("prompt", {}, [Modification("prompt", Site.EMBEDDINGS, Form.PROMPT, size=20, initialization="vocabulary")]),
    (
        "mam",
        {},
        [
            Modification("prefix", Site.HEADS, SOFTMAX, size=30, reparameterization=800),
            Modification("scaled-parallel-adapter", Site.FFN, RELU, size=512, scale=4.0, initialization="identity"),
        ],
    ),
    (
        "mam",
        {"prefix_length": 16, "bottleneck": 16, "scale": 2.0, "reparameterization": False},
        [
            Modification("prefix", Site.HEADS, SOFTMAX, size=16),
            Modification("scaled-parallel-adapter", Site.FFN, RELU, size=16, scale=2.0, initialization="identity"),
        ],
    ),
]


@pytest.mark.parametrize(("method", "hyper_parameters", "modifications"), TABLE)
def test_a_method_is_these_modifications(method, hyper_parameters, modifications):
    assert METHODS[method].modifications(hyper_parameters) == tuple(modifications)


QUERY, KEY, VALUE, OUTPUT = Site.ATTENTION_QUERY, Site.ATTENTION_KEY, Site.ATTENTION_VALUE, Site.ATTENTION_OUTPUT


@pytest.mark.parametrize(
    ("targets", "sites"),
    [
        ("query-value", [QUERY, VALUE]),
        ("key", [KEY]),
        (["query", "up"], [QUERY, Site.FFN_UP]),
        ("attention", [QUERY, KEY, VALUE, OUTPUT]),
        ("ffn", [Site.FFN_UP, Site.FFN_DOWN]),
        ("up-gate-down", [Site.FFN_UP, Site.FFN_GATE, Site.FFN_DOWN]),
        ("all-linear", [QUERY, KEY, VALUE, OUTPUT, Site.FFN_UP, Site.FFN_DOWN]),
    ],
)
def test_lora_is_at_the_linear_maps_that_its_targets_name(targets, sites):
    modifications = METHODS["lora"].modifications({"targets": targets, "rank": 4})
    assert [m.site for m in modifications] == sites
    assert {(m.name, m.form, m.size, m.scale) for m in modifications} == {("lora", LINEAR, 4, 4.0)}


@pytest.mark.parametrize("targets", ["qury", "query-query", "", ["query", "all-linear"], 3])
def test_targets_that_there_are_not_are_refused_with_those_that_there_are(targets):
    with pytest.raises(SettingsError, match=r"targets is .*; there are attention, ffn, all-linear, and query, key, value, output, up"):
        METHODS["lora"].modifications({"targets": targets})


@pytest.mark.parametrize(
    ("method", "hyper_parameters", "message"),
    [
        ("adapter", {"activation": "rellu"}, "activation is 'rellu'; there are relu, gelu, tanh, silu"),
        ("adapter", {"bottleneck": 4.5}, "bottleneck is 4.5; it must be a whole number"),
        ("lora", {"rank": True}, "rank is True; it must be a whole number"),
        ("lora", {"alpha": "16"}, "alpha is '16'; it must be a number"),
        ("prefix", {"reparameterization": 1}, "reparameterization is 1; it must be true or false"),
        ("design-space", {"site": "ffn.middle"}, "site is 'ffn.middle'; there are attention.query, "),
        ("head", {"learning_rate": None}, "learning_rate is None; it must be a number"),
    ],
)
def test_a_value_of_another_kind_is_refused(method, hyper_parameters, message):
    with pytest.raises(SettingsError) as caught:
        METHODS[method].modifications(hyper_parameters)
    assert message in str(caught.value)
    assert METHODS[method].refusal(hyper_parameters) == str(caught.value)


def test_all_wrong_values_come_at_once():
    assert METHODS["lora"].refusal({"rank": "8", "targets": "q"}).count("\n") == 2


def test_the_standard_methods_are_there_and_no_variant_is_among_them():
    assert set(STANDARD) < set(METHODS)
    assert len(set(STANDARD)) == len(STANDARD)
    assert not {"unipelt", "custom", "design-space", "houlsby", "prompt"} & set(STANDARD)
    assert "mam" in STANDARD
