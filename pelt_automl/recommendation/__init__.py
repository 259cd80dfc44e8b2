"""The decision rule and the report. No torch, no Optuna."""

from pelt_automl.recommendation.report import write_report
from pelt_automl.recommendation.schema import Recommendation, load_recommendation
from pelt_automl.recommendation.terminal import verdict_text

__all__ = ["Recommendation", "load_recommendation", "verdict_text", "write_report"]
