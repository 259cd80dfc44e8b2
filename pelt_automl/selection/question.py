"""What a selection is asked: a value that nothing changes while it runs. What has been decided since is in the history."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pelt_automl.baselines import probed_at_most
from pelt_automl.log.events import What
from pelt_automl.log.history import History
from pelt_automl.search.spaces import SearchSpace
from pelt_automl.selection.environment import question_of
from pelt_automl.selection.text_length import TextLength
from pelt_automl.settings import SearchSettings, SelectionSettings
from pelt_automl.tasks import Examples, TaskData
from pelt_automl.timing.schedule import TrainingPlan, make_plan, wanted_steps
from pelt_automl.training.tokens import Tokens, tokenize


@dataclass(frozen=True)
class Question:
    """Settings, with all that they name read and checked."""

    settings: SelectionSettings
    spaces: Mapping[str, SearchSpace]
    methods: tuple[str, ...]
    """Those that are possible on the model; see `left`."""
    data: TaskData
    tokenizer: Any
    """The model's."""
    vocabulary: int
    """Rows of the model's token embedding."""
    length: TextLength
    """Where texts are cut."""

    @property
    def hash(self) -> str:
        """Of what is asked; the finalists' seeds are made from it."""
        return question_of(self.settings, self.data.data_hash)

    @property
    def search(self) -> SearchSettings:
        """The settings of search and finals."""
        return self.settings.search

    @property
    def sizes(self) -> dict[str, int]:
        """Examples in ``train``, ``select`` and ``report`` of the search's split."""
        return self.data.sizes(self.search.seed)

    @property
    def most_probed(self) -> int:
        """Train examples that the start of the heads and the baselines are fitted on at most, and of select those that baselines read."""
        return probed_at_most(self.search.seconds)

    def left(self, history: History) -> tuple[str, ...]:
        """The methods of which something is within the user's limits, as far as that is decided."""
        over = history.decided(What.METHOD_OVER)
        return tuple(method for method in self.methods if method not in over)

    def tokenized(self, examples: Examples) -> Tokens:
        """As all trainings read them, and all contenders."""
        return tokenize(examples, self.tokenizer, self.length.most, self.vocabulary, windows=self.data.task_kind.reads_tokens)


@dataclass(frozen=True)
class Plans:
    """How long trainings are, and how many share a pack."""

    search: TrainingPlan
    """Of every training in the search."""
    final: TrainingPlan
    """Of every finalist's: the search's own, unless time for that was short."""
    pack_size: int
    """Trials in one forward pass at most."""

    def of(self, steps: int) -> TrainingPlan:
        """The one of so many steps."""
        return self.search if steps == self.search.steps else self.final


def plans_of(question: Question, history: History) -> Plans:
    """As planned; before that those of unshortened trainings, alone."""
    planned, training, sizes = history.plan, question.settings.training, question.sizes

    def plan(steps: int) -> TrainingPlan:
        return make_plan(steps, question.search.rungs, sizes["select"], training)

    if planned is None:
        wanted = plan(wanted_steps(sizes["train"], training))
        return Plans(wanted, wanted, training.pack_size or 1)
    return Plans(plan(planned.steps), plan(planned.final_steps or planned.steps), planned.pack_size)
