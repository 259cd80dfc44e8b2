"""The probe: a regularized linear map of the frozen backbone's features."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.baselines.contender import Facts, Fitted, Form, read_numbers
from pelt_automl.baselines.cross_validation import LEAST_GAIN, standard_error
from pelt_automl.baselines.encoder import HIDDEN_LAYER_SEED, Encoder
from pelt_automl.baselines.linear import fit_linear
from pelt_automl.tasks import Examples
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training.features import Features, head_weights


class Probe(Fitted):
    """A map of what a head reads, and so a head itself, or (form ``apart``) of the features of a pair's two texts alone.

    Where the family has a hidden layer in its head (RoBERTa, ELECTRA), the contender is the last map, fitted on that layer's outputs at its
    initialization by the seed `HIDDEN_LAYER_SEED`: so it remains a head that can be exported, and draws nothing of its own.
    """

    def __init__(self, facts: Facts, encoder: Encoder, weights: Mapping[str, Tensor]) -> None:
        """`weights`: ``weight`` ``(C, H)`` or, apart, ``(C, 4 H)``, and ``bias`` ``(C,)``, in fp32."""
        super().__init__(facts)
        self.encoder, self._weights = encoder, dict(weights)

    def tensors(self) -> dict[str, Tensor]:
        """``weight`` and ``bias``."""
        return dict(self._weights)

    @property
    def parameters(self) -> int:
        """Weights, those of the head's hidden layer included."""
        width = self._weights["weight"].shape[1]
        inside = self.encoder.features.backbone.shape.dense_head and self.facts.form == "head"
        return super().parameters + (width * width + width if inside else 0)

    def outputs(self, examples: Examples) -> NDArray[np.float64]:
        """See `Fitted`."""
        found = read_by(self.facts.form, self.encoder, examples).astype(np.float64) @ self._weights["weight"].numpy().astype(np.float64).T
        found = found + self._weights["bias"].numpy() if "bias" in self._weights else found
        return np.asarray(found * self.facts.scale.deviation + self.facts.scale.mean, np.float64)

    def head(self) -> Mapping[str, Tensor] | None:
        """See `Fitted`."""
        return self.tensors() if self.facts.form == "head" else None


def read_by(form: Form, encoder: Encoder, examples: Examples) -> Features:
    """What the map of this form reads: of a head what its last map does, behind the hidden layer where the family has one."""
    return encoder.apart(examples) if form == "apart" else encoder.features.inside_head(encoder.joint(examples), HIDDEN_LAYER_SEED)


def fit_probe(train: Examples, outputs: int, encoder: Encoder) -> Probe:
    """For pairs on a sentence encoder the loss in cross-validation decides between the two kinds of features.

    Both see the same folds. Those of the two texts alone have to be better by more than one standard error of the difference and by
    `LEAST_GAIN`: a map of them is no head, and can't be exported.
    """
    labels, groups = np.asarray(train.labels, np.float64), encoder.groups(train)
    scale = LabelScale.of(labels) if outputs == 1 else LabelScale()
    standardized = (labels - scale.mean) / scale.deviation
    backbone = encoder.features.backbone
    form: Form = "head"
    found = fit_linear(read_by(form, encoder, train), standardized, outputs, groups, bias=backbone.shape.head_bias)
    if len(train.texts[0]) == 2 and backbone.sentences:
        apart = fit_linear(read_by("apart", encoder, train), standardized, outputs, groups)
        if apart.validation and apart.losses is not None and found.losses is not None:
            gain = found.losses - apart.losses
            if gain.mean() > max(standard_error(gain), LEAST_GAIN * apart.validation.chance):
                form, found = "apart", apart
    facts = Facts("probe", form, outputs, {"strength": found.strength}, scale, found.validation)
    return Probe(facts, encoder, head_weights(found.weight, found.bias))


def load_probe(folder: Path, facts: Facts, encoder: Encoder) -> Probe:
    """Raises `SelectionError` for numbers that don't fit."""
    shape = encoder.features.backbone.shape
    width = (shape.head_input or shape.hidden) * (4 if facts.form == "apart" else 1)
    sizes: dict[str, tuple[int | None, ...]] = {"weight": (facts.outputs, width)}
    if shape.head_bias or facts.form == "apart":
        sizes["bias"] = (facts.outputs,)
    found = read_numbers(folder, **sizes)
    return Probe(facts, encoder, head_weights(found["weight"], found.get("bias")))
