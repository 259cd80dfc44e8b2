"""BitFit: the backbone's bias terms."""

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build() -> tuple[Modification, ...]:
    """All bias terms, those of layer norms and of the pooler included."""
    return (Modification("bitfit", Site.BIASES, Form.BIAS),)


METHOD = PeltMethod(
    name="bitfit",
    summary="all bias terms and the head",
    source="Ben Zaken et al. 2022 (BitFit); learning rate as in UniPELT's comparison",
    learning_rate=1e-4,
    build=build,
)
