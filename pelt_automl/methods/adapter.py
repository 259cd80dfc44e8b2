"""Pfeiffer's bottleneck adapter after the feed-forward sublayer."""

from typing import Literal

from pelt_automl.design_space import Form, Insertion, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build(bottleneck: int = 48, activation: Literal["relu", "gelu", "tanh", "silu"] = "relu") -> tuple[Modification, ...]:
    """``h + up(f(down(LN(h + x))))`` on the feed-forward output ``h`` with the sublayer's input ``x``, before the layer norm."""
    return (Modification("adapter", Site.FFN, Form.RELU, Insertion.SEQUENTIAL, size=bottleneck, activation=activation),)


METHOD = PeltMethod(
    name="adapter",
    summary="a bottleneck after each feed-forward sublayer (Pfeiffer)",
    source="Pfeiffer et al. 2021; bottleneck 48 (reduction 16 at width 768) and learning rate as in UniPELT's comparison",
    learning_rate=1e-4,
    build=build,
)
