"""Memory goes back to the system between packs."""

import ctypes

from pelt_automl.training import loop, memory
from tests.training.test_packing import mixed_runs, trainer


def test_memory_is_given_back_once_a_pack(monkeypatch) -> None:
    given = []
    monkeypatch.setattr(loop, "give_back", lambda: given.append(1))
    trainer().train(mixed_runs(), until=3)
    assert given == [1]


def test_the_c_library_is_asked_for_all_of_it_where_it_can_and_for_nothing_elsewhere(monkeypatch) -> None:
    asked = []

    class Glibc:
        def malloc_trim(self, kept):
            asked.append(kept)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Glibc())
    memory.give_back()
    assert asked == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.give_back()
