"""The search's trials on their way: begun, kept at their rungs, and taken up again."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import Decision, Seeds, What
from pelt_automl.search.proposer import Asked
from pelt_automl.selection.context import Context
from pelt_automl.selection.working_folders import working
from pelt_automl.training.checkpoints import load_progress, save_progress
from pelt_automl.training.trials import TrialProgress, TrialRun

log = logging.getLogger(__name__)


@dataclass
class SearchTrial:
    """A trial of the search on its way."""

    method: str
    asked: Asked
    run: TrialRun


def name_of(method: str, asked: Asked) -> str:
    """Unique in the selection."""
    return f"{method}-{asked.number:04d}"


def begin_trial(context: Context, method: str, asked: Asked) -> SearchTrial:
    """A trial from its start, or from where its checkpoint left it."""
    seed = context.settings.search.seed  # all trials of the search share their seeds, so that their scores are paired
    run = context.run(name_of(method, asked), method, asked.hyper_parameters, Seeds(seed, seed, seed))
    take_up(context, run)
    return SearchTrial(method, asked, run)


def keep(context: Context, run: TrialRun) -> None:
    """Write what it needs for going on from its rung."""
    save_progress(_checkpoint(context, run.name), run.progress, _owner(context, run))


def take_up(context: Context, run: TrialRun) -> None:
    """Set it to where it was kept; to its start, with a record, where its checkpoint can't be read."""
    checkpoint = _checkpoint(context, run.name)
    if checkpoint.is_file():
        try:
            run.progress = load_progress(checkpoint, _owner(context, run))
        except SelectionError as error:
            run.progress = TrialProgress()
            log.warning("%s starts over: %s", run.name, error)
            context.record.add(Decision(What.STARTED_OVER, run.name, f"its checkpoint can't be read: {error}"))


def stop(context: Context, run: TrialRun, cause: str) -> None:
    """End one that has been kept, with the weights that its checkpoint has; without them where it can't be read."""
    with suppress(SelectionError):
        run.progress = load_progress(_checkpoint(context, run.name), _owner(context, run))
    run.end("stopped", cause)


def forget(context: Context, run: TrialRun) -> None:
    """Remove its checkpoint."""
    _checkpoint(context, run.name).unlink(missing_ok=True)


def _owner(context: Context, run: TrialRun) -> str:
    return f"{run.name} of {context.question}"


def _checkpoint(context: Context, name: str) -> Path:
    return working(context.folder, "checkpoints") / f"{name}.safetensors"
