"""What is asked of Prefect for a selection's workers, with doubles of the server and of who joins."""

import json
import logging
import subprocess
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound

from flows import dead_runs, pelt_worker, place_keeper, places, stack_side
from flows.place_keeper import PAUSE, STARTS, TO_END, TO_JOIN, TO_LEAVE, WAITS, Keeper
from pelt_automl.errors import SettingsError
from pelt_automl.execution.certificates import Certificates
from pelt_automl.execution.worker import identity
from pelt_automl.settings import TrainingSettings
from tests.flows.answers import answer

PARENT = str(uuid4())


@dataclass
class Run:
    name: str
    key: str
    tags: list
    parameters: dict
    state: State = field(default_factory=lambda: State(type=StateType.SCHEDULED))
    id: UUID = field(default_factory=uuid4)


class Server:
    """Prefect's, as far as it is asked."""

    def __init__(self):
        self.runs, self.pages, self.away, self.online = [], {}, False, ["gpu-1"]
        self.pool = SimpleNamespace(is_paused=False, concurrency_limit=None)

    def read_deployment_by_name(self, name):
        assert name == "pelt-worker/default"
        return SimpleNamespace(id="d", work_pool_name="gpu")

    def create_flow_run_from_deployment(self, deployment, *, parameters, name, tags, idempotency_key):
        if known := [run for run in self.runs if run.key == idempotency_key]:
            return known[0]
        self.runs.append(Run(name, idempotency_key, tags, parameters))
        if self.away:
            raise httpx.ConnectError("refused")
        return self.runs[-1]

    def read_flow_runs(self, flow_run_filter, limit=200):
        if self.away:
            raise httpx.ConnectError("refused")
        return [run for run in self.runs if run.id in flow_run_filter.id.any_]

    def read_flow_run(self, run_id):
        return next(run for run in self.runs if run.id == run_id)

    def set_flow_run_state(self, run_id, state, force=False):
        self.read_flow_run(run_id).state = state

    def read_work_pool(self, _name):
        return self.pool

    def read_workers_for_work_pool(self, pool, _filter):
        return [SimpleNamespace(name=name, status="ONLINE") for name in self.online]

    def create_artifact(self, made):
        self.pages["one"] = made
        return SimpleNamespace(id="one")

    def update_artifact(self, page, made):
        self.pages[page].data = made.data

    def ends(self, name, kind=StateType.FAILED, message="no GPU"):
        self.named(name).state = State(type=kind, message=message)

    def named(self, name):
        return next(run for run in self.runs if run.name.startswith(f"{name} of"))

    def states(self):
        return {run.name.partition(" ")[0]: run.state.type.value for run in self.runs}


class Crew:
    """`pelt_automl.execution.workers.Workers`, as far as it is asked."""

    address = "tls://127.0.0.1:40000"

    def __init__(self):
        self.here, self.proven, self.over, self.said, self.device = set(), set(), False, [], "cpu, 1 thread"

    def present(self):
        return set(self.here)

    def hopeless(self, why):
        self.said.append(why)

    def at_work(self):
        return [(name, self.device, "lora-0003, step 1 of 8") for name in sorted(self.here)]

    def joins(self, *names):
        self.here |= set(names)
        self.proven |= set(names)


@dataclass
class World:
    server: Server
    crew: Crew
    keeper: Keeper
    now: list

    def round(self, seconds=1.0):
        self.now[0] += seconds
        self.keeper._guarded(self.keeper.round, self.server)


@pytest.fixture
def world(monkeypatch):
    now, crew = [1000.0], Crew()
    monkeypatch.setattr(place_keeper, "time", SimpleNamespace(monotonic=lambda: now[0]))
    keeper = Keeper(crew, 2, "abcdef", "toy task", 3, logging.getLogger("run"), PARENT, "select-toy-k16-seed0")
    keeper.alone = now[0]
    return World(Server(), crew, keeper, now)


def test_so_many_are_asked_for_and_no_more_and_their_parameters_hold_no_secret(world):
    for _ in range(4):
        world.round()
    world.crew.joins("worker-1")
    world.round()
    assert [run.name for run in world.server.runs] == ["worker-1 of select-toy-k16-seed0", "worker-2 of select-toy-k16-seed0"]
    first = world.server.runs[0]
    assert first.parameters == {"address": Crew.address, "worker": "worker-1", "versions": identity()}
    assert first.tags == ["selection:abcdef", f"workers-of:{PARENT}"]
    assert first.key == f"{PARENT}-abcdef-3-worker-1", "another start of the selection asks for others"


