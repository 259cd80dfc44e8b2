"""A method's search as its log tells it: what is proposed, released and ended, without a training."""

from dataclasses import dataclass, field
from typing import Any

from pelt_automl.log.events import Because, Released, Seeds, Segment, Stage, State, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.search.proposer import Asked, Proposer
from pelt_automl.search.spaces import SearchSpace, load_spaces

SEEDS = Seeds(0, 0, 0)


@dataclass
class Play:
    """The search of one method; its options are the proposer's."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    space: SearchSpace | None = None
    """None: the one that comes with the program."""
    seed: int = 0
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self.space = self.space or load_spaces(None, (self.method,))[self.method]
        self.proposer = self.another()

    def another(self) -> Proposer:
        """The one of a process that has nothing but the log."""
        assert self.space
        return Proposer({self.method: self.space}, self.seed, greater_is_better=True, **self.options)

    def restart(self) -> None:
        """The process is killed, and another takes up its log."""
        self.proposer = self.another()

    def release(self) -> Asked:
        """What is proposed, as a trial that is under way."""
        asked = self.proposer.next(self.history, self.method)
        assert asked
        name = self._name(asked)
        configuration, number = asked.hyper_parameters, asked.number
        segment = Segment(name, name, self.method, configuration, Stage.SEARCH, number, asked.is_default, SEEDS, 8, 0, 2)
        self.history.apply(Released(segment, Because.FIRST))
        return asked

    def end(self, asked: Asked, score: float | None, state: State = State.COMPLETED, steps: int = 8) -> None:
        """A trial comes to its end."""
        name, configuration, number = self._name(asked), asked.hyper_parameters, asked.number
        default = asked.is_default
        ended = TrialEnded(name, name, self.method, Stage.SEARCH, number, state, default, configuration, SEEDS, {}, [], score, steps, 1.0)
        self.history.apply(ended)

    def played(self, count: int) -> list[Asked]:
        """So many trials, one after the other, whose scores rise."""
        found = []
        for _ in range(count):
            found.append(self.release())
            self.end(found[-1], len(self.history.ended()) / 10)
        return found

    def _name(self, asked: Asked) -> str:
        return f"{self.method}-{asked.number:04d}"
