"""The rules of the search, as tables: what has happened, and what is to be done."""

import pytest

from pelt_automl.log.events import LACK_OF_TIME, Because, Decision, What
from pelt_automl.log.history import History
from pelt_automl.scheduling.actions import Budget, Room
from tests.scheduling.world import FakeCosts, asked, at, ended, kind_of, name_of, released, said, scheduler, segment, stopped, tried

OTHERS, PROMPTS = ("others",), ("prompts",)

# ------------------------------------------------------------ quota: who goes on from a rung

QUOTA = {
    "the default goes on, whatever its score": ("lora", [released("lora", 0), at("lora", 0, 0.1)], ["lora-0000 20-40: default"]),
    "the default goes on from the last rung, to the end": (
        "lora",
        [*tried("lora", 1, 0.9), released("lora", 0), at("lora", 0, 0.1), released("lora", 0, 20, 40), at("lora", 0, 0.1, 40)],
        ["lora-0000 40-80: default"],
    ),
    "of a single drawn trial one goes on": ("lora", [released("lora", 1), at("lora", 1, 0.1)], ["lora-0001 20-40: quota"]),
    "below the best third of three": (
        "lora",
        [*tried("lora", 0, 0.7), *tried("lora", 1, 0.6, 20), released("lora", 2), at("lora", 2, 0.65)],
        ["stop lora-0002: not promoted from its rung"],
    ),
    "the best of three": (
        "lora",
        [*tried("lora", 0, 0.7), *tried("lora", 1, 0.6, 20), released("lora", 2), at("lora", 2, 0.75)],
        ["lora-0002 20-40: quota"],
    ),
    "0.34 of five are two": (
        "lora",
        [
            *tried("lora", 0, 0.7),
            *(event for number in (1, 2, 3) for event in tried("lora", number, 0.5, 20)),
            released("lora", 4),
            at("lora", 4, 0.6),
        ],
        ["lora-0004 20-40: quota"],
    ),
    "a slow starter's share is double: two of three": (
        "prompt",
        [*tried("prompt", 0, 0.7), *tried("prompt", 1, 0.6, 20), released("prompt", 2), at("prompt", 2, 0.65)],
        ["prompt-0002 20-40: quota"],
    ),
    "a failed trial counts by what it had scored at the rung": (
        "lora",
        [
            *tried("lora", 0, 0.7),
            released("lora", 1),
            at("lora", 1, 0.9),
            released("lora", 1, 20, 40),
            ended("lora", 1, 0.9, 30, "failed"),
            released("lora", 2),
            at("lora", 2, 0.8),
        ],
        ["stop lora-0002: not promoted from its rung"],
    ),
    "a score that isn't a number goes on from nowhere": (
        "lora",
        [*tried("lora", 0, 0.7), released("lora", 1), at("lora", 1, float("nan"))],
        ["stop lora-0001: not promoted from its rung"],
    ),
}


@pytest.mark.parametrize("case", QUOTA)
def test_quota(case):
    method, events, expected = QUOTA[case]
    assert asked(scheduler(method, known=1), *events) == expected


def test_where_less_is_better_the_lowest_score_goes_on():
    from dataclasses import replace

    from pelt_automl.tasks.metrics import METRICS

    policy = replace(scheduler("lora", known=1), metric=replace(METRICS["accuracy"], greater_is_better=False))
    events = [*tried("lora", 0, 0.7), *tried("lora", 1, 0.6, 20), released("lora", 2)]
    assert asked(policy, *events, at("lora", 2, 0.75)) == ["stop lora-0002: not promoted from its rung"]
    assert asked(policy, *events, at("lora", 2, 0.5)) == ["lora-0002 20-40: quota"]


def test_the_numbers_of_a_decision_say_what_it_rests_on():
    events = [*tried("lora", 0, 0.7), released("lora", 1), at("lora", 1, 0.6)]
    (action,) = scheduler("lora", known=1).actions(History.of(events), Room(0, OTHERS), Budget())
    assert action.numbers == {"rung": 20, "share": 0.34, "compared": 2, "score": 0.6}


# ------------------------------------------------------------ cohort: who is compared with whom

DEFAULT = tried("lora", 0, 0.9)
"""The default is better than all others, and no one is compared with it that is known."""


