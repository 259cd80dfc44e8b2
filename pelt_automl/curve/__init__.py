"""Selections at several data budgets: which method from which K on. What the command line, Python and the flows call."""

from pelt_automl.curve.report import curve_text, write_curve_report
from pelt_automl.curve.result import KCurve, rebuilt_curve
from pelt_automl.curve.running import CurveRun, k_curve
from pelt_automl.curve.settings import curve_settings

__all__ = ["CurveRun", "KCurve", "curve_settings", "curve_text", "k_curve", "rebuilt_curve", "write_curve_report"]
