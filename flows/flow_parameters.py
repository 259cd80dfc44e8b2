"""A flow's parameters, made from the settings; as they come from outside, names are checked and paths kept inside the roots."""

import inspect
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.home import expanded
from pelt_automl.options import known_names, settings_from
from pelt_automl.settings import F, Knob, SelectionSettings, options, taking

TASK = re.compile(r"[A-Za-z0-9][\w-]*|hf:[\w-][\w.-]*/[\w-][\w.-]*(:[\w-][\w.-]*)?", re.ASCII)
MODEL = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
FOLDER = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
ALIAS = "minilm"
"""Comes before any folder of this name."""
PATHS = tuple(name for name, knob in options().items() if knob.base is Path)
"""The parameters that are paths; `model` may be one too."""

T = TypeVar("T")


def data_roots() -> list[Path]:
    """The folders that a flow may read from: ``$PELT_AUTOML_DATA_DIR``, and those in ``$PELT_AUTOML_DATA_ROOTS`` (as in ``$PATH``)."""
    names = [os.environ.get("PELT_AUTOML_DATA_DIR", ""), *os.environ.get("PELT_AUTOML_DATA_ROOTS", "").split(os.pathsep)]
    return [expanded(name).resolve() for name in names if name]


def inside(path: str, roots: list[Path]) -> Path:
    """The path, resolved; a relative one is looked for in each root in turn.

    Raises `SettingsError` when it leaves the roots, by ``..`` or by a link too, or when there are none.
    """
    if not roots:
        raise SettingsError(
            f"{path!r}: no data folder is configured for flows; set PELT_AUTOML_DATA_DIR or PELT_AUTOML_DATA_ROOTS and restart the worker"
        )
    outside = SettingsError(f"{path!r} lies outside the folders that flows may read: {', '.join(map(str, roots))}")
    try:
        candidates = [(root / expanded(path)).resolve() for root in roots]
    except SettingsError:  # who asks isn't told which users there are
        raise outside from None
    allowed = [candidate for candidate in candidates if any(candidate.is_relative_to(root) for root in roots)]
    if not allowed:
        raise outside
    return next((candidate for candidate in allowed if candidate.exists()), allowed[0])


def with_parameters(knobs: Mapping[str, Knob]) -> Callable[[F], F]:
    """A flow's function gets a parameter for each knob in place of its ``**parameters``, with what Prefect's schema and form show of it."""

    def made(work: F) -> F:
        helps = "\n".join(f"    {name}: {knob.help}" for name, knob in knobs.items())
        before, _, after = inspect.cleandoc(work.__doc__ or "").partition("Args:\n")
        work.__doc__ = f"{before.rstrip()}\n\nArgs:\n{helps}\n{after}"
        return taking(map(parameter, knobs.values()))(work)

    return made


def parameter(knob: Knob) -> inspect.Parameter:
    """A knob with its type, default, bounds, choices and unit, as pydantic writes them into a JSON schema."""
    names = knob.choices or (known_names(knob.names) if knob.names not in ("", "tasks") else ())
    kind: Any = Literal[names] if names else str if knob.base is Path else knob.base
    bounds: dict[str, Any] = {"ge": knob.low, "gt": knob.above, "le": knob.high, "lt": knob.below}
    if given := {name: bound for name, bound in bounds.items() if bound is not None}:
        kind = Annotated[kind, Field(**given)]
    if knob.nothing:  # a pattern, since jsonschema's message on a constant names nothing but that
        kind = kind | (Literal[knob.nothing] if names else Annotated[str, Field(pattern=rf"^({knob.nothing}|[0-9.]+)$")])
    if knob.many or knob.several or knob.joined:
        kind = list[kind] if knob.many else kind | list[kind]
    if knob.many or knob.optional:
        kind = kind | None
    shown = Annotated[
        kind, Field(json_schema_extra={"unit": f"{'share ' * knob.unit.startswith('of ')}{knob.unit}"} if knob.unit else None)
    ]
    default = [one if one is not None else knob.nothing for one in knob.default] or None if knob.many else knob.default
    return inspect.Parameter(knob.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=shown)


def checked(make: Callable[..., T], own: Collection[str] = (), /, **parameters: Any) -> tuple[T, dict[str, Any]]:
    """What `make` makes of a flow's parameters, and those in `own`, which aren't for it; names are looked at and paths resolved.

    A parameter that is None or empty wasn't given. Raises `SettingsError` with everything that is wrong at once, with what `make` says.
    """
    given = {name: value for name, value in parameters.items() if value is not None and value != []}
    problems = _name_problems(given)
    roots = data_roots()
    for name in [*PATHS, *(["model"] if _is_path(given.get("model", "")) else [])]:
        if isinstance(given.get(name), str | Path):
            try:
                given[name] = str(inside(str(given[name]), roots))
            except SettingsError as error:
                problems.append(f"{name} {error}")
                given[name] = "refused"  # nothing is read
    mine = {name: given.pop(name) for name in own if name in given}
    try:
        made = make(**given)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(all_problems("the request", problems), problems)
    return made, mine


def checked_settings(**parameters: Any) -> SelectionSettings:
    """The settings of one selection. Raises what `checked` raises."""
    return checked(settings_from, **parameters)[0]


def as_sent(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that were checked, as a deployment's schema wants them: lists for ``a,b``, numbers for numbers in quotes."""
    known, sent = options(), dict[str, Any]()
    for name, value in parameters.items():
        knob, read = known[name], known[name].converted(value)
        if knob.many:
            sent[name] = list(read) or [knob.nothing] * bool(value)
        else:
            sent[name] = value if knob.base is Path or read is None else read  # paths are the worker's matter; "full" is the schema's word
    return sent


def _is_path(model: Any) -> bool:
    """Whether a model's name can only be a folder. What lies where the worker happens to work has no say in it."""
    return isinstance(model, str) and (model.startswith((".", "/", "~")) or model.count("/") > 1)


def _model_problems(model: str) -> list[str]:
    if _is_path(model):
        return []
    if not MODEL.fullmatch(model):
        return [f"model {model!r} isn't a model's name: an alias, owner/name, or a folder"]
    if model != ALIAS and Path(model).is_dir():
        # The libraries would load it: the same request would mean two things in two places.
        what = f"model {model!r} is a Hub name, but the worker's working directory has a folder of this name ({Path(model).resolve()})"
        return [f"{what}; rename it, or say ./{model} for a folder of this name inside the data folders"]
    return []


def _name_problems(given: Mapping[str, Any]) -> list[str]:
    task, output, model = (given[name] if isinstance(given.get(name), str) else None for name in ("task", "output", "model"))
    problems = _model_problems(model) if model else []
    if task is not None and not TASK.fullmatch(task):
        problems.append(f"task {task!r} isn't a task's name: letters, digits, - and _, or hf:owner/name[:config]")
    if output is not None and not FOLDER.fullmatch(output):
        problems.append(f"output {output!r} isn't a folder's name: letters, digits, ., - and _; it lies in the program's home")
    return problems
