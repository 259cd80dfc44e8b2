"""Prefix tuning: trained keys and values before those of every attention head."""

from pelt_automl.design_space import Form, Gate, Modification, Site
from pelt_automl.methods.method import PeltMethod

MLP_WIDTH = 512
"""Width of the reparameterization's hidden layer (`mid_dim` in UniPELT's code)."""


def build(prefix_length: int = 10, reparameterization: bool = True) -> tuple[Modification, ...]:
    """``softmax(Q [P_K; K]^T) [P_V; V]``; with `reparameterization` the prefixes come from an MLP that is dropped after the training."""
    return gated(prefix_length, reparameterization, gate=None)


def gated(prefix_length: int, reparameterization: bool, gate: Gate | None) -> tuple[Modification, ...]:
    """The prefix inside UniPELT: one gate a layer multiplies both prefix keys and prefix values."""
    mlp = MLP_WIDTH if reparameterization else 0
    return (Modification("prefix", Site.HEADS, Form.SOFTMAX, size=prefix_length, gate=gate, reparameterization=mlp),)


METHOD = PeltMethod(
    name="prefix",
    summary="trained keys and values before those of every attention head",
    source="Li and Liang 2021; length 10, MLP of 512 and learning rate as in UniPELT's comparison",
    learning_rate=2e-4,
    build=build,
    slow_starter=True,
)
