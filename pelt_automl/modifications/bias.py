"""The bias form: BitFit."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications.stacked import HookedModule, Member, Run, across


class BiasShift(HookedModule):
    """BitFit (Ben Zaken et al. 2022): every bias ``b`` of the backbone becomes ``b + d`` with a trained ``d`` that starts at 0."""

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """One shift for each module of the backbone that has a bias, under the module's path."""
        super().__init__(label, members)
        for path, _, bias in self._with_bias(backbone):
            width = bias.shape[0]
            self.add_weights(tensor_name(path), lambda _, __, width=width: torch.zeros(width))  # type: ignore[misc]

    @staticmethod
    def _with_bias(backbone: Backbone) -> Iterator[tuple[str, nn.Module, Tensor]]:
        for path, module in backbone.model.named_modules():
            bias = getattr(module, "bias", None)
            if isinstance(bias, nn.Parameter) and bias.dim() == 1:
                yield path, module, bias

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Add each trial's shift to the output of every module with a bias."""
        for path, module, _ in self._with_bias(backbone):
            shift = self.get_parameter(tensor_name(path)).to(backbone.dtype)
            if isinstance(module, nn.Conv1d):  # DeBERTa-v2-xlarge's puts out (N*B, H, T)
                shift = shift.unsqueeze(-1)

            def hook(_: nn.Module, __: object, output: Tensor, shift: Tensor = shift) -> Tensor:
                return self.added(output, across(shift, run.split(output)), run)

            yield module.register_forward_hook(hook)


def tensor_name(path: str) -> str:
    """A module's path as a parameter's name, which can't hold dots."""
    return path.replace(".", "__")
