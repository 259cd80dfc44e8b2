"""How many tokens of a text are read: by default as many as nearly all of the texts to train on have."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from pelt_automl.design_space import BackboneShape
from pelt_automl.errors import BackboneError
from pelt_automl.log.events import DataDescribed, Event, of_kind
from pelt_automl.methods import METHODS
from pelt_automl.selection.field import longest_text, prompt_tokens
from pelt_automl.settings import PAPER_LENGTH, SelectionSettings
from pelt_automl.tasks import Examples, TaskData
from pelt_automl.training.tokens import whole_texts

NEARLY_ALL = 0.99
"""Share of the texts to train on that are to be read whole."""

STEP = 32
"""The default is a multiple of so many tokens, or what the model reads."""

MOST = 512
"""Nor is the default ever longer: time and memory of a training grow at least as fast as its texts."""

MOST_OF_A_PASSAGE = 384
"""As in SQuAD's examples of `transformers`: what is longer is read in windows, so that nothing is lost."""

MOST_UNKNOWN = 0.5
"""With a larger share of unknown tokens a model has next to nothing to read, and nothing is trained."""

MEASURED = 10_000
"""Examples to train on that are measured at most, evenly spread over all of them."""


@dataclass(frozen=True)
class TextLength:
    """Where texts are cut. All in tokens, special tokens included."""

    most: int
    """An example is cut to so many."""
    needed: int
    """So many at most have 99 % of the examples to train on."""
    model: int = 0
    """What the model can tell the positions of; 0 where there is no such limit."""
    prompt: int = 0
    """Positions that were kept for the methods' prompts."""
    unknown: int = 0
    """Of 100 tokens to train on, so many are unknown to the tokenizer."""

    def recorded(self) -> dict[str, int]:
        """As it stands in the record."""
        return asdict(self)


def text_length(settings: SelectionSettings, data: TaskData, tokenizer: Any, shape: BackboneShape, methods: Sequence[str]) -> TextLength:
    """The user's wish, else what the examples to train on need; report is never looked at.

    `methods`: those to compare. A default leaves room for the prompts of their published configurations. Raises `BackboneError` when the
    tokenizer knows hardly anything of the texts.
    """
    needed, unknown, bare = _measured(data.pool, tokenizer)
    if unknown > MOST_UNKNOWN or bare > MOST_UNKNOWN:
        own = f"the tokenizer's {len(tokenizer.get_vocab()):,} tokens"
        why = f"of {100 * bare:.0f} % of the texts {own} leave nothing"
        if unknown > MOST_UNKNOWN:
            share = f"{100 * unknown:.0f} % of the tokens"
            why = f"{share} aren't among {own} ({tokenizer.unk_token}), so that there is little to learn from"
        do = "Give the model the tokenizer that belongs to it, or take a model for this language"
        raise BackboneError(f"{settings.model} can't read the texts of {data.name}: {why}. {do}")
    unknown = round(100 * unknown)
    wanted = settings.training.max_length or (PAPER_LENGTH if settings.task.protocol == "paper" else None)
    model = shape.positions or 0
    if wanted is not None:
        return TextLength(longest_text(wanted, shape), needed, model, unknown=unknown)
    limit = MOST_OF_A_PASSAGE if data.task_kind.reads_tokens else MOST
    most = longest_text(min(limit, STEP * math.ceil(needed / STEP)), shape)
    prompt = max((prompt_tokens(METHODS[method].build()) for method in methods), default=0)
    if not model or most + prompt <= model or 2 * prompt > model:
        return TextLength(most, needed, model, unknown=unknown)
    return TextLength(model - prompt, needed, model, prompt, unknown)


def recorded_length(events: Sequence[Event]) -> TextLength | None:
    """What an earlier start has chosen; None where there is none."""
    described = [event for event in of_kind(events, DataDescribed) if event.text_length]
    if not described:
        return None
    known = {own.name for own in fields(TextLength)}  # a later version may have added some
    return TextLength(**{name: value for name, value in described[-1].text_length.items() if name in known})


def _measured(examples: Examples, tokenizer: Any) -> tuple[int, float, float]:
    """As the tokenizer reads them: tokens that 99 % of them have at most; the share of tokens that stand for what isn't in the vocabulary,
    special tokens not counted; and the share of the texts that have no other tokens than special ones.
    """
    places = np.unique(np.linspace(0, len(examples) - 1, min(MEASURED, len(examples))).astype(int))
    around = set(tokenizer.all_special_ids)
    unknown = tokenizer.unk_token_id
    if unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id):
        unknown = None  # GPT-2's, which knows every byte, has another token's number there
    lengths, words, strange, bare = list[int](), 0, 0, 0
    for ids in whole_texts(examples.take(places.tolist()), tokenizer):
        own = [number for number in ids if number == unknown or number not in around]
        lengths.append(len(ids))
        words, strange, bare = words + len(own), strange + own.count(unknown), bare + (not own)
    return int(np.quantile(lengths, NEARLY_ALL, method="inverted_cdf")), strange / max(1, words), bare / len(lengths)


def length_note(length: TextLength, cut: Mapping[str, Mapping[str, int]], *, windows: bool = False) -> str:
    """Where texts are cut, why there, and what of each split is; `cut` as of `Tokens.cut`, by split. `windows`: nothing is cut."""
    found = [
        f"{part['cut']:,} of {part['texts']:,} in {split} ({100 * part['cut'] / part['texts']:.1f} %), {part['lost']:,} tokens in all"
        for split, part in cut.items()
        if part["cut"]
    ]
    nothing = f"none in {' or '.join(cut)}"
    kept = f", and {length.prompt} positions are kept for a prompt" if length.prompt else ""
    strange = f"; {length.unknown} % of the tokens are unknown to the tokenizer" if length.unknown else ""
    if windows:
        return (
            f"questions and passages of more than {length.most} tokens are read in windows (99 % of those to train on have {length.needed} "
            f"at most{kept}){strange}"
        )
    return (
        f"texts are read up to {length.most} tokens (99 % of those to train on have {length.needed} at most{kept}); "
        f"cut: {'; '.join(found) if found else nothing}{strange}"
    )
