"""Contenders that train no backbone: fitted on the train part of a split, saved, and loaded."""

from pathlib import Path

from pelt_automl.baselines.blas import one_blas_thread
from pelt_automl.baselines.contender import FACTS, Facts, Fitted, read_facts
from pelt_automl.baselines.cross_validation import MOST_EXAMPLES
from pelt_automl.baselines.encoder import Encoder
from pelt_automl.baselines.neighbors import fit_neighbors, load_neighbors
from pelt_automl.baselines.probe import fit_probe, load_probe
from pelt_automl.baselines.words import fit_words, load_words
from pelt_automl.errors import SelectionError
from pelt_automl.methods.baselines import BASELINES
from pelt_automl.tasks import Examples
from pelt_automl.training.tokens import drawn

__all__ = ["FACTS", "Facts", "Fitted", "fit_baseline", "load_fitted"]


def fit_baseline(name: str, train: Examples, outputs: int, encoder: Encoder | None) -> Fitted:
    """A contender for these examples, the same for the same ones; of more than `MOST_EXAMPLES` it sees so many, drawn by a fixed seed.

    Args:
        name: in `BASELINES`.
        train: all that it sees.
        outputs: number of classes, whether they all occur or not; 1 for regression.
        encoder: may be None for a contender that reads no backbone.
    """
    train = train.take(drawn(len(train), MOST_EXAMPLES, 0).tolist())
    with one_blas_thread():
        if not BASELINES[name].reads_backbone:
            return fit_words(train, outputs)
        return (fit_probe if name == "probe" else fit_neighbors)(train, outputs, _given(encoder, name))


def load_fitted(folder: Path, encoder: Encoder | None) -> Fitted:
    """The inverse of `Fitted.save`. `encoder`: of the same backbone. Raises `SelectionError` when the files are damaged or don't fit."""
    facts = read_facts(folder)
    if facts.form == "words":
        return load_words(folder, facts)
    load = load_neighbors if facts.form == "neighbors" else load_probe
    return load(folder, facts, _given(encoder, facts.name))


def _given(encoder: Encoder | None, name: str) -> Encoder:
    if encoder is None:
        raise SelectionError(f"{name} reads the features of its pretrained model, and none was given")
    return encoder
