"""The verdict's forms: recommendation.json, report pages, plots, a terminal's text. No torch, no Optuna."""

from pelt_automl.report.report import write_report
from pelt_automl.report.schema import Recommendation, load_recommendation
from pelt_automl.report.terminal import verdict_text

__all__ = ["Recommendation", "load_recommendation", "verdict_text", "write_report"]
