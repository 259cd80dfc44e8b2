"""The tables of all architecture families, by `model_type`. No torch."""

from collections.abc import Callable
from typing import Any

from pelt_automl.backbones import decoders, encoder_decoders, encoders
from pelt_automl.backbones.architecture import Architecture, Part, Pooling, Stack
from pelt_automl.errors import BackboneError

__all__ = ["ARCHITECTURES", "VARIANTS", "Architecture", "Part", "Pooling", "Stack", "architecture_of"]

ARCHITECTURES: dict[str, Architecture] = {
    table.family: table
    for table in (
        encoders.BERT,
        encoders.ROBERTA,
        encoders.XLM_ROBERTA,
        encoders.DISTILBERT,
        encoders.ELECTRA,
        encoders.ALBERT,
        encoders.DEBERTA_V2,
        encoders.MODERNBERT,
        encoders.MPNET,
        decoders.GPT2,
        decoders.OPT,
        decoders.LLAMA,
        decoders.MISTRAL,
        decoders.QWEN2,
        decoders.QWEN3,
        decoders.GEMMA,
        decoders.GEMMA2,
        decoders.GEMMA3,
        encoder_decoders.T5,
        encoder_decoders.MT5,
        encoder_decoders.UMT5,
        encoder_decoders.BART,
        encoder_decoders.MBART,
    )
}
"""By `model_type`."""

VARIANTS: dict[str, Callable[[Architecture, Any], Architecture]] = {
    "modernbert": encoders.modernbert,
    "opt": decoders.opt,
    "t5": encoder_decoders.t5,
    "mt5": encoder_decoders.t5,
    "umt5": encoder_decoders.t5,
}
"""By `model_type`: tables that depend on the configuration."""


def architecture_of(config: Any) -> Architecture:
    """The table for a transformers configuration. Raises `BackboneError` when there is none, with the place to add it."""
    family = config.model_type
    if family not in ARCHITECTURES:
        sites = ", ".join(sorted(encoders.BERT.sites))
        raise BackboneError(
            f"no table for the architecture {family!r}; there are {', '.join(sorted(ARCHITECTURES))}. Write one beside those in "
            f"pelt_automl/backbones/encoders.py that names its layers and the sites {sites}, and list it in architectures.py."
        )
    table = ARCHITECTURES[family]
    return VARIANTS[family](table, config) if family in VARIANTS else table
