"""A trained method that is ready to predict."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from pelt_automl.backbones.loading import Backbone, Precision, load_backbone
from pelt_automl.errors import BackboneError, SelectionError
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.tasks import Examples
from pelt_automl.training.checkpoints import TOKENIZER, WEIGHTS, TrainedConfig, load_config, load_trained
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.tokens import tokenize

Text = str | tuple[str, ...] | list[str]
"""A sentence, or the two of a pair."""


class Predictor:
    """The recommended method with its trained weights on its pretrained backbone."""

    def __init__(self, config: TrainedConfig, pack: Pack) -> None:
        """`pack` holds this one trained method."""
        self.config, self.pack = config, pack

    def logits(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Outputs of the head, ``(examples, C)``. Raises `SelectionError` when sentences come where pairs are needed."""
        rows = tuple((text,) if isinstance(text, str) else tuple(text) for text in texts)
        wanted = len(self.config.text_columns)
        if wrong := [number for number, row in enumerate(rows) if len(row) != wanted]:
            raise SelectionError(f"{self.config.task} has {wanted} texts an example; text {wrong[0]} has {len(rows[wrong[0]])}")
        if not rows:
            return np.zeros((0, self.config.outputs), dtype=np.float32)
        backbone, most = self.pack.backbone, self.config.max_length
        tokens = tokenize(Examples(rows, (0,) * len(rows)), backbone.tokenizer, most, backbone.shape.vocabulary)
        if (cut := tokens.cut)["cut"]:
            warnings.warn(
                f"{cut['cut']:,} of {cut['texts']:,} texts are longer than the {most} tokens that the method was trained to read, and are "
                f"cut there: {cut['lost']:,} of {cut['tokens']:,} tokens are lost",
                stacklevel=2,
            )
        return evaluate(self.pack, [tokens])[0].logits

    def probabilities(self, texts: Sequence[Text]) -> NDArray[np.float64]:
        """Softmax over classes, ``(examples, C)``. Classification only."""
        logits = self.logits(texts).astype(np.float64)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return cast("NDArray[np.float64]", shifted / shifted.sum(axis=1, keepdims=True))

    def predict(self, texts: Sequence[Text]) -> list[str] | list[float]:
        """Class names, or numbers for regression."""
        logits = self.logits(texts)
        if self.config.kind == "classification":
            return [self.config.labels[index] for index in logits.argmax(axis=1)]
        return [float(value) for value in logits[:, 0] * self.config.scale.deviation + self.config.scale.mean]


def load_predictor(folder: Path, precision: Precision | None = None, device: torch.device | None = None) -> Predictor:
    """Load what `save_trained` wrote, on the backbone that it was trained on.

    In the precision of the training and on the best device, unless others are given. Raises `SelectionError` when the folder holds no
    trained method or doesn't fit, `BackboneError` when the backbone can't be had or is another one.
    """
    from transformers import AutoTokenizer

    config = load_config(folder)
    name = config.backbone["name"] if config.backbone["name"] == "minilm" else config.backbone["location"]
    backbone = load_backbone(name, precision=precision or cast("Precision", config.precision), device=device)
    if backbone.sha256 != config.backbone["sha256"]:
        raise BackboneError(
            f"{folder} was trained on {config.backbone['name']} with the SHA-256 {config.backbone['sha256']}; "
            f"what is at {backbone.location} now has {backbone.sha256}. Give it the same weights back."
        )
    own = AutoTokenizer.from_pretrained(str(folder / TOKENIZER), trust_remote_code=False)
    return Predictor(config, trained_pack(config, replace(backbone, tokenizer=own), folder / WEIGHTS))


def trained_pack(config: TrainedConfig, backbone: Backbone, weights: Path) -> Pack:
    """A pack of one with these trained weights."""
    tensors = load_trained(weights, config.modifications)
    pack = Pack(backbone, [PackTrial(config.modifications, seed=0)], config.outputs)
    try:
        pack.load_weights(0, tensors)
    except (KeyError, RuntimeError) as error:
        raise SelectionError(f"{weights} doesn't fit its configuration: {error}") from error
    return pack
