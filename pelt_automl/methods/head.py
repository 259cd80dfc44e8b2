"""Linear probing: the classification head on a frozen backbone."""

from pelt_automl.design_space import Modification
from pelt_automl.methods.method import PeltMethod


def build() -> tuple[Modification, ...]:
    """Nothing in the backbone; the head is trained in every method."""
    return ()


METHOD = PeltMethod(
    name="head",
    summary="the classification head alone (linear probe)",
    source="the common baseline; learning rate ours, no published default",
    learning_rate=1e-3,
    build=build,
)
