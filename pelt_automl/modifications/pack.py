"""A pack: many trials on one frozen backbone, in one forward and backward pass."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pelt_automl.backbones.head_attention import changed_heads
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import (
    PROJECTIONS,
    SUBLAYERS,
    Form,
    Modification,
    Site,
    gate_groups,
    group_layers,
    group_outputs,
    lowest_layer,
)
from pelt_automl.modifications import bridged
from pelt_automl.modifications.bias import BiasShift
from pelt_automl.modifications.bottleneck import Bottleneck
from pelt_automl.modifications.bridged_modules import Bridged, BridgedPrompt
from pelt_automl.modifications.by_layer import LayerModule, SharedGate
from pelt_automl.modifications.full import FullCopy, copy_of
from pelt_automl.modifications.head import Head, pool
from pelt_automl.modifications.heads import Heads
from pelt_automl.modifications.low_rank import LowRank
from pelt_automl.modifications.lower_layers import LowerLayers
from pelt_automl.modifications.observed import Observed, Values
from pelt_automl.modifications.prompt import Prompt, make_room
from pelt_automl.modifications.rank_allocation import AdaLora
from pelt_automl.modifications.scaling import Scaling
from pelt_automl.modifications.stacked import HookedModule, Member, Run, StackedModule
from pelt_automl.modifications.subspace import Subspace
from pelt_automl.modifications.support import check_supported

BY_LAYER: dict[tuple[Form, Site], type[LayerModule]] = {
    **{(form, site): LowRank for form in (Form.LINEAR, Form.RELU) for site in PROJECTIONS},
    **{(form, site): Bottleneck for form in (Form.LINEAR, Form.RELU) for site in SUBLAYERS},
    **{(form, Site.HEADS): Heads for form in (Form.LINEAR, Form.RELU, Form.SOFTMAX)},
    (Form.SUBSPACE, Site.FFN): Subspace,
    **{(Form.SCALE, site): Scaling for site in (*PROJECTIONS, *SUBLAYERS)},
}
"""Which module carries out a modification of single layers."""


def bridged_module(label: str, members: Sequence[Member], backbone: Backbone) -> HookedModule:
    """The module for the one trial's configuration. Raises `BackboneError` where peft isn't installed or doesn't know it."""
    peft_type, _, _ = bridged.read_config(members[0].modification.peft)
    if peft_type in bridged.PROMPT_TYPES:
        return BridgedPrompt(label, members, backbone)
    return (AdaLora if peft_type == "ADALORA" else Bridged)(label, members, backbone)


WHOLE: dict[Form, Callable[[str, Sequence[Member], Backbone], HookedModule]] = {
    Form.BIAS: BiasShift,
    Form.FULL: FullCopy,
    Form.PEFT: bridged_module,
    Form.PROMPT: Prompt,
}
"""Which module carries out a modification of the whole backbone."""


NO_TOKEN = -1e9
"""The logits of padding, where every token has some."""
STATE = "state/"
"""Before the names of what a training needs to go on, beside weights and moments."""


@dataclass(frozen=True)
class PackTrial:
    """What a pack needs to know of a trial."""

    modifications: tuple[Modification, ...]
    seed: int
    """Of the initialization."""
    head: Mapping[str, Tensor] | None = None
    """The head's ``weight`` ``(C, H)`` and ``bias`` ``(C,)`` to start from; None: drawn by the seed. A dense layer before them is drawn."""


@dataclass(frozen=True)
class PackOutput:
    """Result of a forward pass."""

    logits: Tensor
    """Shape ``(N, B, C)``, fp32; ``(N, B, T, C)`` where the head reads every token."""
    pooled: Tensor
    """Shape ``(N, B, H)``, or ``(N, B, T, H)``: what the head reads."""
    gates: Values
    """By submodule, site and layer: the slots ``(n,)`` of the trials with this gate, and its values ``(n, B)``."""
    contributions: Values = field(default_factory=dict)
    """In the same form, where asked for: the share that the change has of the hidden states; see `observed.contribution`."""


