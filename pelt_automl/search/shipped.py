"""What comes with the program: how configurations have done on the open data sets of ``studies/table``, checked when it is read."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from pelt_automl.durable import write_text
from pelt_automl.errors import SearchSpaceError, all_problems
from pelt_automl.log.codec import checked
from pelt_automl.methods import METHODS
from pelt_automl.search.portfolio import Observation, Source
from pelt_automl.search.spaces import shipped_spaces

VERSION = 1
"""Of the file's format."""


@dataclass(frozen=True)
class Portfolio:
    """The file ``portfolio.json``. ``python -m studies.portfolio --write`` makes it."""

    version: int
    model: str
    """On which all of it was observed."""
    sources: tuple[Source, ...]
    observations: tuple[Observation, ...]


@cache
def shipped_portfolio() -> Portfolio:
    """The one that comes with the program. Raises `SearchSpaceError`."""
    return load_portfolio(shipped_spaces() / "portfolio.json")


def load_portfolio(path: Path) -> Portfolio:
    """Read and check one file. Raises `SearchSpaceError` with all of its problems."""
    try:
        data = json.loads(path.read_bytes())
        found = data.get("version") if isinstance(data, dict) else None
        if found != VERSION:
            raise SearchSpaceError(f"{path}: version {VERSION} of a portfolio is expected, found {found!r}; put back the shipped file")
        portfolio = checked(Portfolio, data)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, SearchSpaceError):
            raise
        raise SearchSpaceError(f"{path}: it can't be read: {error}; put back the shipped file") from error
    if problems := _problems(portfolio):
        raise SearchSpaceError(all_problems(str(path), problems))
    return portfolio


def write_portfolio(path: Path, portfolio: Portfolio) -> None:
    """A source and an observation a line, so that changes can be read."""
    plain = asdict(portfolio)
    head = [f'"{name}": {json.dumps(plain[name])}' for name in ("version", "model")]
    lists = [f'"{name}": [\n' + ",\n".join(map(json.dumps, plain[name])) + "\n]" for name in ("sources", "observations")]
    write_text(path, "{" + ",\n".join(head + lists) + "}\n")


def _problems(portfolio: Portfolio) -> list[str]:
    names = [source.name for source in portfolio.sources]
    found = [f"sources, {name}: it is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    for source in portfolio.sources:
        own = source.features
        if own.classes < 0 or own.examples < 1 or own.length < 1 or not math.isfinite(own.probe or 0.0):
            found.append(f"sources, {source.name}: classes from 0 on, examples and length from 1 on and a finite probe are expected: {own}")
    for number, observed in enumerate(portfolio.observations, start=1):
        found += [f"observations, entry {number}: {problem}" for problem in problems_of(observed, names)]
    return found


def problems_of(observed: Observation, sources: Sequence[str]) -> list[str]:
    """What is wrong with an observation of one of these sources."""
    found = [] if observed.source in sources else [f"there is no source {observed.source!r}"]
    if observed.method not in METHODS:
        return [*found, f"there is no method {observed.method!r}"]
    if reason := METHODS[observed.method].refusal(observed.hyper_parameters):
        found.append(reason)
    if not math.isfinite(observed.gain):
        found.append(f"gain is {observed.gain}; points are expected, a finite number")
    if not 0 < observed.cost < math.inf:
        found.append(f"cost is {observed.cost}; a finite number above 0 is expected")
    return found
