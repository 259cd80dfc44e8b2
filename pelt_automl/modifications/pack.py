"""A pack: many trials on one frozen backbone, in one forward and backward pass."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pelt_automl.backbones.loading import Backbone
from pelt_automl.backbones.prefix_attention import prefixes
from pelt_automl.design_space import Form, Insertion, Modification, Site
from pelt_automl.errors import BackboneError
from pelt_automl.modifications.bias import BiasShift
from pelt_automl.modifications.bottleneck import Bottleneck
from pelt_automl.modifications.full import FullCopy, full_copy_of
from pelt_automl.modifications.head import Head, pool
from pelt_automl.modifications.low_rank import LowRank
from pelt_automl.modifications.prefix import Prefix
from pelt_automl.modifications.stacked import HookedModule, Member, Run, StackedModule

LINEAR_SITES = (
    Site.ATTENTION_QUERY, Site.ATTENTION_KEY, Site.ATTENTION_VALUE, Site.ATTENTION_OUTPUT, Site.FFN_UP, Site.FFN_DOWN,
)  # fmt: skip

BY_LAYER: dict[tuple[Form, Site, Insertion], type[LowRank | Bottleneck | Prefix]] = {
    **{(Form.LINEAR, site, Insertion.PARALLEL): LowRank for site in LINEAR_SITES},
    (Form.RELU, Site.FFN, Insertion.SEQUENTIAL): Bottleneck,
    (Form.RELU, Site.ATTENTION, Insertion.SEQUENTIAL): Bottleneck,
    (Form.SOFTMAX, Site.HEADS, Insertion.PARALLEL): Prefix,
}
"""Which module carries out a modification of single layers."""

WHOLE: dict[Form, type[BiasShift | FullCopy]] = {Form.BIAS: BiasShift, Form.FULL: FullCopy}
"""Which module carries out a modification of the whole backbone."""

_ORDER = {Form.FULL: 0, Form.SOFTMAX: 1, Form.LINEAR: 1, Form.RELU: 2, Form.BIAS: 3}
"""A bottleneck recomputes the layer norm that it hooks, so a shift of that norm's bias has to come after it."""


@dataclass(frozen=True)
class PackTrial:
    """What a pack needs to know of a trial."""

    modifications: tuple[Modification, ...]
    seed: int
    """Of the initialization."""


@dataclass(frozen=True)
class PackOutput:
    """Result of a forward pass."""

    logits: Tensor
    """Shape ``(N, B, C)``, fp32."""
    gates: dict[tuple[str, str, int], tuple[Tensor, Tensor]]
    """By submodule, site and layer: the slots ``(n,)`` of the trials with this gate, and its values ``(n, B)``."""


def check_supported(modifications: Sequence[Modification], backbone: Backbone) -> None:
    """Raises `BackboneError` naming every modification that can't be carried out, and what can."""
    problems = [
        f"{m.form} form at {m.site}, {m.insertion}"
        for m in modifications
        if m.form not in WHOLE and ((m.form, m.site, m.insertion) not in BY_LAYER or m.site not in backbone.architecture.sites)
    ]
    if problems:
        there = ", ".join(f"{form} at {site}, {insertion}" for form, site, insertion in BY_LAYER)
        raise BackboneError(f"{backbone.architecture.family} has no module for {'; '.join(problems)}. There are: {there}.")


def without_reparameterization(modifications: Sequence[Modification]) -> tuple[Modification, ...]:
    """The form in which trained modifications are kept: prefixes as such, without the MLP that made them."""
    return tuple(replace(modification, reparameterization=0) for modification in modifications)


