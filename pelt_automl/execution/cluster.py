"""Segments trained by workers, in packs: the executor of `pelt_automl.scheduling` for several devices. No torch."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

from pelt_automl.errors import SelectionError
from pelt_automl.execution.paces import SLOW, Paces
from pelt_automl.execution.worker import Done, Piece
from pelt_automl.execution.workers import LOOKS, MOST_LOST, Ended, Happened, Left, Seat, Workers, of_the_disk
from pelt_automl.log.events import Because, Event, Segment, SegmentEnded, SegmentLost, StateLost, TrialEnded
from pelt_automl.log.files import adopt, is_reference
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.scheduling.actions import Executor, Fit, Room, Score, Stop, TakeOver, Task, Train
from pelt_automl.timing.kinds import ALONE, is_alone

AT_HOME = 5.0
"""Seconds that this process trains at most without looking after its workers, unless something comes from them."""


@dataclass
class Cluster:
    """Hands segments to workers, each of which has an executor of its own.

    A worker's pack goes on until its next segment ends, and comes back; a trial whose next segment is released at once goes on there. No
    worker has more than one piece of work. What a lost worker was at is released again under a new attempt, from the end of its last
    segment; lost twice, it trains alone, so that it takes no others with it; a third time it has failed. A worker that raises is lost,
    unless the selection's own disk is full or can't be written to: then nobody could go on. A state that is too large to be sent is gone
    with its worker, and its trial starts over. Nothing is heard of a worker that has left.

    A device that has shown itself much slower than another has accordingly fewer places, and what it would hold everybody up with is moved
    to a faster worker as soon as one is free, once a segment.

    Where workers come by themselves, this process trains as long as none is there. Whoever then comes gets all that waits, and what is in
    the pack here at the end of its segment.
    """

    workers: Workers
    history: History
    """That of the log to which the driver appends."""
    local: Executor
    """Of this process: it ends trials that no worker has, fits and scores, and trains as long as nobody else does."""
    kind: Callable[[Segment], Hashable]
    """What trials that share a pack have in common; see `is_alone` for one that can't share any."""
    at_once: int
    """Trials in a pack at most."""
    states: Path
    """The folder of the trials' states."""
    keep: Callable[[TrialEnded, Path], object]
    """Given the file of each trial's best weights before its end is logged."""
    failed: Callable[[Segment, str], TrialEnded]
    """The record of a trial that is given up, with its cause."""
    here: bool = False
    """Whether this process trains as long as no worker is there."""
    paces: Paces = field(default_factory=Paces)
    """How fast their devices have shown themselves."""
    paced: Callable[[Segment], Hashable] = lambda segment: segment.method
    """What trials have in common that take about as long a step on one device."""
    progress: Callable[[Mapping[str, int], str], object] = lambda _steps, _text: None
    """Told about every second of the step of each trial at a worker, and in words of who is at what."""
    _queue: dict[str, Segment] = field(default_factory=dict)
    """Released, and at no worker."""
    _to_end: list[Stop] = field(default_factory=list)
    """Stops of trials that no worker has any more."""
    _events: list[Event] = field(default_factory=list)
    """Not handed out yet."""
    _heirs: dict[str, Seat] = field(default_factory=dict)
    """Who is to train what was moved to it, by trial."""
    _moved: set[tuple[str, int]] = field(default_factory=set)
    """Trials and the beginnings of their segments that were."""
    _shown: float = 0.0
    _home: Seat = field(init=False)
    """This process as one that trains; its pack is `local`'s."""

    def __post_init__(self) -> None:
        """Nothing is trained here yet."""
        self._home = Seat("this process", "", "", self.states, label="this process", owner=self, shares=True)

    # ---------------------------------------------------------------- the protocol

    def room(self) -> Room:
        """Of the worker whose pack has free places; else of those that have no pack, all together."""
        present = self._own()
        idle = [seat for seat in present if seat.idle]
        open_to = next((seat for seat in idle if seat.segments and self._free(seat)), None)
        filling = [open_to] if open_to else [seat for seat in idle if not seat.segments]
        at = {name: step for seat in filling for name, step in self._at(seat).items()}
        elsewhere = {name: step for seat in present if seat not in filling for name, step in self._at(seat).items()}
        waiting = {name: self._kind(segment) for name, segment in self._queue.items()}
        kind = self._pack_kind(open_to) if open_to else None
        free = sum(self._places(seat) for seat in filling) - len(at)
        if not (filling or elsewhere):
            free = self.at_once - len(waiting)  # of the worker that is there first
        return Room(max(0, free), kind, waiting, at, elsewhere, max(1, len(self.workers.ready())))

    def running(self) -> Collection[Segment]:
        """Those at workers, and those that wait for one."""
        return [*self._queue.values(), *(segment for seat in self._own() for segment in seat.segments.values())]

    def start(self, actions: Sequence[Task]) -> None:
        """Take them on; pieces are sent off by `wait`."""
        for action in actions:
            if isinstance(action, Fit | TakeOver | Score):
                self.local.start([action])
            elif isinstance(action, Stop):
                self._stop(action)
            else:
                self._train(action)

    def wait(self, expired: Callable[[], bool]) -> Sequence[Event]:
        """Send pieces off, and wait for what comes of them; see the protocol."""
        if not self._events and (self._to_end or not self._home.segments):
            self.local.start(self._to_end)
            self._to_end = []
            self._came_here(self.local.wait(lambda: True))
        sent = not self._events and self._send()
        if sent and any(seat.idle for seat in self._own()):
            return []  # others can be filled
        while not (self._events or self._to_end or self._nothing_to_do() or (expired() and not self._stops())):
            match self._happened(expired):
                case Ended(seat, done, error) if seat.owner is self:
                    self._ended(seat, done, error)
                case Left(seat, why):
                    self._lost(seat, why)
                case _:
                    pass
            self._events += self.workers.events()
            if not self._events:
                self._move()
            if not self._events:
                self._send()  # who came back with nothing, because there is something to be said to him
            self._show()
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Let go of what is here. Who is at work comes back by himself, and isn't heard."""
        for seat in [*self._own(), self._home]:
            if not seat.idle and seat is not self._home:
                self.workers.interrupt(seat)
            seat.segments, seat.outbox, seat.owner, seat.room = {}, [], None, Room(0)
        self._home.future = None
        self._queue, self._to_end, self._events = {}, [], []
        self.local.stop()

    # ---------------------------------------------------------------- who is where

    def _own(self) -> list[Seat]:
        """Those that are there; a new one is empty. This process is one while nobody else is, and until its last segment has ended."""
        ready = self.workers.ready()
        for seat in ready:
            if seat.owner is not self and seat.idle:
                seat.owner, seat.segments, seat.outbox, seat.room, seat.fresh = self, {}, [], Room(0), True
        at_home = self.here and (not ready or self._home.segments)
        return [*(seat for seat in ready if seat.owner is self), *([self._home] if at_home else [])]

    def _takes(self, seat: Seat) -> bool:
        """Whether it is given more: this process only while nobody else is there."""
        return seat is not self._home or not self.workers.ready()

    def _at(self, seat: Seat) -> dict[str, int]:
        """The step of each trial that sits there: of one that is under way, as it said last."""
        said = seat.room.at if seat.idle else self.local.room().at if seat is self._home else self.workers.beat(seat).get("at", {})
        own = {name: max(self.history.trials[name].reached, int(said.get(name, 0))) for name in seat.segments}
        if seat.idle:  # those whose segment has ended keep their places until the next piece
            known = self.history.trials
            own |= {name: step for name, step in seat.room.at.items() if name in known and known[name].ended is None}
        return own

    def _places(self, seat: Seat) -> int:
        """In its packs: fewer where it has run out of memory, and on a slow device."""
        told = seat.room.free + len(seat.room.at)
        most = min(self.at_once, told) if told else self.at_once
        return max(1, int(most / self.paces.slower(seat.place)))

    def _free(self, seat: Seat) -> int:
        kind = self._pack_kind(seat)
        return 0 if is_alone(kind) or not self._takes(seat) else max(0, self._places(seat) - len(seat.segments))

    def _pack_kind(self, seat: Seat) -> Hashable | None:
        return next((self._kind(segment) for segment in seat.segments.values()), None)

    def _kind(self, segment: Segment) -> Hashable:
        """Who has been lost twice trains alone."""
        return (ALONE, segment.trial) if self.history.trials[segment.trial].losses >= MOST_LOST - 1 else self.kind(segment)

    def _holder(self, reference: str) -> Seat | None:
        return next((seat for seat in self._own() if reference in seat.holds), None)

    def _stops(self) -> bool:
        """Whether ends are awaited that are decided already."""
        return any(self.history.trials[name].stopped for seat in self._own() for name in seat.segments)

    def _nothing_to_do(self) -> bool:
        return not self.running()

    # ---------------------------------------------------------------- what is to be done

    def _stop(self, action: Stop) -> None:
        known = self.history.trials[action.trial]
        self._queue.pop(action.trial, None)
        seat = self._seat_of(action.trial) or (self._holder(known.state) if known.state else None)
        if seat is None:
            self._to_end.append(action)
            return
        seat.segments.setdefault(action.trial, known.segment)
        self._tell(seat, action)

    def _train(self, action: Train) -> None:
        segment = action.segment
        seat = self._seat_of(segment.trial)
        if seat is None:
            self._queue[segment.trial] = segment
            heir = self._heirs.pop(segment.trial, None)
            if heir in self._own() and heir.idle and self._can_move(segment):
                self._give(heir, segment)
            return
        seat.segments[segment.trial] = segment
        self._tell(seat, action)

    def _seat_of(self, trial: str) -> Seat | None:
        """Who trains it, or has it in memory."""
        own = self._own()
        return next((s for s in own if trial in s.segments or (s.idle and trial in s.room.at and self._takes(s))), None)

    def _tell(self, seat: Seat, action: Task) -> None:
        seat.outbox.append(action)
        if not seat.idle and seat is not self._home:
            self.workers.interrupt(seat)

    # ---------------------------------------------------------------- pieces on their way

    def _send(self) -> bool:
        """Give each idle worker what it goes on with, and divide what waits among those with free places; whether any piece was sent."""
        for seat in self._own():
            if seat.idle:
                self._crossed(seat)
        self._assign()
        sent = False
        for seat in self._own():
            if seat.idle and (seat.segments or seat.outbox):
                self._submit(seat)
                sent = True
        return sent

    def _crossed(self, seat: Seat) -> None:
        """Stops may cross the piece that ends their trial, which is all then; or its segment, and then the trial has still to end there."""
        known = self.history.trials
        seat.outbox = [task for task in seat.outbox if not (isinstance(task, Stop) and known[task.trial].ended)]
        for task in seat.outbox:
            if isinstance(task, Stop):
                seat.segments.setdefault(task.trial, known[task.trial].segment)

    def _assign(self) -> None:
        idle = [seat for seat in self._own() if seat.idle]
        for name, segment in list(self._queue.items()):
            if self._can_move(segment):
                continue
            if (holder := self._holder(self.history.trials[name].state)) is None:
                del self._queue[name]
                self._events.append(StateLost(name, segment.attempt, "its state was too large to be sent, and its worker is gone"))
            elif holder.idle and not holder.segments:
                self._give(holder, segment)
        for seat in idle:
            kind = self._pack_kind(seat)
            for segment in self._of_kind(kind)[: self._free(seat)] if kind is not None else ():
                self._give(seat, segment)
        empty = sorted((s for s in idle if not s.segments and self._takes(s)), key=lambda s: self.paces.slower(s.place))
        while empty and self._movable():
            counts = Counter(self._kind(segment) for segment in self._movable())
            ((kind, count),) = counts.most_common(1)
            seats = empty[: max(1, len(empty) - len(counts) + 1)] if not is_alone(kind) else empty[:1]
            places = [self._places(seat) for seat in seats]
            for number, seat in enumerate(seats):  # each its share of what is left
                share = 1 if is_alone(kind) else min(places[number], -(-count * places[number] // sum(places[number:])))
                for segment in self._of_kind(kind)[:share]:
                    self._give(seat, segment)
                    count -= 1
            empty = empty[len(seats) :]

    def _movable(self) -> list[Segment]:
        """Those that any worker can take."""
        return [own for own in self._queue.values() if self._can_move(own)]

    def _can_move(self, segment: Segment) -> bool:
        """Whether what it goes on from is here; of recorded trainings there is nothing."""
        state = self.history.trials[segment.trial].state if segment.start else ""
        return not is_reference(state) or (self.states / state).is_file()

    def _of_kind(self, kind: Hashable) -> list[Segment]:
        return [segment for segment in self._movable() if self._kind(segment) == kind]

    def _give(self, seat: Seat, segment: Segment) -> None:
        del self._queue[segment.trial]
        seat.segments[segment.trial] = segment
        seat.outbox.append(Train(segment, Because.FIRST))  # why, the log says

    def _submit(self, seat: Seat) -> None:
        if seat is self._home:
            actions, seat.outbox, seat.future = seat.outbox, [], self.local
            self.local.start(actions)
            return
        known, new = self.history.trials, seat.room.at.keys()
        states: dict[str, bytes | None] = {}
        for action in seat.outbox:
            name = action.trial if isinstance(action, Stop) else action.segment.trial  # type: ignore[union-attr]
            reference = known[name].state
            if reference and name not in new and (path := self.states / reference).is_file():
                states[reference] = None if seat.shares else path.read_bytes()
        trials = {name: copy(known[name]) for name in known if name in seat.segments or known[name].state in seat.holds}
        actions, fresh = seat.outbox, seat.fresh
        seat.outbox, seat.fresh, seat.number = [], False, seat.number + 1
        seat.sent, seat.began = time.monotonic(), self._at(seat)
        self.workers.send(seat, Piece(seat.number, fresh, trials, actions, states, str(self.states.absolute())))

    # ---------------------------------------------------------------- what is moved

    def _move(self) -> None:
        """Have who is free train what a much slower worker is at, and all others wait for, from where its segments began."""
        workers = [seat for seat in self._own() if seat is not self._home]
        free = [seat for seat in workers if seat.idle and not seat.segments]
        if self._queue or not free:
            return
        for seat in workers:
            segments = list(seat.segments.values())
            if seat.idle or not segments or not all(self._may_move(segment) for segment in segments):
                continue
            paced, at = self.paced(segments[0]), self._at(seat)
            done, left = (sum(at[s.trial] - seat.began.get(s.trial, 0) for s in segments), sum(s.end - at[s.trial] for s in segments))
            pace = (time.monotonic() - seat.sent) / max(1, done)
            unknown = pace / self.paces.slower(seat.place)  # a kind that nobody has shown: by how slow this one is with others
            expected = {own: self.paces.expected(own.place, paced) or unknown * self.paces.slower(own.place) for own in free}
            heir = min(expected, key=lambda own: expected[own])
            here = pace * left
            there = expected[heir] * sum(segment.end - segment.start for segment in segments)
            if here > SLOW * there + LOOKS:
                self.paces.learn(seat.place, paced, time.monotonic() - seat.sent, max(1, done))
                cause = f"it would take {here:.0f} s more there, and {there:.0f} s here"
                for segment in segments:
                    self._events.append(SegmentLost(segment.trial, segment.attempt, seat.name, cause, heir.name))
                    self._heirs[segment.trial] = heir
                    self._moved.add((segment.trial, segment.start))
                seat.segments, seat.outbox, seat.fresh = {}, [], True
                self.workers.interrupt(seat)
                return

    def _may_move(self, segment: Segment) -> bool:
        known = self.history.trials[segment.trial]
        movable = self._is_open(segment) and known.stopped is None and self._can_move(segment)
        return movable and (segment.trial, segment.start) not in self._moved

    # ---------------------------------------------------------------- this process as a worker

    def _happened(self, expired: Callable[[], bool]) -> Happened | None:
        """What happens next at the workers. The pack of this process, where there is one, trains until something does."""
        home = self._home
        if home.idle:
            return self.workers.happened(LOOKS)
        soon = time.monotonic() + AT_HOME
        events = [] if home.outbox else self.local.wait(lambda: self.workers.news or time.monotonic() > soon or expired())
        if events or home.outbox:
            home.future, home.room = None, self.local.room()
        self._came_here(events)
        return self.workers.happened(0.0)

    def _came_here(self, events: Sequence[Event]) -> None:
        """Events of this process' own executor, as they are to stand in the log."""
        for event in events:
            self._home.segments.pop(getattr(event, "trial", ""), None)
        self._events += events
        if self._home.room != Room(0) and not self._home.segments and not self._takes(self._home):
            self.local.stop()  # others go on
            self._home.future, self._home.room = None, Room(0)

    # ---------------------------------------------------------------- what came of them

    def _ended(self, seat: Seat, done: Done | None, error: BaseException | None) -> None:
        if done is None:
            self._failed(seat, error)
            return
        self._learn(seat, done)
        seat.room = Room(done.room.free + len(done.room.at)) if seat.fresh else done.room  # of what was moved it is to go on with nothing
        for event in done.events:
            segment = seat.segments.get(getattr(event, "trial", ""))
            if segment is None or getattr(event, "attempt", segment.attempt) != segment.attempt:
                continue  # of another attempt
            try:
                match event:
                    case SegmentEnded():
                        self._events.append(self._with_state(seat, event, done.files))
                    case TrialEnded():
                        self._events.append(self._with_weights(seat, event, done.files))
                    case _:
                        self._events.append(event)
            except SelectionError as damaged:
                self._lose(seat, segment, str(damaged))
            if seat.segments.get(segment.trial) is segment:
                del seat.segments[segment.trial]

    def _learn(self, seat: Seat, done: Done) -> None:
        """How fast its device is."""
        if not (segment := next(iter(seat.segments.values()), None)):
            return
        at = dict(done.room.at)
        for event in done.events:
            match event:
                case SegmentEnded():
                    at[event.trial] = event.reached
                case TrialEnded():
                    at[event.trial] = event.steps
                case _:
                    pass
        steps = sum(max(0, at.get(name, 0) - before) for name, before in seat.began.items())
        self.paces.learn(seat.place, self.paced(segment), done.seconds, steps)

    def _with_state(self, seat: Seat, event: SegmentEnded, files: Mapping[str, bytes]) -> SegmentEnded:
        """Its state in this process' folder, if it isn't too large to travel. Raises `SelectionError` for a damaged one."""
        if not is_reference(event.state):  # recorded trainings have none
            return replace(event, device=seat.label)
        if seat.shares or event.state in files:
            adopt(self.states, event.state, seat.folder / STATES / event.state if seat.shares else files[event.state])
            return replace(event, device=seat.label)
        seat.holds.add(event.state)
        return replace(event, device=seat.label, holder=seat.name)

    def _with_weights(self, seat: Seat, event: TrialEnded, files: Mapping[str, bytes]) -> TrialEnded:
        path = seat.folder / KEPT / f"{event.trial}.safetensors"
        if event.trial in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[event.trial])
        if path.is_file():
            self.keep(event, path)
        said = self.history.outputs.put(Outputs().get(event.outputs)) if event.outputs else ""
        return replace(event, outputs=said)

    def _failed(self, seat: Seat, error: BaseException | None) -> None:
        """Not a training's own failure, which is an event: the worker's fault, as if it were lost. It is sent away.

        Raises what is the fault of the selection's own disk, as a training in this process would.
        """
        if error is not None and of_the_disk(seat, error):
            raise error
        cause = f"{type(error).__name__}: {error}"
        for segment in list(seat.segments.values()):
            self._lose(seat, segment, cause)
        seat.segments, seat.outbox, seat.room, seat.fresh = {}, [], Room(0), True
        self.workers.dismiss(seat, cause)

    def _lost(self, seat: Seat, why: str) -> None:
        """All that a worker was at."""
        if seat.owner is not self:
            return
        for segment in list(seat.segments.values()):
            self._lose(seat, segment, why)
        seat.segments, seat.outbox = {}, []

    def _lose(self, seat: Seat, segment: Segment, why: str) -> None:
        known = self.history.trials[segment.trial]
        if known.ended is not None:
            return
        if known.stopped is not None:
            self._to_end.append(Stop(known.name, known.stopped.because))
        elif known.losses + 1 >= MOST_LOST:
            self._events.append(self.failed(segment, f"{MOST_LOST} workers in a row were lost at it: {why}"))
        elif self._is_open(segment):
            self._events.append(SegmentLost(segment.trial, segment.attempt, seat.name, why))

    def _is_open(self, segment: Segment) -> bool:
        known = self.history.trials[segment.trial]
        return known.open and known.segment == segment

    def _show(self) -> None:
        if time.monotonic() - self._shown < 1:
            return
        self._shown = time.monotonic()
        steps = {name: step for seat in self._own() for name, step in self._at(seat).items()}
        at = "; ".join(f"{seat.name}: {_in_words(list(seat.segments))}" for seat in self._own())
        nobody = "" if self.workers.ready() else "no worker is there"
        self.progress(steps, "; ".join(filter(None, (nobody, at))))


def _in_words(trials: Sequence[str]) -> str:
    """``lora-0003 and 2 more``."""
    return (trials[0] + (f" and {len(trials) - 1} more" if trials[1:] else "")) if trials else "free"


STATES, KEPT = "work/checkpoints", "kept"
"""Where a worker leaves states and best weights, in its folder."""
