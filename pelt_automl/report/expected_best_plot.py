"""The best select score to be expected, against trials and against seconds, as SVG for the report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pelt_automl.report.svg import STYLE, as_svg, line_styles, new_figure
from pelt_automl.verdict.expected_best import ExpectedBest
from pelt_automl.verdict.wording import Unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "expected-best"
"""Of the plot and its file."""


def expected_best_plot(curves: Sequence[ExpectedBest], unit: Unit) -> str | None:
    """One line a method, in a panel by trials and in one by seconds; None when no method has two scored trials."""
    import matplotlib as mpl
    from matplotlib.ticker import LogLocator, MaxNLocator

    if not any(len(curve.means) > 1 for curve in curves):
        return None
    with mpl.rc_context(STYLE):
        figure = new_figure(10.4, 3.4)
        by_trials, by_seconds = figure.subplots(1, 2, sharey=True)
        _lines(by_trials, curves, unit, by_time=False)
        _lines(by_seconds, curves, unit, by_time=True)
        by_trials.set_xlabel("trials of the method")
        by_trials.xaxis.set_major_locator(MaxNLocator(integer=True))
        by_seconds.set_xlabel("seconds of the method")
        by_seconds.set_xscale("log")
        by_seconds.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        by_seconds.xaxis.set_major_formatter("{x:g}")  # the usual one writes powers in TeX
        by_seconds.minorticks_off()
        by_trials.set_ylabel(f"expected best {unit.name} on select")
        figure.legend(*by_trials.get_legend_handles_labels(), loc="outside right upper", frameon=False)
        return as_svg(figure, NAME)


def _lines(panel: "Axes", curves: Sequence[ExpectedBest], unit: Unit, *, by_time: bool) -> None:
    scale = 100 if unit.in_points else 1
    styles = line_styles([curve.method for curve in curves])
    for curve in curves:
        trials = range(1, len(curve.means) + 1)
        at = [curve.seconds(n) for n in trials] if by_time else list(trials)
        color, line = styles[curve.method]
        scores = [scale * mean for mean in curve.means]
        panel.plot(at, scores, line, color=color, linewidth=1.5, marker="o", markersize=3, label=curve.method)
    panel.grid(visible=True)
    panel.tick_params(length=0)
