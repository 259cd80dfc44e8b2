"""Modifications from a user's own list."""

import json

import pytest

from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site
from pelt_automl.errors import SettingsError
from pelt_automl.methods import METHODS

CUSTOM = METHODS["custom"]
LIST = [
    {"site": "ffn", "form": "relu", "name": "wide", "insertion": "sequential", "activation": "gelu", "layers": [0, 1]},
    {"name": "factors", "form": "scale", "site": "attention.value", "insertion": "sequential", "gate": {"network": "mlp", "width": 4}},
    {"name": "prefix", "form": "softmax", "site": "heads", "size": 3, "composition": "add", "reparameterization": 8},
    {"name": "low", "form": "linear", "site": "ffn.up", "scale": 0.5, "initialization": "normal"},
    {"name": "prompt", "form": "prompt", "site": "embeddings", "initialization": "vocabulary"},
    {"name": "biases", "form": "bias", "site": "biases"},
]
BUILT = (
    Modification("wide", Site.FFN, Form.RELU, Insertion.SEQUENTIAL, 7, 2.0, layers=(0, 1), activation="gelu"),
    Modification("factors", Site.ATTENTION_VALUE, Form.SCALE, Insertion.SEQUENTIAL, scale=2.0, gate=Gate(network="mlp", width=4)),
    Modification("prefix", Site.HEADS, Form.SOFTMAX, size=3, scale=2.0, composition="add", reparameterization=8),
    Modification("low", Site.FFN_UP, Form.LINEAR, size=7, scale=0.5, initialization="normal"),
    Modification("prompt", Site.EMBEDDINGS, Form.PROMPT, size=7, initialization="vocabulary"),
    Modification("biases", Site.BIASES, Form.BIAS),
)


def test_a_list_becomes_modifications_that_take_size_and_scale_where_they_leave_them_out():
    assert CUSTOM.modifications({"modifications": LIST, "size": 7, "scale": 2.0}) == BUILT


def test_the_records_hold_a_text_that_says_the_same_whatever_the_order_of_its_keys():
    text = CUSTOM.plain("modifications", LIST[:1])
    assert text == ('[{"name": "wide", "form": "relu", "site": "ffn", "insertion": "sequential", "layers": [0, 1], "activation": "gelu"}]')
    assert CUSTOM.plain("modifications", text) == text
    assert CUSTOM.modifications({"modifications": json.loads(text), "size": 7, "scale": 2.0}) == BUILT[:1]


def test_no_scale_is_given_where_none_changes_anything():
    gated = {"name": "lora", "form": "linear", "site": "ffn.up", "gate": {"token_mean": "paper"}}
    prefix = {"name": "prefix", "form": "softmax", "site": "heads"}
    assert [m.scale for m in CUSTOM.modifications({"modifications": [gated, prefix], "scale": 4.0})] == [1.0, 1.0]


def entry(**changes):
    return {"name": "one", "form": "relu", "site": "ffn", **changes}


BAD = [
    ([], "a list with at least one mapping"),
    ({"name": "one"}, "a list with at least one mapping"),
    ("relu at ffn", "isn't JSON"),
    (["relu"], "number 1: expected a mapping with name, form, site, found 'relu'"),
    ([{"form": "relu", "site": "ffn"}], "number 1: the key 'name' is missing"),
    ([entry(sise=3)], "number 1 (one): unknown key 'sise'; there are name, form, site, insertion"),
    ([entry(name="a.b")], "name is 'a.b'; it must be letters, digits and hyphens"),
    ([entry(form="rellu")], "form is 'rellu'; there are linear, relu, softmax"),
    ([entry(site="ffn.middle")], "site is 'ffn.middle'; there are attention.query"),
    ([entry(size=0)], "size is 0; it must be above 0"),
    ([entry(size=4.5)], "size is 4.5; it must be a whole number"),
    ([entry(scale="4")], "scale is '4'; it must be a number"),
    ([entry(scale=0)], "scale is 0; it would change nothing"),
    ([entry(layers=[0, 0])], "layers is [0, 0]; it must be a list of different layers, from 0"),
    ([entry(top_share=0.0)], "top_share is 0.0; it must be above 0 and at most 1"),
    ([entry(top_share="half")], "top_share is 'half'; it must be a number"),
    ([entry(top_share=0.5, layers=[1])], "layers and top_share both say which layers are changed"),
    ([entry(form="bias", site="biases", top_share=0.5)], "top_share says nothing of the bias form"),
    ([entry(layers=3)], "layers is 3; it must be a list"),
    ([entry(activation="mish")], "activation is 'mish'; there are relu, gelu, tanh, silu"),
    ([entry(form="linear", activation="gelu")], "activation says nothing of the linear form"),
    ([entry(form="scale", insertion="sequential", size=4)], "size says nothing of the scale form"),
    ([entry(form="bias", site="biases", scale=2.0)], "scale says nothing of the bias form"),
    ([entry(form="bias", site="biases", gate={"network": "mlp"})], "gate says nothing of the bias form"),
    ([entry(form="softmax", site="heads", scale=2.0)], "scale changes nothing"),
    ([entry(form="linear", scale=2.0, gate={"width": 4, "network": "mlp"})], "scale changes nothing"),
    ([entry(reparameterization=8)], "a reparameterization makes the keys and values of heads"),
    ([entry(initialization="vocabulary")], "the relu form has no initialization vocabulary"),
    ([entry(form="softmax")], "softmax at ffn: a softmax runs over the keys of an attention head, so its site is heads"),
    ([entry(form="full", site="everything")], "full fine-tuning leaves nothing for other changes"),
    ([entry(form="peft", site="everything")], "what peft trains has methods of its own"),
    ([entry(gate=True)], "gate is True; it must be a mapping of token_mean, network"),
    ([entry(gate={"netwrok": "mlp"})], "unknown key 'netwrok' of a gate; there are token_mean, network"),
    ([entry(gate={"network": "lstm"})], "the gate's network is 'lstm'; there are linear, mlp, gru, transformer"),
    ([entry(gate={"temperature": 0.0})], "the gate's temperature is 0.0; it must be above 0"),
    ([entry(gate={"width": "wide"})], "the gate's width is 'wide'; it must be a whole number"),
    ([entry(gate={"group": 3})], "the gate's group is 3; it must be a name"),
    ([entry(gate={"squashing": "softmax"})], "one: competing gates (softmax) need a group"),
    ([entry(gate={"squashing": "softmax", "group": "g"})], "there is one alone"),
    ([entry(), entry()], "there are two called one at ffn"),
]


@pytest.mark.parametrize(("value", "message"), BAD)
def test_what_is_wrong_with_a_list_is_said(value, message):
    with pytest.raises(SettingsError) as caught:
        CUSTOM.modifications({"modifications": value})
    assert message in str(caught.value)


def test_everything_wrong_with_a_list_is_said_at_once():
    reason = CUSTOM.refusal({"modifications": [entry(form="rellu", size=-1, colour="red"), {"name": "two"}, entry(form="softmax")]})
    for problem in ("'rellu'", "size is -1", "'colour'", "number 2 (two): the key 'form' is missing", "number 3 (one): softmax at ffn"):
        assert problem in reason
