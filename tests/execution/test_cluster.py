"""What is said and heard out of step, with workers of this process: nothing is started."""

from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from errno import EIO, ENOSPC, EROFS

import pytest
from distributed.protocol.pickle import dumps

from pelt_automl.execution import worker
from pelt_automl.execution.recorded import Recorded
from pelt_automl.execution.worker import Done
from pelt_automl.execution.workers import Ended, Seat
from pelt_automl.log.events import Because, Released, SegmentEnded, SegmentLost, Stopped, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.scheduling.actions import Budget, Room, Stop, Train
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.grid import Grid
from tests.execution.crew import POOL, SEGMENTS, STEPS, Make, Replayed, cluster, one_kind


class Hands:
    """One worker; its pieces are carried out when it is asked what has happened, so that all that was said meanwhile comes too late."""

    def __init__(self, folder):
        self.seat = Seat("w", "tls://a", "h", folder / "w", label="w (cpu)", device="cpu", shares=True)
        self.executor = Replayed(POOL, History(), 2, kind=one_kind)
        self.piece, self.left, self.news = None, [], False
        self.there, self.comes = True, 0

    def ready(self):
        return [self.seat] if self.there else []

    def beat(self, _seat):
        return {}

    def interrupt(self, _seat):
        pass

    def events(self):
        return []

    def dismiss(self, seat, why):
        self.left.append(why)

    def send(self, seat, piece):
        seat.future, self.piece = object(), piece

    def happened(self, _seconds):
        self.comes -= 1
        self.there = self.there or self.comes == 0
        if self.seat.future is None:
            return None
        self.seat.future = None
        try:
            return Ended(self.seat, self._carried_out())
        except Exception as error:  # noqa: BLE001 as a worker does
            return Ended(self.seat, None, error)

    def _carried_out(self):
        if self.piece.fresh:
            self.executor.stop()
        self.executor.history.trials.clear()
        self.executor.history.trials.update(self.piece.trials)
        self.executor.start(self.piece.actions)
        events = self.executor.wait(lambda: False)
        return Done(events, self.executor.room(), {}, 1.0)


def begun(folder, *segments):
    """Workers, log and executor that have been told to train these, and have sent them off."""
    hands, log = Hands(folder), Log()
    executor = cluster(hands, log.history, POOL, folder)
    for segment in segments:
        if segment.start:
            log.append(Released(replace(segment, start=0, end=segment.start), Because.FIRST))
            log.append(SegmentEnded(segment.trial, 0, segment.start, [], 1.0, f"{segment.trial}@{segment.start}"))
        log.append(Released(segment, Because.QUOTA))
    executor.start([Train(segment, Because.FIRST) for segment in segments])
    assert executor.wait(lambda: True) == []
    return hands, log, executor


def what_came(log, executor, times):
    for _ in range(times):
        for event in executor.wait(lambda: False):
            log.append(event)


@pytest.mark.parametrize(("start", "end", "state"), [(0, 4, "stopped"), (4, STEPS, "completed")])
def test_a_stop_that_crosses_the_end_of_its_segment_or_of_its_trial_ends_that_trial_alone(tmp_path, start, end, state):
    own, other = replace(SEGMENTS[0], start=start, end=end), SEGMENTS[1]
    _, log, executor = begun(tmp_path, own, other)
    log.append(Stopped(own.trial, Because.NOT_PROMOTED, {}))
    executor.start([Stop(own.trial, Because.NOT_PROMOTED)])
    what_came(log, executor, 4)
    assert {event.trial: event.state for event in log.history.of_kind(TrialEnded)} == {own.trial: state, other.trial: "completed"}
    assert len(log.history.of_kind(TrialEnded)) == 2
    assert executor.running() == []


def test_what_raises_is_the_workers_fault_who_is_sent_away_and_a_loss_of_its_trainings(tmp_path):
    hands, log = Hands(tmp_path), Log()
    hands.executor.raises = {SEGMENTS[0].trial}
    drive(Grid(SEGMENTS[:2]), cluster(hands, log.history, POOL, tmp_path), log, Budget)
    assert {event.trial: event.state for event in log.history.of_kind(TrialEnded)} == {"lora-0000": "failed", "lora-0001": "completed"}
    assert Counter(event.trial for event in log.history.of_kind(SegmentLost)) == {"lora-0000": 2, "lora-0001": 2}
    (failed,) = [event.cause for event in log.history.of_kind(TrialEnded) if event.cause]
    assert failed == "3 workers in a row were lost at it: OSError: [Errno 5] no data for lora-0000"
    assert hands.left == ["OSError: [Errno 5] no data for lora-0000"] * 3