class Pack(nn.Module):
    """Trained weights of N trials, and the forward pass that applies each trial's own to its part of the batch."""

    def __init__(self, backbone: Backbone, trials: Sequence[PackTrial], outputs: int) -> None:
        """`outputs`: number of classes, 1 for regression. Raises `BackboneError` for what the backbone doesn't support."""
        super().__init__()
        self.backbone = backbone
        self.trials = tuple(trials)
        for trial in trials:
            check_supported(trial.modifications, backbone)
        self.stacks = nn.ModuleList(_stacks(backbone, trials))
        unsized = Modification("head", Site.EVERYTHING, Form.LINEAR)
        self.head = Head([Member(slot, unsized, trial.seed) for slot, trial in enumerate(trials)], backbone, outputs)
        self.to(backbone.device)

    def hooked(self) -> list[HookedModule]:
        """Every module that changes hidden states, in the order in which they have to hook."""
        return [module for module in self.stacks if isinstance(module, HookedModule)]

    def stacked(self) -> list[StackedModule]:
        """Every module with trained weights, the head last."""
        return [*self.hooked(), self.head]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, without: frozenset[str] = frozenset()
    ) -> PackOutput:
        """Each trial on its own examples: all inputs ``(N, B, T)``. Submodules named in `without` are truly switched off."""
        run = Run(input_ids.shape[0], input_ids.shape[1], attention_mask)
        inputs = {"input_ids": input_ids.flatten(0, 1), "attention_mask": attention_mask.flatten(0, 1)}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids.flatten(0, 1)
        full = full_copy_of(self.hooked())
        with ExitStack() as stack:
            for module in self.hooked():
                if module.members[0].modification.name not in without:
                    for handle in module.attach(self.backbone, run):
                        stack.callback(handle.remove)
            stack.enter_context(prefixes(run.prefixes))
            if full is not None and self.backbone.dtype is not torch.float32:
                stack.enter_context(torch.autocast(self.backbone.device.type, self.backbone.dtype))
            output = (full if full is not None and "full" not in without else self.backbone.model)(**inputs)
        pooled = pool(output.last_hidden_state, getattr(output, "pooler_output", None), inputs["attention_mask"], self.backbone.pooling)
        return PackOutput(self.head(run.split(pooled)), run.gates)

    def trainable(self) -> list[tuple[Tensor, Tensor | None]]:
        """Every trained tensor with the slots of its rows; None for the slots where it has no trial dimension."""
        found: list[tuple[Tensor, Tensor | None]] = []
        for module in self.stacked():
            slots = None if isinstance(module, FullCopy) else module.slots
            found += [(parameter, slots) for parameter in module.parameters()]
        return found

    def _rows(self, slot: int) -> Iterator[tuple[StackedModule, int]]:
        for module in self.stacked():
            row = module.row_of(slot)
            if row is not None:
                yield module, row

    def trained_weights(self, slot: int, beside: Mapping[Tensor, Tensor] | None = None) -> dict[str, Tensor]:
        """Views of the tensors of one trial that are trained, by their full names, unpadded.

        With `beside`, views of what stands beside each trained tensor (an optimizer's moments) instead.
        """
        return {f"{module.label}.{name}": own for module, row in self._rows(slot) for name, own in module.trained(row, beside).items()}

    def kept_weights(self, slot: int) -> dict[str, Tensor]:
        """The tensors of one trial that are needed after the training: `trained_weights` with a prefix's MLP carried out."""
        return {f"{module.label}.{name}": own for module, row in self._rows(slot) for name, own in module.kept(row).items()}

    def load_weights(self, slot: int, weights: Mapping[str, Tensor]) -> None:
        """Set one trial's trained tensors.

        Kept weights go into a pack of the modifications as `without_reparameterization` gives them.
        Raises `KeyError` when a tensor is missing and `RuntimeError` when a shape differs.
        """
        with torch.no_grad():
            for name, own in self.trained_weights(slot).items():
                own.copy_(weights[name])


def _stacks(backbone: Backbone, trials: Sequence[PackTrial]) -> list[HookedModule]:
    """One module for each kind of modification that some trial has, over all trials that have it."""
    groups: dict[tuple[object, ...], list[Member]] = {}
    for slot, trial in enumerate(trials):
        for m in trial.modifications:
            key = (_ORDER[m.form], m.name, m.site, m.form, m.insertion, m.gate, m.layers, m.reparameterization)
            groups.setdefault(key, []).append(Member(slot, m, trial.seed))
    return [_module(backbone, groups[key]) for key in sorted(groups, key=str)]


def _module(backbone: Backbone, members: Sequence[Member]) -> HookedModule:
    m = members[0].modification
    label = f"{m.name}.{m.site}"
    if m.form in WHOLE:
        return WHOLE[m.form](label, members, backbone)
    layers = range(backbone.shape.layers) if m.layers is None else m.layers
    return BY_LAYER[m.form, m.site, m.insertion](label, members, backbone, tuple(layers))
