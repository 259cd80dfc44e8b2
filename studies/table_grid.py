"""What the table of trainings holds: which configurations of which methods, on how many seeds, and in which order they are recorded.

The order makes any prefix of it useful: first the defaults of the standard methods on three seeds, from which on selections can be
simulated, then one configuration of each method after the other. What is to be cut if time is short comes last: K = 300, before it the
random starts of heads.
"""

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pelt_automl.durable import write_text
from pelt_automl.methods import BASELINES, METHODS, STANDARD

GRID = Path(__file__).with_name("table_grid.json")
K, LARGER_K = 100, 300
MORE_METHODS = ("ia3", "prompt")
"""Recorded in addition to the standard ones."""
FULL = "full"
"""Fine-tuning of every weight: so dear that it has its default only."""
PROBE = "probe"
"""Of the baselines, the one whose linear map heads start from."""
DEFAULT = "default"
CONFIGURATIONS = (DEFAULT, "known-1", "known-2", "random-1", "random-2")
DEEP_TASKS, LARGER_K_TASKS = ("sst2", "pydoc-topic", "snips"), ("sst2", "pydoc-topic")
TUNED = tuple(method for method in STANDARD if method != FULL)
DEEP_METHODS = ("lora", "adapter", "bitfit", "prefix")
DIGITS = 3
"""Significant digits of numbers with a fraction that are drawn."""
HeadStart = Literal["probe", "random", "none"]


@dataclass(frozen=True)
class Configuration:
    """Hyper-parameters of a method, and how they were chosen."""

    method: str
    name: str
    """``default``, ``known-1``, ``known-2``, ``random-1``, ``random-2``; a baseline has ``default`` alone."""
    hyper_parameters: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """8 hex digits of the hyper-parameters: names may move, these don't. Of a baseline, which has no training: ``fitted``."""
        said = json.dumps(dict(self.hyper_parameters), sort_keys=True).encode()
        return "fitted" if self.method in BASELINES else hashlib.sha256(said).hexdigest()[:8]


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
    content = json.loads(path.read_text(encoding="utf-8")) | {name: {DEFAULT: {}} for name in BASELINES}
    return {method: {name: Configuration(method, name, values) for name, values in own.items()} for method, own in content.items()}


@dataclass(frozen=True)
class Round:
    """What is recorded together: all tasks of the first seed, configuration and method, then the next."""

    configurations: Sequence[str]
    seeds: Sequence[int]
    methods: Sequence[str] | None = None
    """In addition to the baselines; None: all, full fine-tuning last."""
    starts: Sequence[HeadStart] = ("probe",)
    tasks: Sequence[str] | None = None
    """None: all."""
    k: int = K


ROUNDS: Mapping[str, Round] = {
    "defaults of standard methods": Round([DEFAULT], range(3), TUNED),
    "known-1 of standard methods": Round(["known-1"], range(3), TUNED),
    "random-1 of standard methods": Round(["random-1"], range(3), TUNED),
    "other methods": Round((DEFAULT, "known-1", "random-1"), range(3)),
    "known-2 and random-2": Round(("known-2", "random-2"), range(3)),
    "deep slice": Round(["known-1"], range(24), DEEP_METHODS, tasks=DEEP_TASKS),
    "seeds 3 and 4": Round(CONFIGURATIONS, range(3, 5)),
    "random starts": Round([DEFAULT], range(5), starts=["random"]),
    "K=300": Round(CONFIGURATIONS[:3], range(3), tasks=LARGER_K_TASKS, k=LARGER_K),
}


def trainings(tasks: Sequence[str], configurations: Configurations) -> Iterator[Training]:
    """All trainings of these tasks in the order in which they are recorded, each once."""
    seen, every = set[str](), [*(method for method in configurations if method not in (*BASELINES, FULL)), FULL]
    for name, own in ROUNDS.items():
        here = [task for task in tasks if own.tasks is None or task in own.tasks]
        # the baselines first, they take a second; then the methods, all with one configuration before any with the next
        order = [(method, DEFAULT) for method in BASELINES]
        order += [(method, wanted) for wanted in own.configurations for method in (every if own.methods is None else own.methods)]
        for seed in own.seeds:
            for configuration in (configurations[method][wanted] for method, wanted in order if wanted in configurations.get(method, {})):
                for start in ["none" if configuration.method in BASELINES else start for start in own.starts]:
                    for task in here:
                        training = Training(task, own.k, configuration, start, seed, name)
                        if training.key("") not in seen:
                            seen.add(training.key(""))
                            yield training


# -------------------------------------------------------------------- made from the program's search spaces


def made_configurations() -> dict[str, dict[str, dict[str, Any]]]:
    """By method and name: the published default, the first two that are known to be good, two draws of the space; of `full` the default."""
    from pelt_automl.search.spaces import load_spaces

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for method, space in load_spaces(None, tuple(dict.fromkeys((*STANDARD, "head", *MORE_METHODS)))).items():
        own = [METHODS[method].defaults, *(space.configuration(drawn) for drawn in space.good()[:2])]
        draws = _Draws(random.Random(int(hashlib.sha256(f"table of trainings: {method}".encode()).hexdigest()[:8], 16)))
        while method != FULL and len(own) < len(CONFIGURATIONS):
            drawn = space.suggest(draws)
            if space.refusal(drawn) is None and space.configuration(drawn) not in own:
                own.append(space.configuration(drawn))
        found[method] = dict(zip(CONFIGURATIONS, own[:1] if method == FULL else own, strict=False))
    return found


def write_configurations(path: Path = GRID) -> None:
    """Make ``table_grid.json``: the only part of the table that needs the search spaces."""
    write_text(path, json.dumps(made_configurations(), indent=1) + "\n")


class _Draws:
    """Random search, as a search space asks for it (see `pelt_automl.search.parameters.Suggests`), without Optuna."""

    def __init__(self, source: random.Random) -> None:
        self.source = source

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:  # noqa: ARG002
        value = math.exp(self.source.uniform(math.log(low), math.log(high))) if log else self.source.uniform(low, high)
        return min(high, max(low, float(f"{value:.{DIGITS}g}")))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:  # noqa: ARG002
        if log:
            return min(high, max(low, round(math.exp(self.source.uniform(math.log(low - 0.5), math.log(high + 0.5))))))
        return low + step * self.source.randrange((high - low) // step + 1)

    def suggest_categorical(self, name: str, choices: Any) -> Any:  # noqa: ARG002
        return self.source.choice(list(choices))
