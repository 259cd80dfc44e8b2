"""A worker: a process with one device that trains for a selection elsewhere. A Dask worker in its own process until it is told to leave.

It starts before it knows what it will work on: the selection tells it (`Offer`), and it makes a `Bench` of that: the model, loaded once,
the tokens, and an executor as it would be used without workers. Then it carries out one `Piece` after the other: its packs go on until the
next segment in them ends. Packs stay alive between pieces. Nothing here writes a log.
"""

import asyncio
import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import dask
from distributed import Worker
from distributed.comm.addressing import get_address_host
from distributed.protocol.pickle import loads
from distributed.utils import get_ip

from pelt_automl import BEHAVIOUR, __version__
from pelt_automl.errors import PeltError, SelectionError
from pelt_automl.execution.certificates import Certificates
from pelt_automl.execution.scratch import own_folder
from pelt_automl.log.events import Event, SegmentEnded, TrialEnded
from pelt_automl.log.files import adopt
from pelt_automl.log.history import History, Trial
from pelt_automl.scheduling.actions import Executor, Room, Task
from pelt_automl.search.spaces import shipped_spaces

SETTINGS: Mapping[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,  # a lost worker is an event of the log, with an attempt; Dask repeats nothing by itself
    "distributed.scheduler.worker-ttl": "30s",  # a worker that is silent for so long is lost; noticed after one to two times that
    "distributed.scheduler.work-stealing": False,
    "distributed.comm.timeouts.tcp": "15s",  # a cut cable; below 11 s Dask refuses every connection
    "distributed.comm.timeouts.connect": "10s",
    "distributed.scheduler.http.routes": [],  # both open such a port in any case; it serves nothing
    "distributed.worker.http.routes": [],
    **{f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause", "terminate")},
}
"""Dask's, on both sides."""

FACTS, BEAT = "pelt-automl", "pelt-automl-beat"
"""What a worker is, told once as it joins; and how far it is, told about every second: plain values, which no version can misread."""

INTERRUPT, REFUSED, FINISHED = "pelt-automl-interrupt", "pelt-automl-refused", "pelt-automl-finished"
"""Messages to a worker: come back with what you are at; you can't take part; there is nothing more to do for anybody."""

TRAVELS = 64 * 2**20
"""Bytes of a state at most that is sent to a selection that doesn't see the worker's folder: LoRA's on BERT-base has 5 MB. A larger one
(160 MB for MAM, 1.8 GB for full fine-tuning) stays with the worker, and its training goes on there."""

LEFT, TROUBLE, REFUSAL, LOST, STOPPED = 0, 1, 2, 3, 4
"""Exit codes: the selection has ended; nobody was found, or the starter is gone; it can't be used; the connection is gone; the selection
was stopped before its end. One that a signal has stopped ends with 128 and the signal's number, as a shell has it."""

WAITS, WAITS_LONG = 30.0, 600.0
"""Seconds for a selection to answer: of a worker that a selection has started, and of one that may be there first."""


class Bench(Protocol):
    """What a worker works with, once it knows the selection."""

    history: History
    """Holds the trials of the piece at hand alone."""
    executor: Executor | None
    """None: no pieces come, only what is evaluated."""
    states: Path
    """The folder of the executor's states."""
    kept: Path
    """The folder where it leaves the best weights of each trial that has ended, as ``TRIAL.safetensors``."""
    facts: Mapping[str, str]
    """What must be the same as the selection's, by name: hashes of the data and of the model's weights."""
    device: str
    """In words."""
    environment: Mapping[str, Any]

    def score(self, job: Any) -> Any:
        """Evaluate what was trained, with a `beat` at least every minute or so."""


@dataclass(frozen=True)
class Offer:
    """What a worker is to work on."""

    make: bytes
    """Pickled: called with the worker's own folder, it returns a `Bench`."""
    folder: str
    """The worker's folder, in the selection's; used where the worker sees it."""
    proof: str
    """The text of a file ``proof`` in it."""
    facts: Mapping[str, str]
    """The selection's own."""
    travels: int = TRAVELS
    """Bytes of a state at most that is sent."""


@dataclass(frozen=True)
class Ready:
    """A worker has its bench."""

    device: str
    environment: Mapping[str, Any]
    shares: bool
    """Whether it sees the selection's folder: then files are passed on by their names."""


@dataclass(frozen=True)
class Piece:
    """Train until the next segment ends."""

    number: int
    """Of this worker's pieces: what is said of an earlier one doesn't count any more."""
    fresh: bool
    """Whether what the worker holds in memory is of no use."""
    trials: Mapping[str, Trial]
    """As the log knows them: those that train here, and those whose states are here."""
    actions: Sequence[Task]
    states: Mapping[str, bytes | None]
    """States to go on from, by reference; None: it lies in `source`."""
    source: str


@dataclass(frozen=True)
class Done:
    """What came of a piece."""

    events: Sequence[Event]
    room: Room
    """Of the worker's executor."""
    files: Mapping[str, bytes]
    """States by reference and best weights by trial, as far as the selection doesn't see the worker's folder."""
    seconds: float


@dataclass
class _Here:
    """This process' own."""

    bench: Bench | None = None
    folder: Path | None = None
    """For what it needs on disk, as long as it lives."""
    shares: bool = False
    finished: bool = False
    """Whether the selection has told that it has come to its end."""
    travels: int = TRAVELS
    interrupted: int = 0
    """The number of the latest piece that is to come back."""
    beats: int = 0
    """Steps, and passes of the model: they tell a worker that advances from one that hangs."""
    at: dict[str, int] = field(default_factory=dict)
    """The step of each trial in the live pack."""
    ends: dict[str, int] = field(default_factory=dict)
    """The step that each of them trains to."""
    doing: str = ""
    """In words, while it evaluates."""


HERE = _Here()


def beat(*_: Any) -> None:
    """Something was computed. An evaluation is a single step to whoever waits for it, and may take longer than a worker may be silent."""
    HERE.beats += 1


def identity() -> dict[str, str]:
    """What has to be the same on both sides, and is known without a selection."""
    digest = hashlib.sha256()
    for path in sorted(shipped_spaces().glob("*.yaml")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return {"version": __version__, "behavior": str(BEHAVIOUR), "search spaces": digest.hexdigest()[:16]}


def differences(own: Mapping[str, Any], asked: Mapping[str, str]) -> str:
    """``version 0.1.0, the selection has 0.2.0``; empty where all is the same."""
    return "; ".join(
        f"{name} {own.get(name, 'unknown')}, the selection has {value}" for name, value in asked.items() if own.get(name) != value
    )


# -------------------------------------------------------------------- what the selection calls


def take(given: bytes) -> Ready:
    """Make the bench of an `Offer`. Raises what makes it impossible."""
    offer: Offer = loads(given)
    place = Path(offer.folder)
    with suppress(OSError, ValueError):
        HERE.shares = (place / "proof").read_text(encoding="utf-8") == offer.proof
    HERE.folder = HERE.folder or own_folder()
    bench: Bench = loads(offer.make)(place if HERE.shares else HERE.folder)
    if differs := differences(bench.facts, offer.facts):
        raise SelectionError(differs)
    for folder in (bench.states, bench.kept):
        folder.mkdir(parents=True, exist_ok=True)
    HERE.bench, HERE.travels = bench, offer.travels
    return Ready(bench.device, bench.environment, HERE.shares)


def carry_out(given: bytes) -> Done:
    """Train a `Piece` until a segment or a trial has ended, or the selection wants to say something."""
    bench, started = _bench(), time.perf_counter()
    piece: Piece = loads(given)
    executor = bench.executor
    assert executor is not None
    if piece.fresh:
        executor.stop()
    for path in bench.kept.iterdir():
        path.unlink()  # the selection has it
    for reference, content in piece.states.items():
        with suppress(SelectionError):  # without its state a trial can't go on: the executor says so
            adopt(bench.states, reference, Path(piece.source) / reference if content is None else content)
    bench.history.trials.clear()
    bench.history.trials.update(piece.trials)
    HERE.ends = {name: trial.segment.end for name, trial in piece.trials.items()}

    def expired() -> bool:
        beat()
        HERE.at = dict(executor.room().at)
        return HERE.interrupted >= piece.number

    executor.start(piece.actions)
    events = list(executor.wait(expired))
    while not events and executor.running() and HERE.interrupted < piece.number:
        events = list(executor.wait(expired))
    room = executor.room()
    HERE.at = {}
    return Done(events, room, {} if HERE.shares else _files(bench, events), time.perf_counter() - started)


def score(given: bytes) -> tuple[Any, float]:
    """Evaluate, without the packs' memory; what came of it, and its seconds."""
    bench, started = _bench(), time.perf_counter()
    if bench.executor:
        bench.executor.stop()
    job = loads(given)
    HERE.doing = words_of(job)
    try:
        return bench.score(job), time.perf_counter() - started
    finally:
        HERE.doing, HERE.at = "", {}


def _bench() -> Bench:
    if HERE.bench is None:
        raise SelectionError("this worker has no model yet")
    return HERE.bench


def _files(bench: Bench, events: Sequence[Event]) -> dict[str, bytes]:
    files = {}
    for event in events:
        if isinstance(event, SegmentEnded) and (path := bench.states / event.state).is_file() and path.stat().st_size <= HERE.travels:
            files[event.state] = path.read_bytes()
        elif isinstance(event, TrialEnded) and (path := bench.kept / f"{event.trial}.safetensors").is_file():
            files[event.trial] = path.read_bytes()
    return files


# -------------------------------------------------------------------- the process


class Place(Worker):
    """A Dask worker that goes at once when it is to go: by itself it would wait for a training that nobody wants any more."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.stream_handlers |= {INTERRUPT: _interrupted, REFUSED: _refused, FINISHED: _finished}

    async def close(self, *_: Any, reason: str = "", **__: Any) -> None:
        """End this process, unless it has never joined: then `serve` says why."""
        if reason.startswith("failure-to-start"):
            return
        if reason == "scheduler-close" and HERE.finished:
            print("the selection has ended", file=sys.stderr, flush=True)
            _leave(LEFT, "")
        if reason == "scheduler-close":
            _leave(STOPPED, "the selection was stopped before its end; start this worker again once it goes on")
        _leave(LOST, "stopped" if reason == "worker-close" else f"the selection is lost ({reason})")


def _interrupted(piece: int) -> None:
    HERE.interrupted = max(HERE.interrupted, piece)


def _refused(why: str) -> None:
    _leave(REFUSAL, f"the selection has refused this worker: {why}")


def _finished() -> None:
    HERE.finished = True


def _leave(code: int, why: str) -> NoReturn:
    if HERE.folder:
        shutil.rmtree(HERE.folder, ignore_errors=True)
    if why:
        print(f"error: {why}", file=sys.stderr, flush=True)
    os._exit(code)


def _beat(_: Worker) -> dict[str, Any]:
    return {"beats": HERE.beats, "at": dict(HERE.at)}


async def _join(address: str, name: str, certificates: Certificates, folder: Path, patience: float, joined: Callable[[], object]) -> None:
    security = certificates.security()
    own = {
        "nthreads": 1,
        "host": get_ip(get_address_host(address)),  # by itself Dask listens on every interface
        "dashboard_address": "127.0.0.1:0",
        "security": security,
        "local_directory": str(folder),
        "death_timeout": patience,
        "startup_information": {FACTS: lambda _: identity() | {"host": socket.gethostname(), "pid": os.getpid()}},
        "metrics": {BEAT: _beat},
    }
    async with Place(address, name=name, **own):
        joined()
        await asyncio.Event().wait()


def serve(
    address: str, name: str, certificates: Certificates, patience: float = WAITS_LONG, joined: Callable[[], object] = lambda: None
) -> None:
    """Work for the selection that listens at `address`; this process ends with it, or with what keeps it from that, and nothing comes back.

    `patience`: seconds to wait for somebody who answers; `joined`: called once somebody has. Raises `SettingsError` for certificates that
    are none.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: _leave(128 + got, f"stopped by {signal.Signals(got).name}"))
    folder = HERE.folder = own_folder()
    with dask.config.set(SETTINGS):
        try:
            asyncio.run(_join(address, name, certificates, folder, patience, joined))
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            if isinstance(error, PeltError):
                raise
            _leave(*_why_not(error, address, name, patience))


def _why_not(error: BaseException, address: str, name: str, patience: float) -> tuple[int, str]:
    """The exit code and the sentence of a worker that has never joined."""
    while error.__cause__ is not None:
        error = error.__cause__
    why = " ".join(str(error).split())[:200] or "no answer"
    if "name taken" in why:
        return REFUSAL, f"the selection has another worker with the name {name} already: give each a --name of its own"
    return TROUBLE, (
        f"no selection could be reached at {address} within {patience:.0f} s ({why}). "
        "Is one running with --listen, can its port be reached from here, and are the certificates the same?"
    )


def main() -> None:
    """A worker on a leash: its settings are a line on stdin, and it ends when that pipe does, however its starter ends.

    See `pelt_automl.execution.leashed.start` for who starts it.
    """
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_leash, daemon=True).start()
    if given.get("tells"):
        threading.Thread(target=_tell, daemon=True).start()
    try:
        serve(given["address"], given["name"], Certificates(*given["certificates"]), WAITS)
    except PeltError as error:
        _leave(TROUBLE, str(error))


