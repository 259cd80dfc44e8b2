"""The rules of the finals, without a model: what is trained, fitted, scored and noted, in which order, and in how much time."""

from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pelt_automl.log.events import (
    Because,
    CurvePoint,
    Decision,
    FinalistScored,
    Released,
    ReportOpened,
    Seeds,
    Stage,
    StateLost,
    TrialEnded,
    UnionPruned,
    What,
)
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.scheduling.actions import Budget, Finish, Fit, Note, Room, Score, Stop, TakeOver, Train
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.finals import Finals, finalist_seeds
from pelt_automl.settings import SearchSettings
from pelt_automl.verdict.another_seed import Outlook

TRAINING, CLOSING = 10.0, 20.0
"""Seconds of a finalist's training, and of what comes after everything."""


@dataclass(frozen=True)
class FakeCosts:
    """A training takes 10 s, an example 10 ms."""

    training: float = TRAINING
    rest: float = CLOSING
    least_scored: int = 100
    writing: float = 4.0
    shown: float = 0.05
    """Seconds of an example when runs were scored."""

    def finalist(self, history, method):
        return self.training

    def example(self, history):
        return 0.01

    def scored(self, history):
        return self.shown

    def closing(self, history, limit, runs=0, report_examples=0):
        return self.rest + 0.01 * runs * report_examples


def searched(method, score, number=0, fitted=False):
    steps = 0 if fitted else 20
    return TrialEnded(
        f"{method}-{number:04d}", f"{method}-{number:04d}", method, "search", number, "completed", number == 0, {"learning_rate": 0.1},
        Seeds(0, 0, 0), {"kept": 9}, [CurvePoint(steps, None, score, 0.0, 1.0)], score, steps, 1.0,
    )  # fmt: skip


ENOUGH = Outlook("enough")


def finals(outlook=ENOUGH, least=2, most=4, costs=None, taken=None):
    asked_for = SearchSettings(finalist_seeds=least, most_seeds=most)
    asked = outlook if callable(outlook) else lambda _: outlook
    return Finals(partial(finalist_seeds, "q"), asked_for, 20, 1000, True, 0.05, costs or FakeCosts(), asked, taken)


@dataclass
class Laboratory:
    """Trains one after the other, and fits and scores at once; its clock stands still otherwise."""

    log: Log
    training: float = TRAINING
    now: float = 0.0
    waiting: list = field(default_factory=list)
    stopped: list = field(default_factory=list)
    failing: frozenset = frozenset()
    devices: int = 1

    def room(self):
        return Room(1, devices=self.devices)

    def running(self):
        return self.waiting

    def start(self, actions):
        for action in actions:
            match action:
                case Train():
                    self.waiting.append(action.segment)
                case Stop():
                    one = self.log.history.trials[action.trial].segment  # after a kill it isn't among those that wait
                    self.waiting = [segment for segment in self.waiting if segment != one]
                    self.stopped.append(self._end(one, "failed", "time limit"))
                case Fit():
                    name = f"{action.method}-0000"
                    ended = searched(action.method, 0.7, fitted=True)
                    more = {"trial": f"final-{name}-seed{action.index}", "stage": Stage.FINALIST, "number": action.index}
                    self.log.append(TrialEnded(**{**vars(ended), **more, "seeds": action.seeds}))
                case TakeOver(run=run):
                    self.log.append(replace(run, state="failed") if run.trial in self.failing else run)
                case Score():
                    openings = self.log.history.of_kind(ReportOpened)
                    if not openings or openings[-1].examples != action.examples:
                        self.log.append(ReportOpened(len(openings) + 1, action.examples, 1000, "[]"))
                    for name in action.trials:
                        run = self.log.history.trials[name].ended
                        self.log.append(FinalistScored(name, run.candidate, run.method, run.number, 0.5, "[]"))

    def wait(self, expired):
        ended, self.stopped = self.stopped, []
        if not ended and self.waiting and not expired():
            one = self.waiting.pop(0)
            self.now += self.training
            ended = [self._end(one, "failed" if one.trial in self.failing else "completed")]
        return ended

    def stop(self):
        self.waiting = []

    def _end(self, of, state, cause=""):
        return TrialEnded(
            of.trial, of.candidate, of.method, of.stage, of.number, state, of.is_default, of.hyper_parameters, of.seeds, {"kept": 9}, [],
            0.5, 20, self.training, cause=cause,
        )  # fmt: skip


