"""The end: the verdict, the winner's folder, the report, and what is cleared away."""

from pathlib import Path

from pelt_automl.baselines import load_fitted, write_winner
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import LACK_OF_TIME, Published, Reason, SelectionEnded, Stage, TrialEnded, VerdictReached
from pelt_automl.log.folder import WINNER, clear_work_folder
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.modifications import kept_form
from pelt_automl.report import Recommendation, load_recommendation, write_report
from pelt_automl.selection.context import Context
from pelt_automl.selection.finalist_weights import weights_of_run
from pelt_automl.selection.search_phase import weights_of_method
from pelt_automl.selection.working_folders import PARTS, fitted_at
from pelt_automl.training.checkpoints import TrainedConfig, describe, load_tensors, precision_name, save_trained
from pelt_automl.verdict.decision import decide


def recommend(context: Context) -> Recommendation:
    """Decide, keep the winner's weights, write the report and hand everything to the recorders."""
    search = context.settings.search
    verdict = decide(context.record.events, search.equivalence, search.prefer)
    save_winner(context, verdict)
    context.record.append(verdict)
    context.record.append(SelectionEnded(_reason(context), context.clock.elapsed, _bill(context)))
    return publish(context)


def publish(context: Context) -> Recommendation:
    """Write the report of a selection that has ended, hand its folder to the recorders, and clear away what only the work needed.

    `Published` is recorded last: where a kill kept it out, the same command does all of this again, which changes nothing that is done.
    """
    write_report(context.folder)
    for recorder in context.record.recorders:
        recorder.publish(context.folder)
    clear_work_folder(context.folder, PARTS)
    if not context.record.history.published:
        context.record.append(Published())
    return load_recommendation(context.folder)


def save_winner(context: Context, verdict: VerdictReached) -> None:
    """Write ``winner/``: the recommended configuration's run with the best select score (never chosen by the report split)."""
    trial, weights = _winning_run(context, verdict)
    data, backbone = context.data, context.backbone
    if trial.method in BASELINES:
        write_winner(context.folder / WINNER, load_fitted(weights, context.encoder), data, backbone, context.max_length)
        return
    train, _ = context.splits(trial.seeds.split)
    config = TrainedConfig(
        method=trial.method,
        hyper_parameters=trial.hyper_parameters,
        modifications=kept_form(METHODS[trial.method].modifications(trial.hyper_parameters), backbone),
        kind=data.kind,
        labels=list(data.labels),
        text_columns=list(data.text_columns),
        scale=data.task_kind.scale(train.labels),
        max_length=context.max_length,
        precision=precision_name(backbone.dtype),
        backbone=describe(backbone),
        task=data.name,
    )
    save_trained(context.folder / WINNER, config, load_tensors(weights)[0], backbone.tokenizer)


def _winning_run(context: Context, verdict: VerdictReached) -> tuple[TrialEnded, Path]:
    trials = context.record.history.ended()
    scored = {event.trial for event in context.record.history.scored}
    runs = [trial for trial in trials if trial.candidate == verdict.candidate and trial.trial in scored]
    sign = context.data.metric.sign
    if runs:
        best = max(runs, key=lambda run: sign * (run.select_score or 0.0))
        return best, fitted_at(context.folder, best) if best.method in BASELINES else weights_of_run(context.folder, best.trial)
    if verdict.method in BASELINES:
        searched = next(trial for trial in trials if trial.candidate == verdict.candidate and trial.stage == Stage.SEARCH)
        return searched, fitted_at(context.folder, searched)
    weights = weights_of_method(context.folder, verdict.method)
    kept = load_tensors(weights)[1].get("trial")
    found = next((trial for trial in trials if trial.trial == kept), None)
    if found is None:
        raise SelectionError(
            f"{weights} doesn't say which trial's weights it has; put back a copy of it, or begin again with another --output"
        )
    return found, weights


def _reason(context: Context) -> Reason:
    decided = bool(context.record.history.decided(*LACK_OF_TIME))
    stopped = any(trial.out_of_time for trial in context.record.history.ended())
    return Reason.TIME if decided or stopped else Reason.DONE


def _bill(context: Context) -> dict[str, float]:
    bill = dict(context.bill)
    if context.clock.used:
        bill["earlier starts"] = context.clock.used
    bill["other"] = max(0.0, context.clock.elapsed - sum(bill.values()))
    return bill
