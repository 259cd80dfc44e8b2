"""The key of a selection: the same for the same command, another as soon as the answer could be another."""

from dataclasses import replace

import pytest

from pelt_automl.search.spaces import load_spaces
from pelt_automl.selection import settings_from
from pelt_automl.selection.environment import key_of

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