THREE = [searched("lora", 0.9), searched("adapter", 0.8), searched("head", 0.7)]


def run(policy, events=THREE, limit=None, **laboratory):
    log = Log(list(events))
    own = Laboratory(log, **laboratory)
    drive(policy, own, log, lambda: Budget(limit, own.now), Stage.FINALIST)
    return log.history


def story(history):
    """The finals in words: ``L0`` for LoRA's training on seed 0, ``score``, ``fit probe 1``, decisions."""
    found = []
    for event in history.events:
        match event:
            case Released(segment=segment):
                found.append(f"{segment.method[0].upper()}{segment.number}")
            case TrialEnded(stage=Stage.FINALIST, steps=0):
                found.append(f"fit {event.method} {event.number}")
            case FinalistScored():
                found.append(f"score {event.trial.removeprefix('final-')}")
            case Decision():
                found.append(f"{event.what}: {event.subject}")
    return found


def rounds(history):
    """The trainings of each round: what was released before the next thing happened."""
    found, last = [], None
    for event in history.events:
        if isinstance(event, Released):
            name = f"{event.segment.method[0].upper()}{event.segment.number}"
            found = [*found[:-1], f"{found[-1]} {name}"] if isinstance(last, Released) else [*found, name]
        last = event
    return found


# ------------------------------------------------------------ the search's own trainings

SEARCHED = Seeds(0, 0, 0)
OF_ONE_METHOD = [searched("lora", 0.6), searched("lora", 0.9, 1), searched("adapter", 0.8), searched("head", 0.7)]


@pytest.mark.parametrize("limit", [1.0, 20.5, 27.0])
def test_without_time_for_fresh_seeds_the_best_trainings_of_two_methods_are_scored_as_they_are(limit):
    history = run(finals(taken=SEARCHED), OF_ONE_METHOD, limit=limit)
    names = ["final-lora-0001-seed0", "final-adapter-0000-seed0"]
    assert [scored.trial for scored in history.scored] == names, "LoRA's default isn't its best, and has no weights any more"
    assert not history.of_kind(Released)
    taken = [history.trials[name].ended for name in names]
    assert [(own.stage, own.number, own.seeds, own.select_score, own.seconds) for own in taken] == [
        (Stage.FINALIST, 0, SEARCHED, score, 1.0) for score in (0.9, 0.8)
    ]
    assert list(history.decided(What.NO_TIME_FOR_SEED)) == ["seed 1"]
    assert list(history.decided(What.NO_TIME_FOR_FINALIST)) == ["head-0000"]


@pytest.mark.parametrize(("shown", "looks"), [(0.001, [400, 1000]), (0.03, [400, 533]), (0.05, [400])])
@pytest.mark.parametrize("taken", [SEARCHED, None])
def test_more_of_report_is_scored_once_where_scoring_took_less_than_was_thought(shown, looks, taken):
    """400 examples of two runs are 8 s of the 10 s that are left: 80 % of them. The Laboratory's clock doesn't move when it scores."""
    policy = finals(taken=taken, least=1, most=1, costs=FakeCosts(rest=4.0, shown=shown))
    history = run(policy, THREE[:2], limit=14.0 if taken else 34.0)
    assert [(opened.openings, opened.examples) for opened in history.of_kind(ReportOpened)] == list(enumerate(looks, 1))
    assert {scored.method for scored in history.scored} == {"lora", "adapter"}
    assert len(history.of_kind(FinalistScored)) == 2 * len(looks)


def test_the_least_of_report_that_time_is_kept_for_comes_before_evidence_and_costs_in_the_second_look_too():
    policy = finals(taken=SEARCHED, least=1, most=1, costs=FakeCosts(rest=1000.0, least_scored=500, shown=0.001))
    history = run(policy, THREE[:2], limit=10.0)
    assert [opened.examples for opened in history.of_kind(ReportOpened)] == [250, 500]


def test_a_kill_in_a_second_look_changes_nothing():
    policy = finals(taken=SEARCHED, least=1, most=1, costs=FakeCosts(rest=4.0, shown=0.001))
    whole = run(policy, THREE[:2], limit=14.0)
    for number in range(len(THREE[:2]), len(whole.events)):
        again = run(policy, whole.events[:number], limit=14.0)
        assert [opened.examples for opened in again.of_kind(ReportOpened)] == [400, 1000]
        assert [scored.trial for scored in again.scored] == [scored.trial for scored in whole.scored]


