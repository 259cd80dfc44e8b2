"""UniPELT's protocol (Mao et al., ACL 2022, section 4.1) as values: what is trained, on which data, for how long.

The paper's values are the defaults, as far as they are known: learning rates and batch size are known from a thesis that says it takes
them from the paper, and 50 epochs from memory of its appendix. What is done otherwise: docs/reproduction.md.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.log.events import HyperParameters
from pelt_automl.methods import METHODS
from pelt_automl.options import did_you_mean, read_options
from pelt_automl.settings import PAPER_TRAINING, ProtocolSettings, Rule, TrainingSettings, knobs_of
from pelt_automl.timing.schedule import TrainingPlan, wanted_steps

K = int | None
"""Training examples; None for all there are."""

TASKS, KS = ProtocolSettings.tasks, ProtocolSettings.ks

MODEL = "bert-base-uncased"

BY_RUN = ("tasks", "ks", "seeds", "methods")
"""What of a protocol says which runs there are; all else is the same for each of them."""

BY_MACHINE = ("threads", "pack_size", "workers")
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
class Protocol(ProtocolSettings):
    """Which runs there are, and what is the same for all of them."""

    training: TrainingSettings = PAPER_TRAINING
    training_seed: int = 42
    """Seed of initialization and order in every run (HF's default): only the data change with the data seed, as in the paper."""

    def rules(self) -> tuple[Rule, ...]:
        """Of the lists, and of the methods' names."""
        there = f"there are {', '.join(PAPER_METHODS)}"
        strange = [name for name in self.methods if name not in PAPER_METHODS]
        return (*super().rules(), *((False, f"there is no method {one!r}{did_you_mean(one, PAPER_METHODS)}; {there}") for one in strange))

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
    values, problems = read_options(options, {each.name: each for kind in (TrainingSettings, Protocol) for each in knobs_of(kind)})
    training = {each.name: values.pop(each.name) for each in knobs_of(TrainingSettings) if each.name in values}
    made, trained = Protocol(), PAPER_TRAINING
    try:
        trained = replace(trained, **training)
    except SettingsError as error:
        problems += error.problems
    try:
        made = Protocol(training=trained, **values)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(all_problems("the reproduction", problems), problems)
    return made
