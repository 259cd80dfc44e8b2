"""Worker processes that really die, stop, raise and are strangers; recorded trainings, so that it takes seconds."""

import contextlib
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

from pelt_automl.errors import SelectionError, SettingsError
from pelt_automl.execution import leashed
from pelt_automl.execution import workers as workers_module
from pelt_automl.execution.certificates import Certificates, listening
from pelt_automl.execution.recorded import Recorded
from pelt_automl.execution.worker import Done, identity
from pelt_automl.execution.workers import Ended, Left, Seat, Workers
from pelt_automl.log.events import (
    Because,
    FinalistScored,
    Released,
    Seeds,
    SegmentEnded,
    SegmentLost,
    Stage,
    StateLost,
    TrialEnded,
    WorkerJoined,
    WorkerLeft,
)  # fmt: skip
from pelt_automl.log.log import Log
from pelt_automl.scheduling.actions import Budget, Room
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.grid import Grid
from studies.contenders import CONTENDERS
from studies.contenders import one_kind as one_kind_of_all
from studies.simulate import Roles
from tests.execution.crew import POOL, QUICK, SEGMENTS, SLOWER, STEPS, Make, cluster, crew, pids_of
from tests.studies.test_simulate import QUALITY, world_of

pytestmark = pytest.mark.slow  # each starts processes

ALL = {own.trial for own in SEGMENTS}


def nobody(_job):
    """Evaluates in this process, which is nobody's business while a worker is there."""
    raise AssertionError


