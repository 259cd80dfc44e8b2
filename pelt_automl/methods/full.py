"""Full fine-tuning: the reference that PELT methods are measured against."""

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build() -> tuple[Modification, ...]:
    """Every weight of the backbone."""
    return (Modification("full", Site.EVERYTHING, Form.FULL),)


METHOD = PeltMethod(
    name="full",
    summary="every weight of the backbone and the head",
    source="Devlin et al. 2019; learning rate as in UniPELT's comparison",
    learning_rate=2e-5,
    build=build,
)