def test_who_has_left_is_replaced_at_once_whatever_prefect_says_and_its_run_is_cancelled_then_closed(world):
    world.round()
    world.crew.joins("worker-1", "worker-2")
    for run in world.server.runs:
        run.state = State(type=StateType.RUNNING)
    world.round()
    world.crew.here -= {"worker-1"}
    world.round()
    assert list(world.server.states()) == ["worker-1", "worker-2", "worker-1.2"]
    assert world.server.states()["worker-1"] == "RUNNING", "it may say itself why"
    world.round(TO_LEAVE + 1)
    assert world.server.states()["worker-1"] == "CANCELLING"
    world.round(TO_END)
    assert world.server.states() == {"worker-1": "CRASHED", "worker-2": "RUNNING", "worker-1.2": "SCHEDULED"}
    world.round()
    assert not world.keeper.gone


def test_a_run_that_was_begun_and_never_joins_is_replaced_and_one_that_waits_for_a_place_is_not(world):
    world.round()
    world.server.named("worker-1").state = State(type=StateType.RUNNING)
    world.round()
    world.round(TO_JOIN + 1)
    world.round(PAUSE)
    assert list(world.server.states()) == ["worker-1", "worker-2", "worker-1.2"]
    world.round(TO_LEAVE + 1)
    assert world.server.states() == {"worker-1": "CANCELLING", "worker-2": "SCHEDULED", "worker-1.2": "SCHEDULED"}


def test_after_starts_that_failed_the_next_waits_longer_and_longer_since_what_is_wrong_may_pass(world):
    world.round()
    asked = []
    for _ in range(200):
        for place in world.keeper.places:
            if place.run:
                world.server.ends(place.name)
        world.round()
        asked.append(len(world.server.runs))
    assert asked[-1] == STARTS * 2
    pauses = [asked.count(number) for number in sorted(set(asked))[:-1]]
    assert pauses == sorted(pauses)
    assert pauses[0] >= PAUSE


def failing(world, rounds):
    for _ in range(rounds):
        for place in world.keeper.places:
            if place.run and place.name not in world.crew.here:
                world.server.ends(place.name, message="another worker has the GPU 0")
        world.round(PAUSE * STARTS * 2)


def test_workers_that_cannot_start_are_given_up_and_the_selection_hears_why_when_nobody_is_there(world):
    world.round()
    world.crew.joins("worker-2")
    world.round()
    failing(world, STARTS * 4 + 3)
    assert len(world.server.runs) == STARTS * 2 + 1, "so many in a row, for two places"
    assert world.crew.said == [], "the other goes on"
    world.crew.here.clear()
    failing(world, STARTS * 4 + 3)
    assert "ended before they could work (another worker has the GPU 0)" in world.crew.said[0]


def test_a_worker_that_was_ready_ends_the_row_of_failures(world):
    for _ in range(3 * STARTS):
        world.round()
        name = world.keeper.places[0].name
        world.server.ends(name)
        world.round()
        world.round(PAUSE * STARTS * 2)
        world.crew.joins(name := world.keeper.places[0].name)
        world.round()
        world.crew.here -= {name}
        world.round()
    assert world.keeper.vain < 2 * STARTS
    assert world.crew.said == []


def test_a_worker_that_joins_and_is_refused_counts_as_one_that_cannot_start(world):
    while not world.crew.said and len(world.server.runs) < 20:
        world.round()
        world.crew.here = {place.name for place in world.keeper.places}
        world.round()
        for place in world.keeper.places:
            world.server.ends(place.name, message="the selection has refused this worker: version 1, the selection has 2")
        world.crew.here = set()
        world.round()
        world.round(PAUSE * STARTS * 2)
    assert len(world.server.runs) == STARTS * 2
    assert "version 1, the selection has 2" in world.crew.said[0]


def test_a_server_that_is_away_is_warned_of_once_and_the_same_workers_are_asked_for_again(world, caplog):
    world.server.away = True
    for _ in range(3):
        world.round()
    assert [record.message for record in caplog.records] == [
        "Prefect's server can't be asked for workers now (ConnectError('refused')); those that are there go on."
    ]
    world.server.away = False
    world.round()
    assert list(world.server.states()) == ["worker-1", "worker-2"]


