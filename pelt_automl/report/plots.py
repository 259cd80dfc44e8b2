"""Learning curves, the Pareto front and gate heat maps as SVG for the report."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pelt_automl.log.events import Stage, Standing, State, TrialEnded
from pelt_automl.methods import BASELINES
from pelt_automl.report.svg import BLUE, GRAY, ORANGE, STYLE, as_svg, new_figure
from pelt_automl.verdict.unions import PlaceRow
from pelt_automl.verdict.wording import Unit, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS_A_ROW = 4


def learning_curves(trials: Sequence[TrialEnded], unit: Unit) -> str | None:
    """Select score against optimizer steps, one small panel a method; None when no trial of the search was ever evaluated."""
    import matplotlib as mpl

    by_method: dict[str, list[TrialEnded]] = defaultdict(list)
    for trial in trials:
        if (
            trial.stage == Stage.SEARCH
            and trial.method not in BASELINES
            and any(math.isfinite(point.select_score) for point in trial.curve)
        ):
            by_method[trial.method].append(trial)
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
    scale = 100 if unit.in_points else 1
    # The default is drawn last, so that it lies on top.
    for trial in sorted(trials, key=lambda trial: trial.is_default):
        points = [point for point in trial.curve if math.isfinite(point.select_score)]
        steps, scores = [point.step for point in points], [scale * point.select_score for point in points]
        color = ORANGE if trial.is_default else BLUE
        line = "-" if trial.state == State.COMPLETED else ":"
        panel.plot(steps, scores, line, color=color, linewidth=1.8 if trial.is_default else 1.1, marker="o", markersize=2)
        if trial.state == State.FAILED and points:
            panel.plot(steps[-1:], scores[-1:], "x", color="#d64545", markersize=6, markeredgewidth=1.6)
    panel.set_title(method, fontweight="bold")
    panel.grid(visible=True)
    panel.tick_params(length=0)


def front_plot(standings: Sequence[Standing], unit: Unit) -> str | None:
    """Report score with its interval against trainable parameters, the Pareto front marked; None where there is nothing to compare."""
    import matplotlib as mpl

    if len(standings) < 2:
        return None
    scale = 100 if unit.in_points else 1
    with mpl.rc_context(STYLE):
        figure = new_figure(10.4, 3.2)
        panel = figure.subplots()
        for row in standings:
            color, score = BLUE if row.pareto else GRAY, scale * row.report_score
            low, high = (scale * bound for bound in row.report_interval)
            panel.plot([row.parameters] * 2, [low, high], "-", color=color, linewidth=1.1, alpha=0.6)
            panel.plot([row.parameters], [score], "o" if row.pareto else ".", color=color, markersize=8 if row.pareto else 7)
            panel.annotate(name_of(row), (row.parameters, score), xytext=(6, 3), textcoords="offset points", fontsize=8)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:,.0f}")  # the usual one writes powers in TeX
        panel.xaxis.set_minor_formatter("")
        panel.margins(x=0.12)
        panel.set_xlabel("trainable parameters")
        panel.set_ylabel(f"{unit.name} on report")
        panel.grid(visible=True)
        panel.tick_params(length=0)
        return as_svg(figure, "front")


def submodule_heat_map(places: Sequence[PlaceRow], name: str) -> str | None:
    """Mean and drift of each gate, and each contribution, submodule and site by layer; what wasn't measured has no panel."""
    import matplotlib as mpl

    means = {(row.submodule, row.site, row.layer): row.gate.mean for row in places if row.gate}
    drifts = {(row.submodule, row.site, row.layer): row.gate.drift for row in places if row.gate}
    shares = {(row.submodule, row.site, row.layer): row.contribution for row in places if row.contribution is not None}
    largest = max((0.05, *(abs(value) for value in drifts.values())))
    wanted = [
        ("mean of the gate (0 closed, 1 open)", means, (0.0, 1.0)),
        ("drift from its start", drifts, (-largest, largest)),
        ("contribution: share of the hidden state", shares, (0.0, max((0.05, *shares.values())))),
    ]
    drawn = [(title, values, limits) for title, values, limits in wanted if values]
    if not drawn:
        return None
    layers = sorted({row.layer for row in places})
    heights = [0.34 * len({place[:2] for place in values}) + 0.75 for _, values, _ in drawn]
    with mpl.rc_context(STYLE):
        figure = new_figure(10.4, sum(heights))
        panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for panel, (title, values, limits) in zip(panels, drawn, strict=True):
            _heat(panel, title, sorted({place[:2] for place in values}), layers, values, limits)
        panels[-1].set_xlabel("layer")
        return as_svg(figure, name)


def _heat(
    panel: "Axes",
    title: str,
    rows: Sequence[tuple[str, str]],
    layers: Sequence[int],
    values: dict[tuple[str, str, int], float],
    limits: tuple[float, float],
) -> None:
    import numpy as np

    grid = [[values.get((*row, layer), math.nan) for layer in layers] for row in rows]
    image = panel.imshow(np.array(grid), cmap="RdBu_r", vmin=limits[0], vmax=limits[1], aspect="auto")
    panel.set_title(title)
    panel.set_yticks(range(len(rows)), [f"{submodule} · {site}" for submodule, site in rows])
    panel.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for y, line in enumerate(grid):
        for x, number in enumerate(line):
            if math.isfinite(number):
                red, green, blue, _ = image.to_rgba(np.array([number]))[0]
                ink = "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.55 else "#1b1f24"
                text = f"{number:+.2f}" if limits[0] < 0 else f"{number:.2f}"
                panel.text(x, y, text, ha="center", va="center", color=ink, fontsize=8 if len(layers) <= 12 else 6)
