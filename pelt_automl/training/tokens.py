"""Tokenized examples, the order in which a trial sees them, and padded batches of several trials."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.errors import TaskError
from pelt_automl.tasks import Examples
from pelt_automl.training.windows import Indices, Passage, passages_of


@dataclass(frozen=True)
class Tokens:
    """Tokenized examples with their labels."""

    input_ids: list[list[int]]
    token_type_ids: list[list[int]] | None
    labels: NDArray[Any]
    """Shape ``(n, ...)``: of each example its class index, its number, or what else a label of the task's kind is."""
    whole: Indices | None = None
    """Tokens that each example had before it was cut; None where that isn't known."""
    groups: tuple[str | None, ...] = ()
    """Of each example its group (see `Examples.groups`); empty where there are none."""
    passages: tuple[Passage, ...] = ()
    """Where answers are pieces of a passage: that of each example, in windows. What stands above is then the first window of each."""
    targets: Indices | None = None
    """``(n, 2)``, tokens where the answers start and end; set where each example is one window (see `one_window` and `all_windows`)."""

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.input_ids)

    @property
    def texts_of_passages(self) -> tuple[str, ...]:
        """Of each example; empty where there are none."""
        return tuple(passage.text for passage in self.passages)

    def one_window(self, turn: int) -> "Tokens":
        """What a training reads in its epoch number `turn`: of each example one window, all of them in turn. Without passages, itself."""
        return self._windows([(i, turn % len(passage.windows)) for i, passage in enumerate(self.passages)]) if self.passages else self

    def all_windows(self) -> tuple["Tokens", Indices]:
        """What an evaluation reads: every window, and of each the position of its example. Without passages, itself."""
        if not self.passages:
            return self, np.arange(len(self), dtype=np.int64)
        chosen = [(i, number) for i, passage in enumerate(self.passages) for number in range(len(passage.windows))]
        return self._windows(chosen), np.array([i for i, _ in chosen], dtype=np.int64)

    def _windows(self, chosen: Sequence[tuple[int, int]]) -> "Tokens":
        found = [self.passages[i].windows[number] for i, number in chosen]
        types = [window.token_type_ids or [] for window in found] if self.token_type_ids else None
        passages = tuple(Passage(self.passages[i].text, (window,)) for (i, _), window in zip(chosen, found, strict=True))
        targets = np.array([window.answer for window in found], dtype=np.int64).reshape(len(found), 2)
        labels = self.labels[np.array([i for i, _ in chosen], dtype=np.int64)]
        return Tokens([window.input_ids for window in found], types, labels, passages=passages, targets=targets)

    @property
    def lengths(self) -> Indices:
        """Tokens in each example."""
        return np.array([len(ids) for ids in self.input_ids], dtype=np.int64)

    def __getitem__(self, positions: slice) -> "Tokens":
        """A run of examples."""
        types, whole = self.token_type_ids, self.whole
        return Tokens(
            self.input_ids[positions],
            types[positions] if types else types,
            self.labels[positions],
            None if whole is None else whole[positions],
            self.groups[positions],
            self.passages[positions],
            None if self.targets is None else self.targets[positions],
        )

    def take(self, indices: Sequence[int] | Indices) -> "Tokens":
        """The examples at `indices`, in that order."""
        types, whole, chosen = self.token_type_ids, self.whole, np.asarray(indices, dtype=np.int64)
        return Tokens(
            [self.input_ids[i] for i in indices],
            [types[i] for i in indices] if types else None,
            self.labels[chosen],
            None if whole is None else whole[chosen],
            tuple(self.groups[i] for i in indices) if self.groups else (),
            tuple(self.passages[i] for i in indices) if self.passages else (),
            None if self.targets is None else self.targets[chosen],
        )

    def at_most(self, most: int | None, seed: int) -> "Tokens":
        """All, or as many of them, drawn by the seed, in their order; None: all."""
        return self if most is None or len(self) <= most else self.take(drawn(len(self), most, seed))

    @property
    def cut(self) -> dict[str, int]:
        """How many ``texts`` (examples) there are, of these ``cut``; how many ``tokens`` they had, of these ``lost``."""
        whole = self.lengths if self.whole is None else self.whole
        lost = whole - self.lengths
        return {"texts": len(self), "cut": int((lost > 0).sum()), "tokens": int(whole.sum()), "lost": int(lost.sum())}


