"""(IA)3: keys, values and feed-forward activations, each component times a trained factor."""

from pelt_automl.design_space import Form, Insertion, Modification, Site
from pelt_automl.methods.method import PeltMethod

SITES = (Site.ATTENTION_KEY, Site.ATTENTION_VALUE, Site.FFN_DOWN)


def build() -> tuple[Modification, ...]:
    """``l_k * k``, ``l_v * v`` and ``W_down (l_ff * f(W_up x))``, all ``l`` starting at 1 (Liu et al. 2022, section 3.3)."""
    return tuple(Modification("ia3", site, Form.SCALE, Insertion.SEQUENTIAL) for site in SITES)


METHOD = PeltMethod(
    name="ia3",
    summary="factors for keys, values and the feed-forward activations ((IA)3)",
    source="Liu et al. 2022 ((IA)3); learning rate: best mean of Poth et al. 2023, table 3",
    learning_rate=5e-3,
    build=build,
)