class Watched(Log):
    """Tells of each event before it is kept."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def append(self, event):
        super().append(event)
        self.seen(event)


def ended(history):
    return {event.trial: event.state for event in history.of_kind(TrialEnded)}


def nothing_twice(history):
    counts = Counter(event.trial for event in history.of_kind(TrialEnded))
    segments = Counter((event.trial, event.reached) for event in history.of_kind(SegmentEnded))
    return set(counts.values()) <= {1} and set(segments.values()) <= {1}


def trained(folder, make, seen=lambda _workers, _event: None, count=2, **more):
    """All of the table; `seen`: told of each event, with the workers."""
    at_once = more.pop("at_once", 2)
    with crew(folder, make, count, **more) as workers:
        log = Watched(lambda event: seen(workers, event))
        drive(Grid(SEGMENTS), cluster(workers, log.history, POOL, folder, at_once), log, Budget)
        for event in workers.leaving():
            log.append(event)
    return log.history


def after(number, act):
    """Does something once, when so many trials have ended."""
    left = [number, act]

    def seen(workers, event):
        if isinstance(event, TrialEnded):
            left[0] -= 1
            if left[0] == 0:
                left[1](workers)

    return seen


def kill(workers, most=1):
    for pid in pids_of(workers)[:most]:
        os.kill(pid, signal.SIGKILL)


# ------------------------------------------------------------ faults


@pytest.fixture
def others():
    """Children of this process that aren't this test's: another one may keep a process for the session."""
    return {child.pid for child in psutil.Process().children()}


def children(others):
    return [child for child in psutil.Process().children() if child.pid not in others]


def test_two_workers_of_three_that_are_killed_and_then_all_of_them_cost_no_training_and_are_replaced(tmp_path, others):
    two, every = after(2, lambda workers: kill(workers, 2)), after(5, lambda workers: kill(workers, 9))

    def seen(workers, event):
        two(workers, event)
        every(workers, event)

    history = trained(tmp_path, Make(POOL, pace=0.05), seen, count=3)
    assert ended(history) == dict.fromkeys(ALL, "completed")
    assert nothing_twice(history)
    lost = [event for event in history.of_kind(SegmentLost) if not event.moved_to]
    assert lost
    assert all("SIGKILL" in event.cause for event in lost)
    again = [event.segment for event in history.of_kind(Released) if event.because == Because.LOST]
    assert [(own.trial, own.attempt) for own in again] == [(event.trial, event.attempt + 1) for event in lost]
    joined = [event.worker for event in history.of_kind(WorkerJoined)]
    assert len(joined) == len(set(joined)) >= 3, "each replacement has a name of its own"
    assert sum(event.seconds for event in history.of_kind(WorkerLeft)) > 0, "the bill by device"
    assert not children(others), "none is left behind"


def test_a_worker_that_is_silent_is_lost_and_what_it_says_when_it_wakes_is_refused(tmp_path):
    stopped = []

    def stop(workers):
        stopped.append(stranger.pid)
        os.kill(stranger.pid, signal.SIGSTOP)

    seen = after(1, stop)
    with crew(tmp_path, Make(POOL, pace=0.1), 0) as workers, by_hand(workers) as stranger:
        log = Watched(lambda event: (seen(workers, event), replaced(workers, event)))

        def replaced(workers, event):
            if isinstance(event, SegmentLost) and len(hands) < 1:
                hands.append(by_hand(workers))
                hands[0].__enter__()
                os.kill(stranger.pid, signal.SIGCONT)

        hands = []
        drive(Grid(SEGMENTS), cluster(workers, log.history, POOL, tmp_path), log, Budget)
        assert stranger.wait(30) == 3, "it has noticed that it was sent away"
        hands[0].__exit__(None, None, None)
    assert ended(log.history) == dict.fromkeys(ALL, "completed")
    assert nothing_twice(log.history)
    assert [event.attempt for event in log.history.of_kind(SegmentLost)] == [0, 0], "both of its pack, once"


@contextlib.contextmanager
def by_hand(workers, name=None, certificates=None, **environment):
    """A worker as somebody starts it on another machine."""
    own, name = certificates or workers.certificates, name or f"stranger-{time.monotonic_ns()}"
    line = {"address": workers.address, "name": name, "certificates": [own.authority, own.certificate, own.key]}
    program = "from pelt_automl.execution.worker import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    process.stdin.write(json.dumps(line) + "\n")
    process.stdin.flush()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_what_raises_again_and_again_is_given_up_with_its_text_and_takes_no_other_with_it(tmp_path):
    history = trained(tmp_path, Make(POOL, pace=0.0, raises=frozenset({"lora-0002"})), at_once=4)
    states = ended(history)
    assert states == dict.fromkeys(ALL, "completed") | {"lora-0002": "failed"}
    assert nothing_twice(history)
    (failed,) = [event for event in history.of_kind(TrialEnded) if event.state == "failed"]
    assert failed.cause == "3 workers in a row were lost at it: OSError: [Errno 5] no data for lora-0002"
    sent_away = [event.why for event in history.of_kind(WorkerLeft) if event.why]
    assert sent_away == ["OSError: [Errno 5] no data for lora-0002"] * 3


def test_a_training_that_kills_its_worker_again_and_again_is_given_up_and_takes_no_other_with_it(tmp_path):
    history = trained(tmp_path, Make(POOL, pace=0.0, kills=frozenset({"lora-0001"})))
    assert ended(history) == dict.fromkeys(ALL, "completed") | {"lora-0001": "failed"}
    assert nothing_twice(history)
    (failed,) = [event for event in history.of_kind(TrialEnded) if event.state == "failed"]
    assert failed.cause.startswith("3 workers in a row were lost at it: it was killed by SIGKILL, as a system short of memory does")


def test_a_piece_that_does_not_advance_is_lost_after_its_deadline(tmp_path):
    slow = SimpleNamespace(first=True)

    def hang(workers):
        slow.pids = pids_of(workers)
        for pid in slow.pids:
            os.kill(pid, signal.SIGSTOP)

    history = trained(
        tmp_path, Make(POOL, pace=0.02), after(2, hang), count=1, stalled=1.0, settings={"distributed.scheduler.worker-ttl": "60s"}
    )
    assert ended(history) == dict.fromkeys(ALL, "completed")
    assert nothing_twice(history)
    assert not any(psutil.pid_exists(pid) for pid in slow.pids)


def test_the_time_limit_ends_what_is_at_workers_where_it_is(tmp_path):
    log, clock = Log(), time.monotonic()
    with crew(tmp_path, Make(POOL, pace=0.4), 2) as workers:
        executor = cluster(workers, log.history, POOL, tmp_path)
        up = SimpleNamespace(at=None)

        def budget():
            if up.at is None and any(executor._at(seat) and max(executor._at(seat).values()) >= 1 for seat in workers.ready()):
                up.at = time.monotonic()
            return Budget(100.0, 100.0 if up.at else 0.0)

        drive(Grid(SEGMENTS, least=1.0), executor, log, budget)
    assert time.monotonic() - clock < 60
    assert set(ended(log.history).values()) == {"stopped"}
    assert {event.cause for event in log.history.of_kind(TrialEnded)} == {"time limit"}
    steps = {event.trial: event.steps for event in log.history.of_kind(TrialEnded)}
    assert steps.keys() == ALL
    assert 0 < max(steps.values()) < STEPS, "those under way at workers end with their steps"


def test_evaluations_are_spread_and_one_whose_worker_dies_is_done_again(tmp_path):
    with crew(tmp_path, Make(POOL), 2) as workers:
        events, done = [], []
        jobs = [lambda _, number=number: (number, tmp_path / "died" if number == 2 else None) for number in range(6)]
        assert workers.gather(jobs, events.extend, done.append, nobody) == [0, 2, 4, 6, 8, 10]
    assert done == [1, 2, 3, 4, 5, 6]
    assert len([event for event in events if isinstance(event, WorkerLeft)]) == 1


def test_an_evaluation_that_raises_is_done_again_elsewhere_and_given_up_at_last(tmp_path):
    with crew(tmp_path, Make(POOL), 2) as workers:
        events, done = [], []
        jobs = [lambda _, number=number: (number, tmp_path / "raised" if number == 2 else None) for number in range(4)]
        assert workers.gather(jobs, events.extend, done.append, nobody) == [0, 2, 4, 6]
        assert [event.why for event in events if isinstance(event, WorkerLeft)] == ["OSError: [Errno 5] no data for 2"]
        with pytest.raises(SelectionError, match=r"3 workers in a row were lost at the same evaluation: OSError: .* no data for -1"):
            workers.gather([lambda _: (-1, None)], events.extend, done.append, nobody)


def test_an_evaluation_that_takes_longer_than_a_worker_may_be_silent_is_no_loss_while_it_advances(tmp_path):
    with crew(tmp_path, Make(POOL, batches=120), 1, stalled=3.0) as workers:
        events = []
        assert workers.gather([lambda _: (1, None)], events.extend, lambda _: None, nobody) == [2]
    assert not [event for event in events if isinstance(event, WorkerLeft)]


def test_evaluations_are_done_in_this_process_until_a_worker_comes(tmp_path):
    with crew(tmp_path, Make(POOL), 0, alone=True) as workers, contextlib.ExitStack() as stack:
        here = []

        def evaluated(job):
            here.append(job)
            if len(here) == 2:
                stack.enter_context(by_hand(workers))
                first_of(WorkerJoined, workers)
            return 2 * job

        jobs = [lambda _, number=number: (number, None) for number in range(5)]
        assert workers.gather(jobs, lambda _: None, lambda _: None, evaluated) == [0, 2, 4, 6, 8]
    assert here == [0, 1]


def test_a_worker_that_comes_while_this_process_trains_goes_on_with_what_waits(tmp_path):
    with crew(tmp_path, Make(POOL), 0, alone=True) as workers, contextlib.ExitStack() as stack:
        comes = after(2, lambda workers: (stack.enter_context(by_hand(workers)), first_of(WorkerJoined, workers)))
        log = Watched(lambda event: comes(workers, event))
        executor = cluster(workers, log.history, POOL, tmp_path, here=True)
        drive(Grid(SEGMENTS), executor, log, Budget)
        [left] = workers.leaving()
    assert ended(log.history) == dict.fromkeys(ALL, "completed")
    assert nothing_twice(log.history)
    assert left.seconds > 0
    assert not log.history.of_kind(SegmentLost)


def test_the_only_worker_from_elsewhere_stays_when_it_raises(tmp_path):
    with crew(tmp_path, Make(POOL), 0) as workers, by_hand(workers):
        jobs = [lambda _: (1, tmp_path / "raised")]
        assert workers.gather(jobs, lambda _: None, lambda _: None, nobody) == [2]
        assert len(workers.ready()) == 1


def test_workers_that_cannot_start_are_one_clear_error(tmp_path):
    with (
        Workers(tmp_path, Make(POOL), {}, [{"PYTHONHOME": "/nowhere"}]) as workers,
        pytest.raises(SelectionError, match="can be started: "),
    ):
        first_of(WorkerJoined, workers)


def test_the_last_of_several_starts_in_vain_is_told_as_the_first_one_is(tmp_path, monkeypatch):
    monkeypatch.setattr(leashed, "PROGRAM", "import sys; sys.exit('error: no GPU')")
    with Workers(tmp_path, Make(POOL), {}, [{}]) as workers, pytest.raises(SelectionError, match=r"can be started: no GPU\. A selection"):
        first_of(WorkerJoined, workers)


def test_a_place_that_can_never_be_filled_is_given_up_and_others_do_its_work(tmp_path):
    with Workers(tmp_path / "workers", Make(POOL), {"data": "d1"}, [{}, {"PYTHONHOME": "/nowhere"}], settings=QUICK) as workers:
        log = Log()
        drive(Grid(SEGMENTS), cluster(workers, log.history, POOL, tmp_path), log, Budget)
        for _ in range(60):
            workers.happened(0.2)
            if workers._children[1].process is None:
                break
        assert (workers._children[1].starts, workers._children[0].starts) == (3, 1)
    assert ended(log.history) == dict.fromkeys(ALL, "completed")


def test_workers_end_with_the_process_that_started_them_however_it_ends(tmp_path):
    program = f"""
