"""`transformers`' own model for a kind of task, with a trained head: what plain folders and peft's folders have in common."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pelt_automl.backbones.loading import Backbone
from pelt_automl.errors import BackboneError
from pelt_automl.modifications import Pack
from pelt_automl.modifications.merging import head_names
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.training.checkpoints import TrainedConfig


def model_class(trained: TrainedConfig) -> str:
    """The name of `transformers`' class that loads the model."""
    return "AutoModelForQuestionAnswering" if KINDS[trained.kind].reads_tokens else "AutoModelForSequenceClassification"


def classification_config(config: Any, trained: TrainedConfig, backbone: Backbone) -> Any:
    """A configuration of the backbone's model, as a classification model of these labels has it.

    A decoder's model tells a text from its padding by the token itself, so it gets the tokenizer's padding token.
    """
    own = copy.deepcopy(config)
    own.num_labels = trained.outputs
    own.problem_type = KINDS[trained.kind].problem_type or None
    if trained.labels:
        own.id2label = dict(enumerate(trained.labels))
        own.label2id = {label: index for index, label in enumerate(trained.labels)}
    if own.pad_token_id is None or backbone.architecture.counts_positions:
        # The tokenizer's, the model's, or the one that ends a text (GPT-2 has no other).
        tokens = (getattr(backbone.tokenizer, "pad_token_id", None), own.pad_token_id, getattr(backbone.tokenizer, "eos_token_id", None))
        own.pad_token_id = next((int(token) for token in tokens if token is not None), 0)
    if own.is_encoder_decoder and getattr(own, "decoder_start_token_id", None) is None:
        own.decoder_start_token_id = own.pad_token_id  # what the training started with
    return own


def plain_model(backbone: Backbone, config: Any, trained: TrainedConfig) -> Any:
    """`transformers`' model with the backbone's weights, in fp32 and ready to predict; its head isn't trained.

    Raises `BackboneError` when that model has weights that the backbone doesn't have.
    """
    import transformers

    model = getattr(transformers, model_class(trained)).from_config(config, dtype=torch.float32, trust_remote_code=False)
    missing, _ = base_of(model).load_state_dict(backbone.model.state_dict(), strict=False)
    if missing:
        raise BackboneError(f"the classification model of {backbone.architecture.family} has weights that the backbone lacks: {missing}")
    return model.eval()


def base_of(model: Any) -> nn.Module:
    """The backbone inside a classification model."""
    inside: nn.Module = getattr(model, model.base_model_prefix)
    return inside


def inside(model: Any, backbone: Backbone) -> Backbone:
    """The backbone inside a classification model, with the sites of the one that it was made from."""
    return replace(backbone, model=base_of(model))


def head_tensors(pack: Pack, trained: TrainedConfig) -> dict[str, Tensor]:
    """The trained head by `transformers`' names. Regression predicts in the labels' unit: the last map takes up their scale."""
    names, own, scale = head_names(pack.backbone), pack.head.kept(0), trained.scale
    found = {f"{names['out']}.weight": own["weight"] * scale.deviation}
    if "bias" in own:
        found[f"{names['out']}.bias"] = own["bias"] * scale.deviation + scale.mean
    if "dense" in own:
        found |= {f"{names['dense']}.weight": own["dense"], f"{names['dense']}.bias": own["dense_bias"]}
    return found


@torch.no_grad()
def set_head(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Write the trained head into a classification model."""
    for name, tensor in tensors.items():
        model.get_parameter(name).copy_(tensor)


def save_tokenizer(tokenizer: Any, trained: TrainedConfig, config: Any, folder: str) -> None:
    """Write the tokenizer so that it cuts texts as the training did, and pads where every architecture may be padded."""
    own = copy.copy(tokenizer)
    own.model_max_length, own.padding_side = trained.max_length, "right"
    if getattr(own, "pad_token_id", None) is None:
        own.pad_token_id = config.pad_token_id
    own.save_pretrained(folder)