def test_time_that_is_left_goes_into_fresh_seeds_and_baselines_are_fitted_on_the_same_ones():
    probe = searched("probe", 0.6, fitted=True)
    history = run(finals(taken=SEARCHED, least=2), [*THREE[:2], probe], limit=100.0)
    assert rounds(history) == ["L1 A1"]
    fitted = {trial.number: trial.seeds for trial in history.ended(Stage.FINALIST) if trial.method == "probe"}
    assert fitted == {0: SEARCHED, 1: finalist_seeds("q", 1)}
    assert {scored.seed_index for scored in history.scored} == {0, 1}


def test_one_whose_weights_are_gone_has_failed_and_the_other_is_scored():
    history = run(finals(taken=SEARCHED), THREE[:2], limit=25.0, failing=frozenset({"final-lora-0000-seed0"}))
    assert [scored.candidate for scored in history.scored] == ["adapter-0000"]


@pytest.mark.parametrize("least", [1, 2])
def test_without_any_weights_there_is_nothing_to_compare_and_baselines_are_scored_alone(least):
    gone = frozenset({"final-lora-0000-seed0", "final-adapter-0000-seed0"})
    history = run(finals(taken=SEARCHED, least=least), [*THREE[:2], searched("probe", 0.6, fitted=True)], limit=25.0, failing=gone)
    assert {scored.candidate for scored in history.scored} == {"probe-0000"}
    assert not history.of_kind(Released)


def test_a_kill_while_trainings_are_taken_over_changes_nothing():
    whole = run(finals(taken=SEARCHED), OF_ONE_METHOD, limit=25.0)
    for number in range(len(OF_ONE_METHOD), len(whole.events)):
        again = run(finals(taken=SEARCHED), whole.events[:number], limit=25.0)
        assert [scored.trial for scored in again.scored] == [scored.trial for scored in whole.scored]
        assert list(again.trials) == list(whole.trials)


# ------------------------------------------------------------ without a limit


def test_all_are_chosen_trained_on_the_least_seeds_together_then_scored_once():
    history = run(finals())
    assert list(history.decided(What.FINALIST)) == ["lora-0000", "adapter-0000", "head-0000"]
    assert rounds(history) == ["L0 A0 H0 L1 A1 H1"]
    assert [scored.seed_index for scored in history.scored] == [0, 0, 0, 1, 1, 1]
    assert history.opened.examples == 1000
    assert history.decided(What.ENOUGH_SEEDS)["finalists"].why == "enough"


def test_seeds_are_paired_over_the_finalists_and_those_of_the_question():
    history = run(finals())
    of = {}
    for event in history.of_kind(Released):
        of.setdefault(event.segment.number, set()).add(event.segment.seeds)
    assert of == {index: {finalist_seeds("q", index)} for index in (0, 1)}


def a_pair(*methods, behind=()):
    return Outlook("", tuple(f"{method}-0000" for method in behind), pair=tuple(f"{method}-0000" for method in methods))


L_A, L_H, A_H = a_pair("lora", "adapter"), a_pair("lora", "head"), a_pair("adapter", "head")


@pytest.mark.parametrize(
    ("outlooks", "expected"),
    [
        pytest.param([L_A, ENOUGH], ["L2 A2"], id="the pair alone"),
        pytest.param([L_A, L_A, ENOUGH], ["L2 A2", "L3 A3"], id="seed by seed"),
        pytest.param([L_A, L_H, ENOUGH], ["L2 A2", "H2"], id="a challenger with fewer seeds catches up"),
        pytest.param([L_A, L_H, L_H, ENOUGH], ["L2 A2", "H2", "L3 H3"], id="then both again"),
        pytest.param([L_A, A_H, ENOUGH], ["L2 A2", "H2"], id="another best"),
        pytest.param([a_pair("lora", "adapter", behind=["head"]), ENOUGH], ["L2 A2"], id="one is behind"),
        pytest.param([a_pair("lora", "probe"), ENOUGH], ["L2"], id="a fitted challenger"),
        pytest.param([a_pair("probe", "adapter"), ENOUGH], ["A2"], id="a fitted best"),
    ],
)
def test_further_seeds_are_for_the_best_and_its_challenger(outlooks, expected):
    asked = []

    def outlook(history):
        asked.append(len(history.scored))
        return outlooks[len(asked) - 1]

    history = run(finals(outlook, most=6), [*THREE, searched("probe", 0.6, fitted=True)])
    assert rounds(history) == ["L0 A0 H0 L1 A1 H1", *expected]
    assert len(asked) == len(outlooks), "once a round"
    trained = {(run.candidate, run.number) for run in history.finals()}
    assert {(scored.candidate, scored.seed_index) for scored in history.scored} == trained
    assert {run.number for run in history.finals() if run.method == "probe"} == {number for _, number in trained}