def test_the_log_says_that_it_waits_and_for_which_pool_and_when_nobody_works_there(world, caplog):
    caplog.set_level(logging.INFO, "run")
    world.round()
    world.round(WAITS + 1)
    assert "It waits for a worker: the pool 'gpu' has no free place" in caplog.messages
    world.round()
    assert len([text for text in caplog.messages if "waits" in text]) == 1
    world.server.online = []
    world.round(place_keeper.SAYS_AGAIN + 1)
    assert "nobody works on the pool 'gpu'. `GPU_WORKERS=2 make up` starts two" in caplog.messages[-1]


def test_one_that_is_being_started_is_not_waited_for_in_words(world, caplog):
    caplog.set_level(logging.INFO, "run")
    world.round()
    world.server.runs[0].state = State(type=StateType.RUNNING)
    world.round(WAITS + 1)
    assert not [text for text in caplog.messages if "waits" in text]


@pytest.mark.parametrize(("over", "of_joined"), [(True, "RUNNING"), (False, "CANCELLING")])
def test_at_the_end_what_never_came_is_cancelled_and_all_are_when_the_work_is_broken_off(world, over, of_joined):
    world.round()
    world.crew.joins("worker-1")
    world.server.named("worker-1").state = State(type=StateType.RUNNING)
    world.round()
    world.crew.over = over
    world.keeper.finish(world.server)
    assert world.server.states() == {"worker-1": of_joined, "worker-2": "CANCELLING"}
    assert json.loads(world.server.pages["one"].data) == [{"worker": "worker-1", "device": "cpu, 1 thread", "at": "has left"}]


def test_the_last_picture_of_a_worker_has_its_device_though_it_left_before_the_next(world):
    world.crew.here, world.crew.device = {"worker-1"}, ""
    world.round()
    world.crew.device = "cpu, 1 thread"
    world.round()
    world.crew.here = set()
    world.round(place_keeper.PAGE + 1)
    assert json.loads(world.server.pages["one"].data) == [{"worker": "worker-1", "device": "cpu, 1 thread", "at": "has left"}]


def test_the_selections_page_has_who_is_there_on_which_device_and_at_what(world):
    world.crew.joins("worker-1", "worker-2")
    world.round()
    page = world.server.pages["one"]
    assert (page.key, page.type, str(page.flow_run_id)) == ("workers-toy-task", "table", PARENT)
    assert json.loads(page.data)[1] == {"worker": "worker-2", "device": "cpu, 1 thread", "at": "lora-0003, step 1 of 8"}
    world.crew.here -= {"worker-1"}
    world.round(place_keeper.PAGE + 1)
    assert [row["at"] for row in json.loads(page.data)] == ["has left", "lora-0003, step 1 of 8"]


def test_a_deployment_that_was_deleted_is_said_and_one_that_is_there_again_is_used(world):
    asked, create = [], world.server.create_flow_run_from_deployment

    def gone(deployment, **_):
        asked.append(deployment)
        raise answer(404)

    world.server.create_flow_run_from_deployment = gone
    world.round()
    assert world.crew.said == ["pelt-worker/default was deleted, so that no worker can be started; `make up` deploys it"]
    world.server.read_deployment_by_name = lambda _name: SimpleNamespace(id="another", work_pool_name="gpu")
    world.round()
    assert asked == ["d", "another"]
    world.server.create_flow_run_from_deployment = create
    world.round()
    assert list(world.server.states()) == ["worker-1", "worker-2"]


@pytest.mark.parametrize(("status", "said"), [(409, ["Prefect's server starts no worker: wrong parameters"]), (503, []), (429, [])])
def test_what_the_server_will_never_accept_is_said_and_what_may_pass_is_tried_again(world, status, said):
    def refuse(*_, **__):
        raise answer(status, "wrong  parameters")

    create, world.server.create_flow_run_from_deployment = world.server.create_flow_run_from_deployment, refuse
    world.round()
    assert world.crew.said == said
    world.server.create_flow_run_from_deployment = create
    world.round()
    assert list(world.server.states()) == ["worker-1", "worker-2"]


