"""UniPELT: adapter, prefix and (APL) LoRA in one backbone, each behind a gate."""

from typing import Literal

from pelt_automl.design_space import Gate, Modification
from pelt_automl.methods import adapter, lora, prefix
from pelt_automl.methods.method import PeltMethod

TokenMean = Literal["masked", "paper"]


def build_ap(
    bottleneck: int = 48, prefix_length: int = 10, reparameterization: bool = True, token_mean: TokenMean = "masked"
) -> tuple[Modification, ...]:
    """Gated adapter and gated prefix."""
    gate = Gate(token_mean)
    return adapter.gated(bottleneck, gate) + prefix.gated(prefix_length, reparameterization, gate)


def build_apl(
    bottleneck: int = 48, prefix_length: int = 10, rank: int = 8, reparameterization: bool = True, token_mean: TokenMean = "masked"
) -> tuple[Modification, ...]:
    """Gated adapter, gated prefix and gated LoRA."""
    return build_ap(bottleneck, prefix_length, reparameterization, token_mean) + lora.gated(rank, Gate(token_mean))


SOURCE = "Mao et al. 2022 (UniPELT); sizes of the paper, learning rate of its comparison"

AP = PeltMethod("unipelt-ap", "adapter and prefix, each behind a gate", SOURCE, learning_rate=5e-4, build=build_ap)
APL = PeltMethod("unipelt-apl", "adapter, prefix and LoRA, each behind a gate", SOURCE, learning_rate=5e-4, build=build_apl)
