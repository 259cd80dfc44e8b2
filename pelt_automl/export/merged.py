"""A trained winner as a plain transformers folder: what it changed is folded into the backbone's weights."""

from pathlib import Path
from typing import Any

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Form
from pelt_automl.export.classification import (
    classification_config,
    head_tensors,
    inside,
    model_class,
    plain_model,
    save_tokenizer,
    set_head,
)
from pelt_automl.export.folding import fold
from pelt_automl.export.verification import difference
from pelt_automl.export.widening import set_width
from pelt_automl.modifications import Pack
from pelt_automl.modifications.merging import in_the_way, why_no_head, why_not_folded
from pelt_automl.training.checkpoints import TrainedConfig


def why_not_merged(trained: TrainedConfig, backbone: Backbone) -> list[str]:
    """Everything that keeps a trained winner from becoming a plain transformers model."""
    all_of_them = trained.modifications
    reasons = ((m, why_not_folded(m, backbone) or in_the_way(m, all_of_them)) for m in all_of_them)
    return [f"{m.name} at {m.site}: {reason}" for m, reason in reasons if reason] + why_no_head(backbone, trained.scale.mean)


def write_merged(pack: Pack, trained: TrainedConfig, config: Any, folder: Path) -> float:
    """Write config, weights (fp32) and tokenizer into `folder`; the largest difference of an output after reading them again.

    `config` is the backbone's own. Raises `SelectionError` when what was read again isn't the trained model.
    """
    import transformers

    config = classification_config(config, trained, pack.backbone)
    model = plain_model(pack.backbone, config, trained)
    fold(pack, inside(model, pack.backbone))
    if any(m.form is Form.RELU for m in trained.modifications):
        set_width(model.config, inside(model, pack.backbone))
    set_head(model, head_tensors(pack, trained))
    model.save_pretrained(str(folder))
    save_tokenizer(pack.backbone.tokenizer, trained, config, str(folder))
    loader = getattr(transformers, model_class(trained))
    again = loader.from_pretrained(str(folder), trust_remote_code=False, use_safetensors=True)
    return difference(pack, trained, again)
