"""The tasks that stand: those that a probe learns, by their committed figures."""

from dataclasses import dataclass, field

from pelt_automl.tasks import TaskData
from pelt_automl.tasks.examples import Kind
from studies.sources.places import Places
from studies.sources.registry import CANDIDATES, Candidate, Loader
from studies.sources.standing import Standing, check, committed


@dataclass(frozen=True)
class SourceTask:
    """One task of a source."""

    source: str
    """The unit of inference: ``pydoc``, ``mrpc-stsb``, ``sst2``, ..."""
    task: str
    """Unique: ``pydoc-topic``, ``mrpc``, ``stsb``, ..."""
    kind: Kind
    metric: str
    """A name in `pelt_automl.tasks.METRICS`."""
    sealed: bool
    """Whether its results are not looked at before the rules that are made on the others are frozen."""
    origin: str
    """Where it comes from, how it is made, its license."""
    read: Loader
    """As `load`, without the comparison with what is committed."""
    standing: Standing = field(repr=False, compare=False)

    def load(self, places: Places, k: int = 100) -> TaskData:
        """Pool of `k` labeled examples and report split, always the same; report in the order of the hashes of its texts.

        Raises `TaskError` when the data can't be had, or isn't what is committed.
        """
        data = self.read(places, k)
        check(data, self.standing.tasks[self.task])
        return data


def standing_tasks(standing: Standing, candidates: dict[str, Candidate] = CANDIDATES) -> dict[str, SourceTask]:
    """The learnable tasks, by name."""
    return {
        name: SourceTask(item.source, name, item.kind, item.metric, item.source in standing.sealed, item.origin, item.read, standing)
        for name, item in candidates.items()
        if name in standing.tasks and standing.learnable(name)
    }


SOURCES: dict[str, SourceTask] = standing_tasks(committed())
"""By task. Sealed ones are among them, since they are recorded like the rest; whoever reads results takes `open_sources`."""


def open_sources(*, include_sealed: bool = False, tasks: dict[str, SourceTask] = SOURCES) -> dict[str, SourceTask]:
    """The tasks whose results may be looked at; sealed ones only on demand."""
    return {name: task for name, task in tasks.items() if include_sealed or not task.sealed}
