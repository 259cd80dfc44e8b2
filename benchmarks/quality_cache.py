"""What has been measured of a data set, on disk: the oracle's searches, trainings of configurations, and selections.

One folder a data set, K, protocol and everything else that changes a training; JSON lines in it, one file a method and one with the
selections. A line is written when its training, search or selection has ended, so that a killed benchmark goes on where it stood.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pelt_automl

Row = dict[str, Any]


@dataclass(frozen=True)
class Configuration:
    """A method with all of its hyper-parameters, trained for so many steps: what a user gets."""

    method: str
    hyper_parameters: Mapping[str, Any]
    steps: int
    """Optimizer steps; a selection that is short of time trains for fewer."""

    @property
    def key(self) -> str:
        """The same for the same configuration."""
        return json.dumps([self.method, dict(self.hyper_parameters), self.steps], sort_keys=True)

    @staticmethod
    def of(row: Mapping[str, Any]) -> "Configuration":
        """From an object with these three fields."""
        return Configuration(row["method"], row["hyper_parameters"], row["steps"])

    def plain(self) -> Row:
        """The inverse of `of`."""
        return {"method": self.method, "hyper_parameters": dict(self.hyper_parameters), "steps": self.steps}


@dataclass(frozen=True)
class Run:
    """A configuration trained on one of the truth's seeds, scored on the whole report split."""

    score: float
    """In the metric's own unit."""
    predictions: list[float]
    """Class index or number of each report example."""
    cost: float
    """Seconds that training and scoring take on a quiet machine."""
    wall: float
    """Seconds that they took."""


@dataclass(frozen=True)
class Cache:
    """A data set's folder."""

    folder: Path

    @staticmethod
    def at(root: Path, name: str, options: Mapping[str, Any]) -> "Cache":
        """`options`: all that changes a training, the hash of what is trained on among it."""
        digest = hashlib.sha256(json.dumps(dict(options), sort_keys=True).encode()).hexdigest()[:8]
        folder = root / f"{name}-k{options.get('k', 'full')}-{options.get('protocol', 'strict')}-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
        return Cache(folder.absolute())

    def of_method(self, method: str) -> Path:
        """Searches and trainings of one method."""
        return self.folder / f"{method}.jsonl"

    def search_folder(self, method: str, trials: int) -> Path:
        """Where the oracle's search of a method works, and goes on after it was killed; another version of the program begins anew."""
        return self.folder / f"search-{method}-{trials}-{program()}"

    @property
    def choices(self) -> Path:
        """Selections."""
        return self.folder / "selections.jsonl"

    def searched(self, method: str, trials: int) -> Row | None:
        """The oracle's search of a method with so many trials, if it has come to its end."""
        found = [row for row in rows(self.of_method(method)) if row["what"] == "searched" and row["trials"] == trials]
        return found[-1] if found else None

    def runs(self) -> dict[str, dict[int, Run]]:
        """All trainings, by the configuration's key and the seed."""
        found: dict[str, dict[int, Run]] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for row in rows(path):
                if row["what"] == "run":
                    run = Run(row["score"], row["predictions"], row["cost"], row["wall"])
                    found.setdefault(Configuration.of(row).key, {})[row["seed"]] = run
        return found

    def report(self) -> Row:
        """Metric, its direction, and the report split's labels, as the first search has found them."""
        return next(row for path in sorted(self.folder.glob("*.jsonl")) for row in rows(path) if row["what"] == "report")


def rows(path: Path) -> Iterator[Row]:
    """A file's lines; a last one that a kill cut off is left out."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Write a line; one that a kill cut off is taken away first."""
    if path.is_file():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(dict(row)) + "\n")


def program() -> str:
    """A hash of the program's source and search spaces: a selection that another version made isn't this one's."""
    package = Path(pelt_automl.__file__).parent
    files = sorted([*package.rglob("*.py"), *(package.parent / "search_spaces").glob("*.yaml")])
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
