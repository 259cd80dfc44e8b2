"""The report of a curve: ``k-curve.json``, ``k-curve.md``, ``k-curve.html`` and the plot, and what the terminal prints."""

import textwrap
from pathlib import Path

from pelt_automl.curve.plot import k_curve_plot
from pelt_automl.curve.result import FILE, KCurve, PointAtK
from pelt_automl.durable import write_text
from pelt_automl.report.report import PLOT_INK, TEMPLATES, environment, escape_markdown
from pelt_automl.report.terminal import WIDTH
from pelt_automl.verdict import wording
from pelt_automl.verdict.wording import Unit

OWN_TEMPLATES = Path(__file__).parent / "templates"
PLOT = "k-curve.svg"


def write_curve_report(curve: KCurve) -> list[Path]:
    """Write the report into the curve's folder; each file is replaced whole. Returns the files written."""
    svg = k_curve_plot(curve)
    texts = {
        FILE: curve.to_json(),
        **({PLOT: svg.replace("currentColor", PLOT_INK)} if svg else {}),
        "k-curve.md": _render("k-curve.md.j2", curve, svg, finalize=escape_markdown),
        "k-curve.html": _render("k-curve.html.j2", curve, svg, autoescape=True),
    }
    return [write_text(curve.folder / name, text) for name, text in texts.items()]


def _render(template: str, curve: KCurve, svg: str | None, **escape: object) -> str:
    unit = Unit(curve.report_metric, curve.positive_class)
    methods = list(dict.fromkeys(row.method for point in curve.points for row in point.methods))
    rows = {point.name: {row.method: row for row in point.methods} for point in curve.points}
    made = environment(unit, OWN_TEMPLATES, TEMPLATES, **escape).get_template(template)
    return made.render(c=curve, unit=unit, methods=methods, rows=rows, svg=svg, plot=PLOT, listed=wording.listed, counted=wording.counted)


def curve_text(curve: KCurve) -> str:
    """The answer and a table of the verdicts, as plain text of at most `WIDTH` columns."""
    unit = Unit(curve.report_metric, curve.positive_class)
    head = f"{'K':>6}  {'recommended':<24}{unit.short[:12]:>12}  {'95 % interval':<16}{'P(best)':>8}  tied"
    rows = [line for point in curve.points for line in _row(point, unit)]
    missing = [f"{k:>6}  {why}" for k, why in curve.missing.items()]
    return "\n".join([*textwrap.wrap(curve.statement, WIDTH), "", head, *rows, *missing])


def _row(point: PointAtK, unit: Unit) -> list[str]:
    interval = unit.range(point.interval) if point.interval else wording.NOTHING
    chance = wording.NOTHING if point.doubts else wording.percent(point.p_best)
    start = f"{point.name:>6}  {point.finalist[:23]:<24}{unit.number(point.score):>12}  {interval:<16}{chance:>8}  "
    others = [name for name in point.tied if name != point.finalist]
    last = f"open: {', '.join(point.doubts)}" if point.doubts else ", ".join(others) or "nothing"
    return textwrap.wrap(start + last, WIDTH, subsequent_indent=" " * len(start), drop_whitespace=False)
