"""Search spaces from YAML, in Optuna's own words, checked whole before anything is loaded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

import pelt_automl
from pelt_automl.errors import SearchSpaceError, all_problems
from pelt_automl.methods import LEARNING_RATE, METHODS, PeltMethod
from pelt_automl.search.parameters import Parameter, Suggests, in_order
from pelt_automl.search.space_checks import FILE_KEYS, file_problems, parameter_from, portfolio_from, portfolio_problems

LADDER = (0.5, 1.0, -0.5, 1.5, 0.75, 0.25, 2.0)
"""Powers of ten between the published learning rate and those that are tried after it; few parameters and few steps want higher ones."""

MOST_COMBINATIONS = 10_000
"""Combinations of choices that are looked at for those that make no sense."""


@dataclass(frozen=True)
class SearchSpace:
    """What is searched for one method; its other hyper-parameters keep the published default."""

    method: str
    version: int
    """Part of the study's name: a space that changes gets a new study."""
    parameters: tuple[Parameter, ...]
    """Each after those that it depends on."""
    portfolio: tuple[Mapping[str, Any], ...] = ()
    """Configurations that are known to be good, by what they change in the published default; the file's."""

    @property
    def _method(self) -> PeltMethod:
        return METHODS[self.method]

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """A configuration of the searched hyper-parameters, as far as they have a meaning beside each other."""
        drawn: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.applies(drawn):
                drawn[parameter.name] = parameter.suggest(trial)
        return drawn

    def default(self) -> dict[str, Any]:
        """The configuration to try first: the published one, as far as it is searched and has a meaning."""
        return self._changed({})

    def good(self) -> list[dict[str, Any]]:
        """What to try after the default where there are few trials: the file's portfolio, else a ladder of learning rates.

        Hyper-parameters, the learning rate first, move a method's scores by more than good methods differ (adapters library paper, table 3;
        HF peft's comparison on MetaMathQA), so that without a portfolio the published rate is multiplied by the powers of `LADDER`, as far
        as the products lie in the space.
        """
        changes = self.portfolio or tuple({LEARNING_RATE: rate} for rate in self._ladder())
        found = [self._changed(change) for change in changes]
        return [configuration for number, configuration in enumerate(found) if configuration not in [self.default(), *found[:number]]]

    def _ladder(self) -> list[float]:
        (rate,) = [parameter for parameter in self.parameters if parameter.name == LEARNING_RATE]
        rates = [float(f"{self._first(rate) * 10**power:.2g}") for power in LADDER]
        return [value for value in rates if rate.holds(value)]

    def _changed(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The published configuration with these changes, as far as its parameters are searched and have a meaning."""
        drawn: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.applies(drawn):
                drawn[parameter.name] = changes.get(parameter.name, self._first(parameter))
        return drawn

    def _first(self, parameter: Parameter) -> Any:
        """Its published value; where there is none, its first choice, or a value of its range."""
        default = self._method.defaults.get(parameter.name)
        if default is not None and parameter.name not in self._method.unpublished:
            return default
        if parameter.kind == "categorical":
            return parameter.choices[0]
        return default if default is not None and parameter.holds(default) else parameter.low

    def configuration(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """All hyper-parameters of a trial: the drawn ones, and the published value of those that aren't searched.

        A searched one that wasn't drawn has no meaning in this trial and is left out.
        """
        searched = {parameter.name for parameter in self.parameters}
        fixed = {name: value for name, value in self._method.defaults.items() if name not in searched}
        names = [name for name in self._method.defaults if name in drawn or name in fixed]
        return {name: drawn.get(name, fixed.get(name)) for name in names} | dict(drawn)

    def searched(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a configuration that is searched: the inverse of `configuration`."""
        return {parameter.name: configuration[parameter.name] for parameter in self.parameters if parameter.name in configuration}

    def includes(self, configuration: Mapping[str, Any]) -> bool:
        """Whether a configuration, whole as in a record, is one that this space can give and that makes sense."""
        if self._method.refusal(configuration):
            return False
        drawn = self.searched(configuration)
        whole = self._changed(drawn) == drawn and self.configuration(drawn) == dict(configuration)
        return whole and all(parameter.holds(drawn[parameter.name]) for parameter in self.parameters if parameter.name in drawn)

    def refusal(self, drawn: Mapping[str, Any]) -> str | None:
        """Why a configuration makes no sense, as ``what: why``; None for one that does."""
        return self._method.refusal(self.configuration(drawn))

    def excluded(self) -> dict[str, list[str]]:
        """What the search leaves out because it makes no sense, by reason; over the choices alone, all numbers at their default."""
        found: dict[str, list[str]] = {}
        for drawn in islice(self.combinations(), MOST_COMBINATIONS):
            if reason := self.refusal(drawn):
                what, _, why = reason.rpartition(": ")
                known = found.setdefault(why, [])
                known += [what] if what not in known else []
        return found

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination of choices that have a meaning beside each other, all numbers at the value to try first."""
        return self._combinations({}, self.parameters)

    def _combinations(self, drawn: dict[str, Any], left: tuple[Parameter, ...]) -> Iterator[dict[str, Any]]:
        if not left:
            yield drawn
            return
        first, *others = left
        if not first.applies(drawn):
            yield from self._combinations(drawn, tuple(others))
            return
        for value in first.choices or (self._first(first),):
            yield from self._combinations({**drawn, first.name: value}, tuple(others))


def shipped_spaces() -> Path:
    """The folder of the search spaces that come with the program: inside an installed wheel, beside the package in a clone."""
    package = Path(pelt_automl.__file__).parent
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


def load_spaces(folder: Path | None, methods: tuple[str, ...]) -> dict[str, SearchSpace]:
    """The space of each method, from `folder` where it has one, else the shipped one.

    Raises `SearchSpaceError` with everything that is wrong in any of the files.
    """
    if folder is not None and not folder.is_dir():
        raise SearchSpaceError(f"the folder with search spaces {folder} isn't there")
    spaces, problems = dict[str, SearchSpace](), list[str]()
    for method in methods:
        path = _own(folder, method) or shipped_spaces() / f"{method}.yaml"
        try:
            spaces[method] = load_space(path)
        except SearchSpaceError as error:
            problems.append(str(error))
            continue
        if spaces[method].method != method:
            problems.append(f"{path}: method is {spaces[method].method!r}; by the file's name it must be {method!r}")
    if problems:
        raise SearchSpaceError("\n".join(problems))
    return spaces


def _own(folder: Path | None, method: str) -> Path | None:
    """The method's file in a folder of the user's own, where there is one."""
    path = folder / f"{method}.yaml" if folder else None
    return path if path and path.is_file() else None


def lists_its_own(folder: Path | None, space: SearchSpace) -> bool:
    """Whether a space is from the user's own folder and says what to try after the default."""
    return bool(space.portfolio) and _own(folder, space.method) is not None


def load_space(path: Path) -> SearchSpace:
    """Read and check one file. Raises `SearchSpaceError` with all of its problems."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SearchSpaceError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise SearchSpaceError(f"{path}: expected the keys {', '.join(sorted(FILE_KEYS))}, found {type(data).__name__}")
    if problems := file_problems(data):
        raise SearchSpaceError(all_problems(str(path), problems))
    method = METHODS[data["method"]]
    ordered, _ = in_order([parameter_from(name, entry, method) for name, entry in data["hyper_parameters"].items()])
    space = SearchSpace(method.name, data["version"], ordered, tuple(portfolio_from(data, method)))
    if problems := portfolio_problems(space.portfolio, ordered):
        raise SearchSpaceError(all_problems(str(path), problems))
    if reason := space.refusal(space.default()):
        raise SearchSpaceError(f"{path}: the configuration to try first makes no sense: {reason}")
    return space
