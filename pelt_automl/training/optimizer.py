"""AdamW over stacked weights: every trial with its own learning rate, gradient norm and step count."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from pelt_automl.modifications import Pack

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""AdamW's defaults (Loshchilov and Hutter 2019), bias correction included (Mosbach et al. 2021)."""

MOMENTS = ("exp_avg", "exp_avg_sq")


class PackedAdamW:
    """For a single trial, ``torch.optim.AdamW`` after ``clip_grad_norm_``; for a pack, each row as if it were alone."""

    def __init__(self, pack: Pack, weight_decay: float) -> None:
        """`weight_decay` leaves out biases, stacked ones too, and the scales of layer norms."""
        self.pack = pack
        self.weight_decay = weight_decay
        self.weights = pack.trainable()
        self.biases = {parameter for name, parameter in pack.named_parameters() if name.endswith("bias")}
        self.moments = {name: {weight: torch.zeros_like(weight) for weight, _ in self.weights} for name in MOMENTS}
        self.steps = torch.zeros(len(pack.trials), device=pack.backbone.device)

    @torch.no_grad()
    def step(self, learning_rates: Tensor, clip: float) -> Tensor:
        """One update; `learning_rates` and the result, the norm of each trial's gradient before clipping, have shape ``(N,)``."""
        self.steps += 1
        norms = self._gradient_norms()
        factor = (clip / (norms + 1e-6)).clamp_max(1.0)
        step_size = learning_rates / (1 - BETA_1**self.steps)
        root_correction = (1 - BETA_2**self.steps).sqrt()
        self._step_whole_copy(learning_rates, factor)
        for weight, slots in self.weights:
            if weight.grad is None:
                continue
            average, square = (self.moments[name][weight] for name in MOMENTS)
            gradient = weight.grad * _rows(factor, slots, weight)
            average.lerp_(gradient, 1 - BETA_1)
            square.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
            if self.weight_decay and weight not in self.biases and _own_dimensions(weight, slots) > 1:
                weight.mul_(1 - _rows(learning_rates, slots, weight) * self.weight_decay)
            denominator = square.sqrt().div_(_rows(root_correction, slots, weight)).add_(EPSILON)
            weight.sub_(average.div(denominator).mul_(_rows(step_size, slots, weight)))
            weight.grad = None
        return norms

    def _step_whole_copy(self, learning_rates: Tensor, factor: Tensor) -> None:
        """The weights without a trial dimension, those of full fine-tuning, by PyTorch's fused kernel: four times as fast for them."""
        averages, squares = (self.moments[name] for name in MOMENTS)
        whole = [weight for weight, slots in self.weights if slots is None and weight.grad is not None]
        for decayed in (True, False):
            weights = [weight for weight in whole if (weight not in self.biases and weight.dim() > 1) is decayed]
            if weights:
                adamw(
                    weights,
                    [weight.grad.mul_(factor[0]) for weight in weights if weight.grad is not None],
                    [averages[weight] for weight in weights],
                    [squares[weight] for weight in weights],
                    max_exp_avg_sqs=[],
                    state_steps=[self.steps[0] - 1 for _ in weights],  # the kernel counts on by itself
                    fused=True,
                    amsgrad=False,
                    beta1=BETA_1,
                    beta2=BETA_2,
                    lr=float(learning_rates[0]),
                    weight_decay=self.weight_decay if decayed else 0.0,
                    eps=EPSILON,
                    maximize=False,
                )
        for weight in whole:
            weight.grad = None

    def _gradient_norms(self) -> Tensor:
        squares = torch.zeros_like(self.steps)
        for weight, slots in self.weights:
            if weight.grad is None:
                continue
            if slots is None:
                squares += weight.grad.square().sum()
            else:
                squares.index_add_(0, slots, weight.grad.flatten(1).square().sum(1))
        return squares.sqrt()

    def moments_of(self, slot: int) -> dict[str, Tensor]:
        """Views of one trial's moments, under ``exp_avg/`` and ``exp_avg_sq/`` and the weights' names."""
        return {
            f"{moment}/{name}": own
            for moment, beside in self.moments.items()
            for name, own in self.pack.trained_weights(slot, beside).items()
        }

    def load(self, slot: int, step: int, moments: Mapping[str, Tensor]) -> None:
        """Take up one trial where `moments_of` left it, after `step` updates."""
        self.steps[slot] = step
        for name, own in self.moments_of(slot).items():
            own.copy_(moments[name])


def _own_dimensions(weight: Tensor, slots: Tensor | None) -> int:
    return weight.dim() if slots is None else weight.dim() - 1


def _rows(values: Tensor, slots: Tensor | None, weight: Tensor) -> Tensor:
    """One value a trial, shaped to multiply its rows of `weight`."""
    if slots is None:
        return values[0]
    return values.index_select(0, slots).view(-1, *[1] * (weight.dim() - 1))
