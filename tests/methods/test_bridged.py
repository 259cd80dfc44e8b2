"""The table of bridged methods: complete over peft's types, with their own names and published defaults."""

import json

import pytest

from pelt_automl.backbones import ARCHITECTURES
from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.errors import SettingsError
from pelt_automl.methods import METHODS
from pelt_automl.methods.bridged import BRIDGED, LEFT_OUT, NATIVE
from pelt_automl.modifications import needs_own_pack


def configuration(method, **hyper_parameters):
    (modification,) = METHODS[method].modifications(hyper_parameters)
    return json.loads(modification.peft)


def test_every_type_of_peft_is_bridged_covered_by_a_method_of_ours_or_left_out_with_a_reason():
    from peft import PeftType

    bridged = {method.peft_type for method in BRIDGED.values()}
    assert bridged | set(NATIVE) | set(LEFT_OUT) == {kind.value for kind in PeftType}
    assert not (bridged | set(NATIVE)) & set(LEFT_OUT)
    assert not {text.split(";")[0] for text in NATIVE.values()} - set(METHODS)
    assert all(len(reason) > 20 for reason in LEFT_OUT.values())


def test_a_method_is_one_modification_with_the_whole_configuration():
    assert METHODS["peft-dora"].modifications({"r": 4, "learning_rate": 1e-3}) == (
        Modification(
            "peft-dora", Site.EVERYTHING, Form.PEFT, peft='{"lora_alpha": 16, "peft_type": "LORA", "r": 4, "use_dora": true}'
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("peft-rslora", {"peft_type": "LORA", "use_rslora": True, "r": 8, "lora_alpha": 16}),
        ("peft-pissa", {"peft_type": "LORA", "init_lora_weights": "pissa", "r": 8, "lora_alpha": 8}),
        ("peft-vera", {"peft_type": "VERA", "save_projection": False, "r": 256, "d_initial": 0.1}),
        ("peft-ln", {"peft_type": "LN_TUNING"}),
    ],
)
def test_the_published_configuration_is_that_of_the_table(method, expected):
    assert configuration(method) == expected


def test_defaults_name_the_learning_rate_and_the_published_fields_but_none_that_is_fixed():
    assert METHODS["peft-dora"].defaults == {"learning_rate": 5e-4, "r": 8, "lora_alpha": 16}


def test_any_further_field_goes_to_peft_by_its_own_name():
    assert configuration("peft-dora", lora_dropout=0.1)["lora_dropout"] == 0.1


def test_what_makes_a_method_can_not_be_set():
    with pytest.raises(SettingsError, match="use_dora is what makes it peft-dora, so it can't be set"):
        METHODS["peft-dora"].modifications({"use_dora": False})


@pytest.mark.parametrize("value", [2.5, "8", True])
def test_a_value_of_another_kind_than_the_published_one_is_refused(value):
    with pytest.raises(SettingsError, match=r"r is .*it must be a whole number"):
        METHODS["peft-dora"].modifications({"r": value})


def test_none_of_them_shares_a_pack():
    assert all(needs_own_pack(method.build(), ARCHITECTURES["bert"]) for method in BRIDGED.values())
