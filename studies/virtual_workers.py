"""Workers with a virtual clock, under the program's own `Cluster`: what many devices would take, in a second on one.

Only what a device and a wire do is a model here: each worker replays recorded trainings (`pelt_automl.execution.recorded`) as its piece of
work says, and messages, states and the selection's own process take the `Times` that were measured. Who gets which piece, what is told to
whom and what follows from a loss is the program's own doing.
"""

import hashlib
import heapq
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from pelt_automl.execution.recorded import Recorded
from pelt_automl.execution.worker import TRAVELS, Done, Piece
from pelt_automl.execution.workers import Ended, Happened, Left, Seat
from pelt_automl.log.events import Event, SegmentEnded, TrialEnded, WorkerJoined, WorkerLeft
from pelt_automl.methods import BASELINES
from pelt_automl.scheduling.actions import Score, Task

BEST = 4
"""A state has so many bytes for each byte of the best weights in it: weights, two moments, and the best weights."""


@dataclass(frozen=True)
class Times:
    """What things take beside training."""

    message: float = 0.01
    """Seconds until a worker has its piece, and again until the selection hears of its end."""
    handling: float = 0.01
    """Seconds of the selection's own process for each piece, which no other piece shares."""
    save: float = 300e6
    """Bytes a second of a state that a worker saves: written, on disk, hashed."""
    bring: float = 600e6
    """Bytes a second that the selection's process takes over: on disk, hashed."""
    wire: float = 70e6
    """Bytes a second from a worker that doesn't see the selection's folder."""
    noticed: float = 0.1
    """Seconds until the selection knows that a worker is gone."""
    start: float = 8.0
    """Seconds until another is in its place, with its model."""


@dataclass(eq=False)
class _Place:
    """A device with the worker that has it now."""

    seat: Seat
    executor: Recorded
    """Its clock is the worker's."""
    number: int = -1
    """Of the piece that it is at; -1: of none."""
    begun: float = 0.0
    interrupted: bool = False
    gone: bool = False


