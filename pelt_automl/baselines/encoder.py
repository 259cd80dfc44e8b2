"""Frozen features of texts: of a pair read together, and of its two texts apart."""

from collections.abc import Callable, Sequence

import numpy as np

from pelt_automl.tasks import Examples
from pelt_automl.training.features import Features, FrozenFeatures, text_groups
from pelt_automl.training.tokens import Tokens


class Encoder:
    """What the contenders read. The backbone passes over each text once, whoever asks (see `FrozenFeatures`)."""

    def __init__(self, features: FrozenFeatures, tokenized: Callable[[Examples], Tokens]) -> None:
        """`tokenized`: as the trainings read texts, cut where they cut them."""
        self.features, self._tokenized = features, tokenized

    def joint(self, examples: Examples) -> Features:
        """``(n, H)``, pooled states: what a head reads, a pair encoded together."""
        return self.features.of(self._tokenized(examples))

    def apart(self, examples: Examples) -> Features:
        """``(n, 4 H)``: ``u, v, |u - v|, u * v`` of the two texts alone (InferSent, Conneau et al. 2017; Reimers and Gurevych 2019)."""
        u, v = (self.joint(Examples(tuple((texts[i],) for texts in examples.texts), examples.labels)) for i in (0, 1))
        return np.concatenate([u, v, np.abs(u - v), u * v], axis=1)

    def groups(self, examples: Examples) -> Sequence[int]:
        """A number for each example, the same for texts that the model can't tell apart, and for those of one group."""
        return text_groups(self._tokenized(examples))


HIDDEN_LAYER_SEED = 0
"""Initialization of the hidden layer that the head of some families has: a contender draws nothing."""