import time
from pathlib import Path
from tests.execution.crew import POOL, Make, crew, pids_of
with crew(Path({str(tmp_path)!r}), Make(POOL), 2) as workers:
    while len(workers.ready()) < 2:
        workers.happened(1)
    print(*pids_of(workers), flush=True)
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in children if psutil.pid_exists(pid)], timeout=5)
    assert not alive


# ------------------------------------------------------------ devices of different speed


def test_what_a_much_slower_worker_would_hold_everybody_up_with_is_moved_and_it_gets_less_from_then_on(tmp_path):
    slow = [{}, {SLOWER: "20"}]
    with crew(tmp_path, Make(POOL, at_once=4, pace=0.05), environments=slow) as workers:
        while len(workers.ready()) < 2:
            workers.happened(0.5)
        workers.events()
        log = Log()
        executor = cluster(workers, log.history, POOL, tmp_path, at_once=4)
        drive(Grid(SEGMENTS), executor, log, Budget)
        _, late = sorted(workers.ready(), key=lambda seat: seat.name)
        assert executor.paces.slower(late.place) > 10
        assert executor._places(late) == 1
        assert late.busy < 4, "of the 8 s that its segments take there"
    assert ended(log.history) == dict.fromkeys(ALL, "completed")
    assert nothing_twice(log.history)
    moved = log.history.of_kind(SegmentLost)
    assert moved
    assert {(event.worker, event.moved_to, event.attempt) for event in moved} == {("worker-2", "worker-1", 0)}
    again = [event for event in log.history.of_kind(Released) if event.segment.attempt]
    assert {event.because for event in again} == {Because.MOVED}
    assert {trial.losses for trial in log.history.trials.values()} == {0}


