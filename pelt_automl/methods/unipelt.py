"""UniPELT: several methods in one backbone, each behind a gate."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

from pelt_automl.design_space import Form, Gate, Modification
from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.methods import (
    adapter,
    houlsby,
    ia3,
    lora,
    mam,
    multi_head_adapter,
    parallel_adapter,
    prefix,
    scaled_parallel_adapter,
)
from pelt_automl.methods.gating import behind_gate, gate_problems
from pelt_automl.methods.method import PeltMethod

SUBMODULES: dict[str, Callable[..., tuple[Modification, ...]]] = {
    "adapter": adapter.build,
    "prefix": prefix.build,
    "lora": lora.build,
    "houlsby": houlsby.build,
    "parallel-adapter": parallel_adapter.build,
    "scaled-parallel-adapter": scaled_parallel_adapter.build,
    "multi-head-adapter": multi_head_adapter.build,
    "ia3": ia3.build,
    "mam": mam.build,
}
"""Methods whose changes a gate can multiply."""

TAKES = {name: tuple(inspect.signature(own).parameters) for name, own in SUBMODULES.items()}
"""The hyper-parameters of each."""

UNGATED = ("full", "head", "bitfit", "prompt")
"""Methods that change no single layer's ``h``, so that there is nothing for a gate to multiply."""

GATE_SETTINGS = ("network", "gate_width", "squashing", "temperature", "across_layers", "lora_gates", "prefix_gate", "token_mean")
SIZES = ("bottleneck", "prefix_length", "reparameterization", "rank", "alpha", "scale")

TokenMean = Literal["masked", "paper"]


def build(
    submodules: str = "adapter+prefix+lora",
    gates: bool = True,
    network: Literal["linear", "mlp", "gru", "transformer"] = "linear",
    gate_width: int = 16,
    squashing: Literal["sigmoid", "softmax", "central"] = "sigmoid",
    temperature: float = 1.0,
    across_layers: bool = False,
    lora_gates: Literal[2, 1] = 2,
    prefix_gate: Literal["shared", "split"] = "shared",
    token_mean: TokenMean = "masked",
    bottleneck: int = 48,
    prefix_length: int = 10,
    reparameterization: bool = True,
    rank: int = 8,
    alpha: float = 16.0,
    scale: float = 4.0,
) -> tuple[Modification, ...]:
    """Any union of `SUBMODULES`, joined by ``+``; a size is that of every submodule that has it.

    `gates` False: the paper's NoGate. `lora_gates`: one for query and value each, as in the released code, or one a layer, as in the
    paper's text. `prefix_gate`: one for keys and values, or one each. Raises `SettingsError` for what makes no sense, and for settings
    other than the default that would change nothing.
    """
    settings = dict(locals())
    sizes = {name: {size: settings[size] for size in TAKES[name] if size in settings} for name in submodules.split("+")}
    parts = {name: SUBMODULES[name](**own) for name, own in sizes.items()}
    problems = [f"{name} is {settings[name]!r}, but {why}" for name, why in _idle(settings).items() if settings[name] != DEFAULTS[name]]
    gate = Gate(token_mean, network, gate_width, squashing, temperature, across_layers)
    if gates:
        parts = {name: _gated(name, own, gate, lora_gates, split=prefix_gate == "split") for name, own in parts.items()}
    modifications = tuple(m for own in parts.values() for m in own)
    problems += gate_problems(modifications)
    if problems:
        raise SettingsError(all_problems(f"unipelt of {submodules}", problems))
    return modifications


DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(build).parameters.items()}


def _gated(name: str, part: tuple[Modification, ...], gate: Gate, lora_gates: int, *, split: bool) -> tuple[Modification, ...]:
    if gate.competing:
        return behind_gate(part, replace(gate, group="union"))
    if name == "lora" and lora_gates == 1:
        return behind_gate(part, replace(gate, group="lora"))
    return tuple(m for one in part for m in behind_gate([one], replace(gate, split=split and one.form is Form.SOFTMAX)))


