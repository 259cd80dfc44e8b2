"""The recommended contender's folder, and a predictor for the winner of any form."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pelt_automl.backbones.loading import Backbone, Precision
from pelt_automl.baselines.contender import read_facts
from pelt_automl.baselines.encoder import HIDDEN_LAYER_SEED, Encoder
from pelt_automl.baselines.fitted import Fitted, load_fitted
from pelt_automl.durable import filling, write_text
from pelt_automl.errors import SelectionError
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.tasks import Examples, TaskData
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training.checkpoints import (
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    TrainedConfig,
    WinnerForm,
    describe,
    load_config,
    precision_name,
    save_trained,
)
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.predicting import Predictor, TrainedPredictor, backbone_of, load_predictor, trained_pack
from pelt_automl.training.tokens import AT_ONCE, Tokens, tokenize


def write_winner(
    folder: Path, fitted: Fitted, data: TaskData, backbone: Backbone, max_length: int, threshold: float = LabelScale.threshold
) -> None:
    """Write a contender as a selection's winner: a head as a trained method that changes nothing but the head, the others with own files.

    Args:
        folder: made if need be; files of the same names are replaced.
        fitted: the contender.
        data: what it was fitted for.
        backbone: that its encoder reads; nothing is said of it where the contender reads none.
        max_length: tokens that its encoder cuts texts to.
        threshold: of its run, where an example has several labels.
    """
    head, words = fitted.head(), fitted.facts.form == "words"
    form: WinnerForm = "trained" if fitted.facts.form == "head" else fitted.facts.form
    config = TrainedConfig(
        method=fitted.facts.name,
        hyper_parameters=dict(fitted.settings),
        modifications=(),
        kind=data.kind,
        labels=list(data.labels),
        text_columns=list(data.text_columns),
        # the outputs of the others are in the labels' unit
        scale=replace(fitted.facts.scale if form == "trained" else LabelScale(), threshold=threshold),
        max_length=0 if words else max_length,
        precision=precision_name(torch.float32 if words else backbone.dtype),
        backbone={} if words else describe(backbone),
        task=data.name,
        form=form,
    )
    if head is not None:
        pack = Pack(backbone, [PackTrial((), HIDDEN_LAYER_SEED, head=head)], data.outputs)
        save_trained(folder, config, pack.kept_weights(0), backbone.tokenizer)
        return
    fitted.save(folder)
    if not words:
        with filling(folder / TOKENIZER) as draft:
            backbone.tokenizer.save_pretrained(str(draft))
    write_text(folder / CONFIG, config.to_json() + "\n")


class BaselinePredictor(Predictor):
    """A contender that is no head."""

    def __init__(self, config: TrainedConfig, folder: Path, backbone: Backbone | None) -> None:
        """`folder`: the winner's. Raises `SelectionError` when its files are damaged or don't fit."""
        super().__init__(config)
        facts = read_facts(folder)
        if (facts.form, facts.outputs, facts.name) != (config.form, config.outputs, config.method):
            raise SelectionError(f"{folder} has the files of two winners: its {CONFIG} says {config.method}; put back a copy of the folder")
        self._cut = Counter[str]()
        encoder = Encoder(FrozenFeatures(backbone, keep=False), partial(self._tokenized, backbone)) if backbone else None
        self.fitted = load_fitted(folder, encoder)

    def outputs(self, examples: Examples) -> tuple[NDArray[np.floating], dict[str, int]]:
        """See `Predictor`. So many texts at once that their features fit into memory, however many there are."""
        self._cut = Counter({"texts": 0, "cut": 0, "tokens": 0, "lost": 0})
        starts = range(0, len(examples), AT_ONCE)
        found = [self.fitted.outputs(examples.take(range(start, min(start + AT_ONCE, len(examples))))) for start in starts]
        return np.concatenate(found), dict(self._cut)

    def _tokenized(self, backbone: Backbone, examples: Examples) -> Tokens:
        tokens = tokenize(examples, backbone.tokenizer, self.config.max_length, backbone.shape.vocabulary)
        self._cut.update(tokens.cut)
        return tokens


def winner_with(folder: Path, backbone: Backbone) -> Predictor:
    """A winner of any form on a backbone that is loaded already. Raises `SelectionError` when the folder doesn't fit."""
    config = load_config(folder)
    if config.form == "trained":
        return TrainedPredictor(config, trained_pack(config, backbone, folder / WEIGHTS))
    return BaselinePredictor(config, folder, None if config.form == "words" else backbone)


def load_winner(
    folder: Path, precision: Precision | None = None, device: torch.device | None = None, model: str | Path | None = None
) -> Predictor:
    """Load a winner of any form. Arguments and errors: see `load_predictor`; of a bag of words none but `folder` is looked at."""
    config = load_config(folder)
    if config.form == "trained":
        return load_predictor(folder, precision, device, model)
    return BaselinePredictor(config, folder, None if config.form == "words" else backbone_of(config, folder, precision, device, model))
