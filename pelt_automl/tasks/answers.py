"""Answers to questions on a passage: how acceptable ones are written down, and how far a given one agrees with them.

As in SQuAD's own script (Rajpurkar et al. 2016, 2018): capitals, punctuation and articles don't count, the best of several acceptable
answers does, and where there is none the right answer is an empty text.
"""

import functools
import json
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Answer(NamedTuple):
    """An acceptable answer: a piece of the passage."""

    start: int
    """In characters."""
    text: str


def as_label(answers: Sequence[Answer]) -> str:
    """The label of a question: its acceptable answers, none for one that the passage doesn't answer; as JSON, so that it is one value."""
    return json.dumps([list(answer) for answer in answers], ensure_ascii=False)


@functools.lru_cache(maxsize=100_000)
def answers_of(label: str) -> tuple[Answer, ...]:
    """The inverse of `as_label`."""
    return tuple(Answer(int(start), text) for start, text in json.loads(label))


def normalized(text: str) -> str:
    """What is compared: small letters, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(predictions: NDArray[np.str_], labels: NDArray[np.str_]) -> NDArray[np.float64]:
    """``(n, 1)``: 1 where an answer is one of the acceptable ones."""
    return _best(predictions, labels, lambda said, true: float(said == true))


def token_f1(predictions: NDArray[np.str_], labels: NDArray[np.str_]) -> NDArray[np.float64]:
    """``(n, 1)``: F1 of the words of an answer and those of the acceptable one that it agrees with most."""
    return _best(predictions, labels, _f1_of_words)


def _best(predictions: NDArray[np.str_], labels: NDArray[np.str_], agree: Callable[[str, str], float]) -> NDArray[np.float64]:
    found = []
    for said, label in zip(predictions.tolist(), labels.tolist(), strict=True):
        true = [answer.text for answer in answers_of(label) if normalized(answer.text)] or [""]
        found.append(max(agree(normalized(said), normalized(text)) for text in true))
    return np.asarray(found, np.float64)[:, None]


def _f1_of_words(said: str, true: str) -> float:
    own, others = said.split(), true.split()
    if not own or not others:
        return float(own == others)
    common = sum((Counter(own) & Counter(others)).values())
    return 2 * common / (len(own) + len(others))
