"""Whether an exported model is the trained one: both read the same tokens, and their outputs are compared."""

from typing import Any

import torch
from torch import Tensor

from pelt_automl.errors import SelectionError
from pelt_automl.modifications import Pack
from pelt_automl.training.checkpoints import TrainedConfig

TOLERANCE = 1e-4
"""Largest difference of an output that counts as rounding, relative to the largest output if that is above 1."""

LENGTHS = (9, 6, 4)
"""Tokens of the texts that are compared; the shorter ones are padded."""


@torch.no_grad()
def difference(pack: Pack, trained: TrainedConfig, model: Any, *, one_by_one: bool = False) -> float:
    """Largest difference between the outputs of a pack of one, in the labels' unit, and those of a classification model.

    With `one_by_one` the model reads each text without padding. Raises `SelectionError` when it is more than rounding.
    """
    ids, mask = sample_texts(model.config)
    pack.eval()
    pack.backbone.model.eval()
    ours = pack(ids.unsqueeze(0), mask.unsqueeze(0)).logits[0] * trained.scale.deviation + trained.scale.mean
    model.eval()
    if one_by_one:
        texts = (row[seen.bool()].unsqueeze(0) for row, seen in zip(ids, mask, strict=True))
        theirs = torch.cat([model(input_ids=text, attention_mask=torch.ones_like(text)).logits for text in texts])
    else:
        output = model(input_ids=ids, attention_mask=mask)
        theirs = torch.stack([output.start_logits, output.end_logits], dim=2) if ours.ndim == 3 else output.logits
    if ours.ndim == 3:  # of every token, padding left out
        ours, theirs = ours[mask.bool()], theirs[mask.bool()]
    found = float((ours - theirs).abs().max())
    if not found <= TOLERANCE * max(1.0, float(ours.abs().max())):
        raise SelectionError(
            f"the exported model isn't the trained one: an output differs by {found:.2g}. Nothing was written. "
            f"Please report it with the method ({trained.method}) and the model ({trained.backbone['name']})."
        )
    return found


def sample_texts(config: Any) -> tuple[Tensor, Tensor]:
    """Random tokens and their mask, ``(texts, tokens)``, padded on the right; for an encoder-decoder each text has its end token."""
    special = {getattr(config, f"{name}_token_id", None) for name in ("pad", "eos", "bos", "decoder_start")}
    words = [token for token in range(min(config.vocab_size, 1000)) if token not in special]
    drawn = torch.randint(len(words), (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(0))
    ids, mask = torch.tensor(words)[drawn], torch.zeros_like(drawn)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
        ids[row, length:] = config.pad_token_id
        if config.is_encoder_decoder:
            ids[row, length - 1] = config.eos_token_id
    return ids, mask
