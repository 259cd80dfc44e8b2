"""UniPELT's protocol (Mao et al., ACL 2022, section 4.1) as values: what is trained, on which data, for how long.

The paper's values are the defaults, as far as they are known: learning rates and batch size are known from a thesis that says it takes
them from the paper, and 50 epochs from memory of its appendix. What is done otherwise: docs/reproduction.md.
"""

import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.methods import METHODS
from pelt_automl.records import HyperParameters
from pelt_automl.settings import LARGEST_SEED, PAPER_LENGTH, SMALLEST_K, TrainingSettings
from pelt_automl.training.schedule import TrainingPlan, wanted_steps

K = int | None
"""Training examples; None for all there are."""

TASKS = ("sst2", "mrpc", "cola", "rte", "qnli", "stsb", "mnli", "qqp")
"""In the order of the paper's tables."""

KS: tuple[K, ...] = (100, 500, 1000, None)

SEEDS = (0, 1, 2, 3, 4)
"""Data seeds: the paper has five and doesn't say which."""

MODEL = "bert-base-uncased"

TRAINING = TrainingSettings(
    batch_size=16,
    max_length=PAPER_LENGTH,
    epochs=50,
    min_steps=1,
    max_steps=sys.maxsize,
    warmup=0.0,
    patience=10,
    head_start="random",
)
"""The paper's training, without dropout in the backbone, so that a run ends the same in any pack."""

BY_RUN = ("tasks", "ks", "seeds", "methods")
"""What of a protocol says which runs there are; all else is the same for each of them."""

BY_MACHINE = ("threads", "pack_size")
"""What of the training changes no result."""


def k_name(k: K) -> str:
    """``100``, ``full``."""
    return "full" if k is None else str(k)


@dataclass(frozen=True)
class PaperMethod:
    """A row of the paper's tables."""

    name: str
    label: str
    """As the tables have it."""
    ks: tuple[K, ...]
    """Where the paper prints it; it runs there unless it is asked for by name."""
    method: str
    """In this program."""
    changes: HyperParameters = field(default_factory=dict)
    """What differs from that method's published configuration."""

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """All of them, the learning rate included."""
        return METHODS[self.method].defaults | dict(self.changes)


_LOW: tuple[K, ...] = KS[:-1]

PAPER_METHODS: dict[str, PaperMethod] = {
    method.name: method
    for method in (
        PaperMethod("full", "Fine-tuning", KS, "full"),
        PaperMethod("bitfit", "BitFit", _LOW, "bitfit"),
        PaperMethod("adapter", "Adapter", KS, "adapter"),
        PaperMethod("prefix", "Prefix", KS, "prefix"),
        PaperMethod("prefix-50", "Prefix L=50", (100,), "prefix", {"prefix_length": 50}),
        PaperMethod("lora", "LoRA", KS, "lora"),
        PaperMethod("unipelt-ap", "UniPELT AP", KS, "unipelt-ap"),
        PaperMethod("unipelt-ap-nogate", "AP -NoGate", (None,), "unipelt", {"submodules": "adapter+prefix", "gates": False}),
        PaperMethod("unipelt-apl", "UniPELT APL", KS, "unipelt-apl"),
    )
}
"""By name, in the order of the paper's tables."""


@dataclass(frozen=True)
class Cell:
    """What is trained in one go: a task's data of one size and one seed, with all methods."""

    task: str
    k: K
    seed: int

    @property
    def name(self) -> str:
        """``qnli-k100-seed0``: also the name of its file."""
        return f"{self.task}-k{k_name(self.k)}-seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.task}, K={k_name(self.k)}, seed {self.seed}"


