"""The work of a training step in FLOPs, and what the device reaches at best on plain matrix products.

Counted is what a frozen encoder needs, a multiplication and an addition as two: for a batch of ``n = B T`` tokens in sequences of ``T``,
layers with hidden width ``H`` and feed-forward width ``F``,

    forward   n L (2 (4 H H + 2 H F) + 2 * 2 T H)      query, key, value, output, up, down; then QK' and AV
    backward  n (2 * the linear maps + 2 * 2 * 2 T H)  each map once more, for the gradient of its input; both products twice, for the
                                                       gradients of both of their factors

No gradients of frozen weights. Backward counts only what a trial's own trained weights need: every layer above the lowest changed one,
of that layer the maps that come after the change, nothing below. Norms, activations, softmax, embeddings, head and the trials' own
modules are left out, so the share of the ceiling errs on the low side.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any

from pelt_automl.design_space import BackboneShape, Modification, Site

_AFTER_ATTENTION_INPUT = {Site.ATTENTION_QUERY, Site.ATTENTION_KEY, Site.ATTENTION_VALUE, Site.HEADS}
_AFTER_ATTENTION = {Site.ATTENTION_OUTPUT, Site.ATTENTION}
_AFTER_FFN_INPUT = {Site.FFN_UP, Site.FFN_GATE}
_WHOLE = {Site.EMBEDDINGS, Site.BIASES, Site.EVERYTHING}


def trial_flops(shape: BackboneShape, modifications: Sequence[Modification], examples: int, tokens: int) -> float:
    """FLOPs of one optimizer step of one trial on `examples` of `tokens` each (an encoder; no grouped heads)."""
    linear, attention = _layer(shape, tokens)
    forward = shape.layers * (linear + attention)
    return examples * tokens * (forward + _backward(shape, modifications, tokens))


def _layer(shape: BackboneShape, tokens: int) -> tuple[float, float]:
    """A layer's forward FLOPs a token: linear maps, attention products."""
    return 2.0 * (4 * shape.hidden**2 + 2 * shape.hidden * shape.ffn), 4.0 * tokens * shape.hidden


def _backward(shape: BackboneShape, modifications: Sequence[Modification], tokens: int) -> float:
    """FLOPs a token for the gradients that reach the lowest change."""
    linear, attention = _layer(shape, tokens)
    whole_layer = linear + 2 * attention
    if any(m.site in _WHOLE for m in modifications):
        return shape.layers * whole_layer
    needs = []
    for m in modifications:
        lowest = min(m.layers) if m.layers else 0
        above = shape.layers - 1 - lowest
        needs.append(above * whole_layer + _in_its_own_layer(shape, m.site, tokens))
    return max(needs, default=0.0)


def _in_its_own_layer(shape: BackboneShape, site: Site, tokens: int) -> float:
    """FLOPs a token of what comes after a site in its layer."""
    _, attention = _layer(shape, tokens)
    down = 2.0 * shape.hidden * shape.ffn
    output = 2.0 * shape.hidden**2
    if site in _AFTER_ATTENTION_INPUT:
        return 2 * attention + output + 2 * down
    if site in _AFTER_ATTENTION:
        return 2 * down
    return down if site in _AFTER_FFN_INPUT else 0.0


def matmul_ceiling(device: Any, dtype: Any, sizes: Sequence[int], repeats: int = 7) -> dict[int, float]:
    """FLOP/s of square matrix products of random numbers, by size: the median of `repeats`, three warm-ups left out.

    The largest of them is the ceiling. `device`, `dtype`: torch's.
    """
    import torch

    reached: dict[int, float] = {}
    for size in sizes:
        a, b = (torch.randn(size, size, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(repeats + 3):
            _wait(device)
            start = time.perf_counter()
            torch.mm(a, b)
            _wait(device)
            seconds.append(time.perf_counter() - start)
        reached[size] = 2 * size**3 / statistics.median(seconds[3:])
    return reached


def _wait(device: Any) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize()
