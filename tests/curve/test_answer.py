"""Which method from which K on: the rule, and its words, on cases checked by hand."""

import pytest

from pelt_automl.curve.answer import (
    CUT_OFF,
    NO_BETTER,
    NOTHING_LEARNED,
    ONE_LEFT,
    ONE_SEED,
    Reign,
    VerdictAt,
    answer_in_words,
    which_from_which_k_on,
)
from pelt_automl.verdict.standings import Difference
from pelt_automl.verdict.wording import Unit

CLEAR, OPEN = Difference(0.032, (0.010, 0.054), (0.004, 0.060)), Difference(0.032, (0.001, 0.059), (-0.010, 0.070))
SMALL = Difference(0.005, (-0.005, 0.015), (-0.010, 0.020))


def at(k, recommended, *, tied=(), clear=(), unclear=(), doubts=()):
    """`clear` and `unclear` are behind and not tied; the first are told apart from all others, the second from none."""
    everyone = {recommended, *tied, *clear, *unclear}
    leads = dict.fromkeys(tied, SMALL) | dict.fromkeys(clear, CLEAR) | dict.fromkeys(unclear, OPEN)
    apart = {frozenset((one, other)) for one in clear for other in everyone - {one}}
    return VerdictAt(str(k), recommended, tuple(doubts), frozenset({recommended, *tied}), frozenset(everyone), leads, frozenset(apart))


NOT_CONFIRMED = VerdictAt("100", None)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        # one method, always recommended
        ([at(50, "lora", clear=["head"]), at(100, "lora", clear=["head"])], [("lora", "50", None)]),
        # the holder is tied where another one is recommended: no takeover
        ([at(50, "lora"), at(100, "head", tied=["lora"]), at(200, "head", tied=["lora"])], [("lora", "50", None)]),
        # ... but the first K where it isn't tied, the recommended one takes over
        (
            [at(50, "lora"), at(100, "head", tied=["lora"]), at(200, "head", clear=["lora"])],
            [("lora", "50", None), ("head", "200", "clear")],
        ),
        # not tied, and no evidence: it takes over, and that is said
        ([at(50, "lora", tied=["adapter"]), at(100, "adapter", unclear=["lora"])], [("lora", "50", None), ("adapter", "100", "open")]),
        # not among the finalists: it can't hold
        ([at(50, "lora"), at(100, "adapter", clear=["head"])], [("lora", "50", None), ("adapter", "100", "not compared")]),
        # there and back: two takeovers, each by its own K
        (
            [at(50, "lora"), at(100, "adapter", clear=["lora"]), at(200, "lora", clear=["adapter"])],
            [("lora", "50", None), ("adapter", "100", "clear"), ("lora", "200", "clear")],
        ),
        # the one that takes over is the recommended one, whoever else is tied
        (
            [at(50, "head"), at(100, "lora", tied=["adapter"], clear=["head"]), at(200, "adapter", tied=["lora"], clear=["head"])],
            [("head", "50", None), ("lora", "100", "clear")],
        ),
        # a K without a scored finalist is passed over, at the start and in between
        ([NOT_CONFIRMED, at(200, "lora")], [("lora", "200", None)]),
        ([at(50, "lora"), NOT_CONFIRMED, at(200, "head", clear=["lora"])], [("lora", "50", None), ("head", "200", "clear")]),
        ([NOT_CONFIRMED], []),
        ([], []),
        # a verdict that doesn't carry is passed over as well: it starts no reign, ends none, and begins none
        ([at(50, "full", doubts=[ONE_SEED]), at(200, "lora")], [("lora", "200", None)]),
        ([at(50, "lora"), at(100, "full", clear=["lora"], doubts=[NOTHING_LEARNED]), at(200, "lora")], [("lora", "50", None)]),
        ([at(50, "lora", doubts=[NO_BETTER]), at(100, "lora", doubts=[CUT_OFF])], []),
    ],
)
def test_a_method_takes_over_where_the_one_before_is_no_longer_tied(verdicts, expected):
    assert [(reign.method, reign.since, reign.evidence) for reign in which_from_which_k_on(verdicts).reigns] == expected


def test_a_takeover_has_the_lead_over_the_one_before_at_its_k():
    found = which_from_which_k_on([at(50, "lora", clear=["head"]), at(100, "adapter", unclear=["lora"], clear=["head"])])
    assert found.reigns[1] == Reign("adapter", "100", "open", OPEN)


@pytest.mark.parametrize(
    ("verdicts", "throughout"),
    [
        # holds at each: nothing to add
        ([at(50, "lora", tied=["head"]), at(100, "lora", tied=["head"])], ()),
        # the cheaper head was recommended at 50, where lora was tied too
        ([at(50, "head", tied=["lora"]), at(100, "lora", clear=["head"])], ("lora",)),
        ([at(50, "head"), at(100, "lora", clear=["head"])], ()),
        ([at(50, "head", tied=["lora", "adapter"]), at(100, "lora", tied=["adapter"], clear=["head"])], ("adapter", "lora")),
    ],
)
def test_who_is_tied_at_every_k_would_serve_them_all(verdicts, throughout):
    assert which_from_which_k_on(verdicts).throughout == throughout


