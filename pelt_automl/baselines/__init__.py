"""Contenders that train no backbone, and what tuned methods take from the first of them: the start of their heads."""

from pelt_automl.baselines.contender import read_facts
from pelt_automl.baselines.cross_validation import CrossValidation
from pelt_automl.baselines.encoder import Encoder
from pelt_automl.baselines.fitted import Fitted, fit_baseline, load_fitted
from pelt_automl.baselines.head_start import HeadStarts, probed_at_most
from pelt_automl.baselines.linear import Linear, fit_linear
from pelt_automl.baselines.winner import load_winner, write_winner

__all__ = [
    "CrossValidation",
    "Encoder",
    "Fitted",
    "HeadStarts",
    "Linear",
    "fit_baseline",
    "fit_linear",
    "load_fitted",
    "load_winner",
    "probed_at_most",
    "read_facts",
    "write_winner",
]
