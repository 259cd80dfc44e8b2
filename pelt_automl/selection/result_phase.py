"""The end: the verdict, the winner's folder, the report, and what is cleared away."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pelt_automl.baselines import load_fitted, write_winner
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import LACK_OF_TIME, Published, Reason, SelectionEnded, Stage, TrialEnded, VerdictReached, WorkerLeft
from pelt_automl.log.folder import WINNER, clear_work_folder
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.modifications import kept_form
from pelt_automl.report import Recommendation, load_recommendation
from pelt_automl.selection.calibration_phase import calibrate
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question
from pelt_automl.selection.search_phase import weights_of_method
from pelt_automl.selection.working_folders import PARTS, kept_at
from pelt_automl.timing.clock import Clock
from pelt_automl.training.checkpoints import TrainedConfig, describe, load_tensors, precision_name, save_trained
from pelt_automl.verdict.decision import decide


def recommend(question: Question, machine: Machine, log: Log, clock: Clock, bill: Mapping[str, float]) -> None:
    """Decide, and keep the winner's weights. `bill`: seconds by phase of this start."""
    verdict = decide(log.history, question.search.equivalence, question.search.prefer)
    trial = save_winner(question, machine, log.history, verdict)
    calibrate(question, machine, log, clock, machine.folder / WINNER, trial)
    log.append(verdict)
    in_all = {**bill} | ({"earlier starts": clock.used} if clock.used else {})
    in_all["other"] = max(0.0, clock.elapsed - sum(in_all.values()))
    devices = dict[str, float]()
    for left in log.history.of_kind(WorkerLeft):
        if left.device:
            name = f"{left.worker} ({left.device})"
            devices[name] = devices.get(name, 0.0) + left.seconds
    log.append(SelectionEnded(_reason(log.history), clock.elapsed, in_all, devices))


def publish(folder: Path, log: Log) -> Recommendation:
    """Hand the folder of a selection whose report is written to the recorders, and clear away what only the work needed.

    `Published` is recorded last: where a kill kept it out, the same command does all of this again, which changes nothing that is done.
    """
    for recorder in log.recorders:
        recorder.publish(folder)
    clear_work_folder(folder, PARTS)
    if not log.history.published:
        log.append(Published())
    return load_recommendation(folder)


def save_winner(question: Question, machine: Machine, history: History, verdict: VerdictReached) -> TrialEnded:
    """Write ``winner/``: the recommended configuration's run with the best select score (never chosen by the report split). Returns it."""
    trial, weights = _winning_run(machine, history, verdict)
    data, backbone, most = question.data, machine.backbone, question.length.most
    if trial.method in BASELINES:
        write_winner(machine.folder / WINNER, load_fitted(weights, machine.encoder), data, backbone, most, trial.threshold)
        return trial
    train, _ = machine.splits.of(trial.seeds.split)
    config = TrainedConfig(
        method=trial.method,
        hyper_parameters=trial.hyper_parameters,
        modifications=kept_form(METHODS[trial.method].modifications(trial.hyper_parameters), backbone),
        kind=data.kind,
        labels=list(data.labels),
        text_columns=list(data.text_columns),
        scale=replace(data.task_kind.scale(train.labels), threshold=trial.threshold),
        max_length=most,
        precision=precision_name(backbone.dtype),
        backbone=describe(backbone),
        task=data.name,
    )
    save_trained(machine.folder / WINNER, config, load_tensors(weights)[0], backbone.tokenizer)
    return trial


def _winning_run(machine: Machine, history: History, verdict: VerdictReached) -> tuple[TrialEnded, Path]:
    own, scored = [trial for trial in history.ended() if trial.candidate == verdict.candidate], {event.trial for event in history.scored}
    if runs := [trial for trial in own if trial.trial in scored]:
        best = max(runs, key=lambda run: machine.data.metric.sign * (run.select_score or 0.0))
        return best, kept_at(machine.folder, best)
    if verdict.method in BASELINES:
        searched = next(trial for trial in own if trial.stage == Stage.SEARCH)
        return searched, kept_at(machine.folder, searched)
    weights = weights_of_method(machine.folder, verdict.method)
    kept = load_tensors(weights)[1].get("trial")
    found = next((trial for trial in history.ended() if trial.trial == kept), None)
    if found is None:
        raise SelectionError(
            f"{weights} doesn't say which trial's weights it has; put back a copy of it, or begin again with another --output"
        )
    return found, weights


def _reason(history: History) -> Reason:
    stopped = any(trial.out_of_time for trial in history.ended())
    return Reason.TIME if stopped or history.decided(*LACK_OF_TIME) else Reason.DONE
