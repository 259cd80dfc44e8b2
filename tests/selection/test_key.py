"""The key of a selection: the same for the same command, another as soon as the answer could be another."""

from dataclasses import replace

import pytest

from pelt_automl.search.spaces import load_spaces
from pelt_automl.selection import environment, settings_from
from pelt_automl.selection.environment import effort_of, key_of, question_of
from pelt_automl.selection.finalist_phase import finalist_seeds

SPACES = load_spaces(None, ("lora",))
BASE = {"task": "pydoc-match", "k": 64, "methods": ["lora"], "seconds": 60}


def key(data_hash="d", spaces=SPACES, **options):
    return key_of(settings_from(**BASE | options), data_hash, spaces)


@pytest.mark.parametrize("same", [{}, {"seconds": 60.0}, {"threads": 1}, {"data_dir": "/elsewhere"}, {"methods": "lora"}, {"k": "64"}])
def test_what_cannot_change_the_answer_does_not_change_the_key(same):
    assert key(**same) == key()


@pytest.mark.parametrize("other", [{"k": 65}, {"seconds": 61}, {"seed": 1}, {"protocol": "paper"}, {"trials": 7}, {"data_hash": "e"}])
def test_what_can_change_the_answer_changes_the_key(other):
    assert key(**other) != key()


def test_an_edited_search_space_changes_the_key_even_under_its_old_version():
    [lora] = SPACES.values()
    narrower = replace(lora, parameters=lora.parameters[:1])
    assert narrower.version == lora.version
    assert key(spaces={"lora": narrower}) != key()


def question(data_hash="d", **options):
    return question_of(settings_from(**BASE | options), data_hash)


def effort(spaces=SPACES, **options):
    return effort_of(settings_from(**BASE | options), spaces)


@pytest.mark.parametrize(
    "other",
    [
        {"data_hash": "e"},
        {"k": 65},
        {"seed": 1},
        {"protocol": "paper"},
        {"epochs": 3},
        {"metric": "macro_f1"},
        {"model": "bert"},
        {"prefer": "time"},
    ],
)
def test_what_is_asked_changes_the_question_and_not_the_effort(other):
    assert question(**other) != question()
    assert effort(**{name: value for name, value in other.items() if name != "data_hash"}) == effort()


@pytest.mark.parametrize("other", [{"seconds": 61}, {"trials": 7}, {"methods": ["lora", "head"]}, {"finalist_seeds": 4}, {"sampler": "gp"}])
def test_how_hard_to_look_changes_the_effort_and_not_the_question(other):
    assert effort(**other) != effort()
    assert question(**other) == question()


def test_another_behavior_of_the_program_is_another_question(monkeypatch):
    before = question()
    monkeypatch.setattr(environment, "BEHAVIOUR", environment.BEHAVIOUR + 1)
    assert question() != before


def test_the_finalists_seeds_of_neighboring_seeds_have_nothing_in_common():
    drawn = [finalist_seeds(question(seed=seed), index) for seed in (0, 1) for index in range(10)]
    numbers = [number for triple in drawn for number in (triple.split, triple.initialization, triple.order)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 2**31 for number in numbers)
    assert finalist_seeds(question(seed=0), 3) == drawn[3], "the same question gives the same seeds"
