"""Contenders that train no backbone, and what tuned methods take from the first of them: the start of their heads."""

from pelt_automl.baselines.head_start import HeadStarts
from pelt_automl.baselines.linear import CrossValidation, Linear, fit_linear

__all__ = ["CrossValidation", "HeadStarts", "Linear", "fit_linear"]