def known(*scores):
    """The first trials after the default, all known, at the first rung."""
    return [event for number, score in enumerate(scores, 1) for event in (released("lora", number), at("lora", number, score))]


COHORT = {
    "while known ones are to come, those that are there wait": ([*DEFAULT, *known(0.5, 0.6)], {}, []),
    "while one is on its way, the others wait": ([*DEFAULT, *known(0.5, 0.6), released("lora", 3)], {}, []),
    "the last has come: the best of the three goes on": (
        [*DEFAULT, *known(0.5, 0.6, 0.4)],
        {},
        ["stop lora-0001: not promoted from its rung", "lora-0002 20-40: quota", "stop lora-0003: not promoted from its rung"],
    ),
    "the last has failed on its way": (
        [*DEFAULT, *known(0.5, 0.6), released("lora", 3), ended("lora", 3, None, 0, "failed", "out of memory")],
        {},
        ["stop lora-0001: not promoted from its rung", "lora-0002 20-40: quota"],
    ),
    "the last that will be asked for, though more are known": (
        [*DEFAULT, *known(0.5, 0.6)],
        {"trials": 3},
        ["stop lora-0001: not promoted from its rung", "lora-0002 20-40: quota"],
    ),
    "one is refused, and took its number": (
        [*DEFAULT, *known(0.5), released("lora", 3), at("lora", 3, 0.4)],
        {"refused": {2}},
        ["lora-0001 20-40: quota", "stop lora-0003: not promoted from its rung"],
    ),
    "there is nothing left to try": (
        [*DEFAULT, *known(0.5, 0.6), Decision("nothing left to try", "lora", "as told")],
        {},
        ["stop lora-0001: not promoted from its rung", "lora-0002 20-40: quota"],
    ),
    "who was stopped before counts": (
        [*DEFAULT, *known(0.7), stopped("lora", 1), *known(0.7, 0.6, 0.4)[2:]],
        {},
        ["stop lora-0002: not promoted from its rung", "stop lora-0003: not promoted from its rung"],
    ),
    "of equals the earlier goes on": (
        [*DEFAULT, *known(0.5, 0.5, 0.5)],
        {},
        ["lora-0001 20-40: quota", "stop lora-0002: not promoted from its rung", "stop lora-0003: not promoted from its rung"],
    ),
    "a kill fell between the decisions about equals, and the place is taken": (
        [*DEFAULT, *known(0.5, 0.5, 0.5), released("lora", 1, 20, 40)],
        {},
        ["stop lora-0002: not promoted from its rung", "stop lora-0003: not promoted from its rung"],
    ),
    "a drawn one is compared with all before it at once, while known ones wait": (
        [*DEFAULT, *known(0.5, 0.6), released("lora", 3), released("lora", 4), at("lora", 4, 0.95)],
        {},
        ["lora-0004 20-40: quota"],
    ),
    "a drawn one that is worse than the default ends, though it is better than the known ones": (
        [*DEFAULT, *known(0.5, 0.6), released("lora", 3), released("lora", 4), at("lora", 4, 0.85)],
        {},
        ["stop lora-0004: not promoted from its rung"],
    ),
    "those at the second rung wait for one that has just gone on from the first": (
        [*DEFAULT, *known(0.7, 0.6, 0.5), released("lora", 1, 20, 40), at("lora", 1, 0.7, 40), released("lora", 2, 20, 40)],
        {"promoted": 0.67},
        ["stop lora-0003: not promoted from its rung"],
    ),
}


@pytest.mark.parametrize("case", COHORT)
def test_cohort(case):
    events, settings, expected = COHORT[case]
    assert asked(scheduler("lora", **settings), *events) == expected


def test_when_there_is_no_time_for_another_trial_those_that_wait_are_compared():
    events, room = [*DEFAULT, *known(0.5, 0.6)], Room(4, OTHERS)
    policy = scheduler("lora", promoted=0.5)
    assert asked(policy, *events, room=room, budget=Budget(1000, 400)) == ["lora-0003 0-20: first"], "there is"
    expected = ["stop lora-0001: not promoted from its rung", "lora-0002 20-40: quota"]
    assert asked(policy, *events, room=room, budget=Budget(1000, 499)) == expected


# ------------------------------------------------------------ race

