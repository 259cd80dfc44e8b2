"""Where the heads of a selection's trainings start: at the probe, the same for all methods (Kumar et al. 2022: linear probing first)."""

from collections.abc import Mapping

from torch import Tensor

from pelt_automl.baselines.cross_validation import MOST_EXAMPLES
from pelt_automl.baselines.linear import Linear, fit_linear
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training.features import Features, FrozenFeatures, head_weights, text_groups
from pelt_automl.training.tokens import Tokens

FEWEST_EXAMPLES = 300
"""Examples that are probed however short the limit is."""

EXAMPLES_A_SECOND = 10
"""Of a time limit: so many examples are probed for each of its seconds, so that a short limit isn't spent on it. A processor reads ten
times as many."""


def probed_at_most(limit: float | None) -> int:
    """Train examples that a probe is fitted on at most; `limit`: on the whole selection, in seconds, None for none."""
    return MOST_EXAMPLES if limit is None else min(MOST_EXAMPLES, max(FEWEST_EXAMPLES, int(EXAMPLES_A_SECOND * limit)))


class HeadStarts:
    """The probe of each split's train part, as weights of a head.

    The last map of the head is fitted on what it reads. Where the family has a hidden layer before it (RoBERTa, ELECTRA), that layer starts
    at its initialization, and the map is fitted on its outputs: one fit an initialization seed, at the strength that the split's pooled
    states call for.
    """

    def __init__(self, features: FrozenFeatures, outputs: int, most: int = MOST_EXAMPLES) -> None:
        """`outputs`: number of classes, 1 for regression. `most`: examples that a map is fitted on, drawn by the split's seed."""
        self.features, self.outputs, self.most = features, outputs, most
        self._probes: dict[int, Linear] = {}
        self._heads: dict[tuple[int, int | None], Mapping[str, Tensor]] = {}

    def probe(self, split: int, train: Tokens) -> Linear:
        """The map of the pooled states of the split's train part; numbers in units of the labels' deviation (see `LabelScale`)."""
        if split not in self._probes:
            train = train.at_most(self.most, split)
            self._probes[split] = self._fit(self.features.of(train), train)
        return self._probes[split]

    def of(self, split: int, initialization: int, train: Tokens) -> Mapping[str, Tensor]:
        """The head's last map for a training with these seeds: ``weight`` ``(C, H)``, ``bias`` ``(C,)``.

        `train`: the split's train part; nothing else is looked at.
        """
        key = (split, initialization if self.features.backbone.shape.dense_head else None)
        if key not in self._heads:
            found = self.probe(split, train)
            if self.features.backbone.shape.dense_head:
                train = train.at_most(self.most, split)
                read = self.features.inside_head(self.features.of(train), initialization)
                found = self._fit(read, train, found.strength)
            self._heads[key] = head_weights(found.weight, found.bias)
        return self._heads[key]

    def _fit(self, read: Features, train: Tokens, strength: float | None = None) -> Linear:
        scale = LabelScale.of(train.labels) if self.outputs == 1 else LabelScale()
        labels = (train.labels - scale.mean) / scale.deviation
        bias = self.features.backbone.shape.head_bias
        return fit_linear(read, labels, self.outputs, text_groups(train), bias=bias, strength=strength)
