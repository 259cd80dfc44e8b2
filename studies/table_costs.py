"""What a training costs, in seconds of a quiet machine: the clock of simulated selections. The recordings' own seconds aren't used.

Of each method's default, on one thread and alone in its pack: seconds to set it up, for each step and token of training, and for each
example and token of evaluation. Texts of two lengths tell steps from tokens. All methods are measured in turn, round after round, and the
median of the rounds counts.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import torch

from pelt_automl.backbones.loading import Backbone
from pelt_automl.baselines import HeadStarts
from pelt_automl.durable import write_text
from pelt_automl.errors import PeltError, SelectionError
from pelt_automl.log.codec import checked
from pelt_automl.log.events import Seeds
from pelt_automl.methods import LEARNING_RATE, METHODS
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.packing import train
from pelt_automl.training.schedule import TrainingPlan
from pelt_automl.training.tokens import Tokens
from pelt_automl.training.trials import begin
from pelt_automl.training.work import Work
from studies.table_grid import DEFAULT, Configuration
from studies.table_machine import commit, machine, versions
from studies.table_training import SETTINGS

COSTS = Path(__file__).with_name("table_costs.json")
LENGTHS = (8, 32)
"""Tokens of the made-up texts."""
STEPS, EVALUATED = 4, 32
"""Steps of a measured training, the first not counted, and examples that it is evaluated on."""
TRAIN = 70
"""Examples that the probe is fitted on: those of K = 100."""


@dataclass(frozen=True)
class MethodCosts:
    """Seconds."""

    fixed: float
    """Of setting a training up and closing it."""
    step: float
    token: float
    """Of training, padding included; in addition to the step."""
    example: float
    evaluated_token: float


@dataclass(frozen=True)
class Costs:
    """By method, with where and when they were measured."""

    machine: str
    versions: str
    commit: str
    measured: str
    """The day."""
    rounds: int
    probe: float
    """Seconds of a probe's fit, features included."""
    methods: Mapping[str, MethodCosts]

    def seconds(self, method: str, *, steps: int, tokens: int, examples: int, evaluated_tokens: int) -> float:
        """Of a training of so many steps on so many tokens, evaluated on so many examples (all evaluations together) of so many tokens."""
        own = self.methods[method]
        training = own.step * steps + own.token * tokens
        return own.fixed + training + own.example * examples + own.evaluated_token * evaluated_tokens


def load_costs(path: Path = COSTS) -> Costs:
    """The committed ones. Raises `SelectionError` where they can't be read, or haven't been measured yet."""
    try:
        return checked(Costs, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, PeltError) as error:
        raise SelectionError(f"{path} can't be read: {error}; measure on a quiet machine: python -m studies.table costs") from error


# -------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Measured:
    """One short training."""

    setup: float
    step: float
    """Median of its steps."""
    evaluation: float


def measure(backbone: Backbone, configurations: Iterable[Configuration], seconds: float, path: Path, say: Callable[[str], None]) -> Costs:
    """Rounds for as long as another one fits into `seconds`, one at least; the costs are written to `path`."""
    defaults = [own for own in configurations if own.name == DEFAULT and not own.fitted]
    texts = {length: made_up(backbone, TRAIN, length) for length in LENGTHS}
    found: dict[tuple[str, int], list[Measured]] = {}
    fits: list[float] = []
    begun, rounds = time.perf_counter(), 0
    while rounds == 0 or (time.perf_counter() - begun) * (rounds + 1) / rounds < seconds:
        fits.append(_probe_seconds(backbone, texts[LENGTHS[-1]]))
        for own in defaults:
            for length, tokens in texts.items():
                found.setdefault((own.method, length), []).append(measured(backbone, own, tokens))
        rounds += 1
        say(f"round {rounds}: {time.perf_counter() - begun:.0f} s")
    methods = {own.method: fitted({length: found[own.method, length] for length in LENGTHS}) for own in defaults}
    costs = Costs(machine(), versions(), commit(), time.strftime("%Y-%m-%d", time.gmtime()), rounds, median(fits), methods)
    write_text(path, json.dumps(asdict(costs), indent=1) + "\n")
    return costs


def made_up(backbone: Backbone, count: int, length: int) -> Tokens:
    """Random tokens of two classes, all texts of one length."""
    random = np.random.default_rng(0)
    rows = backbone.embeddings().get_parameter("weight").shape[0]
    ids = random.integers(0, rows, (count, length)).tolist()
    return Tokens(ids, [[0] * length] * count, np.asarray(np.arange(count) % 2, np.float64))


def measured(backbone: Backbone, configuration: Configuration, tokens: Tokens) -> Measured:
    """A training of a few steps with one evaluation."""
    plan = TrainingPlan(
        STEPS, (), (STEPS,), SETTINGS.batch_size, SETTINGS.warmup, SETTINGS.clip, SETTINGS.weight_decay, SETTINGS.patience
    )  # fmt: skip
    modifications = METHODS[configuration.method].modifications(configuration.hyper_parameters)
    rate = configuration.hyper_parameters[LEARNING_RATE]
    splits = (tokens, tokens[:EVALUATED])
    run = begin(configuration.method, modifications, rate, Seeds(0, 0, 0), splits, plan, kind=KINDS["classification"])
    stepped, evaluated = list[float](), list[float]()
    work = Work(
        backbone,
        plan,
        METRICS["accuracy"],
        2,
        on_step=lambda _: stepped.append(time.perf_counter()),
        on_evaluation=lambda *_: evaluated.append(time.perf_counter()),
    )
    begun = time.perf_counter()
    train(work, [run])
    ended = time.perf_counter()
    if run.progress.state != "completed":
        raise SelectionError(f"{configuration.method} can't be measured: {run.progress.cause or run.progress.state}")
    step = median(after - before for before, after in pairwise(stepped))
    return Measured(max(0.0, stepped[0] - begun - step) + ended - evaluated[0], step, evaluated[0] - stepped[-1])


def fitted(rounds: Mapping[int, Sequence[Measured]]) -> MethodCosts:
    """From the medians at both lengths: a line through two points, of no negative slope or start."""
    (short, low), (long, high) = sorted(rounds.items())
    batch = SETTINGS.batch_size
    step, token = _line(batch * short, median(own.step for own in low), batch * long, median(own.step for own in high))
    example, evaluated = _line(
        short, median(own.evaluation for own in low) / EVALUATED, long, median(own.evaluation for own in high) / EVALUATED
    )
    return MethodCosts(median(own.setup for own in [*low, *high]), step, token, example, evaluated)


def _line(x: float, y: float, larger_x: float, larger_y: float) -> tuple[float, float]:
    """Start and slope."""
    slope = min(max(0.0, (larger_y - y) / (larger_x - x)), larger_y / larger_x)
    return max(0.0, larger_y - slope * larger_x), slope


def _probe_seconds(backbone: Backbone, tokens: Tokens) -> float:
    begun = time.perf_counter()
    HeadStarts(FrozenFeatures(backbone), 2).probe(0, tokens)
    return time.perf_counter() - begun


def one_thread() -> None:
    """As the trainings are recorded."""
    torch.set_num_threads(1)
