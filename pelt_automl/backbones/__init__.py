"""Pretrained models: loading, freezing, and per architecture the names of the sites.

`architectures` and `sources` need no torch; `loading` does and is imported where it is used.
"""

from pelt_automl.backbones.architectures import ARCHITECTURES, Architecture, architecture_of
from pelt_automl.backbones.shapes import SHAPES, shape_of

__all__ = ["ARCHITECTURES", "SHAPES", "Architecture", "architecture_of", "shape_of"]
