"""The bias form: BitFit."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications.stacked import HookedModule, Member, Run


class BiasShift(HookedModule):
    """BitFit (Ben Zaken et al. 2022): every bias ``b`` of the backbone becomes ``b + d`` with a trained ``d`` that starts at 0."""

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """One shift for each module of the backbone that has a bias, under the module's path."""
        super().__init__(label, members)
        for path, module in self._with_bias(backbone):
            width = module.bias.shape[0]
            self.add_weights(_tensor_name(path), lambda _, __, width=width: torch.zeros(width))  # type: ignore[misc]

    @staticmethod
    def _with_bias(backbone: Backbone) -> Iterator[tuple[str, nn.Linear | nn.LayerNorm]]:
        for path, module in backbone.model.named_modules():
            if isinstance(module, (nn.Linear, nn.LayerNorm)) and module.bias is not None:
                yield path, module

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:
        """Add each trial's shift to the output of every module with a bias."""
        for path, module in self._with_bias(backbone):
            shift = self.get_parameter(_tensor_name(path)).to(backbone.dtype)

            def hook(_: nn.Module, __: object, output: Tensor, shift: Tensor = shift) -> Tensor:
                between = [1] * (output.dim() - 1)  # the pooler's output has no token dimension
                change = shift.view(shift.shape[0], *between, shift.shape[1])
                return self.added(output, change.expand(-1, run.examples, *output.shape[1:]), run)

            yield module.register_forward_hook(hook)


def _tensor_name(path: str) -> str:
    """A module's path as a parameter's name, which can't hold dots."""
    return path.replace(".", "__")
