"""PELT methods, by name: each turns its hyper-parameters into Modifications. No torch."""

from pelt_automl.methods import adapter, bitfit, full, head, lora, prefix, unipelt
from pelt_automl.methods.method import LEARNING_RATE, PeltMethod

METHODS: dict[str, PeltMethod] = {
    "full": full.METHOD,
    "head": head.METHOD,
    "bitfit": bitfit.METHOD,
    "lora": lora.METHOD,
    "adapter": adapter.METHOD,
    "prefix": prefix.METHOD,
    "unipelt-ap": unipelt.AP,
    "unipelt-apl": unipelt.APL,
}

FIXED_DEFAULTS = ("lora", "unipelt-apl")
"""The methods whose published defaults are among the finalists whatever the search found."""

__all__ = ["FIXED_DEFAULTS", "LEARNING_RATE", "METHODS", "PeltMethod"]
