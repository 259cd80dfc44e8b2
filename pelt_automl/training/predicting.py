"""A trained method that is ready to predict."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from pelt_automl.backbones.loading import Backbone, Precision, load_backbone
from pelt_automl.errors import BackboneError, SelectionError, SettingsError
from pelt_automl.home import expanded
from pelt_automl.log.folder import WINNER
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.tasks import Examples
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.tasks.tables import is_blank, positions
from pelt_automl.training.checkpoints import TOKENIZER, WEIGHTS, TrainedConfig, load_config, load_trained
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.tokens import tokenize

Text = str | tuple[str, ...] | list[str]
"""A sentence, or the two of a pair."""


class PredictionWarning(UserWarning):
    """Texts that are cut or missing."""


class Predictor(ABC):
    """A recommended method, or a contender that trains no backbone, ready to predict."""

    def __init__(self, config: TrainedConfig) -> None:
        """`config`: the winner's."""
        self.config = config

    @abstractmethod
    def outputs(self, examples: Examples) -> tuple[NDArray[np.floating], dict[str, int]]:
        """Outputs ``(examples, C)``, and what was cut of their texts (see `Tokens.cut`). Labels aren't looked at."""

    def logits(self, texts: Sequence[Text | None]) -> NDArray[np.floating]:
        """Outputs, ``(examples, C)``, of a head, or log probabilities; NaN for an example without text.

        Raises `SelectionError` when one text comes where a list of them is expected, or sentences where pairs are needed.
        """
        rows = self._rows(texts)
        present = [number for number, row in enumerate(rows) if row is not None]
        found: NDArray[np.floating] = np.full((len(rows), self.config.outputs), np.nan, dtype=np.float32)
        given = tuple(row for row in rows if row is not None)
        if given:
            own, cut = self.outputs(Examples(given, (0,) * len(given)))
            if cut["cut"]:
                warnings.warn(
                    f"{cut['cut']:,} of {cut['texts']:,} texts are longer than the {self.config.max_length} tokens that the method was "
                    f"trained to read, and are cut there: {cut['lost']:,} of {cut['tokens']:,} tokens are lost",
                    PredictionWarning,
                    stacklevel=3,
                )
            found = np.full((len(rows), own.shape[1]), np.nan, dtype=own.dtype)
            found[present] = own
        if len(given) < len(rows):
            empty = [number for number, row in enumerate(rows) if row is None]
            warnings.warn(f"no text at {positions(empty, 'index', 'indices')}: nothing is predicted there", PredictionWarning, stacklevel=3)
        return found

    def probabilities(self, texts: Sequence[Text | None]) -> NDArray[np.float64]:
        """Of classes, calibrated, ``(examples, C)``, in the order of ``config.labels``; NaN for an example without text.

        Raises what `logits` raises, and `SelectionError` for a regression, which has no classes.
        """
        return self.chances(self.logits(texts))

    def predict(self, texts: Sequence[Text | None], abstain_below: float | None = None) -> list[Any]:
        """Class names, lists of them, or numbers; None for an example without text, of which a warning names the index.

        `abstain_below`: a probability, above 0 and at most 1; also None for an example of which no class has so much.

        Raises what `logits` raises, and `SettingsError` where `abstain_below` is no probability, or there are none.
        """
        check_abstaining(self.config, abstain_below)
        return self.answers(self.logits(texts), texts, abstain_below)

    def answers(self, logits: NDArray[np.floating], texts: Sequence[Text | None], abstain_below: float | None = None) -> list[Any]:
        """What outputs ``(examples, C)`` of these texts say, as `predict` gives it; None where they are NaN, or not sure enough."""
        present = ~np.isnan(logits).any(axis=1)
        if abstain_below is not None:
            present &= self.chances(logits).max(axis=1) >= abstain_below
        kind, found = KINDS[self.config.kind], np.full(len(logits), None)
        passages = [str((texts[place] or ("",))[-1]) for place in np.flatnonzero(present).tolist()] if kind.reads_tokens else ()
        said = kind.answers(kind.predictions(logits[present], self.config.scale, passages), self.config.labels)
        for place, answer in zip(np.flatnonzero(present), said, strict=True):
            found[place] = answer
        return found.tolist()

    def chances(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """What outputs ``(examples, C)`` say of each class, calibrated by the winner's temperature.

        Raises `SelectionError` for a kind of task without classes.
        """
        found = KINDS[self.config.kind].probabilities(logits / self.config.temperature)
        if found is None:
            raise SelectionError(f"{self.config.task} is a {self.config.kind} task: it has no classes, and so no probabilities")
        return found

    def _rows(self, texts: Sequence[Text | None]) -> list[tuple[str, ...] | None]:
        """The examples as texts, None for one without; everything that is wrong with them is said at once."""
        wanted = len(self.config.text_columns)
        alone = "[text]" if wanted == 1 else "[(first, second)]"
        if isinstance(texts, str | bytes | Mapping) or hasattr(texts, "columns"):
            raise SelectionError(f"a list of examples is expected, not {type(texts).__name__}; for one example alone write {alone}")
        rows, problems = list[tuple[str, ...] | None](), list[str]()
        for number, example in enumerate(texts):
            parts = tuple(example) if isinstance(example, tuple | list) else (example,) * (wanted if is_blank(example) else 1)
            odd = [type(part).__name__ for part in parts if not isinstance(part, str) and not is_blank(part)]
            if len(parts) != wanted:
                problems.append(f"{self.config.task} has {wanted} text{'s' * (wanted != 1)} an example; example {number} has {len(parts)}")
            elif odd:
                problems.append(f"example {number} is {odd[0]}, where a string is expected")
            rows.append(None if any(map(is_blank, parts)) else tuple(map(str, parts)))
        if problems:
            more = f" (and {len(problems) - 1} more are wrong)" if len(problems) > 1 else ""
            raise SelectionError(f"{problems[0]}{more}; a list such as {alone} is expected")
        return rows


def check_abstaining(config: TrainedConfig, below: float | None) -> None:
    """Raises `SettingsError` where a winner's predictions can't be left open below such a probability."""
    if below is None:
        return
    if not 0 < below <= 1:
        raise SettingsError(f"abstain_below is {below:g}, but it is a probability: give a number above 0 and at most 1, such as 0.8")
    kind = KINDS[config.kind]
    if not kind.tempered:
        no_chance = kind.probabilities(np.zeros((1, config.outputs))) is None
        why = "whose predictions have no probability" if no_chance else "whose probabilities are those of single labels"
        raise SettingsError(f"{config.task} is a {config.kind} task, {why}: leave abstain_below out")


class TrainedPredictor(Predictor):
    """A method with its trained weights on its pretrained backbone."""

    def __init__(self, config: TrainedConfig, pack: Pack) -> None:
        """`pack` holds this one trained method."""
        super().__init__(config)
        self.pack = pack

    def outputs(self, examples: Examples) -> tuple[NDArray[np.floating], dict[str, int]]:
        """See `Predictor`."""
        backbone = self.pack.backbone
        windows = KINDS[self.config.kind].reads_tokens
        tokens = tokenize(examples, backbone.tokenizer, self.config.max_length, backbone.shape.vocabulary, windows=windows)
        return evaluate(self.pack, [tokens])[0].logits, tokens.cut


def winner_of(path: Path) -> Path:
    """The folder with the trained weights: ``winner`` inside a selection's folder, else the folder itself."""
    folder = expanded(path)
    inside = folder / WINNER
    return inside if inside.is_dir() else folder


def load_predictor(
    folder: Path, precision: Precision | None = None, device: torch.device | None = None, model: str | Path | None = None
) -> TrainedPredictor:
    """Load what `save_trained` wrote, on the backbone that it was trained on. For winners of all forms see `baselines.load_winner`.

    In the precision of the training and on the best device, unless others are given. `model`: where the backbone is now, when that isn't
    where it was: a folder, a Hub name or ``minilm``, checked by the SHA-256 of its weights. Raises `SelectionError` when the folder holds
    no trained method or doesn't fit, `BackboneError` when the backbone can't be had or is another one.
    """
    config = load_config(folder)
    if config.form != "trained":
        raise SelectionError(f"{folder} holds no trained method: {config.method} keeps {config.form}")
    return TrainedPredictor(config, trained_pack(config, backbone_of(config, folder, precision, device, model), folder / WEIGHTS))


def backbone_of(
    config: TrainedConfig,
    folder: Path,
    precision: Precision | None = None,
    device: torch.device | None = None,
    model: str | Path | None = None,
) -> Backbone:
    """The pretrained model of a winner, with the tokenizer that lies in the winner's folder. Arguments and errors: see `load_predictor`."""
    from transformers import AutoTokenizer

    trained_on = config.backbone
    name = str(model) if model is not None else trained_on["name"] if trained_on["name"] == "minilm" else trained_on["location"]
    try:
        backbone = load_backbone(
            name,
            precision=precision or cast("Precision", config.precision),
            device=device,
            tokens=KINDS[config.kind].reads_tokens,
        )
    except BackboneError as error:
        raise BackboneError(
            f"{folder} was trained on {trained_on['name']}, which can't be loaded: {error}. If it has moved, say where it is: {ELSEWHERE}"
        ) from error
    if backbone.sha256 != trained_on["sha256"]:
        raise BackboneError(
            f"{folder} was trained on {trained_on['name']} with the SHA-256 {trained_on['sha256']}; "
            f"what is at {backbone.location} now has {backbone.sha256}. Give it the same weights back, or say where they are: {ELSEWHERE}"
        )
    try:
        own = AutoTokenizer.from_pretrained(str(folder / TOKENIZER), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # a damaged file shows itself in many ways
        raise SelectionError(f"the tokenizer in {folder / TOKENIZER} can't be read: {type(error).__name__}: {error}") from error
    return replace(backbone, tokenizer=own)


ELSEWHERE = "--model FOLDER (in Python: model=...)"


def trained_pack(config: TrainedConfig, backbone: Backbone, weights: Path) -> Pack:
    """A pack of one with these trained weights."""
    tensors = load_trained(weights, config.modifications)
    try:
        pack = Pack(backbone, [PackTrial(config.modifications, seed=0)], config.outputs)
        pack.load_weights(0, tensors)
    except torch.OutOfMemoryError:
        raise
    except (LookupError, RuntimeError, ValueError, TypeError) as error:
        raise SelectionError(f"{weights} doesn't fit its configuration: {type(error).__name__}: {error}") from error
    return pack