# ------------------------------------------------------------ who may take part


def test_nobody_without_the_certificates_is_let_in_and_all_ports_are_this_machines_own(tmp_path, others):
    with crew(tmp_path, Make(POOL), 1) as workers:
        while not workers.ready():
            workers.happened(1)
        host, port = listening(workers.address)
        for own in [psutil.Process(), *children(others)]:
            bound = [each.laddr for each in own.net_connections("tcp") if each.status == "LISTEN"]
            assert {each.ip for each in bound} == {"127.0.0.1"}
            assert 8787 not in {each.port for each in bound}, "no dashboard where Dask has it by itself"
        assert says(host, port, None) == b"", "no TLS at all"
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
        assert says(host, port, bare) == b"", "TLS without a certificate of the client"
        with by_hand(workers, certificates=Certificates.temporary()) as other:
            for _ in range(6):
                workers.happened(0.5)
            assert len(workers.scheduler.workers) == 1, "its certificate is another authority's"
            assert other.poll() is None


def says(host, port, context):
    """What a stranger is told."""
    with socket.create_connection((host, port), timeout=5) as plain, contextlib.suppress(ConnectionError, ssl.SSLError):
        talk = context.wrap_socket(plain) if context else plain
        talk.sendall(b"\x00" * 64)
        return talk.recv(1)
    return b""


