"""Trained methods as they are after a selection, without one: tiny models, weights away from their start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Modification
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training.checkpoints import TrainedConfig
from tests.probing import lively_backbone, moved
from tests.tiny import random_ids

LABELS = ["no", "perhaps", "yes"]


class Tokenizer:
    """All that the export asks of a tokenizer."""

    pad_token_id = 0

    def save_pretrained(self, folder: str) -> None:
        settings = f"{self.padding_side} {self.model_max_length}"
        Path(folder, "tokenizer.txt").write_text(settings)


def backbone_of(family: str) -> Backbone:
    """A tiny backbone in which every change shows, with a tokenizer that can be written."""
    backbone, tokenizer = lively_backbone(family), Tokenizer()
    tokenizer.pad_token_id = backbone.model.config.pad_token_id or 0
    return replace(backbone, tokenizer=tokenizer)


def trained_config(modifications: tuple[Modification, ...], **other: Any) -> TrainedConfig:
    given = {
        "method": "custom",
        "hyper_parameters": {},
        "modifications": modifications,
        "kind": "classification",
        "labels": LABELS,
        "text_columns": ["text"],
        "scale": LabelScale(),
        "max_length": 32,
        "precision": "fp32",
        "backbone": {"name": "tiny", "location": "/nowhere", "sha256": ""},
        "task": "toy",
    }
    return TrainedConfig(**(given | other))


def trained_pack_of(backbone: Backbone, modifications: tuple[Modification, ...], outputs: int = 3) -> Pack:
    pack: Pack = moved(Pack(backbone, [PackTrial(modifications, seed=3)], outputs), size=0.2)
    return pack.eval()


def padded_texts(config: Any) -> tuple[Tensor, Tensor]:
    """Four texts of 8, 7, 5 and 2 tokens and their mask; each with its end token where the model wants one."""
    ids, mask = random_ids(4, 8, seed=5).clamp_min(5), torch.ones(4, 8, dtype=torch.long)
    for row, length in enumerate((8, 7, 5, 2)):
        ids[row, length:], mask[row, length:] = config.pad_token_id or 0, 0
        if config.is_encoder_decoder:
            ids[row, length - 1] = config.eos_token_id
    return ids, mask


@torch.no_grad()
def our_logits(pack: Pack, config: Any) -> Tensor:
    ids, mask = padded_texts(config)
    return pack(ids.unsqueeze(0), mask.unsqueeze(0)).logits[0]


@torch.no_grad()
def their_logits(model: Any) -> Tensor:
    ids, mask = padded_texts(model.config)
    return model.eval()(input_ids=ids, attention_mask=mask).logits
