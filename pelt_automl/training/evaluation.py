"""Predictions of a pack's trials, and their scores."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pelt_automl.modifications import Pack
from pelt_automl.modifications.observed import Place, Values
from pelt_automl.training.padding import passes
from pelt_automl.training.tokens import Tokens, collate
from pelt_automl.training.windows import best_answers, of_examples

Predictions = NDArray[Any]
"""``(n, ...)``, as a kind of task has them: class indices, numbers, texts."""

_Gathered = dict[Place, list[Any]]
"""By submodule, site and layer: the values of one trial's examples, pass by pass."""

EXAMPLES_A_PASS = {"cpu": 64, "cuda": 1024}
"""Of all trials together: what a processor's cache holds, and what fills a GPU."""


@dataclass(frozen=True)
class PlaceStatistics:
    """A gate, or a contribution, over the examples of one evaluation."""

    submodule: str
    site: str
    layer: int
    mean: float
    spread: float
    """Standard deviation over examples."""


@dataclass(frozen=True)
class Evaluation:
    """A trial's outputs on a set of examples."""

    logits: NDArray[np.floating]
    """Shape ``(examples, C)``; of passages what `windows.of_examples` makes of them."""
    gates: list[PlaceStatistics]
    contributions: list[PlaceStatistics] = field(default_factory=list)
    """Shares of the hidden states, where they were measured (see `modifications.observed.contribution`)."""

    @property
    def finite(self) -> bool:
        """Whether no output is NaN or infinite."""
        return bool(np.isfinite(self.logits).all())


def pad_id_of(pack: Pack) -> int:
    """The padding token's id of the pack's backbone."""
    return int(getattr(pack.backbone.tokenizer, "pad_token_id", 0) or 0)


@torch.no_grad()
def evaluate(pack: Pack, sets: Sequence[Tokens], without: frozenset[str] = frozenset(), *, measure: bool = False) -> list[Evaluation]:
    """Every trial on its own set; padding is kept low by going from short to long. `without`, `measure`: see `Pack.forward`."""
    was_training = pack.backbone.model.training
    pack.backbone.model.eval()
    pack.eval()
    windows = [tokens.all_windows() for tokens in sets]
    orders = [np.argsort(rows.lengths, kind="stable") for rows, _ in windows]
    ordered = [rows.take(order) for (rows, _), order in zip(windows, orders, strict=True)]
    device = pack.backbone.device.type
    logits: list[list[Any]] = [[] for _ in sets]
    gates, contributions = ([_Gathered() for _ in sets] for _ in range(2))
    for positions in passes(ordered, device, max(1, EXAMPLES_A_PASS.get(device, 64) // len(sets))):
        parts = [tokens[positions] for tokens in ordered]  # sets may differ in size: those that are done have none left
        batch = collate(parts, pad_id_of(pack), pack.backbone.device)
        output, sizes = pack(**batch.inputs, without=without, measure=measure), [len(part) for part in parts]
        for own, values, part in zip(logits, output.logits.float().cpu().numpy(), parts, strict=True):
            seen = values[: len(part)]
            own.append(best_answers(seen, [passage.windows[0] for passage in part.passages]) if part.passages else seen)
        _gather(output.gates, sizes, gates)
        _gather(output.contributions, sizes, contributions)
    pack.backbone.model.train(was_training)
    pack.train(was_training)
    found = [np.concatenate(rows)[np.argsort(order, kind="stable")] for rows, order in zip(logits, orders, strict=True)]
    joined = [
        of_examples(rows, owners, len(tokens)) if tokens.passages else rows
        for rows, tokens, (_, owners) in zip(found, sets, windows, strict=True)
    ]
    return [
        Evaluation(own, _statistics(opened), _statistics(shares)) for own, opened, shares in zip(joined, gates, contributions, strict=True)
    ]


def _gather(found: Values, sizes: Sequence[int], trials: Sequence[_Gathered]) -> None:
    """Hand each trial its own examples' values."""
    for place, (slots, values) in found.items():
        for slot, own in zip(slots.tolist(), values.float().cpu().numpy(), strict=True):
            trials[slot].setdefault(place, []).append(own[: sizes[slot]])


def _statistics(gathered: _Gathered) -> list[PlaceStatistics]:
    whole = {place: np.concatenate(values) for place, values in gathered.items()}
    return [PlaceStatistics(*place, mean=float(values.mean()), spread=float(values.std())) for place, values in sorted(whole.items())]