def test_a_run_that_somebody_deletes_is_replaced(world):
    world.round()
    world.server.runs = [run for run in world.server.runs if not run.name.startswith("worker-1 ")]
    world.round()
    world.round(PAUSE + 1)
    assert list(world.server.states()) == ["worker-2", "worker-1.2"]


def test_nothing_is_given_up_while_one_waits_for_a_place(world):
    world.round()
    for _ in range(STARTS * 4):
        if world.keeper.places[0].run:
            world.server.ends(world.keeper.places[0].name)
        world.round(PAUSE * STARTS * 2)
    assert world.server.states()["worker-2"] == "SCHEDULED"
    assert world.crew.said == []


def test_a_run_that_cannot_be_changed_stops_no_replacement(world, caplog):
    def refuse(*_, **__):
        raise answer(409)

    world.round()
    world.crew.joins("worker-1", "worker-2")
    for run in world.server.runs:
        run.state = State(type=StateType.RUNNING)
    world.round()
    world.server.set_flow_run_state = refuse
    world.crew.here = {"worker-2"}
    world.round()
    world.round(TO_LEAVE + 1)
    world.crew.here = set()
    world.round()
    assert list(world.server.states()) == ["worker-1", "worker-2", "worker-1.2", "worker-2.2"]
    assert "can't be set to Cancelling" in caplog.text


def test_a_mistake_of_ours_is_not_blamed_on_the_server_and_told_once(world, caplog):
    world.crew.present = lambda: {}["nobody"]
    world.round()
    world.round()
    assert [(record.message, record.exc_info is not None) for record in caplog.records] == [("workers can't be cared for", True)]


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ({"is_paused": True, "concurrency_limit": None}, "the pool 'gpu' is paused; `prefect work-pool resume gpu`"),
        ({"is_paused": False, "concurrency_limit": 0}, "the limit of the pool 'gpu' is 0; `prefect work-pool clear-concurrency-limit gpu`"),
    ],
)
def test_a_pool_that_starts_nothing_is_said_with_what_to_do(world, caplog, pool, said):
    world.server.pool = SimpleNamespace(**pool)
    world.round()
    world.round(WAITS + 1)
    assert caplog.messages == [f"It waits for a worker: {said}"]


def test_a_line_of_a_library_is_no_reason_to_end_a_worker(caplog):
    caplog.set_level(logging.INFO, "run")
    page = pelt_worker.Page("worker-1", lambda: None, logging.getLogger("run"), None)
    for line in (b"12\n", b"[1]\n", b"a warning\n", b'{"doing": "trains"}\n'):
        page.tell(line)
    assert page.now == {"doing": "trains"}
    assert caplog.messages == ["12", "[1]", "a warning"]


# ------------------------------------------------------------ before anything is asked


@pytest.fixture
def certificates(tmp_path, monkeypatch):
    Certificates("a", "b", "c").write(tmp_path / "certificates")
    monkeypatch.setenv("PELT_AUTOML_CERTIFICATES", str(tmp_path / "certificates"))


def test_without_the_parameter_the_selection_trains_where_its_flow_runs():
    assert places.places_of(TrainingSettings()) is None


def test_workers_without_certificates_are_a_clear_error(monkeypatch):
    monkeypatch.delenv("PELT_AUTOML_CERTIFICATES", raising=False)
    with pytest.raises(SettingsError, match=r"PELT_AUTOML_CERTIFICATES isn't set where this flow runs\. `make up` sets it"):
        places.places_of(TrainingSettings(workers=2))


@pytest.mark.usefixtures("certificates")
def test_the_port_is_on_loopback_unless_an_address_is_named_that_others_can_find(monkeypatch):
    assert places.places_of(TrainingSettings(workers=2)).listen == "tls://127.0.0.1:0"
    monkeypatch.setenv("PELT_AUTOML_LISTEN", "tls://192.0.2.7:0")
    assert places.places_of(TrainingSettings(workers=2)).listen == "tls://192.0.2.7:0"
    assert places.places_of(TrainingSettings(workers=2, listen="tls://192.0.2.8:1")).listen == "tls://192.0.2.8:1"
    with pytest.raises(SettingsError, match=r"tls://0\.0\.0\.0:0 is no address that workers can find"):
        places.places_of(TrainingSettings(workers=2, listen="tls://0.0.0.0:0"))