@dataclass
class VirtualWorkers:
    """As far as `Cluster` knows `Workers`: the same calls, another clock."""

    folder: Path
    make: Callable[[], Recorded]
    """The executor of a worker, with an empty history of its own."""
    devices: int
    times: Times
    state: Callable[[str], float] = lambda _: 0.0
    """Bytes of a state of this method."""
    shares: bool = True
    """Whether workers see the selection's folder."""
    lasts: float = math.inf
    """Seconds that a worker lives, on average."""
    seed: int = 0
    """Of how long each lives."""
    seconds: float = 0.0
    """The clock of the selection's own process."""
    busy: list[tuple[float, float]] = field(default_factory=list)
    """Each piece's begin and end at its worker."""
    lost: float = 0.0
    """Seconds of pieces whose worker was gone before they ended."""
    losses: int = 0
    _methods: dict[str, str] = field(default_factory=dict)
    """Of each trial that was ever sent."""

    def __post_init__(self) -> None:
        """All are there at once."""
        self._luck, self._order, self._numbers = random.Random(self.seed), count(), count(1)
        self._places: list[_Place] = []
        self._coming: list[tuple[float, int, Callable[[], Happened | None]]] = []
        self._told: list[Event] = []
        for _ in range(self.devices):
            self._join()

    # ---------------------------------------------------------------- what `Cluster` calls

    def ready(self) -> list[Seat]:
        """Those that are there, as far as the selection knows."""
        return [place.seat for place in self._places]

    def beat(self, seat: Seat) -> Mapping[str, Mapping[str, int]]:
        """How far it is."""
        return {"at": dict(self._of(seat).executor.room().at)}

    def events(self) -> list[Event]:
        """Who has joined and left since this was asked last."""
        told, self._told = self._told, []
        return told

    def dismiss(self, seat: Seat, why: str) -> None:
        """Nothing raises here but what is wrong."""
        raise RuntimeError(f"{seat.name}: {why}")

    def interrupt(self, seat: Seat) -> None:
        """It comes back after its step."""
        self._of(seat).interrupted = True

    def send(self, seat: Seat, piece: Piece) -> None:
        """Begin a piece as a worker does (`pelt_automl.execution.worker.carry_out`)."""
        place = self._of(seat)
        executor = place.executor
        if piece.fresh:
            executor.stop()
        executor.history.trials.clear()
        executor.history.trials.update(piece.trials)
        self._methods |= {name: trial.segment.method for name, trial in piece.trials.items()}
        executor.seconds = max(executor.seconds, self.seconds + self.times.message)
        executor.start(piece.actions)
        seat.future, place.number, place.begun, place.interrupted = piece, piece.number, executor.seconds, False

    def happened(self, seconds: float) -> Happened | None:
        """Go on until something is heard, for so long at most."""
        until = self.seconds + seconds
        while True:
            nearest = self._coming[0][0] if self._coming else math.inf
            if self._trained(min(nearest, until)):
                continue
            if nearest > until:
                self.seconds = until
                return None
            at, _, what = heapq.heappop(self._coming)
            self.seconds = max(self.seconds, at)
            found = what()
            if found is not None or self._told:
                while self._trained(self.seconds):
                    pass  # who is told something now has gone on until now
                return found

    # ---------------------------------------------------------------- devices

    def _of(self, seat: Seat) -> _Place:
        return next(place for place in self._places if place.seat is seat)

    def _join(self) -> None:
        number = next(self._numbers)
        name = f"worker-{number}"
        seat = Seat(name, f"virtual://{number}", "here", self.folder / str(number), f"{name} (device)", "device", self.shares)
        place = _Place(seat, self.make())
        place.executor.seconds = self.seconds
        self._places.append(place)
        self._told.append(WorkerJoined(name, "device", "here", {}))
        if math.isfinite(self.lasts):
            self._at(self.seconds + self._luck.expovariate(1 / self.lasts), lambda: self._die(place))

    def _die(self, place: _Place) -> None:
        """The selection hears of it a little later."""
        place.gone, self.losses = True, self.losses + 1
        if place.number >= 0:
            self.lost += max(0.0, self.seconds - place.begun)
            self.busy.append((place.begun, max(place.begun, self.seconds)))
            place.number = -1
        self._at(self.seconds + self.times.noticed, lambda: self._left(place))
        self._at(self.seconds + self.times.noticed + self.times.start, self._join)

    def _left(self, place: _Place) -> Happened:
        self._places.remove(place)
        place.seat.future = None
        self._told.append(WorkerLeft(place.seat.name, "device", "lost", 0.0))
        return Left(place.seat, "lost")

    def _at(self, seconds: float, what: Callable[[], Happened | None]) -> None:
        heapq.heappush(self._coming, (seconds, next(self._order), what))

    def _trained(self, until: float) -> bool:
        """One step of the worker whose clock is the earliest, and before `until`; whether there was one."""
        place = min((own for own in self._places if own.number >= 0), key=lambda own: own.executor.seconds, default=None)
        if place is None or place.executor.seconds >= until:
            return False
        asked = iter([False])
        events = place.executor.wait(lambda: next(asked, True))
        if events or not place.executor.running() or place.interrupted:
            self._ends(place, events)
        return True

    def _ends(self, place: _Place, events: Sequence[Event]) -> None:
        """A piece: its files are saved, it is told of, and the selection takes it over."""
        executor, told, seat = place.executor, list[Event](), place.seat
        travels = kept = 0.0
        for event in events:
            match event:
                case SegmentEnded():
                    size = self.state(self._methods[event.trial])
                    if not self.shares and size > TRAVELS:  # a name as of a real state, whose file isn't here
                        held = f"{hashlib.sha256(event.state.encode()).hexdigest()}.safetensors"
                        told.append(replace(event, state=held))
                        kept += size
                    else:
                        told.append(event)
                        travels += size
                case TrialEnded():
                    told.append(event)
                    travels += self.state(self._methods[event.trial]) / BEST
                case _:
                    told.append(event)
        executor.seconds += (travels + kept) / self.times.save
        done = Done(told, executor.room(), {}, executor.seconds - place.begun)
        self.busy.append((place.begun, executor.seconds))
        place.number = -1
        moved = 0.0 if self.shares else travels / self.times.wire

        def heard() -> Happened | None:
            if place.gone:
                return None
            self.seconds += self.times.handling + travels / self.times.bring
            seat.future = None
            return Ended(seat, done)

        self._at(executor.seconds + self.times.message + moved, heard)


@dataclass
class Aside(Recorded):
    """The selection's own executor under `Cluster`. What it scores is spread over the workers, as `Workers.gather` does."""

    workers: VirtualWorkers | None = None
    scoring: float = 0.0
    """Seconds of a run on an example."""

    def start(self, actions: Sequence[Task]) -> None:
        """See `Recorded`."""
        before = self.seconds
        super().start(actions)
        assert self.workers is not None
        self.workers.seconds += self.seconds - before
        for action in actions:
            if isinstance(action, Score):
                runs = sum(self.history.trials[name].segment.method not in BASELINES for name in action.trials)
                rounds = -(-runs // max(1, len(self.workers.ready())))
                self.workers.seconds += rounds * action.examples * self.scoring
