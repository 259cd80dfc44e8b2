"""Houlsby's bottleneck adapters in both sublayers."""

from typing import Literal

from pelt_automl.design_space import Form, Insertion, Modification, Site
from pelt_automl.methods.method import PeltMethod

SITES = (Site.ATTENTION_OUTPUT, Site.FFN_DOWN)
"""The last linear maps of the two sublayers: the adapter reads and changes what they put out, before the residual connection."""


def build(bottleneck: int = 64, activation: Literal["relu", "gelu", "tanh", "silu"] = "relu") -> tuple[Modification, ...]:
    """``h + up(f(down(h)))`` on the attention's and on the feed-forward sublayer's output ``h`` (Houlsby et al. 2019, figure 2)."""
    return tuple(Modification("houlsby", site, Form.RELU, Insertion.SEQUENTIAL, size=bottleneck, activation=activation) for site in SITES)


METHOD = PeltMethod(
    name="houlsby",
    summary="a bottleneck after each attention and each feed-forward sublayer (Houlsby)",
    source="Houlsby et al. 2019; their one size for all tasks, 64; learning rate: best mean of Poth et al. 2023, table 3",
    learning_rate=1e-4,
    build=build,
)