def _idle(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings that change nothing beside these others, with the reason."""
    names = settings["submodules"].split("+")
    taken = {size for name in names for size in TAKES[name]}
    idle = {size: "no submodule has it" for size in SIZES if size not in taken}
    if settings["gates"]:
        idle |= {"alpha": "the gate takes the place of LoRA's scale"}
    else:
        idle |= dict.fromkeys(GATE_SETTINGS, "there are no gates")
    if settings["network"] == "linear":
        idle |= {"gate_width": "a linear gate network has no hidden layer"}
    if "lora" not in names:
        idle |= {"lora_gates": "there is no LoRA"}
    if not {"prefix", "mam"} & set(names):
        idle |= {"prefix_gate": "there is no prefix"}
    if settings["squashing"] != "sigmoid":
        idle |= dict.fromkeys(("lora_gates", "prefix_gate"), "competing gates have one value for a submodule")
    return idle


UNIONS: dict[str, dict[str, Any]] = {"unipelt": {}, "unipelt-apl": {}, "unipelt-ap": {"submodules": "adapter+prefix"}}
"""The methods that are unions, with what their name says of the settings of `build`."""


def smaller_union(method: str, hyper_parameters: Mapping[str, Any], removed: Collection[str]) -> dict[str, Any] | None:
    """Hyper-parameters of the method ``unipelt`` for a union without the submodules `removed`, all else left as it is.

    A member of several submodules (``mam``) goes when all of them do. Competing gates become UniPELT's own where one submodule is left: it
    has nothing to compete with. None where the method is no union, and where nothing would be left or nothing would go.
    """
    if method not in UNIONS:
        return None
    settings = DEFAULTS | UNIONS[method] | {name: value for name, value in hyper_parameters.items() if name in DEFAULTS}
    names = settings["submodules"].split("+")
    parts = {name: {m.name for m in SUBMODULES[name]()} for name in names}
    kept = [name for name in names if not parts[name] <= set(removed)]
    if not kept or kept == names:
        return None
    settings["submodules"] = "+".join(kept)
    if len(set().union(*(parts[name] for name in kept))) == 1:
        settings["squashing"] = DEFAULTS["squashing"]
    idle = _idle(settings)
    own = {name: value for name, value in settings.items() if name not in idle and (name in hyper_parameters or name == "submodules")}
    return {name: value for name, value in hyper_parameters.items() if name not in DEFAULTS} | own


def read_submodules(value: Any) -> str:
    """The text ``lora+prefix`` for itself or for a list. Raises `SettingsError` for names that can't stand in a union."""
    names = list(map(str, value)) if isinstance(value, list | tuple) else str(value).split("+")
    problems = [f"{name} can't stand behind a gate, which multiplies a change of h in a layer" for name in names if name in UNGATED]
    problems += [f"there is no submodule {name!r}" for name in names if name not in (*SUBMODULES, *UNGATED)]
    if not problems:
        taken = [submodule for name in names for submodule in sorted({m.name for m in SUBMODULES[name]()})]
        problems = [f"there are two submodules {name}" for name in sorted({one for one in taken if taken.count(one) > 1})]
    if problems:
        raise SettingsError(all_problems(f"submodules {'+'.join(names)!r}", [*problems, f"there are {', '.join(SUBMODULES)}"]))
    return "+".join(names)


def build_ap(
    bottleneck: int = 48, prefix_length: int = 10, reparameterization: bool = True, token_mean: TokenMean = "masked"
) -> tuple[Modification, ...]:
    """Gated adapter and gated prefix."""
    return build(
        "adapter+prefix", bottleneck=bottleneck, prefix_length=prefix_length, reparameterization=reparameterization, token_mean=token_mean
    )


def build_apl(
    bottleneck: int = 48, prefix_length: int = 10, rank: int = 8, reparameterization: bool = True, token_mean: TokenMean = "masked"
) -> tuple[Modification, ...]:
    """Gated adapter, gated prefix and gated LoRA."""
    return build(
        bottleneck=bottleneck, prefix_length=prefix_length, rank=rank, reparameterization=reparameterization, token_mean=token_mean
    )


SOURCE = "Mao et al. 2022 (UniPELT); sizes of the paper, learning rate of its comparison"

ANY = PeltMethod(
    name="unipelt",
    summary="any union of methods, each behind a gate of any kind",
    source=SOURCE,
    learning_rate=5e-4,
    build=build,
    readers={"submodules": read_submodules},
)
AP = PeltMethod("unipelt-ap", "adapter and prefix, each behind a gate", SOURCE, learning_rate=5e-4, build=build_ap)
APL = PeltMethod("unipelt-apl", "adapter, prefix and LoRA, each behind a gate", SOURCE, learning_rate=5e-4, build=build_apl)
