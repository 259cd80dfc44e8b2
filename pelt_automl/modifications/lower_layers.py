"""The layers below all that the trials of a pack change: what they put out is the same for every trial, so it is computed once an example.

Where every trial leaves the embeddings and the first `k` layers alone, their hidden states depend on nothing but the text. They are kept
by example and put in place of the layer `k - 1`'s output in each pass of training and evaluation; the layers below aren't computed.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from pelt_automl.backbones.loading import Backbone

MOST_BYTES = 1_000_000_000
"""Of hidden states kept for one backbone, on the device that it is on: 30,000 texts of 44 tokens for MiniLM in bf16."""


class LowerLayers:
    """Hidden states by the number of layers below and the example's key, without padding, in the backbone's own type.

    Those that were needed longest ago make room for new ones. States of different numbers of layers have nothing in common.
    """

    def __init__(self, backbone: Backbone, most_bytes: int = MOST_BYTES) -> None:
        """For one frozen backbone, whose weights must stay as they are."""
        self.backbone, self.most_bytes = backbone, most_bytes
        self.bytes = 0
        self._states: OrderedDict[tuple[int, bytes], Tensor] = OrderedDict()

    def clear(self) -> None:
        """Keep nothing, as when the backbone goes to another device."""
        self._states.clear()
        self.bytes = 0

    def __len__(self) -> int:
        """Number of states that are kept: one for each example and number of layers."""
        return len(self._states)

    @cached_property
    def possible(self) -> bool:
        """Whether this backbone's lower layers can be shared: no dropout, and its layers are a chain."""
        architecture, config = self.backbone.architecture, self.backbone.model.config
        rates = [getattr(config, name, 0.0) for name in (*architecture.dropout_names, *architecture.layer_drop_names)]
        if not architecture.packs or architecture.encoder_decoder or any(rates):
            return False
        # Whether a pass calls every layer once, in order, each with what the one before has put out, which is one tensor and no more. Else
        # something other than hidden states goes from layer to layer, or weights are shared between layers (ALBERT).
        called = list[tuple[nn.Module, Any, Any]]()
        handles = [module.register_forward_hook(lambda own, given, out: called.append((own, given[:1], out))) for module in self._modules]
        two_tokens = torch.ones(1, 2, dtype=torch.long, device=self.backbone.device)
        try:
            with torch.no_grad():
                self.backbone.model(input_ids=two_tokens, attention_mask=two_tokens)
        finally:
            for handle in handles:
                handle.remove()
        if [own for own, _, _ in called] != self._modules or not all(isinstance(out, Tensor) and out.dim() == 3 for *_, out in called):
            return False
        return all(given and given[0] is before[2] for before, (_, given, _) in pairwise(called))

    def states(self, layers: int, keys: Sequence[bytes], inputs: Mapping[str, Tensor]) -> Tensor:
        """What the first `layers` layers put out, ``(N*B, T, H)``: 0 where there is padding, which stands on the right.

        `inputs` are the model's, each ``(N*B, T)``; `keys` tell the examples apart. What isn't kept is computed, each example once.
        """
        known = {key: self._states[layers, key] for key in keys if (layers, key) in self._states}
        for key in known:
            self._states.move_to_end((layers, key))
        missing = {key: row for row, key in enumerate(keys) if key not in known}
        if missing:
            known |= zip(missing, self._computed(layers, list(missing.values()), inputs), strict=True)
            self._states |= {(layers, key): known[key] for key in missing}
            self.bytes += sum(known[key].nbytes for key in missing)
            while self.bytes > self.most_bytes:
                self.bytes -= self._states.popitem(last=False)[1].nbytes
        padded = pad_sequence([known[key] for key in keys], batch_first=True)
        return functional.pad(padded, (0, 0, 0, inputs["input_ids"].shape[1] - padded.shape[1]))

    @contextmanager
    def replaced(self, layers: int, states: Tensor) -> Iterator[None]:
        """While active, the first `layers` layers aren't computed: the next one gets `states` ``(N*B, T, H)``."""
        handle = self._modules[layers - 1].register_forward_hook(lambda *_: states)
        try:
            with _skipped(self._modules[:layers]):
                yield
        finally:
            handle.remove()

    @cached_property
    def _modules(self) -> list[nn.Module]:
        return [layer.module for layer in self.backbone.layers()]

    @torch.no_grad()
    def _computed(self, layers: int, rows: Sequence[int], inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """States ``(T, H)`` of some rows, each as long as its text."""
        device, found = self.backbone.device, list[Tensor]()
        lengths = inputs["attention_mask"].sum(1)[list(rows)].tolist()
        own = {name: tensor[list(rows), : max(lengths)].to(device) for name, tensor in inputs.items()}
        handle = self._modules[layers - 1].register_forward_hook(lambda *passed: found.append(passed[2]))
        try:
            with _skipped(self._modules[layers:]):
                self.backbone.model(**own)
        finally:
            handle.remove()
        return [states[:length].clone() for states, length in zip(found[0], lengths, strict=True)]


@contextmanager
def _skipped(modules: Sequence[nn.Module]) -> Iterator[None]:
    """While active, layers pass their input on; hooks on them run as ever."""
    for module in modules:
        module.forward = lambda states, *_, **__: states
    try:
        yield
    finally:
        for module in modules:
            del module.forward
