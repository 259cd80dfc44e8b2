"""The Mix-And-Match adapter: a prefix at the attention and a scaled parallel adapter at the feed-forward sublayer."""

from dataclasses import replace

from pelt_automl.design_space import Modification
from pelt_automl.methods import prefix, scaled_parallel_adapter
from pelt_automl.methods.method import PeltMethod

MLP_WIDTH = 800
"""Width of the reparameterization's hidden layer in He et al.'s runs."""


def build(prefix_length: int = 30, bottleneck: int = 512, scale: float = 4.0, reparameterization: bool = True) -> tuple[Modification, ...]:
    """Prefix ``l`` and scaled parallel adapter ``r``, ``s``: 30, 512 and 4 for generation; He et al. classify with 16, 16 and 2."""
    [keys_and_values] = prefix.build(prefix_length, reparameterization)
    mlp = MLP_WIDTH if reparameterization else 0
    return (replace(keys_and_values, reparameterization=mlp), *scaled_parallel_adapter.build(bottleneck, scale))


METHOD = PeltMethod(
    name="mam",
    summary="a prefix at the attention and a scaled parallel adapter at the feed-forward sublayer",
    source="He et al. 2022 (Towards a Unified View): MAM, l=30, r=512, s=4 (l=16, r=16, s=2 on MNLI); learning rate of its classification",
    learning_rate=1e-4,
    build=build,
)
