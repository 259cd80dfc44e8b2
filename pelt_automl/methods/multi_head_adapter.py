"""The multi-head parallel adapter: prefix tuning with a relu in place of its softmax."""

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build(bottleneck: int = 30) -> tuple[Modification, ...]:
    """``h_i + relu(q_i P_K^T) P_V`` at every attention head ``i``, with as many keys and values as the bottleneck is wide (table 1)."""
    return (Modification("multi-head-adapter", Site.HEADS, Form.RELU, size=bottleneck),)


METHOD = PeltMethod(
    name="multi-head-adapter",
    summary="a bottleneck at every attention head, reading its queries",
    source="He et al. 2022 (Towards a Unified View); 30 as its prefix of equal size, learning rate of its classification runs",
    learning_rate=1e-4,
    build=build,
)
