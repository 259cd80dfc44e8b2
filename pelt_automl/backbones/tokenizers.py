"""The tokenizer of a pretrained model, and whether it is the model's: a wrong one would train on unknown tokens, or on none at all."""

from pathlib import Path
from typing import Any

from pelt_automl.backbones.quiet import quiet
from pelt_automl.backbones.sources import ModelSource
from pelt_automl.design_space import BackboneShape
from pelt_automl.errors import BackboneError
from pelt_automl.printable import without_secrets

FILES = ("tokenizer.json", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model", "spm.model", "vocab.txt", "tekken.json")
"""Any of these alone holds a vocabulary."""

SLACK, SLACK_SHARE = 512, 0.1
"""Rows of the embedding that need no token, as a number or a share, whichever is more: models pad their embeddings to multiples of 64 or
128, and keep rows for later use. 2 % is the most of any well-known model; another model's tokenizer is off by more."""


def load_tokenizer(source: ModelSource, shape: BackboneShape, **where: Any) -> Any:
    """The model's tokenizer, ready to fill up batches. `where`: options of `from_pretrained`.

    Raises `BackboneError` when there is none, when it can't be read, and when it doesn't belong to the model: far fewer tokens than the
    embedding has rows, or tokens without a row.
    """
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(source.location, trust_remote_code=False, **where)
    except Exception as error:  # its parsers raise whatever they like, Exception itself included
        reason = without_secrets((str(error).strip() or type(error).__name__).splitlines()[0])
        unreadable = f"the tokenizer of {source.name} can't be read from {source.location}: {reason}. Download or save its files again"
        raise BackboneError(_absent(source) or unreadable) from error
    named = type(tokenizer).vocab_files_names  # by some kinds (of bytes) none
    own = [name for part, name in named.items() if part != "tokenizer_file"]
    there = [(Path(source.location) / name).is_file() for name in (*own, *FILES)]
    if source.is_local and named and not (own and all(there[: len(own)])) and not any(there[len(own) :]):
        raise BackboneError(_absent(source))
    if problem := mismatch(tokenizer, shape.vocabulary):
        raise BackboneError(f"the tokenizer of {source.name} doesn't fit the model: {problem}")
    padding, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    if padding is not None and padding >= shape.vocabulary and end is not None and end < shape.vocabulary:
        # A padding token without an embedding can't fill batches: the token of a text's end can, since nothing attends to it.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def mismatch(tokenizer: Any, rows: int) -> str | None:
    """Why a tokenizer can't be that of a model whose token embedding has so many rows; None if it can."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    if len(vocabulary) < rows - max(SLACK, SLACK_SHARE * rows):
        return (
            f"it has {len(vocabulary):,} tokens, and the model embeds {rows:,}. Copy the tokenizer of this very model into its folder "
            "(AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER))"
        )
    more = getattr(tokenizer, "added_tokens_decoder", {})
    special = set(tokenizer.all_special_ids) | {number for number, token in more.items() if token.special}  # no ordinary text has these
    added = set(tokenizer("a")["input_ids"])  # what is put around every text
    beyond = sorted(number for number in vocabulary.values() if number >= rows and (number not in special or number in added))
    if not beyond:
        return None
    return (
        f"it has {len(vocabulary):,} tokens, up to number {beyond[-1]:,}, and the model embeds {rows:,} (0 to {rows - 1:,}), so that "
        f"{len(beyond):,} would have no embedding. If tokens were added, give the model rows for them "
        "(model.resize_token_embeddings(len(tokenizer)), then save_pretrained); else copy the tokenizer of this very model into its folder"
    )


def _absent(source: ModelSource) -> str:
    """The message for a folder without a tokenizer; empty for one that has files of it."""
    folder = Path(source.location)
    if not source.is_local or any((folder / name).is_file() for name in FILES):
        return ""
    half = [name for name in ("vocab.json", "merges.txt") if (folder / name).is_file()]
    if len(half) == 2:
        return ""
    there = f" (only {half[0]} of vocab.json and merges.txt)" if half else ""
    return (
        f"the folder {folder} has no tokenizer{there}: tokenizer.json is expected. Every word would be unknown. Copy the tokenizer of "
        f"this very model into it (AutoTokenizer.from_pretrained(...).save_pretrained({str(folder)!r}))"
    )