AHEAD = [event for number, score in enumerate((0.95, 0.9, 0.9)) for event in tried("lora", number, score)]
BEHIND = [event for number, score in enumerate((0.5, 0.4, 0.4)) for event in tried("head", number, score)]
LEFT = Decision("left the race", "head", "as told")
RACE = {
    "clearly behind, it leaves": ([*AHEAD, *BEHIND], {}, ["left the race: head"]),
    "not without a race": ([*AHEAD, *BEHIND], {"race": False}, []),
    "not before three of its trials have ended": ([*AHEAD, *BEHIND[:-6]], {}, []),
    "one that is told to end is one that has": (
        [*AHEAD, *BEHIND[:-5], at("head", 2, 0.4), stopped("head", 2)],
        {},
        ["left the race: head"],
    ),
    "not while one of its trials is beyond the first rung": (
        [*AHEAD, *BEHIND, released("head", 3), at("head", 3, 0.5), released("head", 3, 20, 40)],
        {},
        [],
    ),
    "one before the first rung keeps nobody": ([*AHEAD, *BEHIND, released("head", 3)], {}, ["left the race: head"]),
    "a trial of a method that has left ends at its rung": (
        [*AHEAD, *BEHIND, LEFT, released("head", 3), at("head", 3, 0.99)],
        {},
        ["stop head-0003: its method has left the race"],
    ),
    "even a default": ([*AHEAD, LEFT, released("head", 0), at("head", 0, 0.99)], {}, ["stop head-0000: its method has left the race"]),
}


@pytest.mark.parametrize("case", RACE)
def test_race(case):
    events, settings, expected = RACE[case]
    policy = scheduler("lora", "head", **{"known": 1, "race": True} | settings)
    busy = [released("lora", 9)]  # so that nothing is finished
    assert asked(policy, *busy, *events) == expected


def test_what_a_method_leaves_to_others_is_shared_among_them():
    def tries(method):
        return [event for number in range(3) for event in tried(method, number, 0.9)]

    policy, room = scheduler("lora", "head", "adapter", trials=3, known=1), Room(4, OTHERS)
    events = [*tries("lora"), *tries("adapter"), *tried("head", 0, 0.5)]
    assert asked(policy, *events, LEFT, room=room) == ["lora-0003 0-20: first", "adapter-0003 0-20: first"]
    nothing_left = Decision("nothing left to try", "head", "as told")
    assert asked(policy, *events, nothing_left, room=room) == ["lora-0003 0-20: first", "adapter-0003 0-20: first"]


# ------------------------------------------------------------ fairness and room