@pytest.mark.parametrize(
    ("devices", "pair", "expected"),
    [
        (1, L_A, ["L2 A2", "L3 A3", "L4 A4", "L5 A5"]),
        (3, L_A, ["L2 A2", "L3 A3", "L4 A4", "L5 A5"]),
        (4, L_A, ["L2 A2 L3 A3", "L4 A4 L5 A5"]),
        (7, L_A, ["L2 A2 L3 A3 L4 A4", "L5 A5"]),
        (100, L_A, ["L2 A2 L3 A3 L4 A4 L5 A5"]),
        (3, a_pair("lora", "probe"), ["L2 L3 L4", "L5"]),
    ],
)
def test_several_devices_train_as_many_further_seeds_at_the_same_time_as_they_can(devices, pair, expected):
    history = run(finals(pair, most=6), [*THREE, searched("probe", 0.6, fitted=True)], devices=devices)
    assert rounds(history)[1:] == expected


def test_several_devices_train_no_more_seeds_at_the_same_time_than_there_is_time_for():
    policy = finals(L_A, most=10)
    free, limit = run(policy, devices=16), 60 + CLOSING + 85.0  # the least seeds, what is kept, and two more seeds with their scoring
    assert [len(own.split()) for own in rounds(free)[1:]] == [16]
    timed = run(policy, limit=limit, devices=16)
    assert rounds(timed)[1:] == ["L2 A2 L3 A3", "L4 A4"]
    assert timed.decided(What.NO_TIME_FOR_SEED)


def test_several_devices_begin_with_the_longest_trainings():
    class Uneven(FakeCosts):
        def finalist(self, history, method):
            return {"head": 30.0, "adapter": 20.0}.get(method, 10.0)

    assert rounds(run(finals(costs=Uneven()), devices=2)) == ["H0 H1 A0 A1 L0 L1"]
    assert rounds(run(finals(costs=Uneven()))) == ["L0 A0 H0 L1 A1 H1"]


def test_there_are_never_more_than_the_most_and_that_is_said():
    history = run(finals(L_A))
    assert rounds(history)[1:] == ["L2 A2", "L3 A3"]
    (said,) = history.decided(What.ENOUGH_SEEDS).values()
    assert said.why == "the best and its challenger were trained on 4 seeds, the most that are allowed"


def test_who_is_behind_says_so_once():
    history = run(finals(a_pair("lora", "adapter", behind=["head"])))
    assert rounds(history)[1:] == ["L2 A2", "L3 A3"]
    assert [decision.subject for decision in history.of_kind(Decision) if decision.what == What.LEFT_FINALS] == ["head-0000"]


def test_a_failed_run_takes_its_finalist_out_of_nothing_else():
    history = run(finals(), failing=frozenset(["final-head-0000-seed0"]))
    assert {scored.trial for scored in history.scored} == {
        f"final-{name}-0000-seed{index}" for name in ("lora", "adapter", "head") for index in (0, 1)
    } - {"final-head-0000-seed0"}


def test_baselines_are_fitted_on_the_seeds_that_others_are_trained_on():
    history = run(finals(), [*THREE, searched("probe", 0.6, fitted=True)])
    assert story(history).count("fit probe 0") == story(history).count("fit probe 1") == 1
    assert "probe-0000" not in history.decided(What.FINALIST)
    assert {scored.trial for scored in history.scored if scored.method == "probe"} == {"final-probe-0000-seed0", "final-probe-0000-seed1"}
    seeds = {run.number: run.seeds for run in history.finals() if run.method == "lora"}
    assert {run.number: run.seeds for run in history.finals() if run.method == "probe"} == seeds


def test_baselines_alone_are_the_finals_where_nothing_was_trained():
    history = run(finals(), [searched("probe", 0.6, fitted=True)])
    assert story(history) == ["fit probe 0", "score probe-0000-seed0", "fit probe 1", "score probe-0000-seed1"]


