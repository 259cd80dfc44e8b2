"""What is kept of a training, as safetensors and JSON; nothing is ever pickled."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Form, Modification, modification_from_dict
from pelt_automl.durable import filling, replacing, write_text
from pelt_automl.errors import SelectionError
from pelt_automl.log.codec import checked
from pelt_automl.modifications.bridged import ADAPTER_WEIGHTS, write_config
from pelt_automl.tasks.kinds import KINDS, LabelScale
from pelt_automl.training.trials import TrialProgress

FORMAT = 1
CONFIG, WEIGHTS, TOKENIZER = "pelt_config.json", "weights.safetensors", "tokenizer"
_BEST, _CONTINUATION = "best/", "continuation/"
_CURRENT = "best_is_current"
_PROGRESS, _OWNER = "progress", "of"
_CONTENT = "crc32"
"""In a file's metadata: of its tensors' names, types, shapes and values."""

WinnerForm = Literal["trained", "apart", "words", "neighbors"]
"""What a winner is: a method's trained weights and head (of the probe a head alone), or what `baselines` keeps of a contender that is none:
a map of two texts' own features, weights of words, or examples."""


@dataclass(frozen=True)
class TrainedConfig:
    """All that a trained method needs beside its weights and the frozen backbone."""

    method: str
    hyper_parameters: dict[str, Any]
    modifications: tuple[Modification, ...]
    """As they are kept: without a reparameterization."""
    kind: str
    """A name in `pelt_automl.tasks.kinds.KINDS`."""
    labels: list[str]
    """Class names in the order of the outputs; empty where there are none."""
    text_columns: list[str]
    """Names of the one or two columns that the texts came from."""
    scale: LabelScale
    """Of the outputs: that of the labels for a head, none for another form, which gives numbers in the labels' unit. With the threshold."""
    max_length: int
    """Tokens that a text is cut to; 0 for a bag of words, which cuts none."""
    precision: str
    """``bf16`` or ``fp32``: what it was trained in."""
    backbone: dict[str, str]
    """``name``, ``location`` and ``sha256`` of the pretrained model; empty for a bag of words, which has none."""
    task: str
    format: int = FORMAT
    form: WinnerForm = "trained"
    temperature: float = 1.0
    """What the logits, or log probabilities, are divided by before they become probabilities."""

    @property
    def outputs(self) -> int:
        """Outputs of the head."""
        return KINDS[self.kind].outputs(self.labels)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> "TrainedConfig":
        """The inverse of `to_json`. Raises one of several built-in errors for another file; see `load_config`."""
        data = json.loads(text)
        modifications = tuple(modification_from_dict(entry) for entry in data["modifications"])
        if unknown := sorted(set(data) - {f.name for f in fields(TrainedConfig)}):
            raise ValueError(f"it has {', '.join(unknown)}, which isn't known")
        config = checked(TrainedConfig, data | {"modifications": modifications})
        if problems := config.problems():
            raise ValueError("; ".join(problems))
        return config

    def problems(self) -> list[str]:
        """What can't be: values of the right types that no training leads to."""
        words = self.form == "words"
        rules = (
            (self.format == FORMAT, f"format is {self.format}; this version reads {FORMAT}"),
            (self.kind in KINDS, f"kind is {self.kind!r}"),
            (self.kind not in KINDS or len(self.labels) >= KINDS[self.kind].fewest_names, f"there are {len(self.labels)} labels"),
            (len(self.text_columns) in (1, 2), f"there are {len(self.text_columns)} text columns"),
            (self.max_length > 0 or words, f"max_length is {self.max_length}"),
            (self.precision in ("bf16", "fp32"), f"precision is {self.precision!r}"),
            ({"name", "location", "sha256"} <= set(self.backbone) or words, "backbone lacks name, location or sha256"),
            (0 < self.temperature < inf, f"temperature is {self.temperature}"),
            (0 <= self.scale.threshold < 1, f"threshold is {self.scale.threshold}"),
            (self.form == "trained" or not self.modifications, f"form is {self.form}, which has no modifications"),
        )
        return [message for holds, message in rules if not holds]


def describe(backbone: Backbone) -> dict[str, str]:
    """What a checkpoint says of its backbone."""
    return {"name": backbone.name, "location": backbone.location, "sha256": backbone.sha256}


