"""Houlsby's maths: on each sublayer's own output, before its residual connection, where Pfeiffer's adapter comes after it."""

import torch

from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from tests.probing import lively_backbone, moved
from tests.tiny import random_ids


def test_an_adapter_changes_each_sublayers_output_before_it_is_added_to_the_residual_stream():
    backbone, seen = lively_backbone(), {}
    layer = backbone.model.encoder.layer[0]
    modules = {"attended": layer.attention.output.dense, "norm 1": layer.attention.output.LayerNorm}
    modules |= {"up": layer.intermediate, "down": layer.output.dense, "norm 2": layer.output.LayerNorm, "input": layer.attention.self.query}
    for name, module in modules.items():  # hooks of our own come first; copies, since a pack changes outputs in place
        module.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: (inputs[0].clone(), output.clone())}))
    pack = moved(Pack(backbone, [PackTrial(METHODS["houlsby"].modifications({"bottleneck": 3}), seed=0)], outputs=2), size=0.3)
    weights = pack.trained_weights(0)
    ids = random_ids(1, 2, 5)
    with torch.no_grad():
        pack(ids, torch.ones_like(ids))

    def adapter(site, h):
        down, down_bias, up, up_bias = (weights[f"houlsby.{site}.{name}"][0] for name in ("down", "down_bias", "up", "up_bias"))
        return torch.relu(h @ down.T + down_bias) @ up.T + up_bias

    h, x = seen["attended"][1], seen["input"][0]
    torch.testing.assert_close(seen["norm 1"][0], h + adapter("attention.output", h) + x)
    h, x = seen["down"][1], seen["norm 1"][1]
    torch.testing.assert_close(seen["norm 2"][0], h + adapter("ffn.down", h) + x)
