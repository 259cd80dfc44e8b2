"""The bridge to HF `peft`: the one file that knows its interface. peft itself is imported when a bridged method is used, never before.

A configuration is the JSON in `Modification.peft`: peft's own fields, and fields like ``tinit_share``, which stand for peft's field in
steps (``tinit``) as a share of a training whose length no search space knows.
"""

import copy
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pelt_automl.backbones.architectures import Architecture, Part
from pelt_automl.design_space import Site
from pelt_automl.errors import BackboneError

ADAPTER = "default"
"""peft's name for the one adapter of a model."""

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""The file in which peft looks for an adapter's tensors."""

SHARE = "_share"
"""Ends the name of a field in steps that is given as a share of the training."""

SHARES = {"ADALORA": ("tinit_share", "tfinal_share")}
NEEDED = {"ADALORA": {"total_step": 1_000_000}}
"""By type: what peft's configuration can't do without; AdaLoRA's steps are set when the training begins."""

PROMPT = "prompt_embeddings"
"""The name under which peft stores a prompt."""

PROMPT_TYPES = ("P_TUNING",)
"""Types that change the embeddings alone, so that no copy of the backbone is needed."""

PROMPT_SIZES = {"num_attention_heads": 1, "num_layers": 1, "num_transformer_submodules": 1}
"""What peft wants to know of a prompt's model, beside the width of its embeddings, and doesn't use."""

OURS = (
    "auto_mapping", "base_model_name_or_path", "inference_mode", "modules_to_save", "num_attention_heads", "num_layers",
    "num_transformer_submodules", "peft_type", "peft_version", "revision", "task_type", "token_dim", "total_step",
)  # fmt: skip
"""Fields that we set, or that have no meaning here: the head is always trained, and the rest follows from backbone and training."""

NEEDS_DATA = ("corda", "eva", "loftq", "lora_ga")
"""Initializations of LoRA that need examples, gradients or quantized weights."""

SITES = {
    "LN_TUNING": (Site.ATTENTION, Site.FFN),
    "IA3": (Site.ATTENTION_KEY, Site.ATTENTION_VALUE, Site.FFN_DOWN),
    "BEFT": (Site.ATTENTION_VALUE,),
}
"""What a type changes where peft has no entry for the architecture; the others change query and value."""

SIZES = {
    "C3A": "block_size", "ROAD": "group_size", "VBLORA": "vector_length",
    "MISS": "r", "PSOFT": "r",
    "FOURIERFT": "n_frequency", "WAVEFT": "n_frequency",
}  # fmt: skip
"""Sizes that have to fit the changed maps. They are lowered: those in the first line to the largest divisor of every map's widths, in the
second to the smallest map's width, in the third to its number of weights."""

CONV1D = "Conv1D"
TURNED = "peft does this for linear maps that are stored as (output, input), not for transformers' Conv1D"

REFUSALS = (ValueError, TypeError, NotImplementedError, RuntimeError, AssertionError, KeyError, AttributeError)
"""What peft raises for what it can't do."""


def peft_library() -> Any:
    """The module `peft`. Raises `BackboneError` where it isn't installed."""
    try:
        import peft
    except ImportError as error:
        raise BackboneError(f"this method needs the package peft, which can't be imported here ({error}); pip install peft") from error
    return peft


def config_class(peft_type: str) -> Any:
    """Peft's configuration class of a type. Raises `BackboneError` for a type that there isn't."""
    known = peft_library().mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    if peft_type not in known:
        raise BackboneError(f"peft has no type {peft_type!r}; it has {', '.join(sorted(kind.value for kind in known))}")
    return known[peft_type]


def field_defaults(peft_type: str) -> dict[str, Any]:
    """The fields of a type's configuration class that can be set, with peft's own defaults; None for those without one."""
    found = {}
    for entry in fields(config_class(peft_type)):
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        found[entry.name] = None if default is MISSING else default
    return {name: default for name, default in found.items() if name not in OURS}


def unknown_fields(peft_type: str, names: Iterable[str]) -> list[str]:
    """What is wrong with names of fields: a line for those that a type doesn't have, with those that it has."""
    known = field_defaults(peft_type)
    there = [*known, *SHARES.get(peft_type, ())]
    unknown = sorted(set(names) - set(there))
    return [f"peft's {peft_type} has no field {', '.join(unknown)}; it has {', '.join(there)}"] if unknown else []


def field_problems(peft_type: str, given: Mapping[str, Any]) -> list[str]:
    """What is wrong with a configuration's fields, without any model."""
    known, problems = field_defaults(peft_type), unknown_fields(peft_type, given)
    if (start := str(given.get("init_lora_weights", ""))) in NEEDS_DATA:
        problems.append(f"the initialization {start!r} needs more than the weights themselves")
    if peft_type == "ADALORA" and given.get("target_r", known["target_r"]) >= given.get("init_r", known["init_r"]):
        problems.append("target_r must be below init_r, from which ranks are taken away")
    return problems