def test_smaller_unions_are_trained_on_the_least_seeds_when_they_are_found():
    before = run(finals(L_A)).events
    union = UnionPruned("unipelt-0003-without-prefix", "unipelt-0003", "unipelt", {"learning_rate": 0.1}, {"prefix": 0.0}, 0.01)
    history = run(finals(L_A), [*before, union])
    assert rounds(history)[3:] == ["U0 U1"]
    assert [scored.candidate for scored in history.scored][-2:] == [union.candidate] * 2
    assert run(finals(L_A), history.events).events == history.events, "nothing is done twice"


def seconds_of(events, training=TRAINING):
    """What the laboratory's clock has shown by then."""
    finals_of = [event for event in events if isinstance(event, TrialEnded) and event.stage == Stage.FINALIST]
    return training * sum(trial.steps > 0 and trial.cause != Because.TIME for trial in finals_of)


@pytest.mark.parametrize("limit", [None, 115.0])
def test_a_kill_at_any_point_changes_nothing(limit):
    """With a clock that a kill doesn't set back: what is trained and scored is the same, and nothing twice."""

    def outlook(history):
        seeds = len({scored.seed_index for scored in history.scored})
        return ENOUGH if seeds > 3 else a_pair("lora", "adapter" if seeds == 2 else "probe", behind=["head"])

    policy, start = finals(outlook), [*THREE, searched("probe", 0.6, fitted=True)]
    whole = run(policy, start, limit)
    for kept in range(len(start), len(whole.events)):
        if _torn(whole.events[kept - 1 : kept + 1], least=2):
            continue  # what of a round isn't released before a kill is decided again
        cut = whole.events[:kept]
        again = run(policy, cut, limit, now=seconds_of(cut))
        assert sorted(story(again)) == sorted(story(whole)), kept


def _torn(neighbors, least):
    """Whether a kill between these events tears a round of further seeds apart."""
    return all(isinstance(event, Released) and event.segment.number >= least for event in neighbors)


NAMES = ("lora", "adapter", "head")


@settings(max_examples=60, deadline=None)
@given(
    limit=st.none() | st.floats(5, 400),
    training=st.floats(1, 40),
    failing=st.sets(st.sampled_from([f"final-{name}-0000-seed{index}" for name in NAMES for index in range(4)]), max_size=4),
    enough=st.integers(1, 5),
    behind=st.none() | st.sampled_from(NAMES),
    pairs=st.lists(st.permutations([*NAMES, "probe"]), min_size=4, max_size=4),
    least=st.integers(1, 3),
    baseline=st.booleans(),
    share=st.floats(0, 1),
)
def test_whatever_happens(limit, training, failing, enough, behind, pairs, least, baseline, share):
    """Nothing is done twice, runs are paired, what was trained is scored, the time is kept, and a kill changes none of it."""

    def outlook(history):
        seeds = len({scored.seed_index for scored in history.scored})
        pair = [name for name in pairs[min(seeds, 4) - 1] if baseline or name != "probe"][:2]
        return ENOUGH if seeds >= enough else a_pair(*pair, behind=[] if behind is None else [behind])

    policy = finals(outlook, least=least, most=max(least, 4))
    start = [*THREE, *([searched("probe", 0.6, fitted=True)] if baseline else [])]
    whole = run(policy, start, limit, training=training, failing=frozenset(failing))
    released = [event.segment for event in whole.of_kind(Released)]
    assert len({segment.trial for segment in released}) == len(released)
    scored = [event.trial for event in whole.scored]
    assert sorted(scored) == sorted(trial.trial for trial in whole.finals())
    for candidate in whole.decided(What.FINALIST):
        indices = [segment.number for segment in released if segment.candidate == candidate]
        assert sorted(indices) == list(range(len(indices))), "seeds are taken in their order"
    assert len({(segment.number, segment.seeds) for segment in released}) == len({segment.number for segment in released})
    examples = [opened.examples for opened in whole.of_kind(ReportOpened)]
    assert len(examples) <= (1 if limit is None else 2)
    assert examples == sorted(examples)
    for event, place in ((event, place) for place, event in enumerate(whole.events) if isinstance(event, TrialEnded)):
        if limit is not None and event.trial.startswith("final-") and event.cause != Because.TIME and event.steps:
            begun = seconds_of(whole.events[:place], training)
            assert limit - begun > _kept_of(whole, event.trial), "nothing begins in the time that is kept"
    kept = len(start) + round(share * (len(whole.events) - len(start)))
    while kept < len(whole.events) and _torn(whole.events[kept - 1 : kept + 1], least if limit is None else 0):
        kept += 1  # what of a round isn't released before a kill is decided again, by what is known and in the time that is left then
    cut = whole.events[:kept]
    again = run(policy, cut, limit, training=training, failing=frozenset(failing), now=seconds_of(cut, training))
    assert sorted(story(again)) == sorted(story(whole))


