"""A selection's search as an Optuna storage, for optuna-dashboard to show. Nothing is ever read from it."""

import math
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import DataDescribed, SelectionStarted, TrialEnded
from pelt_automl.log.folder import history_of
from pelt_automl.log.history import History
from pelt_automl.search.proposer import Proposer, quiet_optuna
from pelt_automl.search.spaces import load_spaces

MIRROR = "optuna.journal"


def mirror(records: Path, target: Path) -> list[str]:
    """Write a study a method to the journal file `target`, made new each time from a selection's `records`. Returns the studies' names.

    Raises `SelectionError` for records that can't be read, or that are of a selection that hasn't begun to search.
    """
    history = history_of(records.parent)
    started, described = history.of_kind(SelectionStarted), history.of_kind(DataDescribed)
    if not started or not described:
        raise SelectionError(f"{records} has nothing to show yet: the selection hasn't begun to search")
    folder = started[-1].settings.get("search", {}).get("spaces")
    methods = tuple(started[-1].methods)
    spaces = load_spaces(Path(folder) if folder else None, methods)
    proposer = Proposer(spaces, 0, described[-1].greater_is_better, sampler="random")
    draft = target.with_name(f".{target.name}.writing")
    draft.unlink(missing_ok=True)
    with quiet_optuna():
        storage = JournalStorage(JournalFileBackend(str(draft)))
        names = [_copied(proposer.study(history, method), history, method, storage) for method in methods]
    draft.replace(target)
    return names


def _copied(study: optuna.Study, history: History, method: str, storage: JournalStorage) -> str:
    """Each trial with its whole curve."""
    ended = {trial.number: trial for trial in history.of_kind(TrialEnded) if trial.method == method and trial.stage == "search"}
    copy = optuna.create_study(study_name=study.study_name, storage=storage, direction=study.direction)
    copy.add_trials([_with_curve(trial, ended.get(trial.number)) for trial in study.get_trials(deepcopy=False)])
    return study.study_name


def _with_curve(trial: FrozenTrial, event: TrialEnded | None) -> FrozenTrial:
    curve = event.curve if event else []
    return create_trial(
        state=trial.state,
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values={point.step: point.select_score for point in curve if math.isfinite(point.select_score)},
        user_attrs={"trial": event.trial, "seconds": event.seconds, "cause": event.cause} if event else {},
    )
