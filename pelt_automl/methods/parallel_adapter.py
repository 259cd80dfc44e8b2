"""The parallel adapter: a bottleneck beside a sublayer instead of after it."""

from typing import Literal

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build(bottleneck: int = 512, site: Literal["ffn", "attention"] = "ffn") -> tuple[Modification, ...]:
    """``h + up(relu(down(x)))`` on a sublayer's output ``h`` with its input ``x`` (He et al. 2022, table 1)."""
    return (Modification("parallel-adapter", Site(site), Form.RELU, size=bottleneck),)


METHOD = PeltMethod(
    name="parallel-adapter",
    summary="a bottleneck parallel to each feed-forward (or attention) sublayer",
    source="He et al. 2022 (Towards a Unified View); bottleneck 512, learning rate of its classification runs",
    learning_rate=1e-4,
    build=build,
)