def test_a_worker_of_another_program_or_with_other_data_is_refused_with_both_values(tmp_path, monkeypatch):
    monkeypatch.setattr(workers_module, "identity", lambda: identity() | {"behavior": "0"})
    with crew(tmp_path, Make(POOL), 0) as workers, by_hand(workers) as other:
        left = first_of(WorkerLeft, workers)
        assert other.wait(60) == 2
        said = other.stderr.read()
    assert left.why == f"refused: behavior {identity()['behavior']}, the selection has 0"
    assert f"the selection has refused this worker: behavior {identity()['behavior']}, the selection has 0" in said
    monkeypatch.undo()
    with (
        crew(tmp_path, Make(POOL, data="d2"), 2) as workers,
        pytest.raises(SelectionError, match="no worker can be used: data d2, the selection has d1"),
    ):
        first_of(WorkerJoined, workers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_stopped_leaves_nothing_behind(tmp_path, number):
    place = tmp_path / "temporary"
    place.mkdir()
    with crew(tmp_path, Make(POOL), 0) as workers, by_hand(workers, TMPDIR=str(place)) as other:
        first_of(WorkerJoined, workers)
        assert list(place.iterdir()), "what this is about"
        other.send_signal(number)
        assert other.wait(30) == 128 + number
        assert other.stderr.read() == f"error: stopped by {number.name}\n"
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("finished", "code", "said"),
    [
        (True, 0, "the selection has ended\n"),
        (False, 4, "error: the selection was stopped before its end; start this worker again "),
    ],
)
def test_a_worker_says_whether_the_selection_has_ended_or_was_stopped(tmp_path, finished, code, said):
    with crew(tmp_path, Make(POOL), 0) as workers, by_hand(workers) as other:
        first_of(WorkerJoined, workers)
        if finished:
            workers.leaving()
        workers.__exit__(None, None, None)
        assert other.wait(30) == code
        assert other.stderr.read().startswith(said)


def test_a_worker_that_joins_as_the_selection_ends_hears_that_it_has(tmp_path):
    with crew(tmp_path, Make(POOL), 0) as workers:
        workers.leaving()
        with by_hand(workers) as other:
            assert workers._inbox.get(timeout=60)[0] == "joined"  # nobody looks at it any more
            workers.__exit__()
            assert (other.wait(30), other.stderr.read()) == (0, "the selection has ended\n")


def test_two_workers_of_one_name_are_one_clear_message(tmp_path):
    with crew(tmp_path, Make(POOL), 0) as workers, by_hand(workers, "a"):
        first_of(WorkerJoined, workers)
        with by_hand(workers, "a") as other:
            assert other.wait(60) == 2
            assert other.stderr.read() == "error: the selection has another worker with the name a already: give each a --name of its own\n"


