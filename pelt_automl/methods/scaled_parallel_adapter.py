"""The scaled parallel adapter: the parallel adapter with LoRA's scale and start."""

from typing import Literal

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build(bottleneck: int = 512, scale: float = 4.0, site: Literal["ffn", "attention"] = "ffn") -> tuple[Modification, ...]:
    """``h + s up(relu(down(x)))`` with ``up`` starting at 0, as in LoRA (He et al. 2022, section 4.5 and appendix A.3)."""
    return (Modification("scaled-parallel-adapter", Site(site), Form.RELU, size=bottleneck, scale=scale, initialization="identity"),)


METHOD = PeltMethod(
    name="scaled-parallel-adapter",
    summary="a scaled bottleneck parallel to each feed-forward (or attention) sublayer",
    source="He et al. 2022 (Towards a Unified View); bottleneck 512, s=4, learning rate of its classification runs",
    learning_rate=1e-4,
    build=build,
)
