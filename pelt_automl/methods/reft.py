"""LoReFT: interventions on the hidden states of a text's first and last tokens."""

from pelt_automl.design_space import Form, Insertion, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build(rank: int = 1, positions: int = 3) -> tuple[Modification, ...]:
    """``h + R^T (W h + b - R h)`` with orthonormal rows of ``R``, after every layer, at the first and the last `positions` tokens."""
    return (Modification("reft", Site.FFN, Form.SUBSPACE, Insertion.SEQUENTIAL, size=rank, positions=positions),)


METHOD = PeltMethod(
    name="reft",
    summary="low-rank interventions on the hidden states of a text's first and last tokens (LoReFT)",
    source="Wu et al. 2024 (ReFT); rank 1 as in their GLUE runs, and 3 of their 1 to 11 positions; learning rate the middle of their range",
    learning_rate=6e-4,
    build=build,
)
