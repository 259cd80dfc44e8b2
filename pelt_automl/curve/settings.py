"""What a user sets for a curve: the options of a selection, with several K."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.options import settings_from
from pelt_automl.settings import SelectionSettings, options

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


def curve_settings(k: Any, **given: Any) -> CurveSettings:
    """Settings from flat options, those of `settings_from`; `k` is comma-separated text or a sequence.

    Raises `SettingsError` with everything that is wrong at once.
    """
    knob = options()["k"]
    parts = [part.strip() for part in k.split(",") if part.strip()] if isinstance(k, str) else list(k) if isinstance(k, Sequence) else [k]
    ks = [knob.converted(part) for part in parts]
    problems = [f"k has {one!r}; each must be {knob.expected(one)}" for one in ks if knob.problems(one)]
    if twice := sorted({in_words(one) for one in ks if ks.count(one) > 1}):
        problems.append(f"k names {', '.join(twice)} more than once")
    if len(parts) < 2:
        problems.append("a curve needs at least two K, such as 50,100,200")
    try:
        whole = settings_from(**given)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(problems[0] if len(problems) == 1 else all_problems("the command", problems), problems)
    return CurveSettings(whole, tuple(sorted(ks, key=lambda one: (one is None, one))))
