"""A pack's memory, predicted as a selection does it and measured: ``python -m benchmarks.pack_memory REQUEST`` (JSON, see `Request`).

Predicted is a line through two measurements that cost two steps each: trials alone, on average, and a pack of `PROBED` (see
``pelt_automl/selection/probe.py``, which can't be imported where there is no Optuna). Measured is, on a GPU, the allocator's own peak; on a
processor the largest resident memory of a fresh process, less what was resident before its first step. Neither has the backbone in it.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
class Line:
    """Bytes by trials, through one trial and a pack of `size`, never falling."""

    size: int
    alone: float
    packed: float

    def at(self, trials: int) -> float:
        """A pack of so many."""
        return self.alone + max(0.0, self.packed - self.alone) / (self.size - 1) * (trials - 1)


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
    """Whether the line through the trials alone and all of them together, or the peak of all of them."""


def main(arguments: Sequence[str]) -> None:
    """Measure and hand over."""
    request = Request(**json.loads(arguments[0]))
    backbone = random_backbone(SHAPES[request.shape], request.tokens, device_named("cpu"), request.precision)
    trials = [Configuration(**trial) for trial in request.trials]
    line = asdict(probe(backbone, trials, request.batch, request.tokens)) if request.probe else None
    hand_over(line or {"bytes": _resident_peak(backbone, trials, request.batch, request.tokens)})


def predict(shape: str, backbone: Backbone, trials: Sequence[Configuration], precision: Precision, work: Work) -> Line:
    """The line through these trials; on a processor from a fresh process, in whose heap nothing else has left holes."""
    if backbone.device.type == "cuda":
        return probe(backbone, trials, work.batch, work.tokens)
    return Line(**_fresh(shape, trials, precision, work, probe=True))


def measure(shape: str, backbone: Backbone, trials: Sequence[Configuration], precision: Precision, work: Work) -> float:
    """Bytes of a pack of these trials. Raises `DidNotRun` or `ProcessError` where it doesn't fit."""
    if backbone.device.type == "cuda":
        return float(time_pack(backbone, trials, Work(work.batch, work.tokens, STEPS - 1, 1)).added_bytes or 0)
    return float(_fresh(shape, trials, precision, work, probe=False)["bytes"])


def probe(backbone: Backbone, trials: Sequence[Configuration], batch: int, tokens: int) -> Line:
    """Two steps of each of these trials alone, then two of all together. Raises `DidNotRun`."""
    peaks = [_peak(backbone, pack, batch, tokens) for pack in [*([trial] for trial in trials), trials]]
    return Line(len(trials), sum(peaks[:-1]) / len(trials), peaks[-1])


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
