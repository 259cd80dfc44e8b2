"""What the frozen backbone makes of an example: one pass each, kept for everything that reads it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.backbones.loading import Backbone
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.tasks.examples import joined_up
from pelt_automl.training.evaluation import EXAMPLES_A_PASS, pad_id_of
from pelt_automl.training.padding import passes
from pelt_automl.training.tokens import Tokens, collate

Features = NDArray[np.float32]


class FrozenFeatures:
    """Pooled states of the unchanged backbone: what a classification head reads before it has a hidden layer of its own."""

    def __init__(self, backbone: Backbone, *, keep: bool = True) -> None:
        """Nothing is computed before it is asked for. `keep`: whether a later call may ask for the same texts."""
        self.backbone, self.keep = backbone, keep
        self._kept: dict[bytes, Features] = {}

    def of(self, tokens: Tokens) -> Features:
        """``(examples, H)``, fp32. Equal texts are computed once, whenever they come."""
        keys = [_key(tokens, i) for i in range(len(tokens))]
        kept = self._kept if self.keep else {}
        new = {key: i for i, key in enumerate(keys) if key not in kept}
        if new:
            kept.update(zip(new, self._computed(tokens.take(list(new.values()))), strict=True))
        return np.stack([kept[key] for key in keys])

    @torch.no_grad()
    def _computed(self, tokens: Tokens) -> Features:
        device = self.backbone.device.type
        pack = Pack(self.backbone, [PackTrial((), seed=0)], outputs=1).eval()
        was_training = self.backbone.model.training
        self.backbone.model.eval()
        order = np.argsort(tokens.lengths, kind="stable")
        ordered, found = tokens.take(order), list[Features]()
        for positions in passes([ordered], device, EXAMPLES_A_PASS.get(device, 64)):
            batch = collate([ordered[positions]], pad_id_of(pack), self.backbone.device)
            found.append(pack(**batch.inputs).pooled[0].float().cpu().numpy())
        self.backbone.model.train(was_training)
        return np.concatenate(found)[np.argsort(order, kind="stable")]

    @torch.no_grad()
    def inside_head(self, features: Features, seed: int) -> Features:
        """What the head's last map reads, ``(examples, H)``: the features themselves, or, for a family whose head has a hidden layer
        (RoBERTa, ELECTRA), that layer's outputs as the trial with this initialization seed begins.
        """
        head = Pack(self.backbone, [PackTrial((), seed)], outputs=1).head
        states = head.inner(torch.from_numpy(features).to(self.backbone.device)[None])[0]
        return np.asarray(states.cpu().numpy(), dtype=np.float32)


def _key(tokens: Tokens, i: int) -> bytes:
    types = tokens.token_type_ids[i] if tokens.token_type_ids else ()
    return np.asarray([*tokens.input_ids[i], -1, *types], dtype=np.int32).tobytes()


def head_weights(weight: NDArray[np.floating], bias: NDArray[np.floating] | None) -> Mapping[str, Tensor]:
    """``weight`` ``(C, H)`` and ``bias`` ``(C,)``, as a head of a pack takes them (see `PackTrial.head`)."""
    found = {"weight": torch.from_numpy(np.asarray(weight, dtype=np.float32))}
    return found if bias is None else found | {"bias": torch.from_numpy(np.asarray(bias, dtype=np.float32))}


def text_groups(tokens: Tokens) -> Sequence[int]:
    """A number for each example, the same for equal texts and for those of one group."""
    return joined_up([_key(tokens, i) for i in range(len(tokens))], tokens.groups)
