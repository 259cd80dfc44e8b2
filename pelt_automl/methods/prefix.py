"""Prefix tuning: trained keys and values before those of every attention head."""

from typing import Literal

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.methods.method import PeltMethod

MLP_WIDTH = 512
"""Width of the reparameterization's hidden layer (`mid_dim` in UniPELT's code)."""


def build(prefix_length: int = 10, reparameterization: bool = True, softmax_gating: bool = True) -> tuple[Modification, ...]:
    """``softmax(Q [P_K; K]^T) [P_V; V]``; with `reparameterization` the prefixes come from an MLP that is dropped after the training.

    One softmax over prefix and text is a gate between them, ``(1 - l) h + l dh`` (He et al. 2022, equation 8); without `softmax_gating`
    the prefix has a softmax of its own: ``h + softmax(Q P_K^T) P_V`` (equation 9).
    """
    mlp = MLP_WIDTH if reparameterization else 0
    composition: Literal["gated", "add"] = "gated" if softmax_gating else "add"
    return (Modification("prefix", Site.HEADS, Form.SOFTMAX, size=prefix_length, reparameterization=mlp, composition=composition),)


METHOD = PeltMethod(
    name="prefix",
    summary="trained keys and values before those of every attention head",
    source="Li and Liang 2021; length 10, MLP of 512 and learning rate as in UniPELT's comparison",
    learning_rate=2e-4,
    build=build,
    slow_starter=True,
)
