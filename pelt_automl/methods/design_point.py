"""One point of the design space: a change of any form, at any site, in sequence or in parallel, at any scale."""

from typing import Literal

from pelt_automl.design_space import Form, Insertion, Modification, Site, nonsense
from pelt_automl.errors import SettingsError
from pelt_automl.methods.method import PeltMethod


def build(
    form: Literal["linear", "relu", "softmax", "scale"] = "relu",
    site: Site = Site.FFN,
    insertion: Insertion = Insertion.PARALLEL,
    size: int = 512,
    scale: float = 4.0,
    activation: Literal["relu", "gelu", "tanh", "silu"] = "relu",
    composition: Literal["gated", "add"] = "gated",
) -> tuple[Modification, ...]:
    """``h + s dh`` as He et al. (2022, table 1) take it apart; bottlenecks start as LoRA does, so that the scale doesn't move the start.

    A softmax is taken without a scale: its values have one of their own. The other forms change the model as a whole and are methods of
    their own. Raises `SettingsError` for a point that makes no sense.
    """
    if reason := nonsense(Form(form), Site(site), Insertion(insertion)):
        raise SettingsError(f"{form} at {site}, {insertion}: {reason}")
    softmax, factors = form == "softmax", form == "scale"
    return (
        Modification(
            "point",
            Site(site),
            Form(form),
            Insertion(insertion),
            size=0 if factors else size,
            scale=1.0 if softmax else scale,
            activation=activation if form == "relu" else "relu",
            composition=composition if softmax else "gated",
            initialization="paper" if softmax or factors else "identity",
        ),
    )


METHOD = PeltMethod(
    name="design-space",
    summary="any form at any site, in sequence or in parallel, at any scale",
    source="He et al. 2022 (Towards a Unified View), table 1; the first trial is the best single point there, a scaled parallel adapter",
    learning_rate=1e-4,
    build=build,
)
