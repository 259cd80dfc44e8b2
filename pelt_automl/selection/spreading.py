"""What is computed of trained runs, pack by pack: by workers where there are any, else in this process."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pelt_automl.log.events import Event, TrialEnded
from pelt_automl.log.log import Log
from pelt_automl.selection.finalist_weights import packs_of
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.working_folders import kept_at

Computed = Callable[[Machine, Sequence[TrialEnded]], Any]
"""Of runs that share a pack; a function of a module, so that a worker can have it. It reads their weights in the machine's folder."""


@dataclass(frozen=True)
class Job:
    """What a worker is to compute."""

    compute: Computed
    runs: Sequence[TrialEnded]
    examples: Sequence[int] | None
    """Of the report split, where it is open."""
    folder: Path
    """The selection's."""
    weights: dict[str, bytes] | None
    """The files of their best weights; None: they lie in the selection's folder."""


def spread_packs(machine: Machine, log: Log, runs: Sequence[TrialEnded], most: int) -> list[list[TrialEnded]]:
    """Runs in packs of at most `most`, and so many packs that each worker has one, if there are enough runs."""
    return packs_of(machine, runs, min(most, max(1, -(-len(runs) // max(1, len(log.history.workers))))))


def computed(
    machine: Machine, log: Log, packs: Sequence[Sequence[TrialEnded]], compute: Computed, progress: Callable[[int], object]
) -> Iterable[Any]:
    """What `compute` returns for each pack, in their order. `progress` is told how many are done.

    Raises what it raises, and `SelectionError` where workers are lost at it again and again.
    """
    if machine.workers is None:
        for done, pack in enumerate(packs):
            progress(done)
            yield compute(machine, pack)
        return

    def told(events: Iterable[Event]) -> None:
        for event in events:
            log.append(event)

    jobs = [partial(_job, machine, compute, list(pack)) for pack in packs]
    yield from machine.workers.gather(jobs, told, progress, lambda job: compute(machine, packs[job]))


def _job(machine: Machine, compute: Computed, runs: list[TrialEnded], shares: bool) -> Job:
    weights = None if shares else {run.trial: kept_at(machine.folder, run).read_bytes() for run in runs}
    return Job(compute, runs, machine.splits.opened, machine.folder, weights)