@pytest.mark.parametrize(
    ("number", "shares", "raises"), [(ENOSPC, True, True), (EROFS, True, True), (ENOSPC, False, False), (EIO, True, False)]
)
def test_what_is_the_fault_of_the_selections_own_disk_ends_it_and_no_training_fails_for_it(tmp_path, number, shares, raises):
    hands, log = Hands(tmp_path), Log()
    hands.seat.shares, hands.executor.raises, hands.executor.number = shares, {SEGMENTS[0].trial}, number
    with pytest.raises(OSError, match=f"Errno {number}") if raises else nullcontext():
        drive(Grid(SEGMENTS[:2]), cluster(hands, log.history, POOL, tmp_path), log, Budget)
    assert bool(log.history.of_kind(SegmentLost)) == bool(hands.left) == (not raises)
    assert bool([event for event in log.history.of_kind(TrialEnded) if event.cause]) == (not raises)


@pytest.mark.parametrize("shares", [True, False])
def test_a_state_that_comes_damaged_is_a_loss_and_is_not_kept_under_its_name(tmp_path, shares):
    hands, log, executor = begun(tmp_path, replace(SEGMENTS[0], end=4))
    state, hands.seat.shares = f"{'0' * 64}.safetensors", shares
    (hands.seat.folder / "work" / "checkpoints").mkdir(parents=True)
    (hands.seat.folder / "work" / "checkpoints" / state).write_bytes(b"torn")
    executor._ended(hands.seat, Done([SegmentEnded("lora-0000", 0, 4, [], 1.0, state)], Room(2), {state: b"torn"}, 1.0), None)
    what_came(log, executor, 1)
    assert [event.cause.endswith("its content isn't what was written") for event in log.history.of_kind(SegmentLost)] == [True]
    assert list((tmp_path / "states").iterdir()) == []


def test_a_state_that_is_too_large_to_travel_has_a_holder_in_the_log(tmp_path):
    hands, log, executor = begun(tmp_path, replace(SEGMENTS[0], end=4))
    hands.seat.shares = False
    executor._ended(hands.seat, Done([SegmentEnded("lora-0000", 0, 4, [], 1.0, f"{'0' * 64}.safetensors")], Room(2), {}, 1.0), None)
    what_came(log, executor, 1)
    assert [event.holder for event in log.history.of_kind(SegmentEnded)] == ["w"]


class Slow(Recorded):
    """Comes back after each step, as one that has to look after others; tells how many it has done."""

    steps = 0

    def wait(self, expired):
        before = self.steps
        return super().wait(lambda: expired() or self.steps > before)

    def _step(self):
        self.steps += 1
        super()._step()


def by_themselves(folder, comes):
    """Workers that come by themselves, of which one comes after so many looks; this process, and what is logged."""
    hands, log = Hands(folder), Log()
    hands.there, hands.comes = False, comes
    executor = cluster(hands, log.history, POOL, folder, here=True)
    executor.local = Slow(POOL, log.history, 2, kind=one_kind)
    drive(Grid(SEGMENTS), executor, log, Budget)
    return hands, executor.local, log.history


def test_while_nobody_is_there_this_process_trains(tmp_path):
    hands, local, history = by_themselves(tmp_path, 10_000)
    assert {event.trial: event.state for event in history.of_kind(TrialEnded)} == {own.trial: "completed" for own in SEGMENTS}
    assert (local.steps, hands.piece) == (STEPS * len(SEGMENTS) / 2, None)


def test_who_comes_trains_from_then_on_and_this_process_ends_its_segments_alone(tmp_path):
    hands, local, history = by_themselves(tmp_path, 3)
    ends = Counter(event.trial for event in history.of_kind(TrialEnded) if event.state == "completed")
    assert ends == {own.trial: 1 for own in SEGMENTS}
    assert not history.of_kind(SegmentLost)
    assert local.steps == STEPS, "the pack that was under way"
    assert hands.piece is not None
    assert local.running() == []


def test_packs_go_before_an_evaluation_comes(tmp_path, monkeypatch):
    bench = Make(POOL)(tmp_path)
    for segment in SEGMENTS[:2]:
        bench.history.apply(Released(segment, Because.FIRST))
        bench.executor.start([Train(segment, Because.FIRST)])
    monkeypatch.setattr(worker.HERE, "bench", bench)
    assert len(bench.executor.running()) == 2
    assert worker.score(dumps((2, None)))[0] == 4
    assert list(bench.executor.running()) == []


def test_where_nothing_is_trained_no_worker_is_waited_for(tmp_path):
    """The limit may be over before the first one is there: the baselines are then all that is scored."""
    hands = Hands(tmp_path)
    hands.ready = list
    hands.happened = lambda _seconds: pytest.fail("waited for a worker")
    assert cluster(hands, History(), POOL, tmp_path).wait(lambda: False) == []