def read_config(text: str) -> tuple[str, dict[str, Any], dict[str, float]]:
    """Type, fields and shares of a configuration in JSON. Raises `BackboneError` for what isn't one."""
    try:
        given = json.loads(text)
        peft_type = given.pop("peft_type")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BackboneError(f"a peft configuration is a JSON object with a peft_type, found {text!r}") from error
    of_prompts = {"inference_mode", "token_dim", *PROMPT_SIZES} if peft_type in PROMPT_TYPES else set()
    if problems := field_problems(peft_type, {name: value for name, value in given.items() if name not in of_prompts}):
        raise BackboneError("; ".join(problems))
    shares = {name.removesuffix(SHARE): value for name, value in given.items() if name.endswith(SHARE)}
    return peft_type, {name: value for name, value in given.items() if not name.endswith(SHARE)}, shares


def peft_config(text: str, model: nn.Module, architecture: Architecture) -> Any:
    """Peft's configuration for a base model: its targets named, its sizes fitted to their widths.

    Raises `BackboneError` for unknown fields, and what peft raises for values that it doesn't take.
    """
    peft_type, given, _ = read_config(text)
    given = {"task_type": "FEATURE_EXTRACTION", **NEEDED.get(peft_type, {}), **given}
    if peft_type in PROMPT_TYPES:
        words: Any = model.get_submodule(architecture.embeddings).weight
        given = {**given, **PROMPT_SIZES, "token_dim": words.shape[1]}
    with warnings.catch_warnings(action="ignore"):
        config = config_class(peft_type)(**given)
    if peft_type in PROMPT_TYPES:
        return config
    _name_targets(config, model, architecture)
    _fit_sizes(config, model)
    return config


def _name_targets(config: Any, model: Any, architecture: Architecture) -> None:
    """Set the changed modules: peft's own choice for the architecture, else what our table says."""
    peft_type = config.peft_type.value
    family = model.config.model_type
    if config.target_modules is None:
        known = peft_library().mapping.PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]
        own = getattr(known, "target_module_mapping", None) or {}
        if peft_type == "IA3":
            own = peft_library().utils.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
        default = (Site.ATTENTION_QUERY, Site.ATTENTION_VALUE)
        paths = own.get(family) or _paths(architecture, SITES.get(peft_type, default))
        if peft_type == "LN_TUNING":  # full names, without modules that have no weights (ModernBERT's first norm)
            ends, modules = tuple(f".{path}" for path in paths), model.named_modules()
            paths = [name for name, module in modules if f".{name}".endswith(ends) and any(True for _ in module.parameters())]
        config.target_modules = paths
    if peft_type == "IA3" and config.feedforward_modules is None:
        known_ffn = peft_library().utils.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING
        config.feedforward_modules = known_ffn[family] if family in known_ffn else _paths(architecture, (Site.FFN_DOWN,))
    if isinstance(config.target_modules, list | set | tuple):
        config.target_modules = sorted(config.target_modules)


def _paths(architecture: Architecture, sites: tuple[Site, ...]) -> list[str]:
    """Paths inside a layer of what is at these sites, in all stacks."""
    places = {stack.sites[site] for stack in architecture.stacks for site in sites if site in stack.sites}
    return sorted({place.path if isinstance(place, Part) else place for place in places})


def _targets(config: Any, model: nn.Module) -> list[tuple[int, int]]:
    """Input and output width of every linear map that a configuration changes."""
    from peft.tuners.tuners_utils import check_target_module_exists

    weights = (getattr(module, "weight", None) for name, module in model.named_modules() if check_target_module_exists(config, name))
    return [(weight.shape[1], weight.shape[0]) for weight in weights if weight is not None and weight.dim() == 2]


def _fit_sizes(config: Any, model: nn.Module) -> None:
    """See `SIZES`."""
    name = SIZES.get(config.peft_type.value)
    maps = _targets(config, model) if name else []
    if name is None or not maps:
        return
    wanted, widths = int(getattr(config, name)), [width for both in maps for width in both]
    if name in ("r", "n_frequency"):
        fitted = min(wanted, *(widths if name == "r" else (wide_in * wide_out for wide_in, wide_out in maps)))
    else:
        common = math.gcd(*widths)
        fitted = max(size for size in range(1, min(common, max(wanted, 1)) + 1) if common % size == 0)
    setattr(config, name, fitted)


@contextmanager
def _without_compiling() -> Iterator[None]:
    """BOFT's layers would compile a CUDA extension, or try to once for each map; they have PyTorch's own operations too."""
    from peft.tuners.boft import layer

    compiled, layer.get_fbd_cuda = layer.get_fbd_cuda, lambda: None
    try:
        yield
    finally:
        layer.get_fbd_cuda = compiled


