"""PELT methods, by name: each turns its hyper-parameters into Modifications. No torch."""

from collections.abc import Collection

from pelt_automl.methods import (
    adapter,
    bitfit,
    custom,
    design_point,
    full,
    head,
    houlsby,
    ia3,
    lora,
    mam,
    multi_head_adapter,
    parallel_adapter,
    prefix,
    prompt,
    reft,
    scaled_parallel_adapter,
    top_layers,
    unipelt,
)
from pelt_automl.methods.baselines import BASELINES, Baseline
from pelt_automl.methods.bridged import BRIDGED
from pelt_automl.methods.method import LEARNING_RATE, PeltMethod

METHODS: dict[str, PeltMethod] = {
    "full": full.METHOD,
    "head": head.METHOD,
    "bitfit": bitfit.METHOD,
    "lora": lora.METHOD,
    "adapter": adapter.METHOD,
    "houlsby": houlsby.METHOD,
    "parallel-adapter": parallel_adapter.METHOD,
    "scaled-parallel-adapter": scaled_parallel_adapter.METHOD,
    "multi-head-adapter": multi_head_adapter.METHOD,
    "ia3": ia3.METHOD,
    "prompt": prompt.METHOD,
    "reft": reft.METHOD,
    "prefix": prefix.METHOD,
    "mam": mam.METHOD,
    "unipelt-ap": unipelt.AP,
    "unipelt-apl": unipelt.APL,
    "unipelt": unipelt.ANY,
    "top-layers": top_layers.METHOD,
    "design-space": design_point.METHOD,
    "custom": custom.METHOD,
    **BRIDGED,
}

STANDARD = ("full", "bitfit", "lora", "adapter", "prefix", "mam", "unipelt-ap", "unipelt-apl")
"""What a selection tunes when the user names no methods: UniPELT's table 1 (full fine-tuning, BitFit, its three submodules and their
two unions) and the best of He et al. (MAM). The others are variants of these; every method more takes its share of the search's time from
all, so variants are compared when they are named."""

FLOOR = "head"
"""The head alone, trained by gradient: a standard method where the probe, which is the same map fitted at once, doesn't take part."""


def standard(baselines: Collection[str]) -> tuple[str, ...]:
    """The methods that a selection with these baselines tunes when the user names none."""
    return STANDARD if "probe" in baselines else (STANDARD[0], FLOOR, *STANDARD[1:])


FIXED_DEFAULTS = ("lora", "adapter", "unipelt-apl")
"""The methods whose published defaults are among the finalists whatever the search found."""

__all__ = ["BASELINES", "FIXED_DEFAULTS", "LEARNING_RATE", "METHODS", "STANDARD", "Baseline", "PeltMethod", "standard"]
