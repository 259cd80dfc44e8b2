"""The report's plots as SVG: learning curves, the best to be expected, the Pareto front, and heat maps of gates."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pelt_automl.log.events import Standing, State, TrialEnded
from pelt_automl.report.svg import BLUE, GRAY, ORANGE, STYLE, as_svg, line_styles, new_figure
from pelt_automl.verdict.expected_best import ExpectedBest
from pelt_automl.verdict.wording import Unit, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS_A_ROW = 4


def learning_curves(searched: Mapping[str, Sequence[TrialEnded]], unit: Unit) -> str | None:
    """Select score against optimizer steps, one small panel a method; None when no trial of the search was ever evaluated.

    `searched`: the search's trainings by method.
    """
    import matplotlib as mpl

    by_method = {
        method: evaluated
        for method, own in searched.items()
        if (evaluated := [trial for trial in own if any(math.isfinite(point.select_score) for point in trial.curve)])
    }
    if not by_method:
        return None
    with mpl.rc_context(STYLE):
        rows = math.ceil(len(by_method) / PANELS_A_ROW)
        figure = new_figure(10.4, 2.1 * rows + 0.2)
        panels = figure.subplots(rows, min(len(by_method), PANELS_A_ROW), sharex=True, sharey=True, squeeze=False)
        for panel, (method, own) in zip(panels.flat, by_method.items(), strict=False):
            _panel(panel, method, own, unit)
        for panel in list(panels.flat)[len(by_method) :]:
            panel.set_axis_off()
        figure.supxlabel("optimizer steps", fontsize=9)
        figure.supylabel(f"{unit.name} on select", fontsize=9)
        return as_svg(figure, "learning-curves")


def _panel(panel: "Axes", method: str, trials: Sequence[TrialEnded], unit: Unit) -> None:
    for trial in sorted(trials, key=lambda trial: trial.is_default):  # the default is drawn last, so that it lies on top
        points = [point for point in trial.curve if math.isfinite(point.select_score)]
        steps, scores = [point.step for point in points], [unit.scale * point.select_score for point in points]
        line, width = "-" if trial.state == State.COMPLETED else ":", 1.8 if trial.is_default else 1.1
        panel.plot(steps, scores, line, color=ORANGE if trial.is_default else BLUE, linewidth=width, marker="o", markersize=2)
        if trial.state == State.FAILED and points:
            panel.plot(steps[-1:], scores[-1:], "x", color="#d64545", markersize=6, markeredgewidth=1.6)
    panel.set_title(method, fontweight="bold")


def expected_best_plot(curves: Sequence[ExpectedBest], unit: Unit) -> str | None:
    """The best select score to be expected, one line a method, by trials and by seconds; None when no method has two scored trials."""
    import matplotlib as mpl
    from matplotlib.ticker import LogLocator, MaxNLocator

    if not any(len(curve.means) > 1 for curve in curves):
        return None
    styles = line_styles([curve.method for curve in curves])
    with mpl.rc_context(STYLE):
        figure = new_figure(10.4, 3.4)
        by_trials, by_seconds = figure.subplots(1, 2, sharey=True)
        for panel in (by_trials, by_seconds):
            for curve in curves:
                color, line = styles[curve.method]
                a_trial = curve.seconds_a_trial if panel is by_seconds else 1
                at, scores = [n * a_trial for n in range(1, len(curve.means) + 1)], [unit.scale * mean for mean in curve.means]
                panel.plot(at, scores, line, color=color, linewidth=1.5, marker="o", markersize=3, label=curve.method)
        by_trials.set_xlabel("trials of the method")
        by_trials.xaxis.set_major_locator(MaxNLocator(integer=True))
        by_seconds.set_xlabel("seconds of the method")
        by_seconds.set_xscale("log")
        by_seconds.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        by_seconds.xaxis.set_major_formatter("{x:g}")  # the usual one writes powers in TeX
        by_seconds.minorticks_off()
        by_trials.set_ylabel(f"expected best {unit.name} on select")
        figure.legend(*by_trials.get_legend_handles_labels(), loc="outside right upper", frameon=False)
        return as_svg(figure, "expected-best")


def front_plot(standings: Sequence[Standing], unit: Unit) -> str | None:
    """Report score with its interval against trainable parameters, the Pareto front marked; None where there is nothing to compare."""
    import matplotlib as mpl

    if len(standings) < 2:
        return None
    with mpl.rc_context(STYLE):
        figure = new_figure(10.4, 3.2)
        panel = figure.subplots()
        for row in standings:
            low, high, score = (unit.scale * value for value in (*row.report_interval, row.report_score))
            color, mark, size = (BLUE, "o", 8) if row.pareto else (GRAY, ".", 7)
            panel.plot([row.parameters] * 2, [low, high], "-", color=color, linewidth=1.1, alpha=0.6)
            panel.plot([row.parameters], [score], mark, color=color, markersize=size)
            panel.annotate(name_of(row), (row.parameters, score), xytext=(6, 3), textcoords="offset points", fontsize=8)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:,.0f}")  # the usual one writes powers in TeX
        panel.xaxis.set_minor_formatter("")
        panel.margins(x=0.12)
        panel.set_xlabel("trainable parameters")
        panel.set_ylabel(f"{unit.name} on report")
        return as_svg(figure, "front")


def submodule_heat_map(places: Mapping[tuple[str, str, int], Mapping[str, float]], name: str) -> str | None:
    """Mean and drift of each gate, and each contribution, submodule and site by layer; what wasn't measured has no panel.

    `places`: see `pelt_automl.verdict.submodules.place_rows`.
    """
    import matplotlib as mpl

    wanted = {
        "gate": ("mean of the gate (0 closed, 1 open)", 0.0, 1.0),
        "drift": ("drift from its start", -1.0, None),
        "contribution": ("contribution: share of the hidden state", 0.0, None),
    }
    found = {what: {place: row[what] for place, row in places.items() if what in row} for what in wanted}
    drawn = {what: values for what, values in found.items() if values}
    if not drawn:
        return None
    layers = sorted({layer for _, _, layer in places})
    heights = [0.34 * len({place[:2] for place in values}) + 0.75 for values in drawn.values()]
    with mpl.rc_context(STYLE):
        figure = new_figure(10.4, sum(heights))
        panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for panel, (what, values) in zip(panels, drawn.items(), strict=True):
            title, low, high = wanted[what]
            largest = max(0.05, *map(abs, values.values())) if high is None else high
            _heat(panel, title, layers, values, (low * largest, largest))
        panels[-1].set_xlabel("layer")
        return as_svg(figure, name)


def _heat(
    panel: "Axes", title: str, layers: Sequence[int], values: Mapping[tuple[str, str, int], float], limits: tuple[float, float]
) -> None:
    import numpy as np

    rows = sorted({place[:2] for place in values})
    grid = np.array([[values.get((*row, layer), math.nan) for layer in layers] for row in rows])
    image = panel.imshow(grid, cmap="RdBu_r", vmin=limits[0], vmax=limits[1], aspect="auto")
    panel.set_title(title)
    panel.set_yticks(range(len(rows)), [f"{submodule} · {site}" for submodule, site in rows])
    panel.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    for y, x in np.argwhere(np.isfinite(grid)):
        red, green, blue, _ = image.to_rgba(grid[y : y + 1, x])[0]
        ink = "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.55 else "#1b1f24"
        text = f"{grid[y, x]:+.2f}" if limits[0] < 0 else f"{grid[y, x]:.2f}"
        panel.text(x, y, text, ha="center", va="center", color=ink, fontsize=8 if len(layers) <= 12 else 6)
