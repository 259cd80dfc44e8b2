"""The report of a finished selection: ``report.html``, ``report.md`` and ``recommendation.json``, rebuilt from its records alone."""

import re
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pelt_automl.durable import write_text
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import UnionPruned
from pelt_automl.log.folder import PAGE, RECOMMENDATION, RECORDS, REPORT, history_of
from pelt_automl.methods import BASELINES
from pelt_automl.report.plots import expected_best_plot, front_plot, learning_curves, submodule_heat_map
from pelt_automl.report.summary import Summary, flat, summarize
from pelt_automl.verdict import wording
from pelt_automl.verdict.describing import tried_first
from pelt_automl.verdict.expected_best import budgets
from pelt_automl.verdict.pareto import front_in_words

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
    if not (folder / RECORDS).is_file():
        raise SelectionError(f"{folder} isn't a selection: a folder with {RECORDS} is expected, as `pelt-automl select` writes it")
    summary = summarize(history_of(folder), folder)
    plots = draw(summary)
    texts = {
        RECOMMENDATION: summary.recommendation.to_json(),
        **{f"plots/{name}.svg": svg.replace("currentColor", PLOT_INK) for name, svg in plots.items()},
        REPORT: render("report.md.j2", summary, plots, finalize=escape_markdown),
        PAGE: render("report.html.j2", summary, plots, autoescape=True),
    }
    return [write_text(folder / name, text) for name, text in texts.items()]


def draw(summary: Summary) -> dict[str, str]:
    """The plots as SVG, by name: ``learning-curves``, ``expected-best``, ``front``, ``gates-0``, ... in the order of `Summary.gates`."""
    drawn = {
        "learning-curves": learning_curves(summary.searched, summary.unit),
        "expected-best": expected_best_plot(summary.expected_best, summary.unit),
        "front": front_plot(summary.recommendation.leaderboard, summary.unit),
        **{f"gates-{index}": submodule_heat_map(places, f"gates-{index}") for index, (_, places) in enumerate(summary.gates)},
    }
    return {name: svg for name, svg in drawn.items() if svg}


def escape_markdown(value: Any) -> str:
    """Text that Markdown shows as it is, on one line, also inside a table."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", text)


def render(template: str, summary: Summary, plots: dict[str, str], **escape: Any) -> str:
    """A page that needs no other file, every value in it escaped: for HTML by ``autoescape=True``, for Markdown, which also holds no HTML
    then, by ``finalize=escape_markdown``.
    """
    history, rows = summary.history, summary.recommendation.leaderboard
    data, started = history.data, history.started
    training = started.settings.get("training") if started else None
    chosen = {"max_length": data.text_length["most"]} if data.text_length else {}
    low, high = min((row.report_interval[0] for row in rows), default=0.0), max((row.report_interval[1] for row in rows), default=0.0)

    def placed(score: float) -> float:
        """Where a score lies on a line from 0 to 100 that holds all finalists' intervals."""
        return round(100 * (score - low) / ((high - low) or 1.0), 1)

    return environment(summary.unit, TEMPLATES, **escape).get_template(template).render(
        s=summary,
        r=summary.recommendation,
        h=history,
        plots=plots,
        placed=placed,
        costs=[event for event in history.costs if event.candidate],
        gap=lambda row: (row.select_score - fmean(row.seed_scores)) * data.sign,
        counted=wording.counted,
        tried_first=tried_first(history),
        budgets=budgets(summary.expected_best),
        front=front_in_words(rows, summary.unit),
        baselines=[row.method for row in rows if row.method in BASELINES],
        taken_over=bool(history.taken_over()),
        trainings=sum(trial.method not in BASELINES and trial.trial not in history.taken_over() for trial in summary.trials),
        pruned=history.of_kind(UnionPruned),
        settings=flat(started.settings) if started else {},
        fixed=dict(training) | chosen if isinstance(training, Mapping) else {},
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
