"""What "select-pelt" does when it is asked for several K: a selection at each, a step a K."""

from typing import TYPE_CHECKING, Any

from prefect import tags

from flows.clear_failures import step
from flows.conduct import concluded, run_log
from flows.flow_parameters import checked
from flows.run_display import LogDisplay
from flows.run_page import leave_curve_artifacts, run_tags, tag_this_run, where

if TYPE_CHECKING:
    from pelt_automl.curve import CurveRun


@step
def select_at(run: "CurveRun", k: int | None) -> None:
    """The selection at K, all of its phases."""
    with run.at(k) as selection:
        selection.run()


def select_at_each_k(**parameters: Any) -> Any:
    """The curve, with its report as an artifact. The answer has task, statement and folder."""
    from pelt_automl.curve import CurveRun, curve_settings, curve_text

    settings, _ = checked(curve_settings, **parameters)
    names = sorted({name for k in settings.ks for name in run_tags(settings.at(k, None))})
    tag_this_run(names)
    with tags(*names):
        run = CurveRun.open(settings, display=LogDisplay(run_log()))
        for k in run.ks:
            select_at(run, k)
    curve = run.result()
    leave_curve_artifacts(curve.folder, curve.task)
    answer = {"task": curve.task, "statement": curve.statement, "folder": str(curve.folder)}
    return concluded(f"{curve_text(curve)}\n\n{where(curve.folder, 'k-curve.html')}", curve.statement, answer)
