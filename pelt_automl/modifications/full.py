"""Every weight of the backbone: full fine-tuning, in a pack of one."""

import copy
from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications.stacked import HookedModule, Member, Run


class FullCopy(HookedModule):
    """A trainable fp32 copy of the backbone. Its weights have no trial dimension: such a trial is alone in its pack."""

    stacked = False

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """Copies the weights; the frozen backbone stays as it is."""
        super().__init__(label, members)
        if len(members) != 1:
            raise ValueError("full fine-tuning can't share a pack")
        self.model = copy.deepcopy(backbone.model).float().requires_grad_()

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:  # noqa: ARG002 the interface's
        """Nothing to hook into: the pack runs this copy instead of the backbone."""
        return iter(())

    def own(self, name: str, stacked: Tensor, row: int) -> Tensor:  # noqa: ARG002 the interface's
        """The whole tensor: there is no trial dimension."""
        return stacked


def copy_of(modules: Sequence[nn.Module]) -> nn.Module | None:
    """The model to run instead of the frozen backbone, if one of a pack's modules has a copy of its own."""
    return next((module.model for module in modules if isinstance(module, FullCopy)), None)
