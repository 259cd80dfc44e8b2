"""The torch modules that carry out Modifications: one file a functional form, and the gate; each with a leading trial dimension."""

from pelt_automl.modifications.bridged_modules import kept_form
from pelt_automl.modifications.counting import count_of, count_on
from pelt_automl.modifications.lower_layers import LowerLayers
from pelt_automl.modifications.pack import Pack, PackOutput, PackTrial
from pelt_automl.modifications.support import check_supported, needs_own_pack, pack_kind, pack_order, why_not, without_reparameterization

__all__ = [
    "LowerLayers",
    "Pack",
    "PackOutput",
    "PackTrial",
    "check_supported",
    "count_of",
    "count_on",
    "kept_form",
    "needs_own_pack",
    "pack_kind",
    "pack_order",
    "why_not",
    "without_reparameterization",
]
