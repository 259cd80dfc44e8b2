"""The flat options that the command line, Python, the flows and task files share, as settings."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.settings import ALL, PARTS, Knob, SearchSettings, SelectionSettings, knobs_of, options


def read_options(given: Mapping[str, Any], known: Mapping[str, Knob]) -> tuple[dict[str, Any], list[str]]:
    """What was given, each as its option's type; and what is no option, or in the home of a user who isn't there."""
    values, problems = dict[str, Any](), list[str]()
    for name, value in given.items():
        if name not in known:
            problems.append(f"there is no option {name!r}" + (did_you_mean(name, known) or f"; there are {', '.join(sorted(known))}"))
        elif known[name].several and isinstance(value, list | tuple):
            problems.append(
                f"{name} is {value!r}: a selection has one K; for a curve over several call pelt_automl.k_curve, or type --k 50,100,200"
            )
        elif value is not None:
            try:
                values[name] = known[name].converted(value)
            except SettingsError as error:
                problems.append(f"{name} is {value!r}: {error}")
                values[name] = Path(value)
    return values, problems


def settings_from(**given: Any) -> SelectionSettings:
    """Settings from flat options, those of `pelt_automl.settings.options`; None means not given.

    Each takes text too, as it is typed: ``k="full"``, ``methods="lora,adapter"``. ``seed`` seeds search and splits alike.
    Raises `SettingsError` with everything that is wrong: unknown options and names, and whatever the settings themselves refuse.
    """
    values, problems = read_options(given, options())
    problems += _unknown("method", values.get("methods", ()), METHODS, BASELINES, ALL)
    problems += _unknown("baseline", values.get("baselines", ()), BASELINES, METHODS, "none")
    least = values.get("finalist_seeds")
    if isinstance(least, int) and values.get("most_seeds", SearchSettings.most_seeds) == SearchSettings.most_seeds:
        values["most_seeds"] = max(least, SearchSettings.most_seeds)
    built = dict[str, Any]()
    for part, kind in [*PARTS.items(), ("", SelectionSettings)]:
        mine = {each.name: values[each.name] for each in knobs_of(kind) if each.name in values}
        try:
            built[part] = kind(**mine) if part else kind(**built, **mine)
        except SettingsError as error:
            built[part] = None
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise SettingsError(problems[0] if len(problems) == 1 else all_problems("the command", problems), problems)
    whole: SelectionSettings = built[""]
    return whole


def known_names(of: str) -> tuple[str, ...]:
    """The names of ``methods`` (``all`` included), ``baselines``, ``metrics`` or ``tasks``."""
    if of in ("metrics", "tasks"):
        from pelt_automl import tasks

        return tuple(tasks.METRICS) if of == "metrics" else tuple(tasks.TASKS)
    return (*METHODS, ALL) if of == "methods" else tuple(BASELINES)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`` (did you mean adapter?)``, or nothing."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _unknown(what: str, names: Any, known: Iterable[str], others: Iterable[str], word: str) -> list[str]:
    """The names that are no `what`; those of the other kind of contender are said where to name. `word` stands for all, or for none."""
    problems = []
    for name in names if isinstance(names, tuple) and names != (ALL,) else ():
        if name in others:
            it, other = ("a method that is tuned", "baseline") if what == "method" else ("a baseline", "method")
            is_one = "a baseline" if what == "method" else "a method that is tuned"
            problems.append(f"{name!r} isn't {it} but {is_one}: name it with --{other}s {name} (in Python: {other}s)")
        elif name == word:
            problems.append(f"{word!r} stands alone; {what}s has {', '.join(names)}")
        elif name not in known:
            problems.append(f"unknown {what} {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}, or {word}")
    return problems
