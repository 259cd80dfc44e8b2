"""LoRA or adapters in the upper layers alone."""

from dataclasses import replace

import pytest

from pelt_automl.backbones import SHAPES
from pelt_automl.design_space import changed_layers
from pelt_automl.errors import SettingsError
from pelt_automl.methods import METHODS, STANDARD

TOP = METHODS["top-layers"]


def test_each_form_is_the_method_of_its_name_in_the_upper_layers():
    lora = METHODS["lora"].modifications({"rank": 4, "alpha": 8.0, "targets": "ffn"})
    adapter = METHODS["adapter"].modifications({"bottleneck": 4})
    assert TOP.modifications({"form": "lora", "layers": 0.25, "size": 4, "alpha": 8.0, "targets": ["up", "down"]}) == tuple(
        replace(own, top_share=0.25) for own in lora
    )
    assert TOP.modifications({"form": "adapter", "layers": 0.75, "size": 4}) == tuple(replace(own, top_share=0.75) for own in adapter)


@pytest.mark.parametrize(("share", "layers"), [(0.25, (4, 5)), (0.5, (3, 4, 5)), (0.75, (1, 2, 3, 4, 5))])
def test_the_searched_shares_are_different_layers_of_minilm(share, layers):
    assert {changed_layers(own, SHAPES["minilm"]) for own in TOP.modifications({"layers": share})} == {layers}


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(SettingsError, match="a share of the layers, above 0 and at most 1"):
        TOP.modifications({"layers": share})


def test_it_is_compared_when_it_is_named():
    assert "top-layers" not in STANDARD