@pytest.fixture
def asked(monkeypatch):
    """A server that is asked whether there are places, and who asks."""
    server = Server()

    class Client:
        def __enter__(self):
            return server

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(places, "get_client", lambda sync_client: Client())
    monkeypatch.setattr(places, "FOUND", 0.0)
    monkeypatch.setattr(places, "ROUND", 0.0)
    return server, places.places_of(TrainingSettings(workers=2))


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ("deployment", "pelt-worker/default isn't deployed, so that no worker can be started; `make up` deploys it"),
        ("pool", "there is no work pool 'gpu' for workers; `GPU_WORKERS=2 make up` makes it"),
        ("anybody", "nobody works on the pool 'gpu', so that no worker can be started. `GPU_WORKERS=2 make up` starts two"),
        ("leave", "Prefect's server can't be asked for workers: who are you?"),
    ],
)
@pytest.mark.usefixtures("certificates")
def test_what_is_missing_for_workers_is_said_with_what_to_do(asked, lacks, said):
    server, own = asked

    def missing(*_):
        raise ObjectNotFound(http_exc=None)

    def no_such_pool(*_):
        raise answer(404)

    def refuses(*_):
        raise answer(401, "who are you?")

    own.check()
    if lacks == "deployment":
        server.read_deployment_by_name = missing
    elif lacks == "pool":
        server.read_workers_for_work_pool = no_such_pool
    elif lacks == "leave":
        server.read_deployment_by_name = refuses
    else:
        server.online = []
    with pytest.raises(SettingsError) as raised:
        own.check()
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize("problem", [httpx.ConnectError("refused"), answer(500), answer(503)])
@pytest.mark.usefixtures("certificates")
def test_a_server_or_its_database_that_is_away_when_a_selection_begins_is_no_reason_not_to_begin(asked, problem, caplog):
    server, own = asked

    def away(*_):
        raise problem

    server.read_deployment_by_name = away
    own.check()
    assert "Prefect's server can't be asked for workers now" in caplog.text


# ------------------------------------------------------------ the worker's side


def child(program):
    """In place of `leashed.start`: a process that isn't a worker."""

    def start(address, name, certificates, errors, tells):
        assert isinstance(errors.name, int), "a file without a name is gone with this process, however that ends"
        return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)

    return start


@pytest.mark.usefixtures("certificates")
@pytest.mark.parametrize(
    ("program", "state", "message"),
    [
        ('print(\'{"device": "cpu"}\')', "COMPLETED", "the selection has ended"),
        ("import sys; print('error: the selection was stopped', file=sys.stderr); sys.exit(4)", "CANCELLED", "the selection was stopped"),
        ("import os; os.kill(os.getpid(), 9)", "FAILED", "worker-1 has ended: it was killed by SIGKILL, as a system short of memory does"),
        ("import sys; sys.exit('error: the selection is lost')", "FAILED", "worker-1 has ended: the selection is lost"),
    ],
)
def test_how_its_child_has_ended_is_how_a_worker_ends(monkeypatch, program, state, message):
    monkeypatch.setattr(pelt_worker.leashed, "start", child(program))
    monkeypatch.setattr(pelt_worker, "Page", lambda *_: SimpleNamespace(start=lambda: None, tell=lambda line: None, end=lambda: False))
    ended = pelt_worker.pelt_worker.fn(Crew.address, "worker-1", identity())
    assert (ended.type.value, ended.message) == (state, message)


