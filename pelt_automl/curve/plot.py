"""Report score against K, one line a method, as SVG."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pelt_automl.curve.result import KCurve, MethodAtK, PointAtK
from pelt_automl.report.svg import GRAY, STYLE, as_svg, line_styles, new_figure
from pelt_automl.verdict.wording import Unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REFERENCE = "full"
"""Full fine-tuning is no PELT method: drawn as a reference line."""
APART = 1.02
"""Factor between the places of two methods at one K, so that their intervals don't lie on each other."""


def k_curve_plot(curve: KCurve) -> str | None:
    """Scores of each method's best finalist with 95 % intervals over K, K on a log axis; None without a scored finalist.

    A ring stands around the recommended method at each K. `REFERENCE` is a dashed line without intervals.
    """
    import matplotlib as mpl

    points = [point for point in curve.points if point.methods]
    if not points:
        return None
    methods = list(dict.fromkeys(row.method for point in points for row in point.methods))
    unit = Unit(curve.report_metric, curve.positive_class)
    with mpl.rc_context(STYLE):
        figure = new_figure(10.4, 4.4)
        panel = figure.subplots()
        panel.set_xscale("log")
        pelt = [method for method in methods if method != REFERENCE]
        styles = line_styles(pelt)
        for place, method in enumerate(pelt):
            _line(panel, points, method, unit, styles[method], APART ** (place - (len(pelt) - 1) / 2))
        if REFERENCE in methods:
            ks, rows = _rows(points, REFERENCE)
            panel.plot(ks, _shown([row.score for row in rows], unit), "--", color=GRAY, linewidth=1.5, label=f"{REFERENCE} (reference)")
        _axes(panel, points, unit)
        figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper", frameon=False)
        return as_svg(figure, "k-curve")


def _rows(points: Sequence[PointAtK], method: str) -> tuple[list[int], list[MethodAtK]]:
    """The K at which a method was compared, as numbers of examples, and its finalists there."""
    found = [(point.examples, row) for point in points for row in point.methods if row.method == method]
    return [examples for examples, _ in found], [row for _, row in found]


def _shown(scores: Sequence[float], unit: Unit) -> list[float]:
    return [(100 if unit.in_points else 1) * score for score in scores]


def _line(panel: "Axes", points: Sequence[PointAtK], method: str, unit: Unit, style: tuple[str, str], shift: float) -> None:
    ks, rows = _rows(points, method)
    scores = _shown([row.score for row in rows], unit)
    low, high = _shown([row.interval[0] for row in rows], unit), _shown([row.interval[1] for row in rows], unit)
    # A mean may lie outside the draws' middle 95 % where they leave the metric's range and were clipped.
    below = [max(0.0, score - bound) for score, bound in zip(scores, low, strict=True)]
    above = [max(0.0, bound - score) for score, bound in zip(scores, high, strict=True)]
    at, (color, line) = [k * shift for k in ks], style
    panel.errorbar(
        at, scores, yerr=[below, above], fmt=line, color=color, linewidth=1.6, marker="o", markersize=4, elinewidth=1, label=method
    )
    recommended = [(x, y) for x, y, row in zip(at, scores, rows, strict=True) if row.lead is None]
    if recommended:
        panel.plot(*zip(*recommended, strict=True), "o", markersize=11, markerfacecolor="none", markeredgecolor=color, markeredgewidth=1.4)


def _axes(panel: "Axes", points: Sequence[PointAtK], unit: Unit) -> None:
    panel.set_xticks([point.examples for point in points], [f"{point.examples:,}" for point in points])
    panel.minorticks_off()
    panel.set_xlabel("labeled examples (K)")
    panel.set_ylabel(f"{unit.name} on report")
    panel.grid(visible=True)
    panel.tick_params(length=0)
