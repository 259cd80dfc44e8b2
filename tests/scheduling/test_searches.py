"""Whole searches without a model, drawn by hypothesis: what must hold whatever fails, in whatever order, and wherever it is killed."""

from collections import Counter
from dataclasses import dataclass, field
from zlib import crc32

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pelt_automl.log.events import Because, Decision, Released, SegmentEnded, Stopped, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.drive import drive
from tests.scheduling.world import STEPS, FakeLog, FakePacks, KilledError, said, scheduler

quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Search:
    """One search as it was drawn, with every question that was asked of its scheduler."""

    methods: list
    options: dict
    at_once: int
    limit: float | None
    seed: int
    failing: int
    """Of a hundred trials."""
    kills: list
    log: FakeLog = field(default_factory=FakeLog)
    questions: list = field(default_factory=list)
    """Events that there were, room, budget, and the answer."""
    elapsed: float = 0.0

    def scheduler(self):
        return scheduler(*self.methods, **self.options)

    def score(self, segment, step):
        chance = crc32(f"{self.seed} {segment.trial}".encode()) % 10_000
        if chance % 100 < self.failing and step > chance % STEPS:
            return None
        best = 0.4 + 0.5 * (chance / 10_000) - (0.3 if segment.method == self.methods[-1] and chance % 3 else 0)
        return best * (1 - 0.5 ** (step / 10))

    def run(self):
        for last in [*self.kills, 10**9]:
            self.log.last = max(last, self.log.last) if last == 10**9 else len(self.log.history.events) + last
            packs = FakePacks(self.log, self.score, self.at_once, now=self.elapsed)
            try:
                drive(Watched(self), packs, self.log, lambda packs=packs: Budget(self.limit, packs.now))
                return self
            except KilledError:
                self.elapsed = packs.now
        raise AssertionError("it was killed more often than drawn")


@dataclass
class Watched:
    """A scheduler that is a new one each time that it is asked."""

    search: Search

    def actions(self, history, room, budget):
        answer = self.search.scheduler().actions(history, room, budget)
        self.search.questions.append((len(history.events), room, budget, said(answer)))
        assert len(self.search.questions) < 5000, "it doesn't end"
        return answer

    def deadline(self, history, room, budget):
        return self.search.scheduler().deadline(history, room, budget)


METHODS = ("lora", "prompt", "adapter", "full", "bitfit", "head")
searches = st.builds(
    Search,
    methods=st.lists(st.sampled_from(METHODS), min_size=1, max_size=5, unique=True),
    options=st.fixed_dictionaries(
        {
            "trials": st.integers(1, 9),
            "known": st.integers(1, 6),
            "race": st.booleans(),
            "refused": st.frozensets(st.integers(0, 8), max_size=3),
            "promoted": st.sampled_from([0.2, 0.34, 0.7]),
            "most": st.dictionaries(st.sampled_from(METHODS), st.integers(0, 6), max_size=2),
        }
    ),
    at_once=st.integers(1, 6),
    limit=st.one_of(st.none(), st.floats(20, 6000)),
    seed=st.integers(0, 10**6),
    failing=st.sampled_from([0, 10, 50]),
    kills=st.lists(st.integers(1, 40), max_size=4),
)


@quick
@given(searches)
def test_everything_that_begins_ends_once_and_nothing_is_released_twice(search):
    history = search.run().log.history
    ended = Counter(event.trial for event in history.of_kind(TrialEnded))
    assert set(ended) == set(history.trials)
    assert set(ended.values()) <= {1}
    parts = Counter((e.segment.trial, e.segment.start, e.segment.end) for e in history.of_kind(Released) if e.because != Because.NEAR_END)
    assert set(parts.values()) <= {1}
    near = Counter(event.segment.trial for event in history.of_kind(Released) if event.because == Because.NEAR_END)
    assert set(near.values()) <= {1}, "it is said once of an open segment that it isn't stopped"
    reached = Counter((event.trial, event.reached) for event in history.of_kind(SegmentEnded))
    assert set(reached.values()) <= {1}
    stops = Counter(event.trial for event in history.of_kind(Stopped))
    assert set(stops.values()) <= {1}
    notes = Counter((event.what, event.subject) for event in history.of_kind(Decision))
    assert set(notes.values()) <= {1}