@pytest.mark.parametrize(("limit", "least", "training"), [(39, 3, 1.0), (35, 2, 1.0), (35, 2, 10.0)])
def test_a_kill_while_one_joins_changes_nothing(limit, least, training):
    """Between its decision and the release of its training, too."""
    policy = finals(least=least, most=4)
    whole = run(policy, limit=limit, training=training)
    for kept in range(len(THREE), len(whole.events)):
        if isinstance(whole.events[kept], Released) and isinstance(whole.events[kept - 1], Released):
            continue  # what of a round isn't released before a kill is decided again, in the time that is left then
        cut = whole.events[:kept]
        assert sorted(story(run(policy, cut, limit, training=training, now=seconds_of(cut, training)))) == sorted(story(whole)), kept


def _kept_of(history, trial):
    return next(event.numbers["kept"] for event in history.of_kind(Released) if event.segment.trial == trial)


def test_a_lost_state_is_trained_again_in_its_round():
    released = run(finals()).events[: len(THREE) + 3 + 6]
    history = run(finals(), [*released, StateLost("final-lora-0000-seed0", 0, "damaged")])
    assert history.trials["final-lora-0000-seed0"].segment.attempt == 1
    assert len(history.scored) == 6


# ------------------------------------------------------------ with a limit


def limited(limit, policy=None, **laboratory):
    return run(policy or finals(), THREE, limit, **laboratory)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(1000.0, ["L0 A0 H0 L1 A1 H1"], id="ample: all together"),
        # All three fit: 2 * (30 + 3) and 20 of closing are 86. 90 less 26 for scoring and closing is less than 1.3 * 60.
        pytest.param(90.0, ["L0 A0 H0", "L1 A1 H1"], id="all three, seed by seed"),
        # Two fit, 2 * (20 + 2) + 20 = 64, and are ample: 80 less 24 is more than 1.3 * 40.
        pytest.param(80.0, ["L0 A0 L1 A1"], id="two, together"),
        # 10 + 10 / 2 and 1 of scoring, and 4 of writing are 20.
        pytest.param(45.0, ["L0 A0"], id="two on one seed each, and no time for another"),
        pytest.param(20.0, ["L0 A0"], id="the second of them cut off"),
        pytest.param(19.0, ["L0"], id="the leader alone"),
    ],
)
def test_the_time_decides_how_many_on_how_many_seeds(limit, expected):
    assert rounds(limited(limit)) == expected


@pytest.mark.parametrize(("left", "count"), [(1000, 3), (75, 2), (50, 2), (25, 2), (20, 2), (18, 1), (1, 1)])
def test_as_many_finalists_as_fit_by_the_speed_of_each_method_two_on_one_seed_or_the_leader_alone(left, count):
    policy = finals(least=3, most=3, costs=FakeCosts(rest=0.0, least_scored=0))
    assert policy.affordable(History(), Budget(1000.0, 1000.0 - left), THREE) == count


def test_those_without_time_join_on_the_scored_seeds_when_there_is_some_after_all():
    """Trainings that are twice as fast as the plan said: there is time for the third."""
    history = limited(140.0, training=2.0)
    assert list(history.decided(What.FINALIST)) == ["lora-0000", "adapter-0000", "head-0000"]
    assert not history.decided(What.NO_TIME_FOR_FINALIST)


def test_a_leader_alone_is_scored_on_one_seed_before_the_others_may_join():
    policy = finals(costs=FakeCosts(rest=1.0))

    class Alone(Finals):
        def affordable(self, history, budget, wanted):
            return 1

    history = run(Alone(**vars(policy)), THREE, 500.0)
    assert rounds(history)[:3] == ["L0", "A0", "H0"]
    assert [(scored.method, scored.seed_index) for scored in history.scored][:3] == [("lora", 0), ("adapter", 0), ("head", 0)]
    assert len(history.scored) == 6
    assert not history.decided(What.NO_TIME_FOR_FINALIST)


