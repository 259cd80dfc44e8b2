"""The winner's probabilities, calibrated: its temperature is fitted on select, and what it does is measured on report."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pelt_automl.baselines.winner import winner_with
from pelt_automl.durable import write_text
from pelt_automl.log.events import Calibrated, Decision, TrialEnded, What
from pelt_automl.log.log import Log
from pelt_automl.selection.finalist_phase import kept_logits
from pelt_automl.selection.machine import Machine, costs_of
from pelt_automl.selection.question import Question
from pelt_automl.tasks.calibration import best_temperature, calibration_error
from pelt_automl.timing.clock import Clock
from pelt_automl.training.checkpoints import CONFIG, load_config


def calibrate(question: Question, machine: Machine, log: Log, clock: Clock, winner: Path, trial: TrialEnded) -> None:
    """Give the winner's folder the temperature of its probabilities, where its kind of task has one and select can be evaluated in time.

    `trial`: whose weights it has. Report costs nothing more: its logits were kept when the run was scored.
    """
    if not question.data.task_kind.tempered:
        return
    found = next((event for event in log.history.of_kind(Calibrated) if event.trial == trial.trial), None)
    if found is None:
        _, select = question.data.split(trial.seeds.split)
        if clock.limit is not None and clock.left < len(select) * costs_of(question, machine, log.history).example(log.history):
            why = "the time left is too short to evaluate select once more"
            log.once(Decision(What.NO_TIME_FOR_CALIBRATION, trial.candidate, why, {"seconds_left": clock.left}))
            return
        logits, _ = winner_with(winner, machine.backbone).outputs(select)
        found = _measured(question, machine, log, trial, best_temperature(logits, np.asarray(select.labels)), len(select))
        log.append(found)
    write_text(winner / CONFIG, replace(load_config(winner), temperature=found.temperature).to_json() + "\n")


def _measured(question: Question, machine: Machine, log: Log, trial: TrialEnded, temperature: float, select: int) -> Calibrated:
    """The calibration errors on report, where the run was scored on it and its logits are still there."""
    kind, opened = question.data.task_kind, log.history.opened
    logits = kept_logits(machine.folder, trial) if opened else None
    if opened is None or logits is None or len(logits) != opened.examples:
        return Calibrated(trial.trial, temperature, select, 0, None, None)
    labels = np.asarray(log.history.outputs.get(opened.outputs))
    chances = (kind.probabilities(own) for own in (logits, logits / temperature))
    before, after = (calibration_error(own, labels) for own in chances if own is not None)
    return Calibrated(trial.trial, temperature, select, len(labels), before, after)
