"""AdamW over stacked weights: every trial with its own learning rate, gradient norm and step count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from pelt_automl.modifications import Pack

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""AdamW's defaults (Loshchilov and Hutter 2019), bias correction included (Mosbach et al. 2021)."""

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class _Row:
    """What one trial has in a weight: all of it where it has no trial dimension."""

    weight: Tensor
    index: int | None
    decayed: bool
    step: Tensor
    """Updates so far, a number."""

    def of(self, whole: Tensor) -> Tensor:
        """The trial's part of the weight, or of what stands beside it."""
        return whole if self.index is None else whole[self.index]


class PackedAdamW:
    """For a single trial, ``torch.optim.AdamW`` after ``clip_grad_norm_``; for a pack, each row as if it were alone."""

    def __init__(self, pack: Pack, weight_decay: float) -> None:
        """`weight_decay` leaves out biases, stacked ones too, and the scales of layer norms."""
        self.pack = pack
        self.weight_decay = weight_decay
        self.weights = pack.trainable()
        self.moments = {name: {weight: torch.zeros_like(weight) for weight, _ in self.weights} for name in MOMENTS}
        biases = {parameter for name, parameter in pack.named_parameters() if name.endswith("bias")}
        self.rows: list[list[_Row]] = [[] for _ in pack.trials]
        """By slot."""
        for weight, slots in self.weights:
            own_dimensions = weight.dim() - (slots is not None)
            decayed = weight not in biases and own_dimensions > 1
            for index, slot in enumerate([0] if slots is None else slots.tolist()):
                step = torch.zeros((), device=weight.device)
                self.rows[slot].append(_Row(weight, None if slots is None else index, decayed, step))

    @torch.no_grad()
    def step(self, learning_rates: Tensor, clip: float) -> Tensor:
        """One update; `learning_rates` and the result, the norm of each trial's gradient before clipping, have shape ``(N,)``."""
        squares = torch.zeros(len(self.rows), device=self.pack.backbone.device)
        for weight, slots in self.weights:
            if weight.grad is not None and slots is None:
                squares += torch.linalg.vector_norm(weight.grad).square()
            elif weight.grad is not None and slots is not None:
                squares.index_add_(0, slots, torch.linalg.vector_norm(weight.grad.flatten(1), dim=1).square())
        norms = squares.sqrt()
        divisors = ((norms + 1e-6) / clip).clamp_min(1.0)
        for slot, rows in enumerate(self.rows):
            for decayed in (True, False):
                self._update([row for row in rows if row.decayed is decayed], learning_rates[slot], divisors[slot])
        for weight, _ in self.weights:
            weight.grad = None
        return norms

    def _update(self, rows: Sequence[_Row], learning_rate: Tensor, divisor: Tensor) -> None:
        """Weights of one trial that are decayed alike, by PyTorch's fused kernel: it passes over memory once, not once an operation."""
        found = [(row, row.weight.grad) for row in rows if row.weight.grad is not None]
        if not found:
            return
        averages, squares = (self.moments[name] for name in MOMENTS)
        adamw(
            [row.of(row.weight) for row, _ in found],
            [row.of(gradient) for row, gradient in found],
            [row.of(averages[row.weight]) for row, _ in found],
            [row.of(squares[row.weight]) for row, _ in found],
            max_exp_avg_sqs=[],
            state_steps=[row.step for row, _ in found],
            grad_scale=divisor,  # what gradients are divided by, meant for mixed precision: here it clips them
            fused=True,
            amsgrad=False,
            beta1=BETA_1,
            beta2=BETA_2,
            lr=learning_rate,
            weight_decay=self.weight_decay if found[0][0].decayed else 0.0,
            eps=EPSILON,
            maximize=False,
        )

    def moments_of(self, slot: int) -> dict[str, Tensor]:
        """Views of one trial's moments, under ``exp_avg/`` and ``exp_avg_sq/`` and the weights' names."""
        return {
            f"{moment}/{name}": own
            for moment, beside in self.moments.items()
            for name, own in self.pack.trained_weights(slot, beside).items()
        }

    def load(self, slot: int, step: int, moments: Mapping[str, Tensor]) -> None:
        """Take up one trial where `moments_of` left it, after `step` updates."""
        for row in self.rows[slot]:
            row.step.fill_(step)
        for name, own in self.moments_of(slot).items():
            own.copy_(moments[name])
