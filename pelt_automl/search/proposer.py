"""What to try next: one Optuna study a method, in memory, folded from a selection's history by ask and tell."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState, create_trial

from pelt_automl.log.events import HyperParameters, Released, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.search.samplers import sampler as make_sampler
from pelt_automl.search.spaces import SearchSpace

DRAWS_BY_SAMPLER, MOST_DRAWS = 50, 1000
"""Configurations in a row that make no sense: after the first number they are drawn at random, after the second there are none."""

REMEMBERS = ("cmaes",)
"""Samplers that keep what they have learned with the trials that they drew; the others read configurations and scores alone."""


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without a line for each study that is made; at the end Optuna says what it said before."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


@dataclass(frozen=True)
class Asked:
    """A configuration to be tried."""

    number: int
    """In its method's study, where those that were refused have a number, too."""
    hyper_parameters: dict[str, Any]
    """All of the method's that have a meaning in it, those that aren't searched included."""
    is_default: bool
    """Whether this is the published configuration."""


@dataclass(frozen=True)
class Proposer:
    """The search of each method: first what is known, the published default among it, then a sampler with seeds of its own.

    What it proposes is a function of the history. It keeps its studies while the log goes on from where they are; else, as after a kill,
    they are folded again.
    """

    spaces: Mapping[str, SearchSpace]
    seed: int
    greater_is_better: bool
    sampler: str = "tpe"
    """As in `pelt_automl.settings.SearchSettings`."""
    first: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """By method: configurations of its space that are tried before the sampler's; its default comes first unless it is among them."""
    refusal: Callable[[str, HyperParameters], str | None] = lambda _method, _configuration: None
    """Why a method's configuration can't be trained, beyond what makes no sense anywhere: the model lacks a site, say."""
    _studies: dict[str, "_Study"] = field(default_factory=dict, repr=False, compare=False)

    def known(self, method: str) -> list[dict[str, Any]]:
        """What is tried without asking the sampler, in this order, the default among it."""
        default, first = self.spaces[method].default(), [dict(configuration) for configuration in self.first.get(method, ())]
        known = first if default in first else [default, *first]
        return [configuration for number, configuration in enumerate(known) if configuration not in known[:number]]

    def next(self, history: History, method: str) -> Asked | None:
        """The next configuration that makes sense; None when there seems to be none that does.

        Others are drawn and refused without a training: they take a number, and for Optuna they have failed.
        """
        told = _told(history, method)
        kept = self._studies.pop(method, None)
        study = kept if kept and kept.goes_on_to(told) else _Study(self, method, told)
        asked = study.ask()
        if asked is not None:
            self._studies[method] = study
        return asked

    def study(self, history: History, method: str) -> optuna.Study:
        """All that was tried of a method, as Optuna has it."""
        return _Study(self, method, _told(history, method)).study


@dataclass(frozen=True)
class _Told:
    """What the log says of a trial: its configuration when it is released, and its outcome when it has ended."""

    number: int
    hyper_parameters: HyperParameters
    state: str = "released"
    score: float | None = None
    steps: int = 0


def _told(history: History, method: str) -> list[_Told]:
    released, ended = dict[int, _Told](), list[_Told]()
    told: list[_Told] = []
    for event in history.events:
        if not isinstance(event, Released | TrialEnded):
            continue
        trial = event.segment if isinstance(event, Released) else event
        if trial.method != method or trial.stage != "search":
            continue
        if isinstance(event, TrialEnded):
            ended.append(_Told(event.number, event.hyper_parameters, event.state, event.select_score, event.steps))
            told.append(ended[-1])
        elif trial.number not in released:  # not its next segment, nor that it starts over
            released[trial.number] = _Told(trial.number, trial.hyper_parameters)
            told.append(released[trial.number])
    # records of 0.1.0 don't say when a trial was released
    before = [_Told(what.number, what.hyper_parameters) for what in ended if what.number not in released]
    return [*sorted(before, key=lambda what: what.number), *told]


class _Study:
    """One method's study, as far as the log has told it."""

    def __init__(self, proposer: Proposer, method: str, told: Sequence[_Told]) -> None:
        self.proposer, self.method, self.space = proposer, method, proposer.spaces[method]
        self.known = proposer.known(method)
        with quiet_optuna():
            self.study = optuna.create_study(
                study_name=f"{method}-v{self.space.version}", direction="maximize" if proposer.greater_is_better else "minimize"
            )
        self.running: dict[int, Trial] = {}
        self.asked: Asked | None = None
        """Drawn, and not released as far as the log says."""
        self.told = list(told)
        ended = {what.number for what in told if what.state != "released"}
        for what in told:
            if what.state == "released":
                self._release(what, ended)
            else:
                self._end(what)

    def goes_on_to(self, told: Sequence[_Told]) -> bool:
        """Follow the log; False where it isn't what the study has seen and asked for."""
        new = told[len(self.told) :]
        if told[: len(self.told)] != self.told:
            return False
        for what in new:
            if what.state != "released":
                self._end(what)
            elif self.asked and (self.asked.number, self.asked.hyper_parameters) == (what.number, what.hyper_parameters):
                self.asked = None
            else:
                return False
        self.told = list(told)
        return True

    def ask(self) -> Asked | None:
        """What was asked for and isn't released, else the next configuration that makes sense."""
        for drawn in range(MOST_DRAWS):
            if self.asked:
                break
            number = len(self.study.get_trials(deepcopy=False))
            trial = self._drawn(number, self.known[number] if number < len(self.known) else None, drawn)
            params = self.space.suggest(trial)
            configuration = self.space.configuration(params)
            if self.space.refusal(params) or self.proposer.refusal(self.method, configuration):
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                self.running[number] = trial
                self.asked = Asked(number, configuration, is_default=params == self.space.default())
        return self.asked

    def _drawn(self, number: int, given: Mapping[str, Any] | None, refused: int) -> Trial:
        """A new trial, after so many that were refused; `given`: what isn't left to the sampler."""
        seed = int.from_bytes(hashlib.sha256(f"{self.proposer.seed}/{self.method}/{number}".encode()).digest()[:4], "big")
        by_sampler = refused < DRAWS_BY_SAMPLER
        self.study.sampler = make_sampler(self.proposer.sampler, seed, self.space) if by_sampler else RandomSampler(seed)
        if given is not None:
            self.study.enqueue_trial(dict(given))
        return self.study.ask()

    def _release(self, what: _Told, ended: set[int]) -> None:
        refused = what.number - len(self.study.get_trials(deepcopy=False))
        for _ in range(refused):
            self.study.add_trial(create_trial(state=TrialState.FAIL))
        trial = self._drawn(what.number, self.space.searched(what.hyper_parameters), refused)
        if what.number >= len(self.known) and (self.proposer.sampler in REMEMBERS or what.number not in ended):
            _ = trial.relative_params  # drawn again, for what the sampler keeps with a trial
        self.space.suggest(trial)
        self.running[what.number] = trial

    def _end(self, what: _Told) -> None:
        trial = self.running.pop(what.number)
        if what.state == "completed" and what.score is not None:
            self.study.tell(trial, what.score)
        elif what.state == "stopped" and what.score is not None:  # TPE and CMA-ES learn from its last score
            trial.report(what.score, what.steps)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, state=TrialState.FAIL)
