"""Prompt tuning: trained embeddings before those of the text."""

from typing import Literal

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.methods.method import PeltMethod


def build(prompt_length: int = 20, initialization: Literal["vocabulary", "normal"] = "vocabulary") -> tuple[Modification, ...]:
    """The model reads ``[P; E(x)]``; ``P`` starts at embeddings of words that are drawn from the vocabulary, or at N(0, 0.02)."""
    return (Modification("prompt", Site.EMBEDDINGS, Form.PROMPT, size=prompt_length, initialization=initialization),)


METHOD = PeltMethod(
    name="prompt",
    summary="trained embeddings before those of the text",
    source="Lester et al. 2021; 20 embeddings, above which it gains little; learning rate ours (theirs, 0.3, is Adafactor's)",
    learning_rate=1e-2,
    build=build,
    slow_starter=True,
)