def test_where_there_is_no_evidence_is_said_for_the_methods_named_and_for_all():
    found = which_from_which_k_on(
        [
            at(50, "lora", tied=["adapter"], unclear=["head"]),  # nobody told apart
            at(100, "lora", tied=["adapter"], clear=["head"]),  # head is, adapter isn't
            at(200, "adapter", clear=["lora", "head"]),
            at(400, "adapter", clear=["head"]),  # lora wasn't compared
        ]
    )
    assert found.open_at == {"lora and adapter": ("50", "100")}
    assert found.nothing_at == ("50",)


POINTS = Unit("accuracy")


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (
            [at(50, "lora", tied=["adapter"]), at(100, "lora", unclear=["adapter"]), at(200, "adapter", clear=["lora"])],
            (
                "lora from K = 50, adapter from K = 200 on. "
                "At K = 200 adapter is 3.2 points better than lora (95 % interval +0.4 to +6.0). "
                "Between lora and adapter there is no evidence for a difference at K = 50 and 100. "
                "At K = 50 and 100 there is no evidence for a difference between the recommended method and any other."
            ),
        ),
        (
            [at(50, "head", tied=["lora"], clear=["full"]), at(100, "lora", unclear=["head"], clear=["full"])],
            (
                "head from K = 50, lora from K = 100 on. "
                "At K = 100 lora is 3.2 points better than head (no evidence for a difference: 95 % interval -1.0 to +7.0). "
                "Between head and lora there is no evidence for a difference at K = 50 and 100. "
                "If one method is to serve every K: lora is tied with the best at each."
            ),
        ),
        (
            [at(50, "head", tied=["lora"]), at(100, "lora", unclear=["head"])],
            (
                "There is no evidence for a difference between the recommended method and any other at any K, "
                "so that what follows may be luck. "
                "head from K = 50, lora from K = 100 on. "
                "At K = 100 lora is 3.2 points better than head (no evidence for a difference: 95 % interval -1.0 to +7.0). "
                "If one method is to serve every K: lora is tied with the best at each."
            ),
        ),
        (
            [at(50, "head", clear=["full"]), NOT_CONFIRMED, at(200, "head", clear=["full"])],
            "head at K = 50 and 200. At K = 100 no finalist was scored in time, and the answer passes over it.",
        ),
        (
            [at(50, "lora", clear=["full"]), at(100, "adapter", clear=["full"])],
            "lora from K = 50, adapter from K = 100 on. At K = 100 lora was not among the finalists.",
        ),
        ([at(50, "lora", clear=["full"])], "lora at K = 50, the only K with a verdict."),
        # what doesn't carry is named with its reason and decides nothing
        (
            [at(50, "head", doubts=[ONE_SEED]), at(100, "lora", clear=["full"]), at(200, "lora", clear=["full"])],
            (
                "lora at every K from 100 to 200. "
                "At K = 50 the recommended one was scored on one seed only (it points to head), and the answer passes over it."
            ),
        ),
        (
            [at(50, "lora", clear=["full"]), at(100, "lora", doubts=[CUT_OFF]), at(200, "lora", clear=["full"])],
            (
                "lora at K = 50 and 200. At K = 100 the recommended method's training was cut off (it points to lora), "
                "and the answer passes over it."
            ),
        ),
        (
            [at(50, "head", doubts=[NOTHING_LEARNED]), at(100, "full", doubts=[NOTHING_LEARNED]), at(200, "lora", clear=["full"])],
            (
                "lora at K = 200, the only K with a verdict that carries. "
                "At K = 50 and 100 nothing was learned, and the answer passes over them."
            ),
        ),
        # the same method everywhere is no answer where no verdict carries
        (
            [at(50, "lora", doubts=[ONE_SEED, CUT_OFF]), at(100, "lora", doubts=[ONE_SEED, CUT_OFF])],
            (
                "Which method from which K on is open: no verdict carries. "
                "At K = 50 and 100 the recommended one was scored on one seed only and the recommended method's training was cut off "
                "(they point to lora). "
                "What could help: more time (--seconds)."
            ),
        ),
        (
            [at(50, "lora", doubts=[ONE_LEFT])],
            (
                "Which method from which K on is open: no verdict carries. "
                "At K = 50 the recommended one was scored on one seed only, since runs of it failed (it points to lora). "
                "What could help: to mend what made runs fail (the warnings name it)."
            ),
        ),
        (
            [at(50, "lora", doubts=[NOTHING_LEARNED]), at(100, "head", doubts=[NO_BETTER])],
            (
                "Which method from which K on is open: no verdict carries. At K = 50 nothing was learned. "
                "At K = 100 it is open whether anything is better than a guess (it points to head). "
                "What could help: more labeled examples or another model."
            ),
        ),
        (
            [at(50, "lora", doubts=[NOTHING_LEARNED]), at(100, "head", doubts=[ONE_SEED]), NOT_CONFIRMED],
            (
                "Which method from which K on is open: no verdict carries. At K = 50 nothing was learned. "
                "At K = 100 the recommended one was scored on one seed only (it points to head). "
                "At K = 100 no finalist was scored in time. "
                "What could help: more time (--seconds), more labeled examples or another model."
            ),
        ),
        (
            [NOT_CONFIRMED],
            "No finalist was scored at any K, so that nothing is known about the methods' order. Give the curve more time (--seconds).",
        ),
    ],
)
def test_the_answer_in_words(verdicts, words):
    assert answer_in_words(which_from_which_k_on(verdicts), [verdict.k for verdict in verdicts], POINTS) == words
