"""What the table of trainings holds: which configurations of which methods, on how many seeds, and in which order they are recorded.

The order is breadth first, so that any prefix of it is of use: first every source and method once with either start, then more seeds and
configurations. What is to be cut if time is short comes last: K = 300, before it the random starts of further seeds.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pelt_automl.durable import write_text
from pelt_automl.methods import BASELINES

GRID = Path(__file__).with_name("table_grid.json")

K, LARGER_K = 100, 300
SEEDS = range(5)
DEEP_SEEDS = range(24)
LARGER_K_SEEDS = range(3)

MORE_METHODS = ("ia3", "prompt")
"""Recorded in addition to the standard ones."""
FULL = "full"
"""Fine-tuning of every weight: so dear that it has its default only, last in each round."""
PROBE = "probe"
"""Of the baselines, the one whose linear map heads start from."""
DEFAULT = "default"
CONFIGURATIONS = (DEFAULT, "known-1", "known-2", "random-1", "random-2")
LARGER_K_CONFIGURATIONS = (DEFAULT, "known-1", "known-2")

DEEP_TASKS = ("sst2", "pydoc-topic", "snips")
DEEP_TRAININGS = tuple((method, "known-1") for method in ("lora", "adapter", "bitfit", "prefix"))
LARGER_K_TASKS = ("sst2", "pydoc-topic")

HeadStart = Literal["probe", "random", "none"]
BOTH: Sequence[HeadStart] = ("probe", "random")


@dataclass(frozen=True)
class Configuration:
    """Hyper-parameters of a method, and how they were chosen."""

    method: str
    name: str
    """``default``, ``known-1``, ``known-2``, ``random-1``, ``random-2``; a baseline has ``default`` alone."""
    hyper_parameters: Mapping[str, Any]

    @property
    def chosen(self) -> str:
        """``default`` (published), ``known`` (to be good) or ``random`` (a draw of the search space)."""
        return self.name.partition("-")[0]

    @property
    def fitted(self) -> bool:
        """Whether it is a baseline, which has no training: fitted on each split's train part."""
        return self.method in BASELINES

    @property
    def digest(self) -> str:
        """8 hex digits of the hyper-parameters: names may move, these don't."""
        if self.fitted:
            return "fitted"
        return hashlib.sha256(json.dumps(dict(self.hyper_parameters), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Training:
    """One cell of the grid."""

    task: str
    k: int
    configuration: Configuration
    head_start: HeadStart
    """``none`` for a baseline."""
    seed: int
    """Of the split, the initialization and the order: a baseline has only the first."""
    round: str
    """In which it is recorded."""

    def key(self, model: str) -> str:
        """Unique, and the name of its file."""
        own = self.configuration
        return f"{model}.{self.task}.k{self.k}.{own.method}-{own.digest}.{self.head_start}.seed{self.seed}"

    def __str__(self) -> str:
        start = "" if self.head_start == "none" else f", {self.head_start} start"
        return f"{self.task}, K={self.k}: {self.configuration.method} {self.configuration.name}{start}, seed {self.seed}"


Configurations = Mapping[str, Mapping[str, Configuration]]
"""By method and name."""


def committed_configurations(path: Path = GRID) -> Configurations:
    """Those of ``table_grid.json``, and the baselines."""
    content = json.loads(path.read_text(encoding="utf-8"))
    found = {method: {name: Configuration(method, name, values) for name, values in own.items()} for method, own in content.items()}
    return found | {name: {DEFAULT: Configuration(name, DEFAULT, {})} for name in BASELINES}


def write_configurations(path: Path = GRID) -> None:
    """Make ``table_grid.json`` from the program's search spaces: the only part of the table that needs them."""
    from studies.table_configurations import configurations

    write_text(path, json.dumps(configurations(), indent=1) + "\n")


def trainings(tasks: Sequence[str], configurations: Configurations) -> Iterator[Training]:
    """All trainings of these tasks in the order in which they are recorded, each once."""
    seen = set[tuple[object, ...]]()
    for own in _with_repetitions(tasks, configurations):
        identity = (own.task, own.k, own.configuration.method, own.configuration.digest, own.head_start, own.seed)
        if identity not in seen:
            seen.add(identity)
            yield own


@dataclass(frozen=True)
class _Round:
    """Trainings that are recorded together: all tasks of the first method and configuration, then those of the next."""

    name: str
    configurations: Sequence[str]
    seeds: Sequence[int]
    head_starts: Sequence[HeadStart]
    """One after the other of each method, so that what is recorded can be compared from early on."""
    k: int = K
    tasks: Sequence[str] | None = None
    """None: all."""
    only: Sequence[tuple[str, str]] | None = None
    """Methods and configurations; None: every method."""


_ROUNDS = (
    _Round("defaults, seed 0", [DEFAULT], [0], BOTH),
    _Round("defaults, seed 1", [DEFAULT], [1], BOTH),
    _Round("known, seed 0", CONFIGURATIONS[1:3], [0], ["probe"]),
    _Round("random draws, seed 0", CONFIGURATIONS[3:], [0], ["probe"]),
    _Round("deep slice", (), DEEP_SEEDS, ["probe"], tasks=DEEP_TASKS, only=DEEP_TRAININGS),
    _Round("configurations, seed 1", CONFIGURATIONS[1:], [1], ["probe"]),
    _Round("seeds 2 to 4, probe", CONFIGURATIONS, SEEDS[2:], ["probe"]),
    _Round("defaults, seeds 2 to 4, random", [DEFAULT], SEEDS[2:], ["random"]),
    _Round("K=300", LARGER_K_CONFIGURATIONS, LARGER_K_SEEDS, ["probe"], k=LARGER_K, tasks=LARGER_K_TASKS),
)
ROUNDS = tuple(own.name for own in _ROUNDS)


def _with_repetitions(tasks: Sequence[str], configurations: Configurations) -> Iterator[Training]:
    for own in _ROUNDS:
        here = [task for task in tasks if own.tasks is None or task in own.tasks]
        for seed in own.seeds:
            for configuration in _of_round(own, configurations):
                starts: Sequence[HeadStart] = ["none"] if configuration.fitted else own.head_starts
                yield from (Training(task, own.k, configuration, start, seed, own.name) for start in starts for task in here)


def _of_round(own: _Round, configurations: Configurations) -> list[Configuration]:
    """The baselines first, they take a second; then the methods, all with one configuration before any with the next; full last."""
    fitted = [configurations[name][DEFAULT] for name in BASELINES]
    if own.only is not None:
        return [*fitted, *(configurations[method][name] for method, name in own.only)]
    tuned = [method for method in configurations if method not in (*BASELINES, FULL)]
    found = [configurations[method][name] for name in own.configurations for method in tuned if name in configurations[method]]
    full = [configurations[FULL][name] for name in own.configurations if name in configurations.get(FULL, {})]
    return [*fitted, *found, *full]
