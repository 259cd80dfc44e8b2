"""A selection's workers: who is there, who is replaced, what each is at. A Dask scheduler in this process; no torch.

Dask carries messages and says who is there. It decides nothing: each piece of work is for one worker, which has one at a time, and what a
lost worker was at is this process' business. All that happens comes through one inbox, so that the log has one writer.
"""

import contextlib
import errno
import logging
import queue
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any, Self

import dask
from distributed import Client, Future, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps

from pelt_automl.durable import FULL
from pelt_automl.errors import PeltError, SelectionError, SettingsError
from pelt_automl.execution import leashed
from pelt_automl.execution.certificates import Certificates, listening
from pelt_automl.execution.worker import (
    BEAT,
    FACTS,
    FINISHED,
    INTERRUPT,
    REFUSED,
    SETTINGS,
    Done,
    Offer,
    Piece,
    Ready,
    carry_out,
    differences,
    identity,
    in_words,
    score,
    take,
    words_of,
)
from pelt_automl.log.events import Event, Segment, WorkerJoined, WorkerLeft
from pelt_automl.scheduling.actions import Room, Task

log = logging.getLogger(__name__)

STALLED = 600.0
"""Seconds without a step after which a piece of work is lost: a worker that answers isn't yet one that advances. What came of a piece may
take so long to fetch, too."""

OPENING = 3600.0
"""The same for loading the model, which may have to be downloaded."""

STARTS = 3
"""So many starts of a place may fail in a row; then it is given up."""

LOOKS = 0.5
"""Seconds between two looks at the time limit, at the processes and at pieces that hang."""

MOST_LOST = 3
"""Losses after which a piece of work is given up."""


@dataclass(eq=False)
class Seat:
    """One worker, as this side knows it."""

    name: str
    address: str
    host: str
    folder: Path
    """In the selection's; the worker's own where `shares`."""
    label: str = ""
    """Its name and device; empty until it is ready."""
    device: str = ""
    shares: bool = False
    future: Any = None
    """What it is at; None: nothing."""
    number: int = 0
    """Of its pieces."""
    fresh: bool = True
    """Whether what it holds in memory is of no use to its owner."""
    piece: bool = False
    """Whether what it is at is a training."""
    doing: str = ""
    """Else: what, in words."""
    owner: Any = None
    """For whom it holds packs."""
    segments: dict[str, Segment] = field(default_factory=dict)
    """Those that it is to train, by trial."""
    outbox: list[Task] = field(default_factory=list)
    """What its next piece begins with."""
    room: Room = field(default_factory=lambda: Room(0))
    """Of its executor, after its last piece."""
    holds: set[str] = field(default_factory=set)
    """References of states that lie there alone."""
    beats: tuple[int, float] = (-1, 0.0)
    """The last count of its steps, and since when."""
    busy: float = 0.0
    """Seconds that it was at work."""
    sent: float = 0.0
    """When its piece was, on the monotonic clock."""
    began: Mapping[str, int] = field(default_factory=dict)
    """The steps of its trials then."""
    fault: str = ""
    """Why it is sent away."""

    @property
    def place(self) -> str:
        """What its speed depends on: the device, where it is."""
        return f"{self.device} on {self.host}"

    @property
    def idle(self) -> bool:
        """Whether it waits for work."""
        return bool(self.label) and self.future is None


@dataclass(frozen=True)
class Ended:
    """A worker has come back with a piece; or with an error that isn't a training's."""

    seat: Seat
    done: Done | None
    error: BaseException | None = None


@dataclass(frozen=True)
class Scored:
    """A worker has evaluated; or raised."""

    seat: Seat
    what: Any
    error: BaseException | None = None


@dataclass(frozen=True)
class Left:
    """A worker is gone, with all that it was at."""

    seat: Seat
    why: str


Happened = Ended | Scored | Left


@dataclass(eq=False)
class _Child:
    """A place on this machine, with the process that has it now."""

    number: int
    environment: Mapping[str, str]
    starts: int = 0
    failed: int = 0
    """Starts in a row after which nobody was ready."""
    process: subprocess.Popen[bytes] | None = None
    name: str = ""
    errors: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    """What it has printed."""


