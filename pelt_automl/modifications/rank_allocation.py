"""AdaLoRA's allocation of ranks (Zhang et al. 2023, section 3.2), which peft leaves to the training loop: schedule, steps, state."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pelt_automl.backbones.loading import Backbone
from pelt_automl.errors import BackboneError
from pelt_automl.modifications import bridged
from pelt_automl.modifications.bridged_modules import Bridged
from pelt_automl.modifications.stacked import Member

AVERAGES = ("exp_avg_ipt", "exp_avg_unc")
"""peft's names of the smoothed sensitivities and uncertainties."""

RANKS = "ranks"

SHORTEST_FALL = 2
"""Steps: one to find importances, one to allocate by them."""


class AdaLora(Bridged):
    """AdaLoRA (Zhang et al. 2023): ``W x + P E Q x`` with singular values ``E``, of which the least important are set to 0.

    The budget falls from `init_r` to `target_r` singular values a map, on average (equation 12). All `init_r` are kept, those set to 0
    too: how many are left to each map is then no part of the tensors' shapes.
    """

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """The schedule's fields may be shares of the training."""
        super().__init__(label, members, backbone)
        _, _, self.shares = bridged.read_config(members[0].modification.peft)
        wrapped: Any = self.model
        self.config = wrapped.peft_config[bridged.ADAPTER]
        self.gradients: dict[Tensor, Tensor | None] = {}
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._hold)

    @property
    def tuner(self) -> Any:
        """Peft's own part of the model."""
        return self.model.base_model

    def _hold(self, parameter: Tensor) -> None:
        """Gradients are held on to until they have been read, after the optimizer's step."""
        self.gradients[parameter] = parameter.grad

    def begin(self, steps: int) -> None:
        """Lay the budget's fall over a training of `steps` steps. Raises `BackboneError` where there is no room for it."""
        self.config.total_step = steps
        for name, share in self.shares.items():
            setattr(self.config, name, round(share * steps))
        room = steps - self.config.tinit - SHORTEST_FALL
        if room < 0:
            raise BackboneError(
                f"AdaLoRA's budget can't fall in a training of {steps} steps that begins with {self.config.tinit} without it"
            )
        self.config.tfinal = min(self.config.tfinal, room)

    def after_step(self, step: int) -> None:
        """Update the importances, and set to 0 the singular values that the budget at `step` has no place for."""
        for parameter, gradient in self.gradients.items():
            parameter.grad = gradient
        self.tuner.update_and_allocate(step)
        for parameter in self.gradients:
            parameter.grad = None

    def penalty(self) -> Tensor:
        """``gamma`` times the mean of ``||P^T P - I||`` and ``||Q Q^T - I||`` over all maps, as in peft."""
        distances = []
        for name, factor in self.tuner.named_parameters():
            if factor.requires_grad and ("lora_A" in name or "lora_B" in name):
                product = factor @ factor.T if "lora_A" in name else factor.T @ factor
                distances.append(torch.linalg.matrix_norm(product - torch.eye(len(product), device=product.device)))
        return float(self.config.orth_reg_weight) * torch.stack(distances).mean()

    def kept(self, row: int) -> dict[str, Tensor]:
        """Tensors of full shape: peft doesn't cut them to the ranks that are left."""
        pattern, self.config.rank_pattern = self.config.rank_pattern, None
        try:
            return super().kept(row)
        finally:
            self.config.rank_pattern = pattern

    def state(self, row: int) -> dict[str, Tensor]:  # noqa: ARG002 the one row
        """The smoothed importances by tensor, and which singular values are left once that is settled."""
        averages = ((kind, getattr(self.tuner.rankallocator, kind)) for kind in AVERAGES)
        found = {f"{kind}/{name}": tensor for kind, tensors in averages for name, tensor in tensors.items()}
        return found | {f"{RANKS}/{name}": torch.tensor(left) for name, left in (self.config.rank_pattern or {}).items()}

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:  # noqa: ARG002 the one row
        """Go on where `state` was taken."""
        parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in (*AVERAGES, RANKS)}
        for place, tensor in state.items():
            kind, _, name = place.partition("/")
            parts[kind][name] = tensor.to(self.slots.device)
        allocator: Any = self.tuner.rankallocator
        for kind in AVERAGES:
            setattr(allocator, kind, parts[kind])
        allocator.ipt = {name: torch.zeros_like(tensor) for name, tensor in parts[AVERAGES[0]].items()}
        self.config.rank_pattern = {name: left.tolist() for name, left in parts[RANKS].items()} or None
