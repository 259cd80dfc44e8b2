"""A trained winner as a folder of HF peft, where peft has the method."""

from pathlib import Path
from typing import Any

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import PROJECTIONS, SUBLAYERS, Form, Insertion, Modification, Site, changed_layers
from pelt_automl.export.classification import classification_config, head_tensors, plain_model, save_tokenizer
from pelt_automl.export.peft_methods import ADAPTERS
from pelt_automl.export.verification import difference
from pelt_automl.modifications import Pack, bridged
from pelt_automl.modifications.merging import head_names, is_prompt, why_no_head, why_not_folded
from pelt_automl.training.checkpoints import TrainedConfig, save_tensors

_NO_METHOD = {
    Form.RELU: "peft has no adapters with a non-linearity",
    Form.BIAS: "peft has no method that trains biases alone; --merged can export it",
    Form.FULL: "every weight was trained, which leaves nothing to peft; --merged can export it",
}

NAMES = "config"
"""Subfolder with the model's configuration, which has the names of the classes. Beside `adapter_config.json` it would mean to transformers
that the pretrained weights are there, too."""

ALONE = {Form.PROMPT, Form.SOFTMAX}
"""Forms of which peft has one in a model."""


def why_not_peft(trained: TrainedConfig, backbone: Backbone) -> list[str]:
    """Everything that keeps a trained winner from becoming a folder of peft."""
    reasons = [f"{m.name} at {m.site}: {reason}" for m in trained.modifications if (reason := _why_not(m, backbone))]
    forms, sites = {m.form for m in trained.modifications}, {m.site for m in trained.modifications}
    if not forms:
        reasons.append("only the head was trained, and peft has no method without a change in the backbone; --merged can export it")
    if len(forms) > 1 or (forms & ALONE and len(trained.modifications) > 1):
        names = ", ".join(sorted({m.name for m in trained.modifications}))
        reasons.append(f"a folder of peft holds one method, and this is a union: {names}")
    if forms == {Form.SCALE} and {Site.FFN, Site.FFN_DOWN} <= sites:
        reasons.append(f"peft has one vector a linear map: on the inputs ({Site.FFN_DOWN}) or on the outputs ({Site.FFN}), not both")
    return reasons + why_no_head(backbone, trained.scale.mean)


def _why_not(m: Modification, backbone: Backbone) -> str | None:
    if m.gate:
        return "peft has no gates"
    if m.form not in ADAPTERS:
        return _NO_METHOD.get(m.form, "peft has no such method")
    if m.form is Form.LINEAR and m.site not in PROJECTIONS:
        return "peft's LoRA stands at a linear map"
    if m.form is Form.LINEAR and m.insertion is Insertion.SEQUENTIAL:
        return "peft's LoRA reads the input of a linear map, this one its output; --merged can export it"
    if m.form is Form.SCALE and m.site in SUBLAYERS:
        return why_not_folded(m, backbone)
    if is_prompt(m):
        return _why_no_prompt(backbone)
    return _why_no_prefix(m, backbone) if m.form is Form.SOFTMAX else None


def _why_no_prompt(backbone: Backbone) -> str | None:
    """Because peft hands embeddings to the model, which then doesn't know where the text stands among them."""
    family = backbone.architecture.family
    if backbone.architecture.encoder_decoder:
        return f"transformers' classification model of {family} takes no embeddings, which is what peft hands it"
    if backbone.pooling != "last":
        return f"with peft the head of {family} reads the prompt's first token, and not, as it was trained, the text's"
    return None


def _why_no_prefix(m: Modification, backbone: Backbone) -> str | None:
    config: Any = backbone.model.config
    if m.composition != "gated":
        return "its softmax is its own; a prefix of peft shares the softmax of the head"
    if len(changed_layers(m, backbone.shape)) < backbone.shape.layers_with(m.site):
        return "a prefix of peft stands in every layer"
    if not (backbone.architecture.counts_positions and hasattr(backbone.model, "rotary_emb")):
        return (
            "peft counts a prefix as text that came before, so that the text's positions move; "
            "only for a decoder with rotary positions can that be made up for"
        )
    kinds = getattr(config, "layer_types", None)
    if set(kinds) != {"full_attention"} if kinds else getattr(config, "sliding_window", None):
        return "peft's prefix moves out of a sliding window of attention; the one that was trained never does"
    return None


def write_peft(pack: Pack, trained: TrainedConfig, config: Any, folder: Path) -> float:
    """Write peft's two files (fp32), a configuration with the classes' names (`NAMES`), and the tokenizer into `folder`.

    The result is the largest difference of an output after reading them again. `config` is the backbone's own. Raises `SelectionError`
    when what was read again isn't the trained model.
    """
    config = classification_config(config, trained, pack.backbone)
    model = plain_model(pack.backbone, config, trained)
    adapter = ADAPTERS[trained.modifications[0].form](pack, model)
    options = adapter.options | {
        "task_type": "QUESTION_ANS" if pack.backbone.pooling == "tokens" else "SEQ_CLS",
        "base_model_name_or_path": pack.backbone.location,
        "inference_mode": True,
        "modules_to_save": sorted({name.split(".")[0] for name in head_names(pack.backbone).values()}),
    }
    getattr(bridged.peft_library(), adapter.kind)(**options).save_pretrained(str(folder))
    config.save_pretrained(str(folder / NAMES))
    head = {adapter.prefix + name: tensor for name, tensor in head_tensors(pack, trained).items()}
    save_tensors(folder / "adapter_model.safetensors", adapter.tensors | head, {"format": "pt"})
    save_tokenizer(pack.backbone.tokenizer, trained, config, str(folder))
    again = bridged.peft_library().PeftModel.from_pretrained(model, str(folder))
    return difference(pack, trained, again, one_by_one=any(map(is_prompt, trained.modifications)))