class _Membership(SchedulerPlugin):
    """Tells the inbox who joins and who leaves. Called in Dask's own thread."""

    def __init__(self, inbox: "queue.Queue[tuple[str, Any]]") -> None:
        self.inbox = inbox

    def watch(self, scheduler: Any) -> None:
        """From now on, and who was there first: workers that wait for a selection join as soon as its port is open."""
        scheduler.add_plugin(self, idempotent=True, name="pelt-automl")
        for worker in list(scheduler.workers):
            self.add_worker(scheduler, worker)

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """One is there."""
        own = scheduler.workers[worker]
        self.inbox.put(("joined", (worker, str(own.name), dict(own.extra))))

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:  # noqa: ARG002 Dask's own
        """One is gone."""
        self.inbox.put(("left", worker))


class Workers:
    """Starts those that are wanted on this machine, lets others in, and hands work to them, while it is entered."""

    def __init__(
        self,
        folder: Path,
        make: Callable[[Path], Any],
        facts: Mapping[str, str],
        environments: Sequence[Mapping[str, str]] = (),
        listen: str | None = None,
        certificates: Certificates | None = None,
        settings: Mapping[str, Any] | None = None,
        stalled: float = STALLED,
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: of the selection, for what workers leave there; a folder each.
            make: called in each worker with its folder; see `Offer`.
            facts: what must be the same on both sides beyond `identity`.
            environments: of each process that is started here, what it has beyond this one's.
            listen: ``tls://host:8786`` for workers that come by themselves; None: this machine's own only.
            certificates: None: temporary ones.
            settings: Dask's, beyond `SETTINGS`.
            stalled: seconds without a step after which a piece of work is lost.
        """
        self.folder, self.facts, self.stalled, self.settings = folder, dict(facts), stalled, {**SETTINGS, **(settings or {})}
        self.host, self.port = listening(listen) if listen else ("127.0.0.1", 0)
        self.certificates, self.make = certificates or Certificates.temporary(), dumps(make)
        self.seats: dict[str, Seat] = {}
        """By address."""
        self.address = ""
        """For workers: ``tls://192.0.2.7:8786``."""
        self._children = [_Child(number, own) for number, own in enumerate(environments, 1)]
        self.alone = not environments
        """Whether all come by themselves, whenever that is: the selection's own process then works as long as none is there."""
        self._inbox: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._events: list[Event] = []
        self.supplied, self.over = False, False
        """Whether somebody brings workers from elsewhere, and follows who leaves; whether the work is done."""
        self.proven = set[str]()
        """The names of those that were ready at any time."""
        self._refused = set[int]()
        """Places of this machine whose process was refused, since anybody was ready."""
        self._joins = count()
        self._held = ExitStack()

    @property
    def news(self) -> bool:
        """Whether `happened` has something to tell at once."""
        return not self._inbox.empty()

    def __enter__(self) -> Self:
        """Listen, and start the processes. Raises `SettingsError` where the port can't be had."""
        self._held.enter_context(dask.config.set(self.settings))
        self._held.enter_context(_quiet())
        try:
            self._listen()
            for child in self._children:
                self._start(child)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _listen(self) -> None:
        security, host = self.certificates.security(), f"[{self.host}]" if ":" in self.host else self.host
        try:
            cluster: Any = LocalCluster(
                n_workers=0, host=host, scheduler_port=self.port, protocol="tls", security=security, silence_logs=False,
                dashboard_address="127.0.0.1:0", worker_class=None, scheduler_kwargs={"dashboard": False},
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"this machine can't listen at tls://{host}:{self.port} ({_reason(error)}): name an address of its own and a free port"
            ) from error
        self._held.callback(_closing, cluster)
        self.scheduler, self.address = cluster.scheduler, cluster.scheduler_address
        self.client: Any = Client(cluster, set_as_default=False)
        self._held.callback(_closing, self.client)
        plugin = _Membership(self._inbox)
        self._call(lambda: plugin.watch(self.scheduler))
        self._held.callback(lambda: self._call(self._say_whether_over))

    def _say_whether_over(self) -> None:
        """To all that are connected, also those that have just come."""
        for address in list(self.scheduler.workers) if self.over else ():
            self.scheduler.worker_send(address, {"op": FINISHED})

    def _call(self, what: Callable[[], object]) -> None:
        """In Dask's thread, without waiting for it."""
        self.client.loop.add_callback(what)

    def __exit__(self, *_: object) -> None:
        """Send all away; processes that don't go are killed."""
        for child in self._children:
            child.name = ""  # nobody follows
        self._held.close()
        for child in self._children:
            leashed.end(child.process, patience=3.0)
            child.errors.close()
        for seat in self.seats.values():
            shutil.rmtree(seat.folder, ignore_errors=True)
        self.seats.clear()

    def leaving(self) -> list[WorkerLeft]:
        """Nothing more is to be done for anybody, as they hear when they are sent away; the records of those that are there."""
        self.over = True
        return [WorkerLeft(seat.name, seat.device, "", seat.busy) for seat in self.seats.values() if seat.label]

    # ---------------------------------------------------------------- processes on this machine

    def _start(self, child: _Child) -> None:
        child.starts += 1
        child.name = f"worker-{child.number}" + (f".{child.starts}" if child.starts > 1 else "")
        child.errors.seek(0)  # the place is shared with the process: it would go on writing behind a gap
        child.errors.truncate()
        child.process = leashed.start(self.address, child.name, self.certificates, child.errors, child.environment)

    def _tend(self) -> None:
        """Start again what has ended. Raises `SelectionError` when that doesn't help."""
        for child in self._children:
            if child.process is None or child.process.poll() is None:
                continue
            if any(seat.name == child.name for seat in self.seats.values()):
                continue  # what it was at is told first
            why = leashed.said_at_its_end(child.process, child.errors)
            child.failed += 1
            log.info("%s ended: %s", child.name, why)
            leashed.end(child.process)
            if child.failed < STARTS:
                self._start(child)
                continue
            child.process = None
            log.warning("%s is given up: %s", child.name, why)
            if not any(own.process for own in self._children) and not any(seat.label for seat in self.seats.values()):
                raise SelectionError(f"no worker can be started: {why}. A selection without --workers may say more")

    def _why(self, seat: Seat, otherwise: str) -> str:
        """How a process of this machine ended, once Dask has lost it."""
        child = next((own for own in self._children if own.name == seat.name), None)
        if child is None or child.process is None:
            return seat.fault or otherwise
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(0.5)
            return seat.fault or leashed.said_at_its_end(child.process, child.errors)
        leashed.end(child.process)  # it was stopped, or hangs: what it still says is of no use
        return seat.fault or otherwise

    def dismiss(self, seat: Seat, why: str) -> None:
        """Send away who has raised. The only one that is there stays, unless another is started in its place: nobody else may come."""
        if len(self.ready()) > 1 or self.supplied or any(child.name == seat.name for child in self._children):
            seat.fault = why
            self._send_away(seat, "raised")
            self._left(seat.address, why)

    def _send_away(self, seat: Seat, why: str) -> None:
        """Whatever it is at; nothing happens to one that is gone already."""
        self._call(lambda: self.scheduler.remove_worker(seat.address, stimulus_id=f"pelt-automl-{why}"))

    def _say(self, seat: Seat, message: Mapping[str, Any]) -> None:
        self._call(lambda: self.scheduler.worker_send(seat.address, message))

    # ---------------------------------------------------------------- for who brings others, from any thread

    def present(self) -> set[str]:
        """The names of those that are connected, ready or not."""
        # Dask's own thread changes it: only a plain dict's values are copied at once.
        return {str(own.name) for own in list(dict.values(self.scheduler.workers))}

    def hopeless(self, why: str) -> None:
        """Nobody else will come: that is an error as soon as nobody is there."""
        self._inbox.put(("hopeless", why))

    def at_work(self) -> list[tuple[str, str, str]]:
        """Of each that is there its name, its device, and in words what it is at."""
        return [(seat.name, seat.device, self._doing(seat)) for seat in list(self.seats.values())]

    def _doing(self, seat: Seat) -> str:
        if not seat.label:
            return "loads the model"
        if seat.future is not None and not seat.piece:
            return seat.doing
        at = self.beat(seat).get("at", {})
        return in_words({name: (int(at.get(name, own.start)), own.end) for name, own in list(seat.segments.items())})

    # ---------------------------------------------------------------- who is there

    def happened(self, seconds: float) -> Happened | None:
        """What comes next, waited for so long at most; None for nothing, and for what is told by `events`."""
        self._tend()
        for seat in list(self.seats.values()):
            self._look(seat)
        try:
            kind, what = self._inbox.get(timeout=min(seconds, LOOKS))
        except queue.Empty:
            return None
        if kind == "joined":
            self._joined(*what)
        elif kind == "left":
            return self._left(what, "its connection is gone, or it was silent for too long")
        elif kind == "done":
            return self._done(*what)
        elif kind == "hopeless" and not self.seats:
            raise SelectionError(what)
        return None

    def first(self, told: Callable[[Event], object]) -> None:
        """Wait until anybody is ready. `told`: of who joins and leaves meanwhile."""
        while not self.ready():
            self.happened(LOOKS)
            for event in self.events():
                told(event)

    def events(self) -> list[Event]:
        """Who has joined and left since this was asked last."""
        events, self._events = self._events, []
        return events

    def _joined(self, address: str, name: str, extra: Mapping[str, Any]) -> None:
        if address in self.seats:
            return  # told twice
        known = extra.get(FACTS, {})
        folder = self.folder / f"{next(self._joins)}"
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier start
        seat = self.seats[address] = Seat(name, address, str(known.get("host", "")), folder)
        if any(child.name == name and child.process and child.process.pid != known.get("pid") for child in self._children):
            seat.name = f"{name} from elsewhere"
            self._refuse(seat, f"the selection gives the name {name} to a worker that it starts itself; choose another --name")
            return
        if differs := differences(known, identity()):
            self._refuse(seat, differs)
            return
        proof = secrets.token_hex(16)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "proof").write_text(proof, encoding="utf-8")
        self._submit(seat, take, Offer(self.make, str(folder), proof, self.facts))

    def _refuse(self, seat: Seat, why: str) -> None:
        said = f"{seat.name}{f' on {seat.host}' if seat.host else ''} is refused: {why}"
        log.warning("%s", said)
        own = {child.number for child in self._children if child.name == seat.name}
        self._refused |= own
        self._say(seat, {"op": REFUSED, "why": why})
        self._events.append(WorkerLeft(seat.name, "", f"refused: {why}", 0.0))
        if own and len(self._refused) == len(self._children) and not any(other.label for other in self.seats.values()):
            raise SelectionError(f"no worker can be used: {why}")

    def _left(self, address: str, why: str) -> Left | None:
        seat = self.seats.pop(address, None)
        if seat is None:
            return None
        if seat.future is not None:
            seat.future.release()
            seat.future = None
        why = self._why(seat, why)
        if seat.label:
            self._events.append(WorkerLeft(seat.name, seat.device, why, seat.busy))
        shutil.rmtree(seat.folder, ignore_errors=True)
        return Left(seat, why) if seat.label else None

    def _look(self, seat: Seat) -> None:
        """Send away who doesn't advance."""
        if seat.future is None:
            return
        beats, now = int(self.beat(seat).get("beats", 0)), time.monotonic()
        if beats != seat.beats[0]:
            seat.beats = (beats, now)
        if now - seat.beats[1] > (self.stalled if seat.label else OPENING):
            seat.beats = (beats, now)
            self._send_away(seat, "stalled")
            self._inbox.put(("left", seat.address))

    def beat(self, seat: Seat) -> Mapping[str, Any]:
        """How far it is, as it said about a second ago."""
        own = self.scheduler.workers.get(seat.address)
        found = own.metrics.get(BEAT) if own else None
        return found if isinstance(found, Mapping) else {}

    # ---------------------------------------------------------------- work

    def ready(self) -> list[Seat]:
        """Those that can be given work, now or later."""
        return [seat for seat in self.seats.values() if seat.label]

    def send(self, seat: Seat, piece: Piece) -> None:
        """Have a piece trained. Told of by `happened`."""
        seat.piece = True
        self._submit(seat, carry_out, piece)

    def interrupt(self, seat: Seat) -> None:
        """Have the piece that it is at come back after its step."""
        self._say(seat, {"op": INTERRUPT, "piece": seat.number})

    def _submit(self, seat: Seat, function: Callable[..., Any], given: Any) -> None:
        seat.beats = (-1, time.monotonic())
        seat.future = future = self.client.submit(
            function, dumps(given), key=(function.__name__, seat.name, seat.number, secrets.token_hex(4)), workers=[seat.address],
            allow_other_workers=False, pure=False,
        )  # fmt: skip
        future.add_done_callback(lambda _: threading.Thread(target=self._fetch, args=(seat, future), daemon=True).start())

    def _fetch(self, seat: Seat, future: Future[Any]) -> None:
        """However long it takes, while others are heard: who doesn't get it here in time is lost as one that doesn't advance."""
        try:
            what, error = future.result(), None
        except Exception as raised:  # noqa: BLE001 whatever it is, it is told
            what, error = None, raised
        self._inbox.put(("done", (seat, future, what, error)))

    def _done(self, seat: Seat, future: Future[Any], what: Any, error: BaseException | None) -> Happened | None:
        if seat.future is not future:
            return None  # of a worker that is gone: refused
        if _is_loss(error) or (error is not None and future.status != "error"):
            self._send_away(seat, "lost")
            return self._left(seat.address, "it went before it could hand over what it had done")
        future.release()
        seat.future = None
        if not seat.label:
            self._opened(seat, what, error)
            return None
        if seat.piece:
            seat.piece = False
            seat.busy += what.seconds if what else 0.0
            return Ended(seat, what, error)
        seat.busy += what[1] if what else 0.0
        return Scored(seat, what[0] if what else None, error)

    def _opened(self, seat: Seat, ready: Ready | None, error: BaseException | None) -> None:
        if ready is None:
            text = " ".join(str(error).split())
            self._refuse(seat, text if isinstance(error, PeltError) else f"{type(error).__name__}: {text}")
            return
        self._refused.clear()
        self.proven.add(seat.name)
        for child in self._children:
            child.failed = 0 if child.name == seat.name else child.failed
        seat.shares, seat.device, seat.label = ready.shares, ready.device, f"{seat.name} ({ready.device})"
        self._events.append(WorkerJoined(seat.name, ready.device, seat.host, dict(ready.environment)))

    def gather(
        self,
        jobs: Sequence[Callable[[bool], Any]],
        told: Callable[[list[Event]], object],
        progress: Callable[[int], object],
        here: Callable[[int], Any] | None,
        came: Callable[[int, Any], object] = lambda _job, _what: None,
    ) -> list[Any]:
        """Have each job evaluated by who is free, and return what came of them, in their order. No training may be under way.

        A worker that raises is lost. Raises `SelectionError` when the workers of a job are lost again and again, and `OSError` for the
        selection's own disk.

        Args:
            jobs: each makes what is handed to a worker, once it is known whether that sees the selection's folder.
            told: of who joins and leaves meanwhile.
            progress: told how many are done.
            here: evaluates a job, given its place, in this process: while nobody is there, where they come by themselves;
                None: it can't.
            came: told what has come of a job, given its place, before `progress` is.
        """
        results, waiting, at, losses = dict[int, Any](), list(range(len(jobs))), dict[Seat, int](), Counter[int]()

        def lost(job: int, why: str, error: BaseException | None = None) -> None:
            losses[job] += 1
            if losses[job] >= MOST_LOST:
                raise SelectionError(f"{MOST_LOST} workers in a row were lost at the same evaluation: {why}") from error
            waiting.insert(0, job)

        while len(results) < len(jobs):
            if self.alone and here and not self.ready():
                job = waiting.pop(0)
                results[job] = here(job)
                came(job, results[job])
                progress(len(results))
            for seat in [own for own in self.ready() if own.idle][: len(waiting)]:
                at[seat] = waiting.pop(0)
                seat.room = Room(seat.room.free + len(seat.room.at))  # its packs go first
                given = jobs[at[seat]](seat.shares)
                seat.doing = words_of(given)
                self._submit(seat, score, given)
            match self.happened(LOOKS if at or not self.alone else 0.0):
                case Scored(seat, what, error) if seat in at:
                    job = at.pop(seat)
                    if error is None:
                        results[job] = what
                        came(job, what)
                        progress(len(results))
                    elif of_the_disk(seat, error):
                        raise error
                    else:
                        lost(job, f"{type(error).__name__}: {error}", error)
                        self.dismiss(seat, f"{type(error).__name__}: {error}")
                case Left(seat, why) if seat in at:
                    lost(at.pop(seat), why)
                case _:
                    pass
            told(self.events())
        return [results[job] for job in range(len(jobs))]


def _is_loss(error: BaseException | None) -> bool:
    return type(error).__name__ in ("KilledWorker", "FutureCancelledError", "CancelledError")


def of_the_disk(seat: Seat, error: BaseException) -> bool:
    """Whether a worker has raised this because the selection's own disk, which it sees, is full or read-only."""
    return seat.shares and isinstance(error, OSError) and error.errno in (*FULL, errno.EROFS)


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:200]


def _closing(what: Any) -> None:
    """Dask's own end, which may have nobody left to talk to."""
    with suppress(Exception):
        what.close(timeout=5)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask logs what this program tells in its own words."""
    own = logging.getLogger("distributed")
    before = own.level
    own.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")
            yield
    finally:
        own.setLevel(before)
