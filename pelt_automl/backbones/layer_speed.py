"""How long a few layers of a model take on this machine, forward and backward: which precision is the faster is measured, not assumed.

A processor that has bf16 arithmetic may still be half as fast in it, for want of good kernels or because its products are small.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pelt_automl.design_space import BackboneShape
from pelt_automl.remembered import recall, remember

log = logging.getLogger(__name__)

LAYERS = 2
"""Are measured, the lowest; of a model whose layers share their weights, all."""

SECONDS = 0.1
"""Of measuring all that is compared, after a first pass of each, which fills caches."""

SLOW = 5
"""What takes so many times as long as the fastest in its first pass isn't measured further."""

CLEARLY = 1.15
"""Fewer threads have to be so many times as fast: a choice that noise makes would come out otherwise the next time."""

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Workload:
    """What a model is going to be used for."""

    batch: int = 16
    """Examples a step."""
    tokens: int = 128
    """Tokens an example."""
    threads: int | None = None
    """Torch's on a processor, where the user has said how many; None: all cores or one, whichever is the faster now."""


@dataclass(frozen=True)
class PrecisionSpeeds:
    """What was measured, in seconds."""

    bf16: float
    fp32: float
    threads: int
    """Torch's, on a processor."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for what no machine shows."""
        if min(self.bf16, self.fp32) <= 0:
            raise ValueError("layers take longer than that")

    @property
    def fastest(self) -> Literal["bf16", "fp32"]:
        """``bf16`` or ``fp32``."""
        return "bf16" if self.bf16 < self.fp32 else "fp32"

    def __str__(self) -> str:
        other = "fp32" if self.fastest == "bf16" else "bf16"
        figures = asdict(self)
        return f"{in_ms(figures[self.fastest])} for {LAYERS} layers, {other} {in_ms(figures[other])}"


def in_ms(seconds: float) -> str:
    """``1,670 ms``, ``24 ms``, ``0.31 ms``."""
    return f"{1000 * seconds:,.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.2g} ms"


@dataclass(frozen=True)
class Measurable:
    """A wrapped model, and where its parts are."""

    model: nn.Module
    layers: Sequence[nn.Module]
    """Of the stack that is called first."""
    embeddings: nn.Module
    shape: BackboneShape


def precision_speeds(own: Measurable, work: Workload, *, remembered: bool = True) -> PrecisionSpeeds | None:
    """Both precisions' speeds, remembered from an earlier start on the same machine; None if the layers can't be run by themselves.

    `remembered`: without it nothing is read of earlier starts, and nothing is written for later ones.
    """
    device = next(own.model.parameters()).device
    try:
        threads = work.threads or fastest(layer_seconds(own, work, thread_choices(device)))
        of = {"device": machine(device), "torch": torch.__version__, "shape": asdict(own.shape), "work": asdict(work), "threads": threads}
        if remembered and (known := recall("precision", of, PrecisionSpeeds)):
            return known
        with _threads(threads), _no_draws(device):
            seconds = times_in_turn({name: _step(own, work, dtype) for name, dtype in DTYPES.items()}, SECONDS, device)
    except Exception as error:  # noqa: BLE001 an architecture may have its own ideas; then the processor's flags decide
        log.info("the precisions' speeds can't be measured: %s: %s", type(error).__name__, error)
        return None
    found = PrecisionSpeeds(seconds["bf16"], seconds["fp32"], threads)
    if remembered:
        remember("precision", of, found)
    return found


def thread_choices(device: torch.device) -> tuple[int, ...]:
    """Numbers of torch's threads that are worth a try: all that it has, and one, since threads wait for each other on a busy processor."""
    return tuple(dict.fromkeys((torch.get_num_threads(), 1))) if device.type == "cpu" else (torch.get_num_threads(),)


def fastest(seconds: Mapping[int, float]) -> int:
    """The number of threads to take: the first, unless another one is clearly faster."""
    first, best = next(iter(seconds)), min(seconds, key=lambda threads: seconds[threads])
    return best if seconds[best] * CLEARLY < seconds[first] else first


def layer_seconds(own: Measurable, work: Workload, threads: Sequence[int]) -> dict[int, float]:
    """Seconds of the lowest layers in the model's own precision with each of these numbers of torch's threads; not measured for one alone.

    The number in force is the same afterwards. Raises whatever the layers raise when they can't be run by themselves.
    """
    if len(threads) == 1:
        return {threads[0]: 0.0}
    device = next(own.model.parameters()).device
    step = _step(own, work, next(own.model.parameters()).dtype)

    def with_threads(number: int) -> Callable[[], None]:
        def run() -> None:
            torch.set_num_threads(number)
            step()

        return run

    with _threads(threads[0]), _no_draws(device):
        found = times_in_turn({str(number): with_threads(number) for number in threads}, SECONDS / 2, device)
    return {int(name): seconds for name, seconds in found.items()}


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _no_draws(device: torch.device) -> AbstractContextManager[None]:
    """Whatever dropout draws inside, nothing that is drawn afterwards depends on it."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def times_in_turn(steps: Mapping[str, Callable[[], object]], seconds: float, device: torch.device) -> dict[str, float]:
    """The shortest time of each step, taken in turn, so that what disturbs the machine disturbs all of them; `seconds` in all.

    What is far slower than the fastest in its first pass is left at that.
    """

    def timed(step: Callable[[], object]) -> float:
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    found = {name: timed(step) for name, step in steps.items()}
    end, warm = time.perf_counter() + seconds, False
    while not warm or time.perf_counter() < end:
        for name, step in steps.items():
            if found[name] <= SLOW * min(found.values()):
                taken = timed(step)
                found[name] = min(found[name], taken) if warm else taken
        warm = True
    return found


class _EnoughError(Exception):
    """Ends a pass above the layers that are measured."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def _step(own: Measurable, work: Workload, dtype: torch.dtype) -> Callable[[], None]:
    """A forward and a backward pass through the lowest layers in a precision, with the model itself left as it is."""
    above = own.layers[LAYERS] if len(own.layers) > LAYERS else None
    left_out = {id(weight) for module in own.layers[LAYERS:] for weight in module.parameters()}
    weights = {
        name: tensor.to(dtype)
        for name, tensor in (*own.model.named_parameters(), *own.model.named_buffers())
        if tensor.is_floating_point() and id(tensor) not in left_out
    }
    device = next(own.model.parameters()).device
    ids = torch.arange(work.batch * work.tokens, device=device).view(work.batch, work.tokens) % own.shape.vocabulary
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def enough(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _EnoughError(given[0] if given else named["hidden_states"])

    def step() -> None:
        handles = [own.embeddings.register_forward_hook(lambda _module, _given, out: out.detach().requires_grad_())]
        handles += [above.register_forward_pre_hook(enough, with_kwargs=True)] if above is not None else []
        try:
            states = functional_call(own.model, weights, kwargs=inputs).last_hidden_state
        except _EnoughError as reached:
            states = reached.states
        finally:
            for handle in handles:
                handle.remove()
        states.float().sum().backward()

    return step


def machine(device: torch.device) -> str:
    """What computes: the GPU's name, or the processor's with what it can do."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return " ".join(sorted({line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags", "Features"))}))