def _leash() -> None:
    sys.stdin.buffer.read()
    _leave(TROUBLE, "")


def _tell() -> None:
    """A line of JSON on standard output when something has changed: the device, and how far each training in the pack is."""
    said: dict[str, Any] = {}
    while True:
        at = {name: (step, HERE.ends.get(name, step)) for name, step in dict(HERE.at).items()}
        now = {
            "device": HERE.bench.device if HERE.bench else "",
            "doing": in_words(at) if at else HERE.doing or in_words(at),
            "done": _share(at),
        }
        if now != said:
            print(json.dumps(now), flush=True)
        said = now
        time.sleep(1)


def _share(at: Mapping[str, tuple[int, int]]) -> float:
    ends = sum(end for _, end in at.values())
    return sum(step for step, _ in at.values()) / ends if ends else 0.0


def words_of(job: Any) -> str:
    """What a worker is at that has it to evaluate."""
    return getattr(job, "in_words", "evaluates")


def in_words(at: Mapping[str, tuple[int, int]]) -> str:
    """``lora-0003 and 2 more, step 12 of 40``, of the step of each trial and the one that it trains to."""
    if not at:
        return "waits for work"
    (name, (step, end)), *others = at.items()
    return f"{name}{f' and {len(others)} more' if others else ''}, step {step} of {end}"