def test_a_worker_that_finds_nobody_says_so(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tls://127.0.0.1:{free.getsockname()[1]}"
    program = f"""
from pelt_automl.execution.certificates import Certificates
from pelt_automl.execution.worker import serve
serve({address!r}, "a", Certificates.temporary(), patience=2.0)
"""
    other = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert other.returncode == 1
    assert other.stderr.startswith(f"error: no selection could be reached at {address} within 2 s (")


def first_of(kind, workers):
    for _ in range(60):
        workers.happened(0.5)
        for event in workers.events():
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")


def test_a_worker_that_is_there_before_the_selection_is_seen(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    later = SimpleNamespace(address=f"tls://127.0.0.1:{port}", certificates=Certificates.temporary())
    with by_hand(later):
        time.sleep(2)
        with crew(tmp_path, Make(POOL), 0, listen=later.address, certificates=later.certificates) as workers:
            assert first_of(WorkerJoined, workers).device == "cpu, 1 thread"


def test_who_has_joined_before_anybody_watched_is_told_of():
    inbox, plugins = queue.Queue(), []
    there = {"tls://a": SimpleNamespace(name="early", extra={"pelt-automl": {}})}
    scheduler = SimpleNamespace(workers=there, add_plugin=lambda plugin, **_: plugins.append(plugin))
    membership = workers_module._Membership(inbox)
    membership.watch(scheduler)
    assert plugins == [membership]
    assert inbox.get_nowait() == ("joined", ("tls://a", "early", {"pelt-automl": {}}))


def test_a_port_that_is_taken_is_one_clear_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"this machine can't listen at tls://127.0.0.1:{port}"):
            Workers(tmp_path, Make(POOL), {}, listen=f"tls://127.0.0.1:{port}").__enter__()


# ------------------------------------------------------------ the same answer


@pytest.fixture(scope="module")
def selections(tmp_path_factory):
    """The same selection in this process, with one worker, and with four, which end in another order."""
    world = world_of(tmp_path_factory.mktemp("world"), QUALITY)
    roles, seeds = Roles.of(world.seeds, 1, 10), None
    found = {}
    for count in (0, 1, 4):
        folder, log = tmp_path_factory.mktemp(f"with-{count}"), Log()
        setting, seeds = world.setting(roles.search, 1, 4, 0.0), Seeds(*[roles.search] * 3)
        local = Recorded(world.pool, log.history, 2, kind=one_kind_of_all)
        with crew(folder, Make(world.pool, pace=0.0), count) as workers:
            executor = cluster(workers, log.history, world.pool, folder, kind=one_kind_of_all) if count else local
            executor.seconds = 0.0
            log.append(local.fitted("probe-0000", "probe", Stage.SEARCH, 0, seeds))
            drive(CONTENDERS["ours-without-race"](setting, world.nearest), executor, log, Budget, Stage.SEARCH)
            found[count] = world._finals(log, executor, roles, Budget), log.history
    return found


def test_without_the_race_one_and_four_workers_end_the_same_trainings_and_reach_the_same_verdict(selections):
    def facts(history):
        return {
            (
                event.trial,
                event.method,
                str(event.hyper_parameters),
                event.seeds,
                event.state,
                event.steps,
                event.select_score,
                event.outputs,
            )
            for event in history.of_kind(TrialEnded)
        }

    def scores(history):
        return {(event.trial, event.report_score) for event in history.of_kind(FinalistScored)}

    (verdict, alone), (with_one, one), (with_four, four) = (selections[count] for count in (0, 1, 4))
    assert verdict is not None
    assert verdict == with_one == with_four
    assert facts(alone) == facts(one) == facts(four)
    assert scores(alone) == scores(one) == scores(four)
    assert len(facts(four)) > 10
    assert len({event.device for event in four.of_kind(SegmentEnded)} | {event.worker for event in four.of_kind(WorkerJoined)}) > 1


def test_a_state_that_stays_with_its_worker_is_gone_with_it_and_the_training_starts_over(tmp_path):
    log = Log()
    with crew(tmp_path, Make(POOL), 1) as workers:
        executor = cluster(workers, log.history, POOL, tmp_path)
        first = replace(SEGMENTS[0], end=4)
        log.append(Released(first, Because.FIRST))
        log.append(SegmentEnded(first.trial, 0, 4, [], 1.0, "0" * 64 + ".safetensors"))
        log.append(Released(replace(first, start=4, end=8), Because.QUOTA))
        drive(Grid(SEGMENTS[:1]), executor, log, Budget)
    assert [event.attempt for event in log.history.of_kind(StateLost)] == [0]
    (again,) = [event.segment for event in log.history.of_kind(Released) if event.because == Because.REPEATED]
    assert (again.start, again.attempt) == (0, 1)
    assert ended(log.history) == {first.trial: "completed"}


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Two places without a process, whose joining and leaving a test tells of."""
    monkeypatch.setattr(Workers, "_submit", lambda *_: None)
    monkeypatch.setattr(Workers, "_call", lambda *_: None)
    monkeypatch.setattr(Workers, "_why", lambda _self, _seat, otherwise: otherwise)
    own = Workers(tmp_path / "workers", Make(POOL), {"data": "d1"}, [{}, {}])
    for child in own._children:
        child.name = f"worker-{child.number}"
    return own


class SlowToFetch:
    """What came of a piece, which takes two minutes to come here, by its own clock."""

    status = "finished"

    def __init__(self):
        self.callbacks = []

    def add_done_callback(self, callback):
        self.callbacks.append(callback)

    def result(self, timeout=None):
        if timeout is not None and timeout < 120:
            raise TimeoutError
        return Done([], Room(0), {}, 1.0)

    def release(self):
        pass


def test_what_takes_long_to_fetch_is_no_loss(told, monkeypatch):
    monkeypatch.undo()
    future = SlowToFetch()
    told.client = SimpleNamespace(submit=lambda *_, **__: future)
    seat = Seat("w", "tls://a", "h", told.folder / "w", label="w (cpu)", device="cpu")
    told.seats["tls://a"] = seat
    told.scheduler = SimpleNamespace(workers={})
    told.send(seat, None)
    future.callbacks[0](future)
    happened = told.happened(5.0)
    assert isinstance(happened, Ended)
    assert happened.error is None
    assert seat in told.ready()


def test_a_worker_whose_result_cannot_be_had_is_sent_away(told, monkeypatch):
    future = SlowToFetch()
    future.result = lambda: (_ for _ in ()).throw(MemoryError())
    seat, away = Seat("w", "tls://a", "h", told.folder / "w", label="w (cpu)", device="cpu", future=future), []
    told.seats["tls://a"] = seat
    monkeypatch.setattr(Workers, "_send_away", lambda _self, seat, _why: away.append(seat))
    told.scheduler = SimpleNamespace(workers={})
    told._fetch(seat, future)
    assert isinstance(told.happened(5.0), Left)
    assert away == [seat]


FINE, OTHER = {"pelt-automl": identity()}, {"pelt-automl": identity() | {"version": "0"}}


def test_no_two_workers_share_a_folder_whoever_was_refused_or_has_left(told):
    told._joined("tls://a", "old", OTHER)
    told._joined("tls://b", "new", FINE)
    told._left("tls://a", "refused")
    assert told.seats["tls://b"].folder.is_dir()
    told._joined("tls://c", "first", FINE)
    told._left("tls://c", "gone")
    told._joined("tls://c", "at the same address", FINE)
    told._joined("tls://d", "last", FINE)
    folders = [seat.folder for seat in told.seats.values()]
    assert len(set(folders)) == len(folders)


def test_the_selection_ends_when_each_of_its_places_is_refused_and_not_when_one_is_twice(told):
    told._joined("tls://2", "worker-2", FINE)
    for name in ("worker-1", "worker-1.2"):  # its process was started again
        told._children[0].name = name
        told._joined(f"tls://{name}", name, FINE)
        told._opened(told.seats[f"tls://{name}"], None, SelectionError("another worker has the GPU"))
        told.seats.pop(f"tls://{name}")
    told._joined("tls://stranger", "by hand", OTHER)
    with pytest.raises(SelectionError, match="no worker can be used: it is taken"):
        told._opened(told.seats["tls://2"], None, SelectionError("it is taken"))


def test_a_worker_from_elsewhere_does_not_take_the_name_of_one_that_the_selection_starts(told):
    told._children[0].process = SimpleNamespace(pid=7, poll=lambda: None, wait=lambda _: None)
    told._joined("tls://stranger", "worker-1", {"pelt-automl": identity() | {"pid": 8}})
    (refused,) = told.events()
    assert (refused.worker, refused.why) == (
        "worker-1 from elsewhere",
        "refused: the selection gives the name worker-1 to a worker that it starts itself; choose another --name",
    )
    told._joined("tls://own", "worker-1", {"pelt-automl": identity() | {"pid": 7}})
    assert told.events() == []
    assert told.seats["tls://own"].name == "worker-1"


def test_that_nobody_else_will_come_is_no_error_while_one_loads_the_model(told):
    told.seats["tls://a"] = Seat("w", "tls://a", "h", told.folder / "w")
    told.scheduler = SimpleNamespace(workers={})
    told.hopeless("the deployment was deleted")
    assert told.happened(0.0) is None
    told.seats.clear()
    told.hopeless("the deployment was deleted")
    with pytest.raises(SelectionError, match="the deployment was deleted"):
        told.happened(0.0)


def test_an_ipv6_address_is_listened_at_in_brackets(tmp_path, monkeypatch):
    asked = {}

    def taken(**given):
        asked.update(given)
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(workers_module, "LocalCluster", taken)
    own = Workers(tmp_path, Make(POOL), {}, listen="tls://[::1]:8786", certificates=Certificates.temporary())
    with pytest.raises(SettingsError, match=r"can't listen at tls://\[::1\]:8786 "), own:
        pass
    assert (asked["host"], asked["scheduler_port"]) == ("[::1]", 8786)