@pytest.mark.usefixtures("certificates")
@pytest.mark.parametrize(
    ("parent", "state", "message"),
    [
        (StateType.COMPLETED, "COMPLETED", "the selection's flow run had ended (Completed) before this worker had a place"),
        (StateType.CANCELLED, "CANCELLED", "the selection's flow run had ended (Cancelled) before this worker had a place"),
        (StateType.CRASHED, "CANCELLED", "the selection's flow run had ended (Crashed) before this worker had a place"),
        (404, "CANCELLED", "the flow run of its selection was deleted before this worker had a place"),
        (503, "COMPLETED", "the selection has ended"),
        (StateType.RUNNING, "COMPLETED", "the selection has ended"),
    ],
)
def test_a_worker_that_begins_late_asks_whether_anybody_waits_for_it_before_it_starts_a_process(monkeypatch, parent, state, message):
    asked, started = [], []

    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read_flow_run(self, run_id):
            asked.append(str(run_id))
            if isinstance(parent, int):
                raise answer(parent)
            return SimpleNamespace(state=State(type=parent))

    run = SimpleNamespace(id=None, name="", tags=["selection:abc", f"workers-of:{PARENT}"])
    monkeypatch.setattr(pelt_worker, "flow_run", run)
    monkeypatch.setattr(pelt_worker, "get_client", lambda sync_client: Client())
    monkeypatch.setattr(pelt_worker, "Page", lambda *_: SimpleNamespace(start=lambda: None, tell=lambda line: None, end=lambda: False))
    begin = child("")
    monkeypatch.setattr(pelt_worker.leashed, "start", lambda *given, **named: started.append(1) or begin(*given, **named))
    ended = pelt_worker.pelt_worker.fn(Crew.address, "worker-1", identity())
    assert (ended.type.value, ended.message) == (state, message)
    assert asked == [PARENT]
    assert bool(started) == (parent in (503, StateType.RUNNING))


def test_a_worker_of_another_version_starts_nothing_and_names_both(monkeypatch):
    monkeypatch.setattr(pelt_worker.leashed, "start", lambda *_, **__: pytest.fail("started"))
    ended = pelt_worker.pelt_worker.fn(Crew.address, "worker-1", identity() | {"version": "9.9"})
    assert ended.type.value == "FAILED"
    assert f"version {identity()['version']}, the selection has 9.9" in ended.message


def test_a_page_that_cannot_be_shown_ends_no_work_and_a_cancelled_run_ends_its_child(monkeypatch, caplog):
    monkeypatch.setattr(pelt_worker, "LOOKS", 0.01)
    killed, states = [], [State(type=StateType.CANCELLING)]

    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def create_artifact(self, made):
            raise httpx.ConnectError("refused")

        def read_flow_run(self, run_id):
            return SimpleNamespace(state=states[0])

    monkeypatch.setattr(pelt_worker, "get_client", lambda sync_client: Client())
    caplog.set_level(logging.INFO)
    page = pelt_worker.Page("worker-1", lambda: killed.append(1), logging.getLogger("run"), uuid4())
    page.tell(b'{"device": "cpu, 1 thread", "doing": "lora-0001, step 1 of 8", "done": 0.125}\n')
    page.tell(b"no JSON\n")
    page.start()
    assert page.end()
    assert killed
    assert "worker-1 works on: cpu, 1 thread" in caplog.messages
    assert "no JSON" in caplog.messages


# ------------------------------------------------------------ after a crash


def test_make_down_promises_of_no_worker_that_it_is_resumed(monkeypatch):
    runs = [SimpleNamespace(id=name, name=name, flow_id=name, state_name="Running") for name in ("select-pelt", "pelt-worker")]
    monkeypatch.setattr(stack_side, "at_work", lambda client: [])
    monkeypatch.setattr(stack_side, "close_dead", lambda client, **_: runs)
    client = SimpleNamespace(read_flow=lambda flow_id: SimpleNamespace(name=flow_id))
    assert [(fact["closed"], fact["resumed"]) for fact in stack_side.close(client)] == [("select-pelt", True), ("pelt-worker", False)]


def test_the_workers_of_a_selection_that_was_killed_are_not_started_again_and_those_that_wait_are_cancelled():
    assert "pelt-worker" not in dead_runs.RESUMABLE
    waiting, states = SimpleNamespace(id=uuid4()), {}
    asked = []

    def find(flow_run_filter, limit):
        asked.append(flow_run_filter)
        return [waiting]

    client = SimpleNamespace(
        read_flow=lambda flow_id: SimpleNamespace(name="select-pelt"),
        set_flow_run_state=lambda run_id, state, force=False: states.update({run_id: (state.type.value, state.name)}),
        read_task_runs=lambda **_: [],
        read_flow_runs=find,
    )
    run = SimpleNamespace(id=uuid4(), state_type=StateType.RUNNING, flow_id="f")
    dead_runs.close_run(client, run, stopped=False)
    assert states == {run.id: ("CRASHED", "Interrupted"), waiting.id: ("CANCELLING", "Cancelling")}
    assert asked[0].tags.all_ == [f"workers-of:{run.id}"]
    assert {kind.value for kind in asked[0].state.type.any_} == {"SCHEDULED", "PENDING"}