def test_a_round_is_cut_off_when_only_what_was_kept_is_left():
    """What is kept is decided when the round is released; a training that takes far longer than thought doesn't change it."""
    history = limited(120.0, training=60.0)
    kept = [event.numbers["kept"] for event in history.of_kind(Released)]
    assert kept == [CLOSING + 6 * 1.0] * 6
    ended = {trial.trial: trial.cause for trial in history.ended(Stage.FINALIST)}
    assert list(ended.values()) == ["", "", *[Because.TIME] * 4]
    assert {scored.trial for scored in history.scored} == {"final-lora-0000-seed0", "final-adapter-0000-seed0"}


def test_without_time_for_a_further_seed_that_is_said_with_the_figures():
    history = limited(150.0, finals(L_A, most=10))
    (said,) = history.decided(What.NO_TIME_FOR_SEED).values()
    assert said.numbers["seconds_left"] < said.numbers["seconds_needed"]


def test_finals_use_what_is_left_however_slow_scoring_is():
    """Scoring 60 report examples at 10 s each would take more than all that is left: fewer are scored, and the leader is trained."""
    costs = FakeCosts(rest=1.0, least_scored=60)
    object.__setattr__(costs, "closing", lambda history, limit, runs=0, examples=0: 1.0 + 10.0 * runs * examples)
    policy, log = finals(costs=costs), Log(THREE)
    runs = policy._segments(THREE[:1], [0])
    budget = Budget(1000.0, 900.0)
    assert policy.reserve(log.history, budget, runs) == 50.0
    log.append(ReportOpened(1, 60, 60, "[]"))
    assert policy.reserve(log.history, budget, runs) > 600, "what is opened has to be scored whole"
    log.append(ReportOpened(2, 5, 60, "[]"))
    assert 50 < policy.reserve(log.history, budget, runs) < 100, "and no more than that"


def test_the_examples_of_an_earlier_opening_are_those_of_all():
    policy, history = finals(), History.of([ReportOpened(1, 70, 1000, "[]")])
    assert policy.examples(history, Budget(), 3) == 70
    assert policy.examples(History(), Budget(), 3) == 1000
    assert policy.examples(History(), Budget(100.0, 30.0), 4) == int(0.8 * 50 / 0.04)
    assert policy.examples(History(), Budget(100.0, 80.0), 4) == 250, "an interval needs them: what follows is given up for them"
    assert policy.examples(History(), Budget(100.0, 99.0), 4) == int((1 + 5) / 0.04), "and a little is late"
    assert policy.examples(History(), Budget(100.0, 120.0), 5) == int(6 / 0.05)
    assert policy.examples(History(), Budget(30.0, 40.0), 4) == 50, "at least"


def test_without_time_smaller_unions_are_left_out_one_by_one():
    before = limited(1000.0).events
    unions = [UnionPruned(f"u{number}", "x", "unipelt", {"learning_rate": 0.1}, {}, 0.01) for number in (1, 2)]
    history = run(finals(), [*before, *unions], 1000.0, now=940.0)
    assert rounds(history)[1:] == ["U0 U1"], "time for the first"
    assert list(history.decided(What.NO_TIME_FOR_FINALIST)) == ["u2"]


def test_the_deadline_is_that_of_the_round_under_way():
    policy, log = finals(), Log(THREE)
    assert policy.deadline(log.history, Room(1), Budget(100.0)) == -float("inf")
    for _ in range(2):
        for action in policy.actions(log.history, Room(1), Budget(100.0)):
            log.append(action.event if isinstance(action, Note) else Released(action.segment, action.because, dict(action.numbers)))
    kept = log.history.of_kind(Released)[0].numbers["kept"]
    assert policy.deadline(log.history, Room(1), Budget(100.0)) == kept > 0
    assert policy.actions(log.history, Room(1), Budget(100.0, 50.0)) == []
    under_way = [event.segment.trial for event in log.history.of_kind(Released)]
    assert policy.actions(log.history, Room(1), Budget(100.0, 100.0 - kept)) == [Stop(name, Because.TIME) for name in under_way]


def test_with_nothing_to_confirm_it_finishes_at_once():
    assert finals().actions(History(), Room(1), Budget()) == [Finish()]