def save_trained(folder: Path, config: TrainedConfig, weights: Mapping[str, Tensor], tokenizer: Any) -> None:
    """Write config, weights and tokenizer into `folder`; what peft has trained in peft's own format, the rest in ours."""
    rest = dict(weights)
    for modification in bridged_ones(config.modifications):
        prefix = f"{modification.name}.{modification.site}."
        own = {name.removeprefix(prefix): rest.pop(name) for name in weights if name.startswith(prefix)}
        save_tensors(folder / ADAPTER_WEIGHTS, own, {"format": "pt"})
        with filling(folder) as draft:
            write_config(draft, modification.peft, config.backbone["location"])
    save_tensors(folder / WEIGHTS, rest)
    with filling(folder / TOKENIZER) as draft:
        tokenizer.save_pretrained(str(draft))
    write_text(folder / CONFIG, config.to_json() + "\n")


def load_trained(weights: Path, modifications: Sequence[Modification]) -> dict[str, Tensor]:
    """The tensors that `save_trained` wrote: those in `weights`, and what stands beside it in peft's format.

    A file of a training's own has all of them inside. Raises `SelectionError` when a file is missing or can't be read.
    """
    tensors, _ = load_tensors(weights)
    for modification in bridged_ones(modifications):
        prefix = f"{modification.name}.{modification.site}."
        if not any(name.startswith(prefix) for name in tensors):
            own, _ = load_tensors(weights.with_name(ADAPTER_WEIGHTS))
            tensors |= {prefix + name: tensor for name, tensor in own.items()}
    return tensors


def bridged_ones(modifications: Sequence[Modification]) -> list[Modification]:
    """Those that peft carries out: one at most, since it works on a copy of the backbone."""
    return [modification for modification in modifications if modification.form is Form.PEFT]


def load_config(folder: Path) -> TrainedConfig:
    """The config of a folder that `save_trained` wrote. Raises `SelectionError` for any other folder."""
    try:
        return TrainedConfig.from_json((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise SelectionError(f"{folder} holds no trained method: {CONFIG} can't be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise SelectionError(f"{folder / CONFIG} isn't a file that this version has written: {what}") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write safetensors so that a kill leaves either the old file or the new one, never half of one."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as draft:
        save_file(plain, draft, (metadata or {}) | {_CONTENT: _content(plain)})


def _content(tensors: Mapping[str, Tensor]) -> str:
    found = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), found)
        if tensor.numel():
            found = zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, on the CPU.

    Raises `SelectionError` when it can't be read, and when it isn't as `save_tensors` wrote it; files of other programs don't say that.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
            metadata = dict(file.metadata() or {})
    except (OSError, SafetensorError, KeyError, AttributeError) as error:  # the last two for types that torch doesn't have
        raise SelectionError(f"{path} isn't a readable safetensors file: {error}") from error
    if metadata.pop(_CONTENT, None) not in (None, _content(tensors)):
        raise SelectionError(f"{path} is damaged: its tensors aren't those that were written")
    return tensors, metadata


def save_progress(path: Path, progress: TrialProgress, of: str = "") -> None:
    """Keep a training that is to go on, so that a killed process loses nothing of it. `of`: whose it is, for `load_progress`.

    A tensor of the best weights that is the current one, too, is written once.
    """
    best, continuation = progress.best_weights, progress.continuation
    current = [name for name, tensor in best.items() if continuation.get(name) is tensor]
    tensors = {_BEST + name: tensor for name, tensor in best.items() if name not in current}
    tensors |= {_CONTINUATION + name: tensor for name, tensor in continuation.items()}
    # without its tensors, which `asdict` would copy
    plain = asdict(replace(progress, best_weights={}, continuation={}))
    save_tensors(path, tensors, {_PROGRESS: json.dumps(plain), _CURRENT: json.dumps(current), _OWNER: of})


def load_progress(path: Path, of: str = "") -> TrialProgress:
    """The inverse of `save_progress`. Raises `SelectionError` when the file can't be read, or is no checkpoint of this one."""
    tensors, metadata = load_tensors(path)
    if (owner := metadata.get(_OWNER)) != of:
        raise SelectionError(f"{path} isn't a checkpoint of {of or 'this training'}, but of {owner or 'something else'}")

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    best, continuation = part(_BEST), part(_CONTINUATION)
    try:
        best |= {name: continuation[name] for name in checked(list[str], json.loads(metadata[_CURRENT]))}
        return checked(TrialProgress, json.loads(metadata[_PROGRESS]) | {"best_weights": best, "continuation": continuation})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SelectionError(f"{path} isn't a checkpoint that this version has written: {error}") from error


def precision_name(dtype: torch.dtype) -> Literal["bf16", "fp32"]:
    """The name of a compute type in settings and files."""
    return "bf16" if dtype is torch.bfloat16 else "fp32"