class Pack(nn.Module):
    """Trained weights of N trials, and the forward pass that applies each trial's own to its part of the batch."""

    def __init__(self, backbone: Backbone, trials: Sequence[PackTrial], outputs: int, lower: LowerLayers | None = None) -> None:
        """`outputs`: number of classes, 1 for regression. `lower` keeps what the layers below all changes put out for each example.

        Raises `BackboneError` for what the backbone doesn't support.
        """
        super().__init__()
        self.backbone, self.lower = backbone, lower
        self.trials = tuple(trials)
        self.unchanged = min(lowest_layer(trial.modifications, backbone.shape) for trial in trials)
        """Number of layers, from the lowest, that no trial changes."""
        for trial in trials:
            check_supported(trial.modifications, backbone.architecture, backbone.shape)
        self.stacks = nn.ModuleList(_stacks(backbone, trials))
        unsized = Modification("head", Site.EVERYTHING, Form.LINEAR)
        self.head = Head([Member(slot, unsized, trial.seed) for slot, trial in enumerate(trials)], backbone, outputs)
        for slot, trial in enumerate(trials):
            if trial.head is not None:
                self.head.start(slot, trial.head)
        self.to(backbone.device)

    def hooked(self) -> list[HookedModule]:
        """Every module that changes hidden states, in the order in which they have to hook."""
        return [module for module in self.stacks if isinstance(module, HookedModule)]

    def stacked(self) -> list[StackedModule]:
        """Every module with trained weights, the head last."""
        return [*self.hooked(), self.head]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        without: frozenset[str] = frozenset(),
        keys: Sequence[bytes] | None = None,
        measure: bool = False,
    ) -> PackOutput:
        """Each trial on its own examples: all inputs ``(N, B, T)``. Submodules named in `without` are truly switched off.

        With `keys`, which tell the ``N*B`` examples apart, the unchanged lower layers are computed once an example, if the backbone can.
        Padding then has to stand on the right. `measure`: tell the contributions, too, which costs each prefix's attention once more.
        """
        if not self.backbone.architecture.packs and input_ids.shape[1] == 1:
            return self._twice(input_ids, attention_mask, token_type_ids, without, measure)
        active = [module for module in self.hooked() if module.submodule not in without]
        ids, mask, source = input_ids, attention_mask, torch.arange(input_ids.shape[2], device=input_ids.device).expand(input_ids.shape)
        if lengths := {slot: length for module in active for slot, length in module.lengths.items()}:
            pad = getattr(self.backbone.model.config, "pad_token_id", None) or 0
            ids, mask, source = make_room([lengths.get(slot, 0) for slot in range(len(self.trials))], ids, mask, pad)
        masks = {part.shape[2]: part for part in (attention_mask, mask)}
        run = Run(input_ids.shape[0], input_ids.shape[1], masks, contributions=Observed() if measure else None)
        inputs = {"input_ids": ids.flatten(0, 1), "attention_mask": mask.flatten(0, 1)}
        if token_type_ids is not None and self.backbone.architecture.token_types:
            inputs["token_type_ids"] = token_type_ids.gather(2, source).flatten(0, 1)
        if self.backbone.architecture.counts_positions:
            inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp_min(0)
        if self.backbone.architecture.encoder_decoder:
            inputs["decoder_input_ids"] = shifted_right(self.backbone.model, input_ids.flatten(0, 1), attention_mask.flatten(0, 1))
        shared: AbstractContextManager[None] = nullcontext()  # to leave out the layers that no trial changes
        if self.lower is not None and keys is not None and self.unchanged and self.lower.possible:
            # computes what is missing, before anything is attached
            shared = self.lower.replaced(self.unchanged, self.lower.states(self.unchanged, keys, inputs))
        with self._attached(active, run) as model, shared:
            output = model(**inputs)
            pooled = self._pool(model, output.last_hidden_state, input_ids, attention_mask, mask)
        contributions = run.contributions.values if run.contributions else {}
        if self.backbone.pooling == "tokens":
            states = pooled.view(input_ids.shape[0], -1, pooled.shape[-1])
            logits = self.head(states).view(*input_ids.shape, -1).masked_fill(attention_mask[..., None] == 0, NO_TOKEN)
            return PackOutput(logits, states.view(*input_ids.shape, -1), run.gates.values, contributions)
        pooled = pooled.view(*input_ids.shape[:2], -1)
        return PackOutput(self.head(pooled), pooled, run.gates.values, contributions)

    def _twice(self, ids: Tensor, mask: Tensor, types: Tensor | None, without: frozenset[str], measure: bool) -> PackOutput:
        """One example beside itself: DeBERTa's relative positions look like one example, so that they can't be mistaken for it."""
        types = types.expand(-1, 2, -1) if types is not None else None
        both = self(ids.expand(-1, 2, -1), mask.expand(-1, 2, -1), types, without, measure=measure)
        gates, contributions = (
            {place: (slots, values[:, :1]) for place, (slots, values) in own.items()} for own in (both.gates, both.contributions)
        )
        return PackOutput(both.logits[:, :1], both.pooled[:, :1], gates, contributions)

    @contextmanager
    def _attached(self, active: Sequence[HookedModule], run: Run) -> Iterator[nn.Module]:
        """The model to run, with everything in its place for one forward pass."""
        with ExitStack() as stack:
            for module in active:
                for handle in module.attach(self.backbone, run):
                    stack.callback(handle.remove)
            stack.enter_context(changed_heads(run.heads))
            own = copy_of(active)
            if own is not None and self.backbone.dtype is not torch.float32:
                stack.enter_context(torch.autocast(self.backbone.device.type, self.backbone.dtype))
            yield own or self.backbone.model

    def _pool(self, model: nn.Module, states: Tensor, ids: Tensor, mask: Tensor, wide_mask: Tensor) -> Tensor:
        """``(N*B, H)``, or ``(N*B, T, H)``: what the head reads. An encoder-decoder's states are its decoder's, which has no prompt."""
        decoded = self.backbone.architecture.encoder_decoder
        counted = mask if decoded else wide_mask
        first = (counted.sum(2) - mask.sum(2)).flatten().long()
        if self.backbone.pooling == "tokens":  # a prompt stands before them
            places = (first[:, None] + torch.arange(mask.shape[2], device=ids.device)).clamp_max(states.shape[1] - 1)
            return states.gather(1, places[:, :, None].expand(-1, -1, states.shape[2]))
        end, eos = counted, getattr(self.backbone.model.config, "eos_token_id", None)
        if decoded and eos is not None:  # as in transformers: the end of the text, which in mBART a language code follows
            is_end = torch.isin(ids, torch.tensor(eos, device=ids.device)) & mask.bool()
            end = torch.where(is_end.any(dim=2, keepdim=True), is_end.to(mask.dtype), mask)
        last = (end * torch.arange(end.shape[2], device=ids.device)).argmax(dim=2).flatten()
        pooled = pool(states, counted.flatten(0, 1), self.backbone.pooling, first, last)
        for path in self.backbone.architecture.pooler if self.backbone.pooling == "pooler" else ():
            pooled = model.get_submodule(path)(pooled)
        return pooled

    def trainable(self) -> list[tuple[Tensor, Tensor | None]]:
        """Every trained tensor with the slots of its rows; None for the slots where it has no trial dimension."""
        parameters = ((module, parameter) for module in self.stacked() for parameter in module.parameters() if parameter.requires_grad)
        return [(parameter, module.slots if module.stacked else None) for module, parameter in parameters]

    def _rows(self, slot: int) -> Iterator[tuple[StackedModule, int]]:
        for module in self.stacked():
            if (row := module.row_of(slot)) is not None:
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
        for module, row in self._rows(slot):
            module.load(row, _without_prefix(weights, f"{module.label}."))

    def begin(self, slot: int, steps: int, state: Mapping[str, Tensor]) -> None:
        """Prepare one trial for a training of `steps` steps in all, or for the rest of one that `state` was taken from."""
        for module, row in self._rows(slot):
            module.begin(steps)
            module.load_state(row, _without_prefix(state, f"{STATE}{module.label}."))

    def state(self, slot: int) -> dict[str, Tensor]:
        """What one trial needs beside weights and moments to go on with its training."""
        return {f"{STATE}{module.label}.{name}": own for module, row in self._rows(slot) for name, own in module.state(row).items()}

    def penalty(self) -> Tensor | float:
        """What the trials' methods add to the sum of their losses."""
        return sum(own for module in self.stacked() if (own := module.penalty()) is not None)

    def after_step(self, step: int) -> None:
        """Tell every module that the optimizer has made its step number `step`, counted from 1."""
        for module in self.stacked():
            module.after_step(step)


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def shifted_right(model: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """What a decoder reads when the text itself is its target, ``(N*B, T)``: the start token, then the text without its last token.

    As `transformers`' own sequence classification does it; mBART starts with the text's language code, its last token.
    """
    config: Any = model.config
    start = getattr(config, "decoder_start_token_id", None)
    if config.model_type == "mbart":
        last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(dim=1, keepdim=True)
        first = ids.gather(1, last)
    else:
        first = torch.full_like(ids[:, :1], start if start is not None else config.pad_token_id)
    return torch.cat([first, ids[:, :-1]], dim=1)


def _stacks(backbone: Backbone, trials: Sequence[PackTrial]) -> list[HookedModule]:
    """One module for each kind of modification that some trial has, over all trials that have it."""
    groups: dict[Modification, list[Member]] = {}
    for slot, trial in enumerate(trials):
        for modification in trial.modifications:
            alike = replace(modification, size=0, scale=1.0)
            groups.setdefault(alike, []).append(Member(slot, modification, trial.seed))
    kinds = [(WHOLE.get(m.form) or BY_LAYER[m.form, m.site], m) for m in sorted(groups, key=str)]
    return _shared_gates(backbone, trials) + [make(f"{m.name}.{m.site}", groups[m], backbone) for make, m in kinds]


def _shared_gates(backbone: Backbone, trials: Sequence[PackTrial]) -> list[HookedModule]:
    """One module for each kind of gate that several modifications of a trial share."""
    kinds: dict[tuple[Any, ...], list[tuple[Member, Sequence[Member]]]] = {}
    for slot, trial in enumerate(trials):
        for gate, shared in gate_groups(trial.modifications).items():
            kind = (gate, group_outputs(gate, shared), group_layers(shared, backbone.shape))
            members = [Member(slot, modification, trial.seed) for modification in shared]
            kinds.setdefault(kind, []).append((members[0], members))
    return [
        SharedGate(f"gate.{kind[0].group}", [first for first, _ in kinds[kind]], backbone, kinds[kind][0][1])
        for kind in sorted(kinds, key=str)
    ]
