"""What a user sets for a curve: the options of a selection, with several K."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pelt_automl.config import SMALLEST_K, SelectionSettings
from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.selection.options import settings_from

FULL = "full"


@dataclass(frozen=True)
class CurveSettings:
    """One curve."""

    whole: SelectionSettings
    """Those of each selection, but for their K; ``seconds`` is the limit on all of them together."""
    ks: tuple[int | None, ...]
    """Labelled examples that may be used, two numbers at least, smallest first; None, for all there are, comes last."""

    def at(self, k: int | None, seconds: float | None, max_length: int | None = None) -> SelectionSettings:
        """The settings of the selection at K, with its own limit, and the tokens that every K's texts are cut to."""
        whole = self.whole
        training = replace(whole.training, max_length=max_length or whole.training.max_length)
        return replace(whole, task=replace(whole.task, k=k), training=training, search=replace(whole.search, seconds=seconds))


def in_words(k: int | None) -> str:
    """``100``, or ``full``."""
    return FULL if k is None else str(k)


def is_curve(k: Any) -> bool:
    """Whether a ``k`` (text, a number, a sequence) asks for several."""
    return len(_parts(k)) > 1


def curve_settings(k: Any, **options: Any) -> CurveSettings:
    """Settings from flat options, those of `settings_from`; `k` is comma-separated text or a sequence.

    Raises `SettingsError` with everything that is wrong at once.
    """
    ks, problems = _ks(_parts(k))
    whole: SelectionSettings | None = None
    try:
        whole = settings_from(**options)
    except SettingsError as error:
        problems.append(str(error))
    if problems or whole is None:
        raise SettingsError(problems[0] if len(problems) == 1 else all_problems("the command", problems))
    return CurveSettings(whole, ks)


def _parts(k: Any) -> list[Any]:
    if isinstance(k, str):
        return [part.strip() for part in k.split(",") if part.strip()]
    return list(k) if isinstance(k, Sequence) else [k]


def _ks(parts: Sequence[Any]) -> tuple[tuple[int | None, ...], list[str]]:
    """The K in their order, and what is wrong with them."""
    found, problems = list[int | None](), list[str]()
    for part in parts:
        text = str(part).lower()
        if text == FULL:
            found.append(None)
        elif not text.isdecimal():
            problems.append(f"k has {part!r}: expected whole numbers or '{FULL}', such as 50,100,200")
        elif int(text) < SMALLEST_K:
            problems.append(f"k has {part}; each must be at least {SMALLEST_K}, or '{FULL}'")
        else:
            found.append(int(text))
    if twice := sorted({in_words(k) for k in found if found.count(k) > 1}):
        problems.append(f"k names {', '.join(twice)} more than once")
    if len(parts) < 2:
        problems.append("a curve needs at least two K, such as 50,100,200")
    return tuple(sorted(found, key=lambda k: (k is None, k or 0))), problems