@contextmanager
def _drawn_from(seed: int, device: torch.device) -> Iterator[None]:
    """What is drawn inside depends on `seed` alone, and nothing that is drawn afterwards depends on it."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(range(torch.cuda.device_count()) if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.manual_seed_all(seed)
        yield


def refusal(model: nn.Module, architecture: Architecture, text: str) -> str | None:
    """Why peft can't carry a configuration out on a model, which is changed and needs no weights; None if it can."""
    try:
        if read_config(text)[0] in PROMPT_TYPES:
            peft_config(text, model, architecture)
            return None
        changed = injected(model, architecture, text, seed=0)
    except BackboneError as error:
        return str(error)
    except REFUSALS as error:
        return TURNED if CONV1D in str(error) else f"peft: {str(error) or type(error).__name__}".splitlines()[0]
    swaps = json.loads(text).get("init_lora_weights") == "olora"  # and fails later, when it is run
    return TURNED if swaps and any(type(module).__name__ == CONV1D for module in changed.modules()) else None


def injected(model: nn.Module, architecture: Architecture, text: str, seed: int) -> Any:
    """Peft's model around `model`, into which the adapter's layers are put: trained tensors in fp32, everything else frozen.

    Raises what peft raises for what it can't do.
    """
    config = peft_config(text, model, architecture)
    device = next(model.parameters()).device
    weightless_layers: Any = nullcontext()
    if device.type == "meta":
        if config.peft_type == "LORA" and isinstance(config.init_lora_weights, str):
            config.init_lora_weights = True  # a start that is computed from the weights needs them
        if config.peft_type != "BOFT":  # whose permutations are looked at while they are made
            weightless_layers = device
    with warnings.catch_warnings(action="ignore"), _without_compiling(), _drawn_from(seed, device), weightless_layers:
        wrapped = peft_library().get_peft_model(model, config)
    for name, parameter in wrapped.named_parameters():
        if "ranknum" in name:  # AdaLoRA's bookkeeping, which a move between devices unfreezes
            parameter.requires_grad_(requires_grad=False)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # peft itself does so for some methods only
    return wrapped


def prompt_encoder(config: Any, seed: int) -> nn.Module:
    """Peft's network that makes the prompt of P-tuning; its embedding alone once the configuration says so."""
    with warnings.catch_warnings(action="ignore"), _drawn_from(seed, torch.device("cpu")):
        encoder: nn.Module = peft_library().PromptEncoder(config)
    return encoder


def adapter_tensors(wrapped: Any) -> dict[str, Tensor]:
    """Views of all that peft stores of the adapter, by peft's names."""
    return dict(peft_library().get_peft_model_state_dict(wrapped, adapter_name=ADAPTER, save_embedding_layers=False))


def load_adapter_tensors(wrapped: Any, tensors: Mapping[str, Tensor]) -> None:
    """Set what `adapter_tensors` gave. Raises `KeyError` for a missing tensor, `RuntimeError` for a wrong shape."""
    if missing := sorted(set(adapter_tensors(wrapped)) - set(tensors)):
        raise KeyError(missing[0])
    with warnings.catch_warnings(action="ignore"):
        peft_library().set_peft_model_state_dict(wrapped, dict(tensors), adapter_name=ADAPTER)


def resolved(text: str, model: nn.Module, architecture: Architecture) -> str:
    """The configuration as a trained method needs it, complete: targets named, sizes fitted, what only the training needs left out."""
    given = {name: value for name, value in json.loads(text).items() if not name.endswith(SHARE)}
    config = peft_config(text, model, architecture)
    of_prompts = ("token_dim", *PROMPT_SIZES) if given["peft_type"] in PROMPT_TYPES else ()
    for name in ("target_modules", "feedforward_modules", *filter(None, [SIZES.get(given["peft_type"])]), *of_prompts):
        value = getattr(config, name, None)
        if value is not None:
            given[name] = sorted(value) if isinstance(value, list | set | tuple) else value
    return json.dumps(given, sort_keys=True)


def write_config(folder: Path, text: str, model_location: str) -> None:
    """Write peft's ``adapter_config.json``, with which ``PeftModel.from_pretrained`` reads the folder."""
    peft_type, given, _ = read_config(text)
    given = {
        "task_type": "FEATURE_EXTRACTION",
        **NEEDED.get(peft_type, {}),
        **given,
        "inference_mode": True,
        "base_model_name_or_path": model_location,
    }
    with warnings.catch_warnings(action="ignore"):
        config_class(peft_type)(**given).save_pretrained(str(folder))


def weightless(model: nn.Module) -> nn.Module:
    """A copy of a model without its weights' memory, on torch's meta device."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach().to("meta"), requires_grad=False) for p in model.parameters()}
    memo |= {id(buffer): buffer.to("meta") for buffer in model.buffers()}
    return copy.deepcopy(model, memo)
