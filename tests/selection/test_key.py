"""The key of a selection: the same for the same command, another as soon as the answer could be another."""

from dataclasses import replace

import pytest

from pelt_automl.scheduling.finals import finalist_seeds
from pelt_automl.search.spaces import load_spaces
from pelt_automl.selection import environment, settings_from
from pelt_automl.selection.environment import effort_of, key_of, question_of

SPACES = load_spaces(None, ("lora",))
BASE = {"task": "pydoc-match", "k": 64, "methods": ["lora"], "seconds": 60}


def key(data_hash="d", spaces=SPACES, **options):
    return key_of(settings_from(**BASE | options), data_hash, spaces)


EVERYTHING = {
    "train": "/data/a.csv",
    "validation": "/data/v.csv",
    "test": "/data/t.csv",
    "text_columns": "a,b",
    "label_column": "y",
    "encoding": "utf-8",
    "delimiter": "tab",
    "kind": "regression",
    "metric": "spearman",
    "positive_class": "1",
    "k": "full",
    "model": "bert-base-uncased",
    "max_length": 64,
    "epochs": 3,
    "batch_size": 8,
    "min_steps": 10,
    "max_steps": 100,
    "warmup": 0.2,
    "clip": 2,
    "weight_decay": 0.01,
    "patience": 2,
    "precision": "fp32",
    "head_start": "random",
    "dropout": 0.1,
    "threads": 2,
    "pack_size": 4,
    "trials": 3,
    "max_trainable": 100000,
    "max_latency_ms": 5,
    "max_memory": 2,
    "sampler": "gp",
    "race": False,
    "portfolio": False,
    "experience": False,
    "equivalence": 2,
    "prefer": "time",
    "promoted": 0.5,
    "finalist_share": 0.4,
    "most_seeds": 5,
    "spaces": "/spaces",
}
PAPER = {
    "task": "qnli", "k": "64", "methods": "lora,head", "seconds": 60, "rungs": "none", "baselines": "none", "seed": 7, "finalist_seeds": 12,
    "data_dir": "/data", "protocol": "paper",
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "hashes"),
    [
        ({"task": "pydoc-match"}, ("e889511c0610e2c0", "a65329894f0cfba0", "55b68d27a9461f4d")),
        (PAPER, ("7368781e3960d4fb", "f17a4834ed863011", "2e7194d9a91d74ec")),
        (EVERYTHING, ("96cbf02776fa8de5", "98cc4bec5446df94", "d1769dd85908f50e")),
    ],
    ids=["defaults", "paper", "everything"],
)
def test_the_keys_are_those_of_earlier_versions_so_that_selections_are_taken_up(options, hashes, monkeypatch):
    monkeypatch.setattr(environment, "BEHAVIOUR", 5)
    settings = settings_from(**options)
    assert (question_of(settings, "d"), effort_of(settings, {}), key_of(settings, "d", {})) == hashes


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


@pytest.mark.parametrize(
    "other",
    [{"seconds": 61}, {"trials": 7}, {"methods": ["lora", "head"]}, {"finalist_seeds": 4}, {"sampler": "gp"}, {"experience": False}],
)
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
