"""Flow "select-pelt": one text task from its name to its recommendation, or for several K which method from which K on.

prefect deployment run select-pelt/default --param task=qnli --watch
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, tags

from flows.clear_failures import step
from flows.conduct import concluded, conducted, run_log
from flows.flow_parameters import checked, with_parameters
from flows.places import places_of
from flows.run_display import LogDisplay
from flows.run_page import leave_artifacts, leave_curve_artifacts, run_tags, select_name, selection_tag, tag_this_run, task_name, where
from flows.verdict_changes import tell_change
from pelt_automl.home import home
from pelt_automl.log.folder import history_of
from pelt_automl.options import settings_from
from pelt_automl.report import Recommendation, verdict_text
from pelt_automl.selection import Selection
from pelt_automl.settings import is_curve, options

if TYPE_CHECKING:
    from pelt_automl.curve import CurveRun


@step
def prepare(selection: Selection) -> None:
    """Data and splits, the pretrained model, its speed on this machine, and the plan for the time limit."""
    selection.prepare()


@step
def search(selection: Selection) -> None:
    """Trials of all methods, packed."""
    selection.search()


@step
def confirm(selection: Selection) -> None:
    """Finalists trained again on fresh seeds, then scored on the report split."""
    selection.confirm()


@step
def explain(selection: Selection) -> None:
    """Gates, and submodules switched off."""
    selection.explain()


@step
def recommend(selection: Selection) -> Recommendation:
    """The verdict, the report and the winner's weights."""
    return selection.recommend()


@flow(name="select-pelt", flow_run_name=select_name, validate_parameters=False)  # the settings say everything that is wrong at once
@conducted
@with_parameters(options())
def select_pelt(*, output: str | None = None, **parameters: Any) -> Any:  # a dictionary, or a state that has it
    """Which parameter-efficient tuning method to use for a text task, with its trained weights.

    Paths are inside the worker's data folders.

    Args:
        output: Name of the folder in ``selections`` of the program's home; named after task and key when it isn't given.
        **parameters: One for each knob of `pelt_automl.settings.options`.

    Returns:
        Outcome (``recommended``, ``tentative``, ``nothing-learned``), method, report score and metric, statement, and the folder with
        everything; of a curve task, statement and folder.
    """
    if is_curve(parameters.get("k")):
        return select_at_each_k(output=output, **parameters)
    settings, _ = checked(settings_from, ("output",), output=output, **parameters)
    places = places_of(settings.training)
    tag_this_run(run_tags(settings))
    opened = Selection.open(settings, place(output), display=LogDisplay(run_log()), provider=places)
    with tags(*run_tags(settings)), opened as selection:
        tag_this_run([selection_tag(selection.key)])
        if places and not selection.finished:
            places.check()
        prepare(selection)
        search(selection)
        confirm(selection)
        explain(selection)
        recommendation = recommend(selection)
    leave_artifacts(recommendation.folder, task_name(settings.task))
    tell_change(recommendation.folder)
    verdict = verdict_text(history_of(recommendation.folder))
    verdict += f"\n\n{where(recommendation.folder, 'report.html')}"
    return concluded(verdict, recommendation.statement, summary(recommendation))


def place(output: str | None) -> Path | None:
    """A selection's folder; None for the one that is named after task and key. The name was checked."""
    return home() / "selections" / output if output else None


@step
def select_at(run: "CurveRun", k: int | None) -> None:
    """The selection at K, all of its phases."""
    with run.at(k) as selection:
        tag_this_run([selection_tag(selection.key)])
        selection.run()


def select_at_each_k(output: str | None, **parameters: Any) -> Any:
    """The curve, a step a K, with its report as an artifact. The answer has task, statement and folder."""
    from pelt_automl.curve import CurveRun, curve_settings, curve_text

    settings, _ = checked(curve_settings, ("output",), output=output, **parameters)
    places = places_of(settings.whole.training)
    names = sorted({name for k in settings.ks for name in run_tags(settings.at(k, None))})
    tag_this_run(names)
    with tags(*names):
        run = CurveRun.open(settings, place(output), display=LogDisplay(run_log()), provider=places)
        if places and not run.finished:
            places.check()
        for k in run.ks:
            select_at(run, k)
    curve = run.result()
    leave_curve_artifacts(curve.folder, curve.task)
    answer = {"task": curve.task, "statement": curve.statement, "folder": str(curve.folder)}
    return concluded(f"{curve_text(curve)}\n\n{where(curve.folder, 'k-curve.html')}", curve.statement, answer)


def summary(recommendation: Recommendation) -> dict[str, Any]:
    """What a caller of the flow gets: plain values, so that they travel."""
    fields = ("outcome", "method", "report_score", "report_metric", "statement")
    return {name: getattr(recommendation, name) for name in fields} | {"folder": str(recommendation.folder)}
