"""Steps of the program's own training, timed: the real loop (`training.loop.Trainer`) on random weights and random texts.

Nothing of the loop is imitated: batches, collation, `Pack`, losses, `PackedAdamW`, schedule and the call after each step are those of a
selection. Left out are evaluations (they are timed in overheads.py) and what happens once a pack: building it, and putting its weights
back on the CPU at the end; `setup_seconds` says what building takes, the first step included.
"""

import gc
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import StepClock
from pelt_automl.backbones.loading import Backbone, Precision, compute_dtype, wrap
from pelt_automl.errors import SearchSpaceError
from pelt_automl.methods import LEARNING_RATE, METHODS
from pelt_automl.records import Seeds
from pelt_automl.search.spaces import SearchSpace, load_space, shipped_spaces
from pelt_automl.tasks import METRICS
from pelt_automl.training.evaluation import LabelScale
from pelt_automl.training.loop import Trainer
from pelt_automl.training.schedule import TrainingPlan
from pelt_automl.training.tokens import BatchOrder, Tokens
from pelt_automl.training.trials import TrialRun

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
"""Sizes by BERT's names of them."""

VOCABULARY, OUTPUTS = 30522, 2
EXAMPLES = 64
RATE = 1e-4
"""Of every trial: speed doesn't depend on it, and random weights stay finite."""

NEVER = 1_000_000
"""Steps of a full training, far more than are taken."""


class DidNotRun(RuntimeError):  # noqa: N818 reads as what happened
    """A pack couldn't be trained as asked, with the reason."""


@dataclass(frozen=True)
class Work:
    """What a step of one trial is, and how many are taken."""

    batch: int
    tokens: int
    """In each text; all are as long, so that nothing is padding."""
    steps: int
    """Timed."""
    warmup: int
    """Steps before them, at least 1."""


@dataclass(frozen=True)
class Configuration:
    """One trial."""

    method: str
    hyper_parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Timing:
    """Timed steps of a pack (or of a peer's trial)."""

    seconds: list[float]
    """Of each timed step."""
    setup_seconds: float
    """From nothing to the end of the first step."""
    added_bytes: int | None
    """GPU memory at most beside what was held before the training; None on a processor."""


def device_named(name: str) -> torch.device:
    """``auto``: the GPU if there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def bert_config(sizes: Mapping[str, int], tokens: int) -> Any:
    """A BERT without dropout, as the selection trains its backbones; the peers get the same."""
    from transformers import BertConfig

    positions = max(512, tokens + 64)
    return BertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=positions,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=OUTPUTS,
        **sizes,
    )


def random_backbone(sizes: Mapping[str, int], tokens: int, device: torch.device, precision: Precision) -> Backbone:
    """A frozen encoder with random weights; speed doesn't depend on what they are."""
    from transformers import BertModel

    torch.manual_seed(0)
    model = BertModel(bert_config(sizes, tokens)).to(device=device, dtype=compute_dtype(precision, device))
    return wrap(model, SimpleNamespace(pad_token_id=0), name="random")


def random_texts(count: int, tokens: int, seed: int = 0) -> Tokens:
    """Texts of equal length with alternating labels."""
    drawn = np.random.default_rng(seed).integers(1000, VOCABULARY, (count, tokens))
    return Tokens(drawn.tolist(), None, np.arange(count, dtype=np.float64) % OUTPUTS)


class _Draws:
    """The part of `optuna.Trial` that a search space uses, at random: a bare GPU machine has no Optuna."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:  # noqa: ARG002
        return float(np.exp(self._random.uniform(np.log(low), np.log(high)))) if log else self._random.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:  # noqa: ARG002
        return min(high, max(low, round(self.suggest_float(name, low, high, log=log))))

    def suggest_categorical(self, name: str, choices: Any) -> Any:  # noqa: ARG002
        return self._random.choice(list(choices))


def configurations(methods: Sequence[str], count: int) -> list[Configuration]:
    """What a search asks for: every method's published default in turn, then draws from the shipped search spaces, always the same."""
    return [_configuration(methods[index % len(methods)], index // len(methods), seed=index) for index in range(count)]


def _configuration(name: str, earlier: int, seed: int) -> Configuration:
    """A method's default, or a draw where so many configurations came before it."""
    method, space = METHODS[name], _space(name)
    if space is None:  # a method without a search space
        return Configuration(name, method.defaults)
    drawn = space.suggest(_Draws(seed)) if earlier else space.default()
    if space.refusal(drawn):  # a combination that makes no sense
        drawn = space.default()
    return Configuration(name, space.configuration(drawn))


def _space(name: str) -> SearchSpace | None:
    try:
        return load_space(shipped_spaces() / f"{name}.yaml")
    except SearchSpaceError:
        return None


def time_pack(backbone: Backbone, trials: Sequence[Configuration], work: Work) -> Timing:
    """Train a pack for a few steps. Raises `DidNotRun` when it fails, or fits into memory in halves only."""
    plan = TrainingPlan(NEVER, (), (), work.batch, warmup=0.1, clip=1.0, weight_decay=0.0, patience=4)
    runs = [_run(trial, index, work) for index, trial in enumerate(trials)]
    clock, packs, ends = StepClock(backbone.device), set[int](), list[float]()

    def on_step(size: int) -> None:
        packs.add(size)
        ends.append(time.perf_counter())
        clock.tick()

    memory = AddedMemory(backbone.device)
    start = time.perf_counter()
    Trainer(backbone, plan, METRICS["accuracy"], OUTPUTS, on_step=on_step).train(runs, until=work.warmup + work.steps)
    if failed := [run.progress.cause for run in runs if run.progress.state == "failed"]:
        raise DidNotRun(failed[0].splitlines()[0])
    if packs != {len(trials)}:
        raise DidNotRun(f"{len(trials)} trials don't train in one pack; the loop made packs of {sorted(packs)}")
    return Timing(clock.seconds()[work.warmup - 1 :], ends[0] - start, memory.bytes)


def _run(trial: Configuration, seed: int, work: Work) -> TrialRun:
    texts = random_texts(max(EXAMPLES, 2 * work.batch), work.tokens, seed)
    modifications = METHODS[trial.method].modifications(trial.hyper_parameters)
    order = BatchOrder(texts.lengths, work.batch, seed)
    return TrialRun(f"{trial.method}-{seed}", modifications, RATE, Seeds(0, seed, seed), texts, texts.take([0]), LabelScale(), order)


class AddedMemory:
    """GPU memory that is held at most from now on, beside what is held now."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device.type == "cuda"
        if self._gpu:
            gc.collect()  # earlier trainers hold their models in cycles
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()

    @property
    def bytes(self) -> int | None:
        """None on a processor."""
        return torch.cuda.max_memory_allocated() - self._before if self._gpu else None


def described(trial: Configuration) -> str:
    """``lora(rank=8, alpha=16)``, without the learning rate."""
    values = ", ".join(f"{name}={value}" for name, value in trial.hyper_parameters.items() if name != LEARNING_RATE)
    return f"{trial.method}({values})"
