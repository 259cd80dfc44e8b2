"""Pfeiffer's bottleneck adapter after the feed-forward sublayer."""

from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build(bottleneck: int = 48) -> tuple[Modification, ...]:
    """``h + up(relu(down(LN(h + x))))`` on the feed-forward output ``h`` with the sublayer's input ``x``, before the layer norm."""
    return gated(bottleneck, gate=None)


def gated(bottleneck: int, gate: Gate | None) -> tuple[Modification, ...]:
    """The adapter inside UniPELT: the gate multiplies the up-projection's output."""
    return (Modification("adapter", Site.FFN, Form.RELU, Insertion.SEQUENTIAL, size=bottleneck, gate=gate),)


METHOD = PeltMethod(
    name="adapter",
    summary="a bottleneck after each feed-forward sublayer (Pfeiffer)",
    source="Pfeiffer et al. 2021; bottleneck 48 (reduction 16 at width 768) and learning rate as in UniPELT's comparison",
    learning_rate=1e-4,
    build=build,
)