@quick
@given(searches)
def test_the_same_log_gives_the_same_actions_at_every_point(search):
    events = search.run().log.history.events
    history, at = History(), 0
    for length, room, budget, answer in search.questions:
        for event in events[at:length]:
            history.apply(event)
        if length < at:  # asked again after a kill, when less was logged than was decided
            history = History.of(events[:length])
        at = length
        assert said(search.scheduler().actions(history, room, budget)) == answer


@quick
@given(searches)
def test_no_method_is_asked_while_another_that_is_open_has_two_fewer_and_none_gets_more_than_its_share(search):
    history, asked, open_methods = search.run().log.history, Counter(), set(search.methods)
    for event in history.events:
        if isinstance(event, Decision) and event.what in ("left the race", "nothing left to try"):
            open_methods.discard(event.subject)
        if isinstance(event, Released) and event.because == Because.FIRST:
            method = event.segment.method
            wanted = [other for other in open_methods if asked[other] < search.options["trials"]]
            if search.limit is None:
                assert asked[method] < min((asked[other] for other in wanted), default=asked[method]) + 2
            asked[method] += 1
    freed = sum(max(0, search.options["trials"] - asked[method]) for method in search.methods if method not in open_methods)
    for method in open_methods:
        assert asked[method] <= search.options["trials"] + freed
    if search.limit is None and open_methods:
        assert all(asked[method] >= search.options["trials"] for method in open_methods), "without a limit all are tried"


@quick
@given(searches)
def test_the_time_is_kept_and_what_ends_for_it_had_none_left(search):
    history = search.run().log.history
    if search.limit is None:
        assert not [event for event in history.events if getattr(event, "because", None) in (Because.TIME, Because.NEAR_END)]
        return
    slack = search.at_once * 10 + 1  # to the next evaluation, in whose middle the clock may run out
    assert search.questions[-1][2].elapsed <= 0.85 * search.limit + slack
    for event in history.of_kind(Stopped):
        if event.because == Because.TIME:
            assert event.numbers["seconds_left"] <= search.limit / 2
    begun = [event for event in history.of_kind(Released) if event.because == Because.FIRST]
    closing = [place for place, event in enumerate(history.events) if getattr(event, "because", None) in (Because.TIME, Because.NEAR_END)]
    if closing:
        assert all(history.events.index(event) < closing[0] for event in begun), "nothing begins once the time was up"


@quick
@given(searches)
def test_defaults_are_trained_to_their_ends_unless_they_fail_or_the_time_is_up_or_their_method_is_out(search):
    for trial in search.run().log.history.trials.values():
        if trial.segment.is_default and trial.ended.state == "stopped":
            assert trial.stopped.because in (Because.TIME, Because.METHOD_OUT)


@quick
@given(searches)
def test_without_kills_no_step_is_taken_twice(search):
    search.kills = []
    packs = FakePacks(search.log, search.score, search.at_once)
    drive(Watched(search), packs, search.log, lambda: Budget(search.limit, packs.now))
    assert {name: trial.ended.steps for name, trial in search.log.history.trials.items() if trial.ended.steps} == dict(packs.taken)


def test_a_large_search_with_kills_is_drawn_with_200_events_and_more():
    search = Search(list(METHODS), {"trials": 9, "race": True}, 4, None, 3, 10, [30, 40, 50]).run()
    assert len(search.log.history.events) > 200
    assert {event.cause.partition(" ")[0] for event in search.log.history.of_kind(TrialEnded)} >= {"", "as", "not"}
