"""Each second belongs to the innermost name, with a clock that passes only when told."""

import sys
import threading
import types

import pytest

from benchmarks.ledger import Entry, Ledger


class Clock:
    def __init__(self):
        self.wall = self.cpu = 0.0

    def work(self, seconds):
        self.wall += seconds
        self.cpu += seconds

    def wait(self, seconds):
        self.wall += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    return Ledger("rest", wall=lambda: clock.wall, cpu=lambda: clock.cpu)


@pytest.fixture
def module(monkeypatch):
    """Two modules of the program, the second with a function imported from the first."""
    first, second = types.ModuleType("pelt_automl.first_double"), types.ModuleType("pelt_automl.second_double")
    monkeypatch.setitem(sys.modules, first.__name__, first)
    monkeypatch.setitem(sys.modules, second.__name__, second)
    return first, second


def test_nested_time_is_counted_once_and_all_of_it_is_counted(clock, ledger):
    clock.work(1)
    with ledger.inside("train"):
        clock.work(2)
        with ledger.inside("evaluate"):
            clock.work(4)
            clock.wait(8)
        clock.work(16)
    with ledger.inside("train"):
        clock.wait(32)
    clock.work(64)
    ledger.close()
    assert ledger.entries == {"rest": Entry(65, 65, 0), "train": Entry(50, 18, 2), "evaluate": Entry(12, 4, 1)}
    assert sum(entry.wall for entry in ledger.entries.values()) == clock.wall


def test_time_inside_of_a_failure_is_counted_too(clock, ledger):
    def fail():
        with ledger.inside("train"):
            clock.work(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    clock.work(1)
    ledger.close()
    assert ledger.entries == {"rest": Entry(1, 1, 0), "train": Entry(3, 3, 1)}


def test_what_another_thread_does_stands_beside_and_not_in_the_sum(clock, ledger):
    def in_a_thread():
        with ledger.inside("mlflow"):
            clock.work(5)

    with ledger.inside("train"):
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
    ledger.close()
    assert ledger.beside == {"mlflow": Entry(5, 5, 1)}
    assert ledger.entries["train"].wall == 5  # this thread waited for it


def test_a_function_is_watched_wherever_it_was_imported(clock, ledger, module):
    first, second = module

    def work(seconds):
        clock.work(seconds)
        return 2 * seconds

    first.work = second.work = work
    seen = []
    assert ledger.watch("pelt_automl.first_double:work", "work", seen.append)
    assert (first.work(1), second.work(3)) == (2, 6)
    assert ledger.entries["work"] == Entry(4, 4, 2)
    assert seen == [2, 6]


def test_a_name_may_depend_on_where_a_function_is_called(clock, ledger, module):
    module[0].collate = clock.work
    assert ledger.watch("pelt_automl.first_double:collate", lambda: "evaluation's" if ledger.within("evaluate") else "training's")
    module[0].collate(1)
    with ledger.inside("evaluate"):
        module[0].collate(2)
    assert (ledger.entries["training's"].wall, ledger.entries["evaluation's"].wall) == (1, 2)


def test_methods_and_static_methods_are_watched(clock, ledger, module):
    class Selection:
        def run(self):
            clock.work(1)

        @staticmethod
        def open(seconds):
            clock.work(seconds)
            return ledger.within("open")

    module[0].Selection = Selection
    assert ledger.watch("pelt_automl.first_double:Selection.run", "run")
    assert ledger.watch("pelt_automl.first_double:Selection.open", "open")
    Selection().run()
    assert Selection.open(7)
    assert Selection().open(1)
    assert (ledger.entries["run"].wall, ledger.entries["open"].wall) == (1, 8)
    assert not ledger.within("open")


@pytest.mark.usefixtures("module")
def test_what_is_not_there_is_told_and_not_passed_over(ledger):
    places = ("pelt_automl.first_double:gone", "pelt_automl.first_double:Gone.run", "pelt_automl.no_such_module:run")
    assert [ledger.watch(place, "x") for place in places] == [False, False, False]


@pytest.mark.slow
def test_every_place_that_a_watched_selection_names_is_in_the_program():
    from benchmarks.watched_selection import PLACES

    program = """
import json
from benchmarks.ledger import Ledger
from benchmarks.measuring import hand_over
from benchmarks.watched_selection import Watch
watch = Watch(Ledger("rest"), 0.0)
watch.install()
hand_over(watch.not_found)
"""
    from benchmarks.measuring import run_process

    assert len([place for places in PLACES.values() for place in places]) > 20
    assert run_process(["-c", program]).result == []