@dataclass(frozen=True)
class Protocol:
    """Which runs there are, and what is the same for all of them."""

    tasks: tuple[str, ...] = TASKS
    ks: tuple[K, ...] = KS
    seeds: tuple[int, ...] = SEEDS
    """Each shuffles the training data: the first K are trained on, the next 1,000 selected on."""
    methods: tuple[str, ...] = ()
    """Names of `PAPER_METHODS`, at every K; empty: each where the paper prints it."""
    training: TrainingSettings = TRAINING
    evaluations: int | None = None
    """Times that select is evaluated in a training, equally far apart; None: once an epoch."""
    select_most: int | None = None
    """Examples to select on at most, of the 1,000 that follow the K; None: all of them."""
    report_most: int | None = None
    """Examples of the report split that are scored at most, the same ones for all runs; None: all."""
    training_seed: int = 42
    """Seed of initialization and order in every run (HF's default): only the data change with the data seed, as in the paper."""

    def __post_init__(self) -> None:
        if problems := _problems({name: getattr(self, name) for name in _CHECKED}):
            raise SettingsError(all_problems("the reproduction", problems))

    def cells(self) -> Iterator[Cell]:
        """All cells, seed after seed, so that a table of one seed is there before the next begins."""
        return (Cell(task, k, seed) for seed in self.seeds for task in self.tasks for k in self.ks)

    def methods_at(self, k: K) -> list[PaperMethod]:
        """The methods that run at this K, in the order of the paper's tables."""
        if self.methods:
            return [method for name, method in PAPER_METHODS.items() if name in self.methods]
        # At a K that isn't the paper's: those that it prints at every K with a limit.
        return [method for method in PAPER_METHODS.values() if (k in method.ks if k in KS else set(_LOW) <= set(method.ks))]

    def plan(self, train_size: int) -> TrainingPlan:
        """Steps and evaluations of a training; a few steps more where the evaluations don't divide them."""
        steps = wanted_steps(train_size, self.training)
        parts = min(steps, self.evaluations or max(1, round(self.training.epochs)))
        length = math.ceil(steps / parts)
        return TrainingPlan(
            steps=length * parts,
            rungs=(),
            evaluate_at=tuple(length * (i + 1) for i in range(parts)),
            batch_size=self.training.batch_size,
            warmup=self.training.warmup,
            clip=self.training.clip,
            weight_decay=self.training.weight_decay,
            patience=self.training.patience,
        )

    def shared(self) -> dict[str, Any]:
        """What is the same for every run, as plain values: runs with another such part don't belong into one table."""
        plain = {name: value for name, value in asdict(self).items() if name not in BY_RUN}
        return plain | {"training": {name: value for name, value in plain["training"].items() if name not in BY_MACHINE}}

    def departures(self) -> list[str]:
        """Settings that aren't the paper's, as ``epochs 10 (paper: 50)``."""
        mine, paper = _flat(self.shared()), _flat(Protocol().shared())
        differing = [name for name, value in mine.items() if value != paper[name]]
        return [f"{name.replace('_', ' ')} {_word(name, mine[name])} (paper: {_word(name, paper[name])})" for name in differing]


_CHECKED = (*BY_RUN, "evaluations", "select_most", "report_most")


def _problems(values: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with a protocol's values, all of `_CHECKED`."""
    problems = [f"there is no task {task!r}; the paper has {', '.join(TASKS)}" for task in values["tasks"] if task not in TASKS]
    problems += [
        f"there is no method {name!r}; there are {', '.join(PAPER_METHODS)}" for name in values["methods"] if name not in PAPER_METHODS
    ]
    problems += [f"k is {k}; it must be at least {SMALLEST_K}, or 'full'" for k in values["ks"] if k is not None and k < SMALLEST_K]
    problems += [f"seed is {seed}; it must be from 0 to {LARGEST_SEED}" for seed in values["seeds"] if not 0 <= seed <= LARGEST_SEED]
    for name in BY_RUN:
        listed = values[name]
        if not listed and name != "methods":
            problems.append(f"name at least one of the {name}")
        if len(set(listed)) < len(listed):
            problems.append(f"the {name} name one twice")
    for name in ("evaluations", "select_most", "report_most"):
        value = values[name]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            problems.append(f"{name} is {value!r}; it must be a whole number, at least 1")
    return problems


def _flat(shared: Mapping[str, Any]) -> dict[str, Any]:
    return {**shared["training"], **{name: value for name, value in shared.items() if name != "training"}}


def _word(name: str, value: Any) -> str:
    if value is None:
        return "once an epoch" if name == "evaluations" else "all"
    return f"{value:g}" if isinstance(value, float) else str(value)


def protocol_from(**options: Any) -> Protocol:
    """A protocol from flat options; None means the paper's. Lists take comma-separated text too, ``ks`` has ``full`` for all data.

    Raises `SettingsError` with everything that is wrong at once.
    """
    given = {name: value for name, value in options.items() if value is not None}
    training = {item.name: given.pop(item.name) for item in fields(TrainingSettings) if item.name in given}
    unreadable: dict[str, str] = {}
    for name in (name for name in BY_RUN if name in given):
        given[name] = _list(given[name])
        if name in ("ks", "seeds"):
            given[name], wrong = _whole_numbers(name, given[name])
            unreadable |= {name: wrong} if wrong else {}
    problems = list(unreadable.values())
    checked = TRAINING
    try:
        checked = TrainingSettings(**(asdict(TRAINING) | training))
    except SettingsError as error:
        problems.append(str(error))
    readable = {name: value for name, value in given.items() if name not in unreadable}
    problems += _problems({name: getattr(Protocol, name) for name in _CHECKED} | readable)
    if problems:
        raise SettingsError(all_problems("the reproduction", problems))
    return Protocol(training=checked, **given)


def _list(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else [str(part) for part in value]
    return tuple(part.strip() for part in parts if part.strip())


def _whole_numbers(name: str, parts: tuple[str, ...]) -> tuple[tuple[K, ...], str]:
    """The numbers, and what can't be read as one."""
    numbers = [None if name == "ks" and part.lower() == "full" else part for part in parts]
    wrong = [part for part in numbers if part is not None and not re.fullmatch(r"-?\d+", part)]
    expected = "whole numbers or 'full'" if name == "ks" else "whole numbers"
    if wrong:
        return (), f"{name} has {', '.join(wrong)}; expected {expected}"
    return tuple(None if part is None else int(part) for part in numbers), ""
