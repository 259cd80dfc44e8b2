"""What a training costs, in seconds of a quiet machine: the clock of simulated selections. The recordings' own seconds aren't used.

Of each method's default, on one thread and alone in its pack: seconds to set it up, for each step and token of training, and for each
example and token of evaluation. Texts of two lengths tell steps from tokens. All methods are measured in turn, round after round, and the
median of the rounds counts.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pelt_automl.backbones.loading import Backbone
from pelt_automl.baselines import HeadStarts
from pelt_automl.durable import write_text
from pelt_automl.errors import PeltError, SelectionError
from pelt_automl.log.codec import checked
from pelt_automl.log.events import Seeds
from pelt_automl.methods import BASELINES, LEARNING_RATE, METHODS
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.packing import train
from pelt_automl.training.tokens import Tokens
from pelt_automl.training.trials import begin
from pelt_automl.training.work import Work
from studies.harness import commit, machine, versions
from studies.table_grid import DEFAULT, Configuration
from studies.table_training import SETTINGS

COSTS = Path(__file__).with_name("table_costs.json")
LENGTHS = (8, 32)
"""Tokens of the made-up texts."""
STEPS, EVALUATED = 4, 32
"""Steps of a measured training, the first not counted, and examples that it is evaluated on."""
BATCH = 16
"""Examples of a step of the recorded trainings."""
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


def seconds_of(row: Mapping[Any, Any], costs: Costs) -> float:
    """Of a training with its evaluations on a quiet machine; of a baseline the fit alone."""
    if row["method"] in BASELINES:
        return costs.probe
    examples, steps = int(row["select_size"]) * len(row["curve_step"]), max(1, int(row["steps"]))
    text = row["tokens_of_text"] / steps / BATCH
    return costs.seconds(
        row["method"], steps=steps, tokens=int(row["tokens_computed"]), examples=examples, evaluated_tokens=int(examples * text)
    )


def load_costs(path: Path = COSTS) -> Costs:
    """The committed ones. Raises `SelectionError` where they can't be read, or haven't been measured yet."""
    try:
        return checked(Costs, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, PeltError) as error:
        raise SelectionError(f"{path} can't be read: {error}; measure on a quiet machine: python -m studies.table costs") from error


# -------------------------------------------------------------------- measuring

Measured = tuple[float, float, float]
"""Seconds of one short training: of setting it up, of a step (their median), of its evaluation."""


def measure(backbone: Backbone, configurations: Iterable[Configuration], seconds: float, path: Path, say: Callable[[str], None]) -> Costs:
    """Rounds for as long as another one fits into `seconds`, one at least; the costs are written to `path`."""
    defaults = [own for own in configurations if own.name == DEFAULT and own.method not in BASELINES]
    random, rows = np.random.default_rng(0), backbone.embeddings().get_parameter("weight").shape[0]
    texts = {}
    for length in LENGTHS:  # random tokens of two classes, all texts of one length
        ids = random.integers(0, rows, (TRAIN, length)).tolist()
        texts[length] = Tokens(ids, [[0] * length] * TRAIN, np.asarray(np.arange(TRAIN) % 2, np.float64))
    found, fits, begun = dict[tuple[str, int], list[Measured]](), list[float](), time.perf_counter()
    while not fits or (time.perf_counter() - begun) * (len(fits) + 1) / len(fits) < seconds:
        at = time.perf_counter()
        HeadStarts(FrozenFeatures(backbone), 2).probe(0, texts[LENGTHS[-1]])
        fits.append(time.perf_counter() - at)
        for own in defaults:
            for length, tokens in texts.items():
                found.setdefault((own.method, length), []).append(measured(backbone, own, tokens))
        say(f"round {len(fits)}: {time.perf_counter() - begun:.0f} s")
    methods = {own.method: fitted({length: found[own.method, length] for length in LENGTHS}) for own in defaults}
    costs = Costs(machine(), versions(), commit(), time.strftime("%Y-%m-%d", time.gmtime()), len(fits), median(fits), methods)
    write_text(path, json.dumps(asdict(costs), indent=1) + "\n")
    return costs


def measured(backbone: Backbone, configuration: Configuration, tokens: Tokens) -> Measured:
    """A training of a few steps with one evaluation."""
    own, method, values = SETTINGS, configuration.method, configuration.hyper_parameters
    plan = TrainingPlan(STEPS, (), (STEPS,), own.batch_size, own.warmup, own.clip, own.weight_decay, own.patience)
    modifications, splits = METHODS[method].modifications(values), (tokens, tokens[:EVALUATED])
    run = begin(method, modifications, values[LEARNING_RATE], Seeds(0, 0, 0), splits, plan, kind=KINDS["classification"])
    stepped, evaluated, begun = list[float](), list[float](), time.perf_counter()
    train(Work(backbone, plan, METRICS["accuracy"], 2, on_step=lambda _: stepped.append(time.perf_counter()),
               on_evaluation=lambda *_: evaluated.append(time.perf_counter())), [run])  # fmt: skip
    ended = time.perf_counter()
    if run.progress.state != "completed":
        raise SelectionError(f"{method} can't be measured: {run.progress.cause or run.progress.state}")
    step = float(np.median(np.diff(stepped)))
    return max(0.0, stepped[0] - begun - step) + ended - evaluated[0], step, evaluated[0] - stepped[-1]


def fitted(rounds: Mapping[int, Sequence[Measured]]) -> MethodCosts:
    """From the medians at both lengths: a line through two points, of no negative slope or start."""

    def line(part: int, of: int, times: int) -> tuple[float, float]:
        """Start and slope over tokens, of `times` texts together, of which there were `of` in what was measured."""
        (x, y), (larger_x, larger_y) = ((times * length, median(one[part] for one in own) / of) for length, own in sorted(rounds.items()))
        slope = min(max(0.0, (larger_y - y) / (larger_x - x)), larger_y / larger_x)
        return max(0.0, larger_y - slope * larger_x), slope

    setup = median(one[0] for own in rounds.values() for one in own)
    return MethodCosts(setup, *line(1, 1, SETTINGS.batch_size), *line(2, EVALUATED, 1))
