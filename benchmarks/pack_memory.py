"""A pack's memory, predicted as a selection does it and measured: ``python -m benchmarks.pack_memory REQUEST`` (JSON, see `Request`).

Predicted is what all packs need plus what each of the pack's trials adds, from two steps of each method alone and two of a pack of
`PROBED`. A selection (``pelt_automl/selection/probe.py``, which can't be imported where there is no Optuna) does the same, but doesn't
know yet who will be in its packs: it takes the mean over the methods that it measures. Measured is, on a GPU, the allocator's own peak; on
a processor the largest resident memory of a fresh process, less what was resident before its first step. Neither has the backbone in it.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import hand_over, own_peak, run_process
from benchmarks.our_steps import SHAPES, Configuration, Work, device_named, random_backbone, time_pack
from pelt_automl.backbones.loading import Backbone, Precision
from pelt_automl.training.memory import give_back, peak_of

PROBED = {"cpu": 4, "cuda": 8}
"""Trials in the pack that a selection measures."""

PROBE_STEPS = 2
"""As in a selection: in the second one the optimizer's moments are there, and the heap has holes from the first."""

STEPS = 3
"""Of the pack that is measured in the end."""


@dataclass(frozen=True)
class Probed:
    """Bytes of trials alone, by method, and of a pack of several of them."""

    alone: dict[str, float]
    together: list[str]
    """The pack's methods."""
    packed: float

    @property
    def shared(self) -> float:
        """What a pack needs however many trials it has: counted once in `packed`, and in each of `alone`."""
        apart = [self.alone[method] for method in self.together]
        once = (sum(apart) - self.packed) / (len(apart) - 1)
        return min(once, *apart)  # no trial takes less than nothing

    def of(self, methods: Sequence[str]) -> float:
        """A pack of a trial of each of these, a method as often as it is named."""
        return self.shared + sum(max(0.0, self.alone[method] - self.shared) for method in methods)


@dataclass(frozen=True)
class Request:
    """What a fresh process measures."""

    shape: str
    precision: Precision
    batch: int
    tokens: int
    trials: list[dict[str, Any]]
    """Configurations."""
    probe: bool
    """Whether they are probed (each of them alone, then the last ones together), or the peak of all of them is measured."""


def main(arguments: Sequence[str]) -> None:
    """Measure and hand over."""
    request = Request(**json.loads(arguments[0]))
    backbone = random_backbone(SHAPES[request.shape], request.tokens, device_named("cpu"), request.precision)
    trials = [Configuration(**trial) for trial in request.trials]
    if request.probe:
        hand_over(asdict(probe(backbone, trials, request.batch, request.tokens)))
    else:
        hand_over({"bytes": _resident_peak(backbone, trials, request.batch, request.tokens)})


def predict(shape: str, backbone: Backbone, trials: Sequence[Configuration], precision: Precision, work: Work) -> Probed:
    """What these trials, one of each method, need; on a processor from a fresh process, in whose heap nothing else has left holes."""
    if backbone.device.type == "cuda":
        return probe(backbone, trials, work.batch, work.tokens)
    return Probed(**_fresh(shape, trials, precision, work, probe=True))


def measure(shape: str, backbone: Backbone, trials: Sequence[Configuration], precision: Precision, work: Work) -> float:
    """Bytes of a pack of these trials. Raises `DidNotRun` or `ProcessError` where it doesn't fit."""
    if backbone.device.type == "cuda":
        return float(time_pack(backbone, trials, Work(work.batch, work.tokens, STEPS - 1, 1)).added_bytes or 0)
    return float(_fresh(shape, trials, precision, work, probe=False)["bytes"])


def probe(backbone: Backbone, trials: Sequence[Configuration], batch: int, tokens: int) -> Probed:
    """Two steps of each of these trials alone, then two of the last ones in a pack of `PROBED`, as a selection does. Raises `DidNotRun`."""
    size = PROBED[backbone.device.type]
    together = list(islice(cycle(trials[-size:]), size))
    alone = {trial.method: _peak(backbone, [trial], batch, tokens) for trial in trials}
    return Probed(alone, [trial.method for trial in together], _peak(backbone, together, batch, tokens))


def _peak(backbone: Backbone, trials: Sequence[Configuration], batch: int, tokens: int) -> float:
    with peak_of(backbone.device) as peak:
        time_pack(backbone, trials, Work(batch, tokens, steps=1, warmup=PROBE_STEPS - 1))
    return peak.bytes


def _fresh(shape: str, trials: Sequence[Configuration], precision: Precision, work: Work, *, probe: bool) -> dict[str, Any]:
    plain = [{"method": trial.method, "hyper_parameters": dict(trial.hyper_parameters)} for trial in trials]
    request = Request(shape, precision, work.batch, work.tokens, plain, probe)
    found: dict[str, Any] = run_process(["-m", "benchmarks.pack_memory", json.dumps(asdict(request))]).result
    return found


def _resident_peak(backbone: Backbone, trials: Sequence[Configuration], batch: int, tokens: int) -> int:
    give_back()
    _forget_the_peak()
    before = own_peak()
    time_pack(backbone, trials, Work(batch, tokens, STEPS - 1, 1))
    return own_peak() - before


def _forget_the_peak() -> None:
    """Let the system's largest resident memory begin anew at what is resident now; where it can't, loading's peak hides a small pack."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError as error:
        print(f"the peak before the steps stays: {error}", file=sys.stderr)


if __name__ == "__main__":
    torch.manual_seed(0)
    main(sys.argv[1:])