FAIR = {
    "the first has none": (["lora", "head"], [], Room(3, OTHERS), ["lora-0000", "head-0000", "lora-0001"]),
    "the one with the fewest is next": (["lora", "head"], [released("lora", 0)], Room(1, OTHERS, at={"lora-0000": 5}), ["head-0000"]),
    "a single method fills a pack": (["lora"], [], Room(4), ["lora-0000", "lora-0001", "lora-0002", "lora-0003"]),
    "no place, no trial": (["lora"], [], Room(0), []),
    "what waits for this pack has a place": (
        ["lora"], [released("lora", 0)], Room(3, OTHERS, waiting={"lora-0000": OTHERS}), ["lora-0001", "lora-0002"]
    ),
    "others are asked while one waits for a pack of its kind, but not two more of them": (
        ["lora", "prompt"], [], Room(4, OTHERS), ["lora-0000", "prompt-0000", "lora-0001", "lora-0002"]
    ),
    "two ahead of one that waits": (
        ["lora", "prompt"], [released("prompt", 0), *tried("lora", 0, 0.9), *tried("lora", 1, 0.9), *tried("lora", 2, 0.9)],
        Room(4, OTHERS, waiting={"prompt-0000": PROMPTS}), [],
    ),
    "where no pack is there, the kind that waits in the greatest number is filled up": (
        ["lora", "prompt"], [released("lora", 0), released("prompt", 0), released("prompt", 1)],
        Room(4, waiting={"lora-0000": OTHERS, "prompt-0000": PROMPTS, "prompt-0001": PROMPTS}), ["prompt-0002"],
    ),
    "one that can't share a pack is asked for with the others, and waits": (
        ["lora", "full"], [], Room(4), ["lora-0000", "full-0000", "lora-0001", "lora-0002"]
    ),
    "a pack of one isn't filled up": (
        ["full", "lora"], [released("full", 0)], Room(4, waiting={"full-0000": ("alone", "full-0000")}), []
    ),
    "the place of a trial that waits for others at its rung is filled": (
        ["lora"], [*DEFAULT, *known(0.5)], Room(0, OTHERS, at={"lora-0001": 20}), ["lora-0002"]
    ),
    "that of one that goes on isn't": (["lora"], [released("lora", 0), at("lora", 0, 0.5)], Room(0, OTHERS, at={"lora-0000": 20}), []),
    "that of one that is told to end isn't filled before its end is logged": (
        ["lora"], [*DEFAULT, released("lora", 9), at("lora", 9, 0.5)], Room(1, OTHERS, at={"lora-0009": 20}), []
    ),
    "that of one that has ended is": (
        ["lora"],
        [*DEFAULT, released("lora", 9), at("lora", 9, 0.5), stopped("lora", 9), ended("lora", 9, 0.5, 20, "stopped")],
        Room(0, OTHERS, at={"lora-0009": 20}), ["lora-0010"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAIR)
def test_fairness_and_room(case):
    methods, events, room, expected = FAIR[case]
    given = asked(scheduler(*methods), *events, room=room)
    assert [words.partition(" ")[0] for words in given if words.endswith(": first")] == expected


# ------------------------------------------------------------ sequence: a learned order comes before fairness

ORDER = ("lora", "lora", "head", "lora", "prompt", "head")
SEQUENCE = {
    "its first trials are the first of the order": (
        ORDER, ["lora", "head", "prompt"], [], Room(4, OTHERS), {}, ["lora-0000", "lora-0001", "head-0000", "lora-0002"]
    ),
    "what is begun isn't asked again": (
        ORDER, ["lora", "head", "prompt"], [*tried("lora", 0, 0.9), *tried("lora", 1, 0.9), *tried("head", 0, 0.9)], Room(2, OTHERS), {},
        ["lora-0002", "prompt-0000", "head-0001"],
    ),
    "after it the method with the fewest is next": (
        ("lora", "lora", "head"), ["lora", "head"], [], Room(6, OTHERS), {},
        ["lora-0000", "lora-0001", "head-0000", "head-0001", "lora-0002", "head-0002"],
    ),
    "without one it is fairness alone": ((), ["lora", "head"], [], Room(3, OTHERS), {}, ["lora-0000", "head-0000", "lora-0001"]),
    "a method that has left is passed over": (
        ORDER, ["lora", "head", "prompt"], [*tried("lora", 0, 0.9), Decision("left the race", "lora", "as told")], Room(2, OTHERS), {},
        ["head-0000", "prompt-0000", "head-0001"],
    ),
    "one that has as many trials as are wanted is, too": (
        ORDER, ["lora", "head", "prompt"], [*tried("lora", 0, 0.9), *tried("lora", 1, 0.9)], Room(3, OTHERS), {"trials": 2},
        ["head-0000", "prompt-0000", "head-0001"],
    ),
    "one that waits for another kind of pack is, as long as others are to come": (
        ("prompt", "prompt", "lora", "lora"), ["lora", "prompt"], [], Room(4, OTHERS), {}, ["prompt-0000", "lora-0000", "lora-0001"]
    ),
    "and when it alone is to come, its pack is waited for": (
        ("prompt", "prompt", "lora"), ["lora", "prompt"], [released("prompt", 0), *tried("lora", 0, 0.9)],
        Room(4, OTHERS, waiting={"prompt-0000": PROMPTS}), {}, [],
    ),
    "a method that isn't in it comes after it": (
        ("lora", "lora"), ["head", "lora"], [], Room(3, OTHERS), {}, ["lora-0000", "lora-0001", "head-0000"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SEQUENCE)
def test_sequence(case):
    sequence, methods, events, room, settings, expected = SEQUENCE[case]
    given = asked(scheduler(*methods, sequence=sequence, **settings), *events, room=room)
    assert [words.partition(" ")[0] for words in given if words.endswith(": first")] == expected


def test_what_there_is_no_time_for_is_passed_over_and_two_defaults_always_begin():
    policy = scheduler("lora", "full", "head", sequence=("lora", "lora", "full", "head"), costs=FakeCosts(dear={"full": 9.0}))
    begun = tried("lora", 0, 0.9)
    # 80 s are needed for another trial of lora, which is trained in full, 720 s for full's default, 10 s for head's
    assert asked(policy, *begun, room=Room(2, OTHERS), budget=Budget(100, 40))[:1] == ["full-0000 0-20: first"], "the second default"
    both = [*begun, *tried("full", 0, 0.9)]
    given = asked(policy, *both, room=Room(2, OTHERS), budget=Budget(100, 40))
    assert [words for words in given if words.endswith(": first")] == ["head-0000 0-20: first"]
    for limit, expected in ((238, "head-0000 0-20: first"), (240, "lora-0001 0-20: first")):
        more = asked(policy, *both, room=Room(2, OTHERS), budget=Budget(limit, 40))
        assert [words for words in more if words.endswith(": first")] == [expected], "half of the limit is kept"


def test_nothing_begins_any_more_once_a_finalist_is_chosen():
    """A search that is taken up again after a kill in the finals may see more time left than it did."""
    begun, room = tried("lora", 0, 0.9), Room(2, OTHERS)
    assert asked(scheduler("lora", "head"), *begun, room=room)
    chosen = Decision(What.FINALIST, "lora-0000", "best", time=0.0)
    assert not [words for words in asked(scheduler("lora", "head"), *begun, chosen, room=room) if words.endswith(": first")]


@pytest.mark.parametrize("closing", [False, True])
def test_a_reserve_below_the_last_fifteen_percent_is_the_deadline_always(closing):
    events = [*tried("lora", 0, 0.9), *([stopped("lora", 0, Because.TIME)] if closing else [])]
    assert scheduler("lora", "head", costs=FakeCosts(kept=0.05)).deadline(History.of(events), Room(0, OTHERS), Budget(1000, 0)) == 50


def test_what_the_learned_order_has_is_trained_in_full_and_others_are_compared_at_their_rung():
    policy = scheduler("lora", sequence=("lora", "lora"))
    poor = [released("lora", 0), at("lora", 0, 0.9), released("lora", 1), at("lora", 1, 0.1)]
    given = [words for words in asked(policy, *poor, room=Room(2, OTHERS)) if "20-40" in words]
    assert given == ["lora-0000 20-40: default", "lora-0001 20-40: learned"]
    others = [*tried("lora", 0, 0.9), *tried("lora", 1, 0.8), released("lora", 2), at("lora", 2, 0.1), *tried("lora", 3, 0.2)]
    assert asked(policy, *others)[0] == "stop lora-0002: not promoted from its rung"


def test_a_method_without_anything_left_to_try_says_so_once_and_others_take_its_place():
    policy = scheduler("lora", "head", most={"lora": 1})
    given = asked(policy, *tried("lora", 0, 0.9), *tried("head", 0, 0.9), room=Room(2, OTHERS))
    assert given == ["nothing left to try: lora", "head-0001 0-20: first", "head-0002 0-20: first"]


# ------------------------------------------------------------ affordability; a training takes 80 s, the reserve is half of the limit

ALL_BUT_FULL = [event for method in ("lora", "head") for number in (0, 1) for event in tried(method, number, 0.9)]
TIME = {
    # a default needs 10 s to its first evaluation
    "the first two defaults always begin": (["lora", "head", "adapter"], [], Budget(100, 49), {}, ["lora-0000", "head-0000"]),
    "a third, if it comes to its first evaluation": (
        ["lora", "head", "adapter"], [*tried("lora", 0, 0.9), *tried("head", 0, 0.9)], Budget(100, 40), {}, ["adapter-0000"]
    ),
    "not if it doesn't": (["lora", "head", "adapter"], [*tried("lora", 0, 0.9), *tried("head", 0, 0.9)], Budget(100, 41), {}, []),
    "one that can't share a pack has to come to its end": (
        ["lora", "head", "full"], ALL_BUT_FULL, Budget(200, 30), {}, []
    ),
    "if it does": (["lora", "head", "full"], ALL_BUT_FULL, Budget(200, 20), {}, ["full-0000"]),
    # any other needs its expected share: 20 steps, 0.34 of the next 20 and 0.1156 of the last 40 are 31.4 s
    "another trial": (["lora"], tried("lora", 0, 0.9), Budget(100, 18), {}, ["lora-0001"]),
    "no other trial": (["lora"], tried("lora", 0, 0.9), Budget(100, 19), {}, []),
    "what is under way comes first: 80 s of a default": (["lora"], [released("lora", 0)], Budget(300, 39), {}, []),
    "and there is time beyond it": (["lora"], [released("lora", 0)], Budget(300, 38), {}, ["lora-0001"]),
    "as far as it isn't done": (["lora"], [released("lora", 0)], Budget(300, 78), {"at": {"lora-0000": 40}}, ["lora-0001"]),
    "a slower method needs more": (["full"], tried("full", 0, 0.9), Budget(1000, 440), {}, []),
}  # fmt: skip


@pytest.mark.parametrize("case", TIME)
def test_affordability(case):
    methods, events, budget, places, expected = TIME[case]
    policy = scheduler(*methods, known=1, trials=2, costs=FakeCosts(dear={"full": 2.0} if methods == ["full"] else {}))
    given = asked(policy, *events, room=Room(4, **places), budget=budget)
    assert [words.partition(" ")[0] for words in given if words.endswith(": first")] == expected


def test_without_a_limit_everything_is_tried():
    given = asked(scheduler("lora", trials=3), room=Room(9))
    assert given == ["lora-0000 0-20: first", "lora-0001 0-20: first", "lora-0002 0-20: first"]


# ------------------------------------------------------------ the time is up

DEADLINE = {
    "no score: the last 15 %": (["lora", "head"], [released("lora", 0)], {}, 150),
    "one of two methods has a score: half of the reserve": (["lora", "head"], tried("lora", 0, 0.9), {}, 250),
    "of a single method: the reserve": (["lora"], tried("lora", 0, 0.9), {}, 500),
    "two have one": (["lora", "head", "adapter"], [*tried("lora", 0, 0.9), released("head", 0), at("head", 0, 0.5)], {}, 500),
    "a trial that is evaluated in its pack has one": (["lora"], [released("lora", 0)], {"lora-0000": 10}, 500),
    "before that it has none": (["lora"], [released("lora", 0)], {"lora-0000": 9}, 150),
    "one that failed before has none": (["lora"], [released("lora", 0), ended("lora", 0, None, 5, "failed")], {}, 150),
    "what was ended for lack of time stays so": (["lora"], [*tried("lora", 0, 0.9), stopped("lora", 0, Because.TIME)], {}, 150),
}


@pytest.mark.parametrize("case", DEADLINE)
def test_deadline(case):
    methods, events, places, expected = DEADLINE[case]
    history = History.of(events)
    assert scheduler(*methods).deadline(history, Room(0, OTHERS, at=places), Budget(1000, 0)) == expected
    assert scheduler(*methods).deadline(history, Room(0, OTHERS, at=places), Budget()) == -float("inf")


UP = Budget(1000, 500)
CLOSING = {
    "those in the middle end": ([released("lora", 1)], {"lora-0001": 15}, ["stop lora-0001: time limit"]),
    "one near its end goes on: 20 s of 50 that are nothing": (
        [released("lora", 1), at("lora", 1, 0.9), released("lora", 1, 20, 40), at("lora", 1, 0.9, 40), released("lora", 1, 40, 80)],
        {"lora-0001": 60},
        ["lora-0001 40-80: near its end when the time is up"],
    ),
    "one that waits at its last rung and has 40 s to go": (
        [*known(0.9)[:2], released("lora", 1, 20, 40), at("lora", 1, 0.9, 40)],
        {},
        ["lora-0001 40-80: near its end when the time is up"],
    ),
    "a rung isn't looked at any more": (
        [*known(0.9)[:2], released("lora", 1, 20, 40)],
        {"lora-0001": 31},
        ["lora-0001 20-80: near its end when the time is up"],
    ),
    "two of them take 60 s together: the nearer one": (
        [released("lora", 1), at("lora", 1, 0.9), released("lora", 1, 20, 80),
         released("lora", 2), at("lora", 2, 0.9), released("lora", 2, 20, 80)],
        {"lora-0001": 48, "lora-0002": 52},
        ["lora-0002 20-80: near its end when the time is up", "stop lora-0001: time limit"],
    ),
    "not one of a method that has left": (
        [Decision("left the race", "lora", "as told"), released("lora", 1), at("lora", 1, 0.9), released("lora", 1, 20, 80)],
        {"lora-0001": 70},
        ["stop lora-0001: time limit"],
    ),
    "one that has not begun": ([released("lora", 1)], {}, ["stop lora-0001: time limit"]),
    "one that has just come to its rung and is too bad for it": (
        [released("lora", 4), at("lora", 4, 0.1)], {"lora-0004": 20}, ["stop lora-0004: not promoted from its rung"]
    ),
    "and one that is good enough": ([released("lora", 4), at("lora", 4, 0.99)], {"lora-0004": 20}, ["stop lora-0004: time limit"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CLOSING)
def test_when_the_time_is_up(case):
    events, places, expected = CLOSING[case]
    before = tried("lora", 0, 0.9)
    assert asked(scheduler("lora"), *before, *events, room=Room(2, OTHERS, at=places), budget=UP) == expected


def test_what_is_near_its_end_is_ended_too_when_all_but_the_last_time_is_used():
    events = [*tried("lora", 0, 0.9), released("lora", 1, 0, 80, Because.NEAR_END)]
    room = Room(3, OTHERS, at={"lora-0001": 70})
    assert asked(scheduler("lora"), *events, room=room, budget=Budget(1000, 849)) == []
    assert asked(scheduler("lora"), *events, room=room, budget=Budget(1000, 850)) == ["stop lora-0001: time limit"]


def test_nothing_begins_any_more_once_the_time_was_up():
    events = [*tried("lora", 0, 0.9), released("lora", 1), stopped("lora", 1, Because.TIME), ended("lora", 1, None, 5, "stopped")]
    given = asked(scheduler("lora", "head"), *events, room=Room(4), budget=Budget(1000, 400))
    assert given == ["not begun: head", "finish"]


# ------------------------------------------------------------ the end, and what is said


def test_it_finishes_when_all_trials_have_ended():
    events = [*tried("lora", 0, 0.9), *tried("lora", 1, 0.9)]
    assert asked(scheduler("lora", trials=2), *events, room=Room(4)) == ["finish"]
    assert asked(scheduler("lora", trials=2), *events[:-1], room=Room(4)) == [], "not before"


def test_it_says_what_there_was_no_time_for_once():
    events, room, budget = [*tried("lora", 0, 0.9), *tried("head", 0, 0.9)], Room(4), Budget(1000, 499)
    policy = scheduler("lora", "head", "adapter")
    first = ["search ended: search", "not begun: adapter", "finish"]
    assert asked(policy, *events, room=room, budget=budget) == first
    notes = policy.actions(History.of(events), room, budget)[:-1]
    assert all(note.event.what in LACK_OF_TIME for note in notes)
    assert asked(policy, *events, *(note.event for note in notes), room=room, budget=budget) == ["finish"]


def test_it_says_what_it_inherits_before_all_else_and_once():
    policy = scheduler("lora", inherited={"lora": [{"rank": 4}], "other": [{"rank": 8}]}, source="from K = 100")
    (note, *others) = policy.actions(History(), Room(1), Budget())
    assert (note.event.what, note.event.subject) == ("inherited", "lora")
    assert note.event.why == "from K = 100, tried right after its default: rank 4"
    assert said(policy.actions(History.of([note.event]), Room(1), Budget())) == said(others) == ["lora-0000 0-20: first"]


def test_it_decides_about_its_own_copy_of_the_history():
    history = History.of(known(0.5, 0.6, 0.7))
    before = (list(history.events), {name: (trial.segment, trial.stopped) for name, trial in history.trials.items()})
    scheduler("lora").actions(history, Room(4), Budget())
    assert (history.events, {name: (trial.segment, trial.stopped) for name, trial in history.trials.items()}) == before


def test_finalists_are_nothing_to_it():
    from dataclasses import replace

    final = replace(released("lora", 1).segment, trial="final-lora-0001-seed0", stage="finalist")
    events = [*tried("lora", 0, 0.9), replace(released("lora", 1), segment=final)]
    assert asked(scheduler("lora", trials=1), *events, room=Room(4)) == ["finish"]


def test_kinds_and_names_are_those_of_the_world():
    assert kind_of(segment("full", 0)) == ("alone", name_of("full", 0))
