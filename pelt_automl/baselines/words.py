"""The bag of words: a regularized linear map of TF-IDF weights, without any model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.baselines.contender import Facts, Fitted, read_json, read_numbers
from pelt_automl.baselines.cross_validation import MOST_VALIDATED, Floats, Indices
from pelt_automl.baselines.linear import Problem, choose_strength, penalized
from pelt_automl.durable import write_text
from pelt_automl.errors import SelectionError
from pelt_automl.tasks import Examples
from pelt_automl.tasks.examples import joined_up
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.tasks.words import joined, word_weights

VOCABULARY = "vocabulary.json"

DENSE = MOST_VALIDATED
"""Examples up to which the map is found in the directions that they span; with more, on the sparse weights themselves."""

MOST_WEIGHTS = 2_000_000
"""Numbers that the map has at most, so that its fit stays within half a GB: of more words and pairs the most frequent are kept."""


class Words:
    """TF-IDF weights by a vocabulary that was found in some texts; nothing but zeros of none."""

    def __init__(self, terms: Sequence[str], inverse: NDArray[np.float64]) -> None:
        """`terms` in the order of the columns; `inverse`: ``(V,)``, their inverse document frequencies. Raises `ValueError`."""
        self.terms, self.inverse, self._vectorizer = list(terms), inverse, None
        if self.terms:
            self._vectorizer = word_weights(vocabulary={term: column for column, term in enumerate(self.terms)})
            self._vectorizer.idf_ = inverse

    @staticmethod
    def of(texts: Sequence[str], classes: int) -> "Words":
        """Of these texts alone; at most `MOST_WEIGHTS` over the number of classes."""
        found = word_weights(max_features=MOST_WEIGHTS // classes)
        try:
            found.fit(texts)
        except ValueError:  # of punctuation only
            return Words((), np.zeros(0))
        return Words(found.get_feature_names_out().tolist(), np.asarray(found.idf_, np.float64))

    def weights(self, texts: Sequence[str]) -> Any:
        """``(n, V)``, sparse; a row of zeros for a text without a word that is known."""
        from scipy.sparse import csr_matrix

        return csr_matrix((len(texts), 0)) if self._vectorizer is None else self._vectorizer.transform(texts).tocsr()


class Span:
    """The directions that some sparse rows span around their mean: in these, a linear map with a bias is the same as in all."""

    def __init__(self, rows: Any) -> None:
        """`rows`: ``(n, V)``."""
        self.rows, self.mean = rows, np.asarray(rows.mean(axis=0)).ravel() if rows.shape[1] else np.zeros(0)
        values, vectors = np.linalg.eigh(self._products(rows))
        kept = values > 1e-10 * max(1.0, float(values.max()))
        self._onto = vectors[:, kept] / np.sqrt(values[kept])

    def coordinates(self, others: Any) -> Floats:
        """``(m, r)`` of other rows, r at most n - 1."""
        return np.asarray(self._products(others) @ self._onto, np.float64)

    def weight(self, own: Floats) -> Floats:
        """Weights ``(C, r)`` of coordinates as weights ``(C, V)`` of rows."""
        shares = own @ self._onto.T
        return np.asarray((self.rows.T @ shares.T).T - shares.sum(axis=1, keepdims=True) * self.mean, np.float64)

    def _products(self, others: Any) -> Floats:
        """``(m, n)``, of rows less the mean."""
        plain: Floats = np.asarray((others @ self.rows.T).todense(), np.float64)
        plain += self.mean @ self.mean - (others @ self.mean)[:, None] - (self.rows @ self.mean)[None]
        return plain


class BagOfWords(Fitted):
    """Words of the texts, a pair's one after the other, and pairs of words."""

    def __init__(self, facts: Facts, words: Words, weight: NDArray[np.float32], bias: NDArray[np.float64]) -> None:
        """`weight`: ``(C, V)``; `bias`: ``(C,)``."""
        super().__init__(facts)
        self.words, self.weight, self.bias = words, weight, bias

    def tensors(self) -> dict[str, Tensor]:
        """``idf`` ``(V,)``, ``weight`` and ``bias``."""
        arrays = {"idf": self.words.inverse, "weight": self.weight, "bias": self.bias}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def outputs(self, examples: Examples) -> NDArray[np.float64]:
        """See `Fitted`."""
        return np.asarray(self.words.weights(joined(examples)) @ self.weight.T.astype(np.float64) + self.bias, np.float64)

    def save(self, folder: Path) -> None:
        """Write the vocabulary, too."""
        write_text(folder / VOCABULARY, json.dumps(self.words.terms) + "\n")
        super().save(folder)


def fit_words(train: Examples, outputs: int) -> BagOfWords:
    """The vocabulary is that of train alone, and inside the cross-validation that of each fold's other examples."""
    texts, labels = joined(train), np.asarray(train.labels, np.float64)
    scale = LabelScale.of(labels) if outputs == 1 else LabelScale()
    standardized = (labels - scale.mean) / scale.deviation

    def parts(rest: Indices, out: Indices) -> tuple[Floats, Floats]:
        words = Words.of([texts[i] for i in rest], outputs)
        span = Span(words.weights([texts[i] for i in rest]))
        return span.coordinates(span.rows), span.coordinates(words.weights([texts[i] for i in out]))

    read = word_weights().build_analyzer()
    together = joined_up([tuple(read(text)) for text in texts], train.groups)  # those with the same words in the same order, too
    strength, chosen = choose_strength(parts, standardized, outputs, together)
    words = Words.of(texts, outputs)
    weight, bias = _fitted(words.weights(texts), standardized, outputs, strength)
    facts = Facts("bag-of-words", "words", outputs, {"strength": strength}, validation=chosen.validation if chosen else None)
    in_unit = bias * scale.deviation + scale.mean
    return BagOfWords(facts, words, np.asarray(weight * scale.deviation, np.float32), np.asarray(in_unit, np.float64))


def _fitted(rows: Any, labels: NDArray[np.floating], classes: int, strength: float) -> tuple[Floats, Floats]:
    """Weights ``(C, V)`` and bias ``(C,)``. The penalty is on rows that are centered and scaled, as in `Problem`."""
    if rows.shape[0] <= DENSE:
        span = Span(rows)
        own, offset = Problem(span.coordinates(rows), labels, classes, bias=True).solved(strength)
        assert offset is not None
        weight = span.weight(own)
        return weight, offset - weight @ span.mean
    # A bias takes up what centering does: only the scale is needed.
    mean = np.asarray(rows.mean(axis=0)).ravel()
    scale = float(np.sqrt(max(0.0, rows.multiply(rows).sum() / rows.shape[0] - mean @ mean))) or 1.0
    weight, offset = penalized(rows / scale, labels, classes, strength, bias=True)
    return weight / scale, offset


def load_words(folder: Path, facts: Facts) -> BagOfWords:
    """Raises `SelectionError` for files that are damaged or don't fit."""
    path = folder / VOCABULARY
    try:
        terms = read_json(path, list[str])
    except OSError as error:
        raise SelectionError(f"{path} can't be read ({error.strerror})") from error
    if len(set(terms)) < len(terms):
        raise SelectionError(f"{path} is damaged: it has a word twice")
    found = read_numbers(folder, idf=(len(terms),), weight=(facts.outputs, len(terms)), bias=(facts.outputs,))
    words = Words(terms, found["idf"].astype(np.float64))
    return BagOfWords(facts, words, found["weight"].astype(np.float32), found["bias"].astype(np.float64))
