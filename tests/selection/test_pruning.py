"""Which smaller unions are found, from records; that they are confirmed is seen in whole selections (test_end_to_end.py)."""

from types import SimpleNamespace

import pytest

from pelt_automl.log.events import Decision, FinalistScored, KnockedOut, ReportOpened, Seeds, TrialEnded, UnionPruned
from pelt_automl.log.log import Log
from pelt_automl.selection import pruning_phase
from pelt_automl.selection.pruning_phase import prune
from pelt_automl.tasks import METRICS

DEFAULT = {"learning_rate": 5e-4}


def finalist(candidate, method, losses=None, **hyper_parameters):
    """One run, and what it lost without each submodule."""
    name, given = f"final-{candidate}-seed0", DEFAULT | hyper_parameters
    yield TrialEnded(name, candidate, method, "finalist", 0, "completed", False, given, Seeds(1, 2, 3), {"kept": 9}, [], 0.8, 10, 1.0)
    yield FinalistScored(name, candidate, method, 0, 0.8, "[1.0]")
    for submodule, loss in (losses or {}).items():
        yield KnockedOut(name, candidate, 0, submodule, 0.8, 0.8 - loss)


class Selection:
    """What pruning is handed, as far as it uses it; `confirmed`: the unions that the finals were told of, call by call."""

    def __init__(self, monkeypatch, *events):
        self.log = Log([ReportOpened(1, 1, 1, "[1.0]"), *events])
        self.question = SimpleNamespace(data=SimpleNamespace(metric=METRICS["accuracy"]), search=SimpleNamespace(equivalence=1.0))
        self.confirmed = []
        monkeypatch.setattr(pruning_phase, "confirm", lambda *_: self.confirmed.append([union.candidate for union in self.pruned]))

    def prune(self):
        prune(self.question, None, self.log, None)

    @property
    def pruned(self):
        return self.log.history.of_kind(UnionPruned)


APL = {"adapter": 0.05, "lora": 0.03, "prefix": 0.004}


def test_a_union_is_pruned_of_what_costs_less_than_a_point(monkeypatch):
    selection = Selection(monkeypatch, *finalist("unipelt-apl-0003", "unipelt-apl", APL, rank=4, prefix_length=5))
    selection.prune()
    (found,) = selection.pruned
    assert (found.candidate, found.of, found.method) == ("unipelt-apl-0003-without-prefix", "unipelt-apl-0003", "unipelt")
    assert found.hyper_parameters == DEFAULT | {"submodules": "adapter+lora", "rank": 4}
    assert found.removed == pytest.approx({"prefix": 0.004})
    assert found.region == 0.01
    assert selection.confirmed == [["unipelt-apl-0003-without-prefix"]]


def test_unions_that_need_all_they_have_and_single_methods_stay_as_they_are(monkeypatch):
    needed = finalist("unipelt-apl-0003", "unipelt-apl", APL | {"prefix": 0.02})
    selection = Selection(monkeypatch, *needed, *finalist("lora-0001", "lora"), *finalist("mam-0000", "mam", {"prefix": 0.0, "x": 0.1}))
    selection.prune()
    assert (selection.pruned, selection.confirmed) == ([], [])


def test_what_is_found_once_is_taken_up_again_and_not_pruned_further(monkeypatch):
    union = [*finalist("unipelt-apl-0003", "unipelt-apl", APL)]
    first = Selection(monkeypatch, *union)
    first.prune()
    smaller = finalist("unipelt-apl-0003-without-prefix", "unipelt", {"adapter": 0.05, "lora": 0.0}, submodules="adapter+lora")
    again = Selection(monkeypatch, *union, *first.pruned, *smaller)
    again.prune()
    assert again.pruned == first.pruned
    assert again.confirmed == first.confirmed, "what was recorded is handed on: a killed training is taken up"


def test_two_unions_that_come_to_the_same_are_trained_once_and_not_beside_a_finalist_that_is_the_same(monkeypatch):
    events = [
        *finalist("unipelt-apl-0000", "unipelt-apl", APL),
        *finalist("unipelt-apl-0004", "unipelt-apl", APL | {"lora": 0.0, "prefix": 0.5}),
        *finalist("unipelt-apl-0002", "unipelt-apl", APL, prefix_length=3),
        *finalist("unipelt-ap-0000", "unipelt-ap"),
    ]
    selection = Selection(monkeypatch, *events)
    selection.prune()
    assert selection.confirmed == [["unipelt-apl-0000-without-prefix"]]
    assert [(d.subject, d.why) for d in selection.log.history.of_kind(Decision)] == [
        ("unipelt-apl-0004-without-lora", "unipelt-ap-0000 is the same configuration"),
        ("unipelt-apl-0002-without-prefix", "unipelt-apl-0000-without-prefix is the same configuration"),
    ]
    before = list(selection.log.history.events)
    selection.prune()
    assert selection.log.history.events == before


def test_unions_that_have_left_the_finals_are_not_worth_it(monkeypatch):
    left = Decision("left the finals", "unipelt-apl-0003", "behind")
    selection = Selection(monkeypatch, *finalist("unipelt-apl-0003", "unipelt-apl", APL), left)
    selection.prune()
    assert selection.pruned == []


def test_they_are_handed_on_in_the_order_of_their_finalists(monkeypatch):
    """The finals train them one by one where there is a limit (tests/scheduling/test_finals.py)."""
    events = [event for number in (3, 1, 2) for event in finalist(f"unipelt-apl-000{number}", "unipelt-apl", APL, rank=2 * number)]
    selection = Selection(monkeypatch, *events)
    selection.prune()
    assert selection.confirmed == [[f"unipelt-apl-000{number}-without-prefix" for number in (3, 1, 2)]]
