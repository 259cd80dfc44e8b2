"""A copy of the backbone in place of it, in a pack of one; all of its weights are trained in full fine-tuning."""

import copy
from collections.abc import Iterator, Sequence

from torch import nn
from torch.utils.hooks import RemovableHandle

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications.stacked import HookedModule, Member, Run


class OwnCopy(HookedModule):
    """A copy of the backbone that is run in place of it. Its weights have no trial dimension: such a trial is alone in its pack."""

    stacked = False
    model: nn.Module

    def __init__(self, label: str, members: Sequence[Member]) -> None:
        """The one trial; whoever inherits sets `model`."""
        super().__init__(label, members)
        if len(members) != 1:
            raise ValueError("a trial with a copy of the backbone can't share a pack")

    def attach(self, backbone: Backbone, run: Run) -> Iterator[RemovableHandle]:  # noqa: ARG002 the interface's
        """Nothing to hook into: the pack runs this copy instead of the backbone."""
        return iter(())


class FullCopy(OwnCopy):
    """Full fine-tuning: a copy in fp32 whose every weight is trained."""

    def __init__(self, label: str, members: Sequence[Member], backbone: Backbone) -> None:
        """Copies the weights; the frozen backbone stays as it is."""
        super().__init__(label, members)
        self.model = copy.deepcopy(backbone.model).float().requires_grad_()


def copy_of(modules: Sequence[nn.Module]) -> nn.Module | None:
    """The model to run instead of the frozen backbone, if one of a pack's modules has a copy of its own."""
    return next((module.model for module in modules if isinstance(module, OwnCopy)), None)
