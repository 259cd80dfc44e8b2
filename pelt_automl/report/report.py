"""The report of a finished selection: ``report.html``, ``report.md`` and ``recommendation.json``, rebuilt from its records alone."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pelt_automl.durable import write_text
from pelt_automl.log.codec import read
from pelt_automl.log.events import Standing
from pelt_automl.log.folder import PAGE, RECOMMENDATION, REPORT
from pelt_automl.report.expected_best_plot import expected_best_plot
from pelt_automl.report.plots import front_plot, learning_curves, submodule_heat_map
from pelt_automl.report.summary import Summary, records_of, summarize
from pelt_automl.verdict import wording

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
PLOT_INK = "#808080"
"""In plot files, which don't know their page: readable on white and on black."""


def write_report(folder: Path) -> list[Path]:
    """Write the report of the selection in `folder` from its ``records.jsonl``, and ``recommendation.json`` with it.

    Returns the files written: recommendation.json, report.md, report.html, and a file a plot under ``plots/``. Files are replaced
    whole, so that a reader never sees half of one.

    Raises `SelectionError` when `folder` isn't a selection, or there is no verdict yet.
    """
    summary = summarize(list(read(records_of(folder))), folder)
    plots = draw(summary)
    texts = {
        RECOMMENDATION: summary.recommendation.to_json(),
        **{f"plots/{name}.svg": svg.replace("currentColor", PLOT_INK) for name, svg in plots.items()},
        REPORT: markdown(summary, plots),
        PAGE: html(summary, plots),
    }
    return [write_text(folder / name, text) for name, text in texts.items()]


def draw(summary: Summary) -> dict[str, str]:
    """The plots as SVG, by name: ``learning-curves``, ``expected-best``, ``front``, ``gates-0``, ... in the order of `Summary.gates`."""
    drawn = {
        "learning-curves": learning_curves(summary.trials, summary.unit),
        "expected-best": expected_best_plot(summary.expected_best, summary.unit),
        "front": front_plot(summary.leaderboard, summary.unit),
    }
    for index, (_, places) in enumerate(summary.gates):
        drawn[f"gates-{index}"] = submodule_heat_map(places, f"gates-{index}")
    return {name: svg for name, svg in drawn.items() if svg}


def html(summary: Summary, plots: dict[str, str]) -> str:
    """A page that needs no other file; all text is escaped."""
    return _render("report.html.j2", summary, plots, autoescape=True)


def markdown(summary: Summary, plots: dict[str, str]) -> str:
    """Every value that the template prints is escaped for Markdown, which also holds no HTML then."""
    return _render("report.md.j2", summary, plots, finalize=escape_markdown)


def escape_markdown(value: Any) -> str:
    """Text that Markdown shows as it is, on one line, also inside a table."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", text)


def _render(template: str, summary: Summary, plots: dict[str, str], **escape: Any) -> str:
    return environment(summary.unit, TEMPLATES, **escape).get_template(template).render(
        s=summary, r=summary.recommendation, plots=plots, scale=_scale(summary.leaderboard), counted=wording.counted
    )  # fmt: skip


def environment(unit: wording.Unit, *folders: Path, **escape: Any) -> "Environment":
    """Jinja with the report's filters, for templates in `folders`; each template has its own way to escape."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(  # noqa: S701 - see above
        loader=FileSystemLoader(folders), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **escape
    )
    made.filters |= {
        "score": unit.number,
        "signed": unit.signed,
        "scores": unit.range,
        "percent": wording.percent,
        "chance": wording.chance,
        "duration": wording.duration,
        "ms": wording.milliseconds,
        "gb": wording.gigabytes,
        "value": wording.value,
        "went_wrong": wording.went_wrong,
        "in_short": wording.in_short,
        "name_of": wording.name_of,
    }
    return made


def _scale(standings: list[Standing]) -> dict[str, dict[str, float]]:
    """Where each finalist's mean and interval lie on a line from 0 to 100 that holds them all."""
    if not standings:
        return {}
    low = min(row.report_interval[0] for row in standings)
    high = max(row.report_interval[1] for row in standings)
    width = (high - low) or 1.0
    return {
        row.candidate: {
            "low": round(100 * (row.report_interval[0] - low) / width, 1),
            "high": round(100 * (row.report_interval[1] - low) / width, 1),
            "mean": round(100 * (row.report_score - low) / width, 1),
        }
        for row in standings
    }
