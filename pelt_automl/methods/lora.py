"""LoRA: low-rank changes of the query and value projections."""

from pelt_automl.design_space import Form, Gate, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build(rank: int = 8, alpha: float = 16.0) -> tuple[Modification, ...]:
    """``W x + (alpha / rank) B A x`` at query and value of every layer."""
    return tuple(Modification("lora", site, Form.LINEAR, size=rank, scale=alpha / rank) for site in SITES)


def gated(rank: int, gate: Gate) -> tuple[Modification, ...]:
    """LoRA inside UniPELT: the gate takes the place of ``alpha / rank``, one gate a projection."""
    return tuple(Modification("lora", site, Form.LINEAR, size=rank, gate=gate) for site in SITES)


SITES = (Site.ATTENTION_QUERY, Site.ATTENTION_VALUE)

METHOD = PeltMethod(
    name="lora",
    summary="low-rank changes of the query and value projections",
    source="Hu et al. 2022 (LoRA); r=8, alpha=16 and learning rate as in UniPELT's comparison",
    learning_rate=5e-4,
    build=build,
)
