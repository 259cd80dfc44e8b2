"""How fast devices count as, after some pieces of work."""

import pytest

from pelt_automl.execution.paces import Paces


@pytest.fixture
def paces():
    made = Paces()
    for device, seconds in {"fast": 1.0, "as fast": 1.8, "slow": 30.0}.items():
        made.learn(device, "lora", seconds / 2, 5)
        made.learn(device, "lora", seconds / 2, 5)
    made.learn("slow", "full", 50.0, 10)
    made.learn("fast", "full", 10.0, 10)
    made.learn("new", "prompts", 7.0, 1)
    return made


def test_a_device_is_slower_by_the_kind_on_which_it_looks_best_and_what_may_be_chance_does_not_count(paces):
    assert {name: paces.slower(name) for name in ("fast", "as fast", "slow", "new", "never seen")} == {
        "fast": 1.0, "as fast": 1.0, "slow": 5.0, "new": 1.0, "never seen": 1.0,
    }  # fmt: skip


def test_what_a_step_is_expected_to_take(paces):
    assert paces.expected("slow", "lora") == 3.0
    assert paces.expected("as fast", "full") == 1.0, "as on the fastest"
    assert paces.expected("slow", "prompts") == 35.0, "by how much slower it is"
    assert paces.expected("fast", "nobody has seen it") is None


def test_what_only_a_slow_device_has_shown_is_expected_to_be_as_much_faster_elsewhere(paces):
    paces.learn("slow", "prompts alone", 20.0, 2)
    assert paces.expected("fast", "prompts alone") == 2.0


def test_a_piece_without_a_step_tells_nothing(paces):
    paces.learn("new", "lora", 9.0, 0)
    assert paces.known("new", "lora") is None
