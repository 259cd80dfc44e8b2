"""LoRA or adapters in the upper layers alone, so that the layers below are computed once an example for all trials and epochs."""

from dataclasses import replace
from typing import Literal

from pelt_automl.design_space import Modification
from pelt_automl.errors import SettingsError
from pelt_automl.methods import adapter, lora
from pelt_automl.methods.method import PeltMethod


def build(
    form: Literal["lora", "adapter"] = "lora", layers: float = 0.5, size: int = 8, alpha: float = 16.0, targets: str = "query-value"
) -> tuple[Modification, ...]:
    """LoRA of rank `size` or Pfeiffer's adapter of width `size` in the upper `layers` (a share of the layers, rounded up).

    `alpha` and `targets` are LoRA's, see `lora.build`. An encoder-decoder's encoder and decoder have upper layers each. Raises
    `SettingsError` for a share that isn't above 0 and at most 1.
    """
    if not 0 < layers <= 1:
        raise SettingsError(f"layers is {layers}; it is a share of the layers, above 0 and at most 1")
    changes = lora.build(size, alpha, targets) if form == "lora" else adapter.build(size)
    return tuple(replace(change, top_share=layers) for change in changes)


METHOD = PeltMethod(
    name="top-layers",
    summary="LoRA or adapters in the upper layers alone; what is below them is computed once an example",
    source="Rücklé et al. 2021 (AdapterDrop), who leave lower layers without adapters; the share ours, sizes and learning rate as LoRA's",
    learning_rate=5e-4,
    build=build,
    readers={"targets": lora.read_targets},
)
