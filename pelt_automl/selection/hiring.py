"""Workers: who is started here, what they are told, and what is checked before anything is loaded. Dask is imported late."""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from pelt_automl.backbones.loading import best_device
from pelt_automl.errors import SettingsError
from pelt_automl.execution.certificates import Certificates, certificates_folder, listening
from pelt_automl.log.events import Decision, Listening, Planned, SelectionStarted
from pelt_automl.log.log import Log
from pelt_automl.selection.environment import usable_cores
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question
from pelt_automl.selection.working_folders import working
from pelt_automl.settings import TrainingSettings

if TYPE_CHECKING:
    from pelt_automl.execution.workers import Workers

VISIBLE = "CUDA_VISIBLE_DEVICES"


class Provider(Protocol):
    """Who brings the workers that the settings ask for, in place of processes of this machine: a pool of places, say."""

    listen: str
    """Where they find the selection: ``tls://HOST:PORT``; port 0: any free one."""
    certificates: Certificates

    def bring(self, workers: "Workers", count: int, key: str, task: str, epoch: int) -> AbstractContextManager[object]:
        """Keep `count` of them there while inside.

        `key`, `task`: of the work that they are for. Called once for each start of it, of which this is the `epoch`-th.
        """


def check_hiring(training: TrainingSettings, provider: Provider | None = None) -> None:
    """Raises `SettingsError` for workers that can't be had: more than there are GPUs, an address that is none, no certificates."""
    if provider:
        listening(provider.listen)
        provider.certificates.security()
        return
    if training.listen:
        listening(training.listen)
        Certificates.of(training.certificates).security()
    if training.workers and best_device().type == "cuda" and training.workers > len(_gpus()):
        raise SettingsError(f"workers is {training.workers}, and this machine has {len(_gpus())} GPUs for them, one each")


@contextmanager
def hired(question: Question, machine: Machine, log: Log, provider: Provider | None = None) -> Iterator["Workers"]:
    """Those that the settings ask for, while inside: processes of this machine, or those of the provider. Nothing is waited for."""
    from pelt_automl.selection.bench import PackBench, facts_of

    training, starts = question.settings.training, log.history.of_kind(SelectionStarted)
    events = [event for event in log.history.events if isinstance(event, Planned | Decision)]
    make, facts = partial(PackBench.make, question, events), facts_of(question, machine.backbone.sha256)
    key, task = starts[-1].key, starts[-1].task
    with crew(training, working(machine.folder, "workers"), make, facts, provider, key, task, len(starts)) as workers:
        if provider is None and training.listen:
            folder = certificates_folder(training.certificates)
            log.append(Listening(workers.address, f"pelt-automl worker {workers.address} --certificates {shlex.quote(str(folder))}"))
        yield workers


@contextmanager
def crew(
    training: TrainingSettings,
    folder: Path,
    make: Callable[[int | None, Path], Any],
    facts: Mapping[str, str],
    provider: Provider | None,
    key: str,
    task: str,
    epoch: int = 1,
) -> Iterator["Workers"]:
    """Those that the settings ask for, while inside, for any work. Nothing is waited for.

    `make` is called in each with its threads and its folder; `folder` and `facts`: see `Workers`; `key`, `task`, `epoch`: see `Provider`.
    """
    from pelt_automl.execution.workers import Workers

    environments, threads = ([], training.threads) if provider else _places(training)
    listen, certificates = training.listen, Certificates.of(training.certificates) if training.listen else None
    if provider:
        listen, certificates = provider.listen, provider.certificates
    with Workers(folder, partial(make, threads), facts, environments, listen, certificates) as workers:
        if provider is None:
            yield workers
            return
        workers.supplied, workers.alone = True, False
        with provider.bring(workers, training.workers or 1, key, task, epoch):
            yield workers


def _gpus() -> list[str]:
    """As this process sees them."""
    visible = os.environ.get(VISIBLE)
    return [part.strip() for part in visible.split(",") if part.strip()] if visible else [str(i) for i in range(torch.cuda.device_count())]


def _places(training: TrainingSettings) -> tuple[list[Mapping[str, str]], int | None]:
    """What each process that is started here has of its own, and the threads of each; None: as it finds them."""
    count = training.workers or 0
    if best_device().type == "cuda":
        return [{VISIBLE: gpu} for gpu in _gpus()[:count]], training.threads
    threads = training.threads or (max(1, usable_cores() // count) if count else None)
    return [{"OMP_NUM_THREADS": str(threads)}] * count, threads
