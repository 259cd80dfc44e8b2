"""How fast packs train on this machine, and what memory they take, by the number of trials in them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pelt_automl.design_space import BackboneShape
from pelt_automl.timing.policy import POLICY, DevicePolicy

Figures = Literal["measured", "remembered", "estimated"]
"""Where a plan's figures come from: a pack that was measured for it, earlier trainings on this machine, or sizes alone."""

Kind = tuple[str, int]
"""What packs have in common that are equally fast: the kind of their trials, and the number of threads."""


@dataclass(frozen=True)
class PackSpeed:
    """Of packs of one kind: a step's seconds as a line through what is known of some sizes of packs, memory in proportion."""

    steps: Mapping[int, float]
    """Seconds of a step by the number of trials in the pack; one at least."""
    example: float
    """Seconds to evaluate one example with one trial."""
    token_bytes: float
    """Memory of a pack at most, beside what the backbone takes, over its trials and its longest batch's tokens with padding."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for what no machine shows."""
        figures = [*self.steps, *self.steps.values(), self.example, self.token_bytes]
        if not self.steps or not all(0 < figure < float("inf") for figure in figures):
            raise ValueError(f"a pack's speed has positive numbers of trials, seconds and bytes, not {figures}")

    def seconds_of(self, trials: int) -> float:
        """A step of a pack of so many: never falling with them, and proportional where one size is known."""
        sizes, seconds = list(self.steps), list(self.steps.values())
        if len(sizes) == 1:
            return seconds[0] * trials / sizes[0]
        line = statistics.linear_regression(sizes, seconds)
        if line.slope < 0:
            return statistics.fmean(seconds)
        return statistics.linear_regression(sizes, seconds, proportional=line.intercept < 0).slope * trials + max(0.0, line.intercept)

    def size(self, device: DevicePolicy, free: float, batch_tokens: int) -> int:
        """How many trials a pack has at most: 1, 2, 4, ... whose memory fits into `free` bytes.

        The fewest whose step costs each trial at most `Policy.worth` of the cheapest; the device's own number where one size is known.
        Sizes are coarse since a search depends on them: the same command is to find the same size, as far as it can.
        """
        most = device.largest_pack if len(self.steps) > 1 else device.pack
        sizes = [1 << power for power in range(most.bit_length())]
        fitting = [trials for trials in sizes if trials * self.token_bytes * batch_tokens <= free] or [1]
        if len(self.steps) == 1:
            return fitting[-1]
        cost = {trials: self.seconds_of(trials) / trials for trials in fitting}
        return next(trials for trials in fitting if cost[trials] <= POLICY.worth * min(cost.values()))


def estimated(shape: BackboneShape, device: DevicePolicy, batch: int, tokens: int, bytes_a_number: int) -> PackSpeed:
    """From sizes alone, for packs of any kind, with batches of so many examples of so many tokens.

    Forward and backward pass take 6 operations a parameter and token (Kaplan et al. 2020). A layer keeps 34 bytes of activations for each
    token and hidden unit in 16 bits (Korthikanti et al. 2022, without the attention weights, which fused attention doesn't keep).
    """
    computing = shape.parameters - shape.vocabulary * shape.embedding
    return from_step(1, 6 * computing * batch * tokens / device.flops, batch, 17.0 * bytes_a_number * shape.layers * shape.hidden)


def from_step(trials: int, seconds: float, batch: int, token_bytes: float) -> PackSpeed:
    """From one step of a pack."""
    return PackSpeed({trials: seconds}, POLICY.evaluation_cost * seconds / (trials * batch), token_bytes)


@dataclass
class Watch:
    """Takes down what the steps and the evaluations of real trainings take, by kind of pack.

    A step counts from the end of the one before it. What comes between, an evaluation, the writing of states, another pack, doesn't count.
    """

    now: Callable[[], float] = time.perf_counter
    _steps: dict[Kind, dict[int, list[float]]] = field(default_factory=dict)
    """Seconds by kind and number of trials."""
    _examples: dict[Kind, list[float]] = field(default_factory=dict)
    """Seconds of an example with one trial."""
    _bytes: dict[Kind, tuple[int, float]] = field(default_factory=dict)
    """Trials of the largest pack, and the most that it has taken: later, smaller packs find its memory kept."""
    _last: tuple[Kind, int, float] | None = None
    """Kind, trials and end of the step before."""

    def step(self, kind: Kind, trials: int, taken: float) -> None:
        """A pack has taken a step. `taken`: bytes beside the backbone's that are held now."""
        now = self.now()
        if self._last and self._last[:2] == (kind, trials):
            self._steps.setdefault(kind, {}).setdefault(trials, []).append(now - self._last[2])
        self._bytes[kind] = max(self._bytes.get(kind, (0, 0.0)), (trials, taken))
        self._last = kind, trials, now

    def evaluation(self, examples: int) -> None:
        """All trials of the pack have been evaluated on so many examples each; told once of each of them."""
        if self._last:
            kind, trials, before = self._last
            self._examples.setdefault(kind, []).append((self.now() - before) / (trials * examples))
            self._last = None

    def shown(self, batch: int, longest: int, token_bytes: float) -> dict[Kind, PackSpeed]:
        """What there is by now, by kind: medians of `Policy.shown` steps and more.

        `longest`: tokens of the longest text that was read. `token_bytes`: of a kind whose packs didn't take more memory than was held.
        """
        found: dict[Kind, PackSpeed] = {}
        for kind, by_size in self._steps.items():
            steps = {trials: statistics.median(taken) for trials, taken in by_size.items() if len(taken) >= POLICY.shown}
            if steps:
                trials, taken = self._bytes[kind]
                speed = from_step(*max(steps.items()), batch, taken / (trials * batch * longest) if taken > 0 else token_bytes)
                example = statistics.median(self._examples.get(kind, [speed.example]))
                found[kind] = replace(speed, steps=steps, example=example)
        return found
