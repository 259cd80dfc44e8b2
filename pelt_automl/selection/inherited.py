"""What a selection is handed by an earlier one of the same task and model, in place of finding it itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pelt_automl.backbones.loading import Backbone
from pelt_automl.log.events import HyperParameters
from pelt_automl.tasks import TaskData


@dataclass(frozen=True)
class Inherited:
    """Nothing of it changes what a selection answers for, and none of it is a part of its key."""

    data: TaskData | None = None
    """The task's data with the selection's own K."""
    backbone: Backbone | None = None
    """The model, loaded with the same precision and dropout."""
    first: Mapping[str, Sequence[HyperParameters]] = field(default_factory=dict)
    """Configurations to try right after the default, by method."""
    source: str = ""
    """Where `first` comes from, in words."""

    @property
    def more_trials(self) -> int:
        """Trials that every method gets beyond ``trials``, so that `first` takes no one else's place and all have equally many."""
        return max(map(len, self.first.values()), default=0)
