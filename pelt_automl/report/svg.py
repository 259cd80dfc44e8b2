"""How every plot of a report looks, and SVG that fits into a page. Matplotlib draws without a display."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's own text color: replaced by ``currentColor``, so that one drawing fits light and dark."""
BLUE, ORANGE, GRAY = "#4c8dd6", "#e8833a", "#8a94a3"
PALETTE = (BLUE, ORANGE, "#3aa06b", "#c45ab3", "#d64545", "#8b6fd8", "#b08a2e", "#2aa6b8", "#8f6a55", "#7f9a2c")
LINES = ("-", "--", ":")
"""Lines that are told apart on white and on black: so many colors, then the next way to draw a line."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": GRAY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.grid": True,
    "grid.color": GRAY,
    "grid.alpha": 0.25,
    "text.parse_math": False,
}


def new_figure(width: float, height: float) -> "Figure":
    """A transparent one, inches wide and high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    FigureCanvasAgg(figure)
    return figure


def as_svg(figure: "Figure", name: str) -> str:
    """The figure as an ``<svg>`` element without an XML header; ids are made from `name`, so that several fit into one page."""
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Title": name})
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor").replace('id="', f'id="{name}-').replace('"#', f'"#{name}-').replace(
        "url(#", f"url(#{name}-"
    )  # fmt: skip


def line_styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A color and a way to draw its line for each of these names: the same ones for the same names."""
    return {name: (PALETTE[i % len(PALETTE)], LINES[i // len(PALETTE) % len(LINES)]) for i, name in enumerate(names)}
