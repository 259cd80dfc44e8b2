"""How a batch is divided into passes, so that little of what is computed is padding."""

from collections.abc import Sequence

import numpy as np

from pelt_automl.training.tokens import Tokens

PASS_COST = {"cpu": 1024, "cuda": 16_384}
"""Tokens whose computation takes as long as one more forward and backward pass does beside its tokens. On a processor it is mostly kernels
compiled for one more shape: on MiniLM with QNLI's texts 256 in its place cost a fifth more a step. A GPU is bound by launches until a pass
has many thousands of tokens."""


def by_length(tokens: Tokens) -> Tokens:
    """The same examples, shortest first."""
    return tokens.take(np.argsort(tokens.lengths, kind="stable"))


def passes(parts: Sequence[Tokens], device: str, most: int) -> list[slice]:
    """Where to cut the parts of a pack's trials, each with its shortest examples first, so that padding and passes cost least together.

    A pass has the same positions of all parts, at most `most` of them. The result covers all positions, in order. By dynamic programming
    over the position of the last cut.
    """
    longest = np.zeros(max(len(part) for part in parts), dtype=np.int64)
    for part in parts:
        longest[: len(part)] = np.maximum(longest[: len(part)], part.lengths)
    longest = np.maximum.accumulate(longest)
    count, pass_cost = len(longest), PASS_COST.get(device, PASS_COST["cuda"])
    least, last_cut = np.zeros(count + 1), np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        starts = np.arange(max(0, end - most), end)
        costs = least[starts] + len(parts) * (end - starts) * longest[end - 1] + pass_cost
        best = int(costs.argmin())
        least[end], last_cut[end] = costs[best], starts[best]
    found, end = list[slice](), count
    while end:
        found.append(slice(int(last_cut[end]), end))
        end = int(last_cut[end])
    return found[::-1]
