"""A short limit must not recommend nonsense: cheap methods first, what fits is begun, what is best is confirmed, time is used."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

import pelt_automl
from pelt_automl.log.events import LACK_OF_TIME, Because, CurvePoint, Decision, FinalistScored, Segment, Stage
from pelt_automl.log.outputs import Outputs
from pelt_automl.methods import METHODS as DEFAULTS
from pelt_automl.scheduling import search as policy
from pelt_automl.scheduling.finals import Finals, finalist_seeds
from pelt_automl.selection import Selection, search_phase, settings_from
from pelt_automl.selection.question import plans_of
from pelt_automl.timing.clock import Clock
from pelt_automl.timing.pack_speed import PackSpeed
from pelt_automl.verdict.outcome import never_compared
from tests.tiny_world import of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")

METHODS = ["full", "lora", "head", "adapter", "bitfit"]


class FakeTime:
    """A clock that moves only when it is told to."""

    def __init__(self, limit):
        self.now, self.limit = 0.0, limit

    def clock(self):
        return Clock(self.limit, now=lambda: self.now)


@pytest.fixture
def prepared(world, tmp_path, monkeypatch):
    """A function that prepares a selection whose speed is as said; its clock stands still from then on."""
    opened = []

    def prepare(limit, step=0.1, **options):
        monkeypatch.setattr("pelt_automl.selection.selection.pack_speed", lambda *_: (PackSpeed({1: step}, 0.0001, 1.0), "measured"))
        selection = Selection.open(settings_from(**world.options(seconds=limit, **options)), tmp_path / f"out{len(opened)}")
        opened.append(selection)
        selection.prepare()
        time = FakeTime(limit)
        selection.clock = time.clock()
        return selection, time

    yield prepare
    for selection in opened:
        selection.close()


def test_methods_begin_with_the_cheap_ones_and_the_dear_reference_comes_last(prepared):
    opened, _ = prepared(1000, methods=METHODS)
    assert list(search_phase.scheduler(opened.question, opened.machine, opened.log, opened.inherited).methods) == [
        "head",
        "lora",
        "adapter",
        "bitfit",
        "full",
    ]


@pytest.mark.slow
def test_methods_that_the_time_never_reached_are_recorded_and_named_in_the_verdict(world, tmp_path, monkeypatch):
    monkeypatch.setattr(policy._Turn, "_affordable", lambda self, methods: [m for m in methods if m in ("head", "lora")])
    found = pelt_automl.select(output=tmp_path / "out", **world.options(seconds=60, methods=METHODS, trials=1, epochs=3))
    decided = [d for d in of(records_of(tmp_path / "out"), Decision) if d.what == "not begun"]
    assert [d.subject for d in decided] == ["adapter", "bitfit", "full"]
    assert all(d.what in LACK_OF_TIME for d in decided)
    assert "Never compared, for lack of time: full, adapter and bitfit. About " in found.statement


def of_search(opened, name, method):
    plan, seeds = plans_of(opened.question, opened.log.history).search, finalist_seeds("q", 0)
    return Segment(name, name, method, DEFAULTS[method].defaults, Stage.SEARCH, 0, True, seeds, plan.steps, 0, plan.steps)


def test_a_training_that_got_no_further_than_its_untouched_start_has_no_score(prepared):
    """The probe that all heads start from says nothing of a method: neither compared nor confirmed by it."""
    opened, _ = prepared(1000, methods=["head", "lora"], trials=1, epochs=4, head_start="probe")
    segment, plans = of_search(opened, "lora-0000", "lora"), plans_of(opened.question, opened.log.history)
    run = opened.machine.run("lora-0000", "lora", DEFAULTS["lora"].defaults, segment.seeds, plans.search)
    run.progress.curve, run.progress.best_score = (CurvePoint(0, None, 0.9, 0.0, 0.0),), 0.9
    run.end("stopped", Because.TIME)
    ended = opened.machine.ended(Outputs(), segment, run)
    assert (ended.state, ended.cause, ended.select_score) == ("stopped", "time limit", None)
    final = opened.machine.ended(Outputs(), replace(segment, stage=Stage.FINALIST), run)
    assert (final.state, final.cause) == ("failed", "time limit")
    opened.log.append(ended)
    assert set(never_compared(opened.log.history)) == {"head", "lora"}


@pytest.mark.slow
def test_a_contender_left_out_for_lack_of_time_joins_the_finals_before_the_leader_has_a_second_seed(world, tmp_path, monkeypatch):
    monkeypatch.setattr(Finals, "affordable", lambda *_: 1)
    options = world.options(seconds=100, methods=["lora", "head"], trials=1, epochs=3, finalist_seeds=2, most_seeds=2)
    found = pelt_automl.select(output=tmp_path / "out", **options)
    events = records_of(tmp_path / "out")
    leader, other = (scored.candidate for scored in of(events, FinalistScored)[:2])
    assert {leader, other} == {"lora-0000", "head-0000"}
    assert [(scored.candidate, scored.seed_index) for scored in of(events, FinalistScored)[:2]] == [(leader, 0), (other, 0)]
    assert len(found.leaderboard) == 2
    assert {len(row.seed_scores) for row in found.leaderboard} == {2}
    assert len([d for d in of(events, Decision) if d.what == "finalist" and d.subject == other]) == 1
    assert not [d for d in of(events, Decision) if d.what in LACK_OF_TIME and d.subject in (leader, other)]


@pytest.mark.parametrize(
    ("causes", "advice"),
    [
        (["time limit", ""], "Give it more time"),
        (["OutOfMemoryError: tried to allocate"], "Use a smaller --batch-size or --max-length"),
        (["RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory"], "Use a smaller --batch-size or --max-length"),
        (["TypeError: no such thing", "time limit"], "More time won't help"),
        (["FileNotFoundError: /data/memory-notes/x.json"], "More time won't help"),
    ],
)
def test_advice_fits_its_cause(prepared, causes, advice):
    opened, _ = prepared(1000, methods=["lora"])
    trials = [SimpleNamespace(cause=cause) for cause in causes]
    assert search_phase._advice(opened.log.history, trials).startswith(advice)