def drawn(count: int, most: int | None, seed: int) -> Indices:
    """At most so many of `count` positions (None: all), drawn by the seed, in their order."""
    if most is None or count <= most:
        return np.arange(count, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


AT_ONCE = 1000
"""Examples that are tokenized in one call: whole, they may be far longer than what is kept of them."""


def tokenize(examples: Examples, tokenizer: Any, max_length: int, rows: int = 0, *, windows: bool = False) -> Tokens:
    """Sentences or pairs as the model expects them, cut to `max_length` tokens.

    Of a pair the longer text is cut, token by token, so that something of both is left. With `windows` nothing is cut of the second text:
    it is a passage that is read in windows. `rows`: of the model's token embedding, 0 for any number. Raises `TaskError` for a token
    without a row, and what `passages_of` raises.
    """
    if windows:
        return _of_passages(examples, tokenizer, max_length, rows)
    ids, types, whole = list[list[int]](), list[list[int]](), list[int]()
    for columns in _portions(examples):
        encoded = tokenizer(*columns, truncation=False, padding=False, verbose=False)
        own, own_types = list(encoded["input_ids"]), list(encoded.get("token_type_ids") or [])
        whole += map(len, own)
        if long := [i for i, row in enumerate(own) if len(row) > max_length]:
            parts = [[column[i] for i in long] for column in columns]
            cut = tokenizer(*parts, truncation=True, max_length=max_length, padding=False)
            for i, row in zip(long, cut["input_ids"], strict=True):
                own[i] = row
            for i, row in zip(long, cut["token_type_ids"], strict=True) if own_types else ():
                own_types[i] = row
        for place, row in enumerate(own):
            _check_rows(row, rows, tokenizer, [column[place] for column in columns])
        ids += own
        types += own_types
    return Tokens(ids, types or None, _labels(examples), np.asarray(whole, dtype=np.int64), examples.groups)


def _labels(examples: Examples) -> NDArray[Any]:
    """Numbers, or texts."""
    return np.asarray(examples.labels, str if isinstance(examples.labels[0] if examples.labels else 0, str) else np.float64)


def _check_rows(ids: Sequence[int], rows: int, tokenizer: Any, texts: Sequence[str]) -> None:
    """A model may have fewer rows than its tokenizer has tokens, as long as no text has any of the others."""
    if rows and (highest := max(ids, default=0)) >= rows:
        raise TaskError(
            f"a text ({' '.join(texts)[:60]!r}) has {tokenizer.convert_ids_to_tokens(highest)!r}, token {highest:,} of the tokenizer, and "
            f"the model embeds {rows:,} of them (0 to {rows - 1:,}); take it out of the text"
        )


def _of_passages(examples: Examples, tokenizer: Any, max_length: int, rows: int) -> Tokens:
    passages = tuple(passages_of(examples, tokenizer, max_length))
    for passage, texts in zip(passages, examples.texts, strict=True):
        for window in passage.windows:
            _check_rows(window.input_ids, rows, tokenizer, texts)
    first = [passage.windows[0] for passage in passages]
    types = [window.token_type_ids for window in first if window.token_type_ids is not None]
    return Tokens([window.input_ids for window in first], types or None, _labels(examples), None, examples.groups, passages)


def whole_texts(examples: Examples, tokenizer: Any) -> Iterator[list[int]]:
    """The tokens of each example, nothing cut, special tokens included."""
    for columns in _portions(examples):
        yield from tokenizer(*columns, truncation=False, padding=False, verbose=False)["input_ids"]


def _portions(examples: Examples) -> Iterator[list[list[str]]]:
    """`AT_ONCE` examples after the other, as one or two columns."""
    for start in range(0, len(examples), AT_ONCE):
        yield [list(column) for column in zip(*examples.texts[start : start + AT_ONCE], strict=True)]


class TokenStore:
    """Examples that are tokenized once each, when they are first asked for, whatever splits they are in."""

    def __init__(self, examples: Examples, tokenized: Callable[[Examples], Tokens]) -> None:
        """`tokenized` makes the tokens of those that are new."""
        self.examples, self._tokenized = examples, tokenized
        self._labels = _labels(examples)
        self._ids, self._types, self._passages = dict[int, list[int]](), dict[int, list[int]](), dict[int, Passage]()
        self._whole = np.zeros(len(examples), dtype=np.int64)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Tokens:
        """The examples at `indices`, in that order. Their tokens are shared with every other call's, so they must not be changed."""
        positions = [int(i) for i in indices]
        if missing := [i for i in dict.fromkeys(positions) if i not in self._ids]:
            found = self._tokenized(self.examples.take(missing))
            self._ids.update(zip(missing, found.input_ids, strict=True))
            self._types.update(zip(missing, found.token_type_ids or (), strict=bool(found.token_type_ids)))
            self._passages.update(zip(missing, found.passages, strict=bool(found.passages)))
            self._whole[missing] = found.lengths if found.whole is None else found.whole
        types = [self._types[i] for i in positions] if self._types else None
        groups = tuple(self.examples.groups[i] for i in positions) if self.examples.groups else ()
        passages = tuple(self._passages[i] for i in positions) if self._passages else ()
        return Tokens([self._ids[i] for i in positions], types, self._labels[positions], self._whole[positions], groups, passages)


GOLDEN_RATIO = (5**0.5 - 1) / 2

LENGTH_NOISE = 1.1
"""Largest factor by which a length is changed at random before examples are sorted into batches: which ones meet differs by epoch."""


class BatchOrder:
    """Which examples a trial trains on at each step.

    Batches are made of examples of similar length. What is in them depends on the trial's seed; which length comes at which step is nearly
    the same for all trials, those that have begun some periods earlier included, so that the batches of a pack need little padding. A
    trial sees the same data in any pack.
    """

    def __init__(self, lengths: Indices, batch_size: int, seed: int, period: int | None = None) -> None:
        """`lengths` in tokens; `period`: after so many steps, or several times as many, another trial may begin in the pack."""
        self.lengths, self.seed, self.period = lengths, seed, period
        self.batches_an_epoch = math.ceil(len(lengths) / batch_size)
        self._epoch, self._batches = -1, list[Indices]()

    def batch(self, step: int) -> Indices:
        """Indices of the examples of the optimizer step `step`, counted from 0."""
        epoch, position = divmod(step, self.batches_an_epoch)
        if epoch != self._epoch:
            own = np.random.default_rng((self.seed, epoch))
            by_length = np.argsort(self.lengths * own.uniform(1 / LENGTH_NOISE, LENGTH_NOISE, len(self.lengths)), kind="stable")
            buckets = np.array_split(by_length, self.batches_an_epoch)
            self._epoch, self._batches = epoch, [buckets[i] for i in self._places(epoch)]
        return self._batches[position]

    def _places(self, epoch: int) -> Indices:
        """The place by length of each of an epoch's batches: that of multiples of the golden ratio, less their whole part.

        They are spread evenly however many of them one takes, so that the places of any step fit those of the same step of another period.
        """
        steps = epoch * self.batches_an_epoch + np.arange(self.batches_an_epoch)
        spread = (steps % (self.period or 2**31)) * GOLDEN_RATIO % 1.0
        return np.argsort(np.argsort(spread, kind="stable"), kind="stable")


@dataclass(frozen=True)
class Batch:
    """One step's examples of every trial in a pack, padded to the longest."""

    inputs: dict[str, Any]
    """``input_ids``, ``attention_mask`` and, where the model has them, ``token_type_ids``: shape ``(N, B, T)``; ``keys``: see `keys_of`."""
    weights: Tensor
    """Shape ``(N, B)``: 1 for an example, 0 where a trial has fewer than B."""


def collate(parts: Sequence[Tokens], pad_id: int, device: torch.device) -> Batch:
    """A batch from each trial's examples; their labels are the task's kind's to collate."""
    n, b = len(parts), max(len(part) for part in parts)
    t = max(1, *(len(ids) for part in parts for ids in part.input_ids))
    ids = np.full((n, b, t), pad_id, dtype=np.int64)
    mask = np.zeros((n, b, t), dtype=np.int64)
    types = np.zeros((n, b, t), dtype=np.int64) if parts[0].token_type_ids is not None else None
    weights = np.zeros((n, b), dtype=np.float32)
    mask[:, :, 0] = 1  # a missing example still needs one token to attend to
    for i, part in enumerate(parts):
        weights[i, : len(part)] = 1.0
        for j, tokens in enumerate(part.input_ids):
            ids[i, j, : len(tokens)], mask[i, j, : len(tokens)] = tokens, 1
            if types is not None and part.token_type_ids is not None:
                types[i, j, : len(tokens)] = part.token_type_ids[j]
    arrays = {"input_ids": ids, "attention_mask": mask} | ({} if types is None else {"token_type_ids": types})
    inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()} | {"keys": keys_of(ids, mask, types)}
    return Batch(inputs, torch.from_numpy(weights).to(device))


def keys_of(ids: Indices, mask: Indices, types: Indices | None) -> list[bytes]:
    """What tells apart any two examples of a batch, or of two batches, trial after trial: their tokens and token types themselves.

    All arrays ``(N, B, T)``, padded on the right. Equal texts have equal keys, wherever they come from.
    """
    tokens = np.stack([ids, np.zeros_like(ids) if types is None else types], axis=-1).astype(np.int32)
    rows = tokens.reshape(-1, *tokens.shape[2:])
    return [row[:length].tobytes() for row, length in zip(rows, mask.sum(axis=2).flatten(), strict=True)]
