"""Which methods a selection compares, and why others that were meant are left out."""

import json
from collections.abc import Collection, Iterable

from pelt_automl.backbones import Architecture
from pelt_automl.design_space import BackboneShape, Form, Modification
from pelt_automl.errors import BackboneError, all_problems
from pelt_automl.methods import METHODS, standard
from pelt_automl.modifications import why_not
from pelt_automl.settings import ALL, SearchSettings


def longest_text(wanted: int, shape: BackboneShape) -> int:
    """Tokens that a text is cut to: `wanted`, or what the model can read where that is less."""
    return min(wanted, shape.positions or wanted)


def prompt_tokens(modifications: Iterable[Modification]) -> int:
    """Positions that are taken by what is put before the text; prefixes take none."""
    prompts = sum(m.size for m in modifications if m.form is Form.PROMPT)
    return prompts + sum(int(json.loads(m.peft).get("num_virtual_tokens", 0)) for m in modifications if m.form is Form.PEFT)


def refusals(modifications: Iterable[Modification], architecture: Architecture, shape: BackboneShape, max_length: int = 0) -> list[str]:
    """Why a configuration can't be carried out on a model with texts of `max_length` tokens; empty if it can."""
    modifications = tuple(modifications)
    found = {reason for modification in modifications if (reason := why_not(modification, architecture, shape))}
    prompt = prompt_tokens(modifications)
    if prompt and shape.positions and prompt + max_length > shape.positions:
        found.add(f"a prompt of {prompt} and texts of {max_length} tokens are more than the {shape.positions} that the model reads")
    return sorted(found)


def too_many(kept: int, most: int) -> str | None:
    """Why a configuration that keeps so many trainable parameters is over the limit; None if it isn't."""
    return None if kept <= most else f"it has {kept:,} trainable parameters, more than the {most:,} of --max-trainable"


def field_of(
    asked: tuple[str, ...],
    architecture: Architecture,
    shape: BackboneShape,
    max_length: int = 0,
    *,
    baselines: Collection[str] = SearchSettings.baselines,
) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """The methods to compare, and those that are left out with the reasons.

    `asked`: names, or ``all``, or nothing for those that are standard with these `baselines`. Only what nobody has named can be left out:
    raises `BackboneError` for named methods that the model doesn't support, with all reasons and what it does support.
    """

    def why_not_method(method: str) -> list[str]:
        return refusals(METHODS[method].build(), architecture, shape, max_length)

    meant = tuple(METHODS) if asked == (ALL,) else asked or standard(baselines)
    out = {method: reasons for method in meant if (reasons := why_not_method(method))}
    if out and asked not in ((), (ALL,)):
        supported = [method for method in METHODS if not why_not_method(method)]
        problems = [f"{method}: {'; '.join(reasons)}" for method, reasons in out.items()]
        raise BackboneError(f"{all_problems(f'{architecture.family} models do not support', problems)}\nThey do: {', '.join(supported)}.")
    return tuple(method for method in meant if method not in out), out
