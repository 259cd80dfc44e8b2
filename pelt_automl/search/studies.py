"""Optuna: one study a method, by ask and tell, in a journal file that outlives a killed process."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock  # the base class of its lock_obj; Optuna exports only its own two
from optuna.trial import FrozenTrial, Trial, TrialState

from pelt_automl.errors import SearchSpaceError, SelectionError
from pelt_automl.log.events import HyperParameters
from pelt_automl.search.proposer import Asked
from pelt_automl.search.samplers import sampler as make_sampler
from pelt_automl.search.spaces import SearchSpace

DRAWS_BY_SAMPLER, MOST_DRAWS = 50, 1000
"""Configurations in a row that make no sense: after the first number they are drawn at random, after the second there are none."""

REFUSED = "refused"
"""Optuna's user attribute with the reason why a configuration was never trained."""


class _FileLock(BaseJournalFileLock):
    """A lock that the system releases when its holder dies, unlike Optuna's own lock files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: TextIO | None = None

    def acquire(self) -> bool:
        self.file = self.path.open("a", encoding="utf-8")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        if self.file:
            self.file.close()
            self.file = None


def open_storage(journal: Path) -> BaseStorage:
    """The journal at `journal`, made if need be; a last line that a kill cut off is taken away.

    Raises `SelectionError` when it is damaged.
    """
    lock = _FileLock(journal.with_suffix(".lock"))
    lock.acquire()
    try:
        if journal.is_file():
            content = journal.read_bytes()
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()
    try:
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
    except Exception as error:  # Optuna trusts what is in its file
        raise SelectionError(
            f"{journal} is damaged: Optuna can't read it ({type(error).__name__}: {error}). "
            "Put back a copy of it, or begin again in another folder"
        ) from error


class MethodStudy:
    """The search of one method. First the published default, then what is known to be good, then a sampler with a fixed seed."""

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        space: SearchSpace,
        seed: int,
        *,
        greater_is_better: bool,
        refusal: Callable[[HyperParameters], str | None] = lambda _: None,
        sampler: str = "tpe",
        first: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`name` is unique in the storage; a study that is there already is taken up.

        `sampler`: its name in the settings. `first`: configurations of the space that are tried after the default, before
        the sampler's. `refusal`: why a configuration can't be trained, beyond what makes no sense anywhere: the model lacks a site, say.
        """
        self.space, self.seed, self.name, self.refusal, self.sampler = space, seed, name, refusal, sampler
        known = [space.default(), *(dict(configuration) for configuration in first)]
        self.known = [configuration for number, configuration in enumerate(known) if configuration not in known[:number]]
        """What is tried without asking the sampler, in this order."""
        self.study = optuna.create_study(
            study_name=f"{name}-v{space.version}",
            storage=storage,
            direction="maximize" if greater_is_better else "minimize",
            load_if_exists=True,
        )

    def ask(self) -> Asked:
        """The next configuration that makes sense; its trial is running from now on.

        Others are drawn and refused without a training: their trials have failed for Optuna, with the reason in `REFUSED`.
        Raises `SearchSpaceError` when there seems to be none that makes sense.
        """
        for drawn in range(MOST_DRAWS):
            number = len(self.study.get_trials(deepcopy=False))
            if number < len(self.known):
                self.study.enqueue_trial(self.known[number])
            seed = self._seed(number)
            self.study.sampler = make_sampler(self.sampler, seed, self.space) if drawn < DRAWS_BY_SAMPLER else RandomSampler(seed)
            if asked := self._accepted(self.study.ask()):
                return asked
        raise SearchSpaceError(f"{self.name}: {MOST_DRAWS} configurations in a row make no sense; see `pelt-automl spaces` for the reasons")

    def _accepted(self, trial: Trial) -> Asked | None:
        """A trial with all of its hyper-parameters; None if they make no sense."""
        params = self.space.suggest(trial)
        reason = self.space.refusal(params) or self.refusal(self.space.configuration(params))
        if reason is None:
            return Asked(trial.number, self.space.configuration(params), is_default=params == self.space.default())
        trial.set_user_attr(REFUSED, reason)
        self.study.tell(trial.number, state=TrialState.FAIL)
        return None

    def _seed(self, number: int) -> int:
        """From the trial's number, so that a search that is taken up again goes on as it would have without the break."""
        digest = hashlib.sha256(f"{self.seed}/{self.name}/{number}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    def unfinished(self) -> list[Asked]:
        """Trials that were asked for and never told: those of a process that was killed."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        trials = [Trial(self.study, frozen._trial_id) for frozen in running]  # what was drawn already is drawn again as it was
        return [asked for trial in trials if (asked := self._accepted(trial))]

    @property
    def known_left(self) -> int:
        """How many configurations are still to be tried without asking the sampler."""
        return max(0, len(self.known) - len(self.study.get_trials(deepcopy=False)))

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    @property
    def asked(self) -> int:
        """How many configurations have been asked for; those that were refused don't count."""
        asked = self.study.get_trials(deepcopy=False, states=tuple(s for s in TrialState if s != TrialState.WAITING))
        return sum(REFUSED not in trial.user_attrs for trial in asked)

    def tell_completed(self, number: int, score: float) -> None:
        """The trial was trained in full."""
        self.study.tell(number, score)

    def tell_stopped(self, number: int, step: int, score: float | None) -> None:
        """The trial wasn't promoted from its rung, or the time was up; TPE learns from its last score."""
        if score is None:
            self.study.tell(number, state=TrialState.FAIL)
            return
        Trial(self.study, self._frozen(number)._trial_id).report(score, step)
        self.study.tell(number, state=TrialState.PRUNED)

    def tell_failed(self, number: int) -> None:
        """The trial failed; its cause is in the selection's records."""
        self.study.tell(number, state=TrialState.FAIL)
