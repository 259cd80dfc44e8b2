"""A model without weights from table and shape has the modules, and the widths, of the model that the shape was taken from."""

import pytest

from pelt_automl.backbones.outlines import outline
from tests.tiny import FAMILIES, shared_backbone


def widths(model):
    """Of every linear map in a layer; where there are conditions that a shape doesn't hold (DeBERTa's positions), those both have."""
    return {name: tuple(own.shape) for name, own in model.named_parameters() if own.dim() == 2 and "embed" not in name}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_outline_has_the_linear_maps_of_the_model(family):
    backbone = shared_backbone(family)
    ours, theirs = widths(outline(backbone.architecture, backbone.shape)), widths(backbone.model)
    both = ours.keys() & theirs.keys()
    words = ("shared", "wte", "wpe", "relative_attention_bias")
    assert {name for name in both if ours[name] != theirs[name] and not any(word in name for word in words)} == set()
    layers = [name for name in theirs if "layer" in name and "pos_" not in name and "conv" not in name and "relative" not in name]
    assert set(layers) <= both


def test_an_outline_takes_no_memory():
    backbone = shared_backbone("bert")
    assert all(own.is_meta for own in outline(backbone.architecture, backbone.shape).parameters())
