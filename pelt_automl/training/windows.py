"""Passages in windows: what an encoder reads at once of a question and of the passage that answers it, and the best answer of all windows.

A passage that is longer than the model reads stands in several windows that overlap, each with the whole question before it (Devlin et
al. 2019; SQuAD in `transformers`' examples). The first token, before the question, stands for no answer.
Shapes: `b` windows, `T` tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelt_automl.errors import BackboneError
from pelt_automl.tasks import Examples
from pelt_automl.tasks.answers import Answer, answers_of

OVERLAP = 4
"""One token in so many of a window stands in the next one, too."""
QUESTION = 2
"""A question takes no more than one token in so many of a window, special tokens left out: the rest of it is cut."""
SPECIAL = 6
"""Tokens around question and passage at most, and a little more."""
LONGEST_ANSWER = 30
"""Tokens, as in SQuAD's baselines: a longer piece is no answer."""
NOWHERE = -1e9
"""The logit of a place where no answer starts or ends."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """A part of a passage behind the question."""

    input_ids: list[int]
    token_type_ids: list[int] | None
    characters: NDArray[np.int32]
    """``(T, 2)``: where each token starts and ends in the passage; -1 for what is none of it."""
    answer: tuple[int, int]
    """The first and the last token of the first acceptable answer that stands in it whole; (0, 0) where none does."""


@dataclass(frozen=True)
class Passage:
    """What the answer of an example is a piece of."""

    text: str
    windows: tuple[Window, ...]
    """One at least."""


def passages_of(examples: Examples, tokenizer: Any, max_length: int) -> Iterator[Passage]:
    """The windows of each example, a question and its passage; labels that are none (of examples to predict for) give no answer.

    Raises `BackboneError` for a tokenizer that can't tell which characters a token stands for.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise BackboneError(
            f"{type(tokenizer).__name__} doesn't tell which characters a token stands for, which answers need; take a model with a fast "
            "tokenizer (tokenizer.json)"
        )
    for (question, text), label in zip(examples.texts, examples.labels, strict=True):
        answers = answers_of(label) if isinstance(label, str) else ()
        encoded = tokenizer(
            _cut(question, tokenizer, (max_length - SPECIAL) // QUESTION),
            text,
            truncation="only_second",
            max_length=max_length,
            stride=max_length // OVERLAP,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            verbose=False,
        )
        types = encoded.get("token_type_ids")
        windows = []
        for number, (ids, offsets) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
            of_passage = np.array([place == 1 for place in encoded.sequence_ids(number)])
            characters = np.where(of_passage[:, None], np.asarray(offsets, np.int32), np.int32(-1))
            windows.append(Window(list(ids), list(types[number]) if types else None, characters, _place(answers, characters)))
        yield Passage(text, tuple(windows))


def _cut(question: str, tokenizer: Any, most: int) -> str:
    """The question, or as much of it as `most` tokens say."""
    offsets = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    return question if len(offsets) <= most else question[: offsets[most - 1][1]]


def _place(answers: Sequence[Answer], characters: NDArray[np.int32]) -> tuple[int, int]:
    starts, ends = characters.T
    for answer in answers:
        end = answer.start + len(answer.text)
        inside = np.flatnonzero((ends > answer.start) & (starts < end) & (starts >= 0) & (ends > starts))
        if len(inside) and starts[inside[0]] <= answer.start and ends[inside[-1]] >= end:
            return int(inside[0]), int(inside[-1])
    return 0, 0


def best_answers(logits: NDArray[np.floating], windows: Sequence[Window]) -> NDArray[np.float64]:
    """``(b, 4)`` from logits ``(b, T, 2)``: where the best piece of each window starts and ends in the passage, its score, that of none."""
    found = np.zeros((len(windows), 4))
    characters = np.full((*logits.shape[:2], 2), -1, np.int32)
    for own, window in zip(characters, windows, strict=True):
        own[: len(window.characters)] = window.characters
    there = characters[:, :, 1] > characters[:, :, 0]
    start, end = (np.where(there, logits[:, :, side].astype(np.float64), NOWHERE) for side in (0, 1))
    best = np.full(len(windows), -np.inf)
    for longer in range(min(LONGEST_ANSWER, logits.shape[1])):
        scores = start[:, : start.shape[1] - longer] + end[:, longer:]
        first = scores.argmax(axis=1)
        rows = np.flatnonzero(scores[np.arange(len(first)), first] > best)
        best[rows] = scores[rows, first[rows]]
        found[rows, 0], found[rows, 1] = characters[rows, first[rows], 0], characters[rows, first[rows] + longer, 1]
    found[:, 2], found[:, 3] = best, logits[:, 0].sum(axis=1)
    return found


def of_examples(answers: NDArray[np.float64], owners: Indices, count: int) -> NDArray[np.float64]:
    """``(count, 4)``: of all windows ``(b, 4)`` of an example the best piece, and the least score of none (as in SQuAD 2.0's baseline).

    `owners`: ``(b,)``, the example of each window.
    """
    order = np.lexsort((-answers[:, 2], owners))
    first = np.searchsorted(owners[order], np.arange(count))
    found = answers[order][first]
    found[:, 3] = np.inf
    np.minimum.at(found[:, 3], owners, answers[:, 3])
    return found
